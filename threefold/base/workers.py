"""Jobs shared out to processes, one process to a core.

A job is a few learners who train together. Networks as small as these gain little from a second thread, and Python's
lock keeps the physics' threads waiting for each other; a process waits for nobody. Who trains with whom decides the
last bits of a result, so whoever makes the jobs looks at no machine: how many processes there are depends on it.
"""

import multiprocessing
import os
import traceback
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from types import TracebackType
from typing import Any, Generic, TypeVar

from threefold.base.errors import InputError
from threefold.base.steps import Step

Job = TypeVar("Job")
Outcome = TypeVar("Outcome")
Watch = Callable[[Step], None]


def default_threads() -> int:
    """Cores this process may run on, or the environment variable THREEFOLD_THREADS.

    The variable is for machines shared with others, and for containers whose share of the machine the affinity mask
    does not show: threads beyond the real cores only wait for each other. Results never depend on it.
    """
    wanted = os.environ.get("THREEFOLD_THREADS")
    if wanted is None:
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if not wanted.isdecimal() or int(wanted) == 0:
        raise InputError(f"THREEFOLD_THREADS={wanted!r}: must be a whole number above 0")
    return int(wanted)


class Team(Generic[Job, Outcome]):
    """The processes that do jobs. A single job runs in the calling process, unless `apart`.

    A process of its own may be killed, as one that takes too much memory is; the caller then gets an error. It cannot
    use CUDA, which does not survive a fork.
    """

    def __init__(
        self, do: Callable[[Job, Watch], Outcome], jobs: Sequence[Job], workers: int, apart: bool = False
    ) -> None:
        """Let so many workers `do(job, watch)` each of the jobs, which reports its progress by `watch(step)`."""
        self._do, self._jobs = do, jobs
        self._shares = [list(enumerate(jobs))[k::workers] for k in range(workers)] if apart or len(jobs) > 1 else []
        self._workers: dict[Connection, BaseProcess] = {}

    def __enter__(self) -> "Team[Job, Outcome]":
        """Begin."""
        context = multiprocessing.get_context("fork")
        for share in self._shares:
            # A pipe each, whose writing end the worker alone has: its death, even in the middle of a word, is its end.
            reader, writer = context.Pipe(duplex=False)
            worker = context.Process(target=_work, args=(self._do, share, writer, os.getpid()), daemon=True)
            worker.start()
            writer.close()
            self._workers[reader] = worker
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End, whatever has not been done."""
        for worker in self._workers.values():
            worker.kill()
            worker.join()

    def outcomes(self, watch: Watch) -> list[Outcome]:
        """Return the jobs' outcomes in order; `watch(step)` gets their progress. Raises what a job raises."""
        if not self._shares:
            return [self._do(job, watch) for job in self._jobs]
        found: dict[int, Outcome] = {}
        while len(found) < len(self._jobs):
            for reader in wait(list(self._workers)):
                assert isinstance(reader, Connection)
                number, message = self._receive(reader)
                if isinstance(message, BaseException):
                    raise message
                if isinstance(message, Step):
                    watch(message)
                elif message is not None:
                    found[number] = message
        return [found[number] for number in range(len(self._jobs))]

    def _receive(self, reader: Connection) -> tuple[int, Any]:
        """Return the next message of a worker, or (-1, None) of one that has done its share."""
        try:
            return reader.recv()
        except (EOFError, OSError):
            worker = self._workers.pop(reader)
            worker.join()
            if worker.exitcode:
                raise RuntimeError(
                    f"process {worker.pid}, which trained a part, ended with {worker.exitcode}"
                ) from None
            return -1, None


def _work(
    do: Callable[[Job, Watch], Outcome], share: Sequence[tuple[int, Job]], messages: Connection, parent: int
) -> None:
    for number, job in share:

        def report(step: Step, number: int = number) -> None:
            if os.getppid() != parent:  # the parent was killed, and its successor uses the same checkpoints
                os._exit(1)
            messages.send((number, step))

        try:
            messages.send((number, do(job, report)))
        except Exception as error:
            error.add_note(traceback.format_exc())
            messages.send((number, error))
