"""A cell's learners, shared out: a few train together in each process, one process to a core.

Networks as small as these gain little from a second thread, and Python's lock keeps the physics' threads waiting for
each other; a process waits for nobody. Who trains with whom decides the last bits of a result, so it never depends on
the machine: how many processes there are does. On a GPU all train together, in one process.
"""

import multiprocessing
import os
import queue
import traceback
from collections.abc import Callable, Sequence
from functools import partial
from multiprocessing.process import BaseProcess
from types import TracebackType
from typing import Any, TypeVar

from results.cell import Outcome
from results.training import Job, Step, train

PART = 3  # learners in a process, at most
GLANCE = 1.0  # seconds between looks at whether all processes live

Item = TypeVar("Item")


def split(items: Sequence[Item], device: str = "cpu") -> list[list[Item]]:
    """Share items out to parts as equal as can be, in order."""
    count = -(-len(items) // PART) if device == "cpu" else 1
    return [list(items[k * len(items) // count : (k + 1) * len(items) // count]) for k in range(count)]


class Team:
    """The processes that do jobs. A single job is done here, by the process that asks for it."""

    def __init__(self, jobs: Sequence[Job], workers: int) -> None:
        self._jobs, context = jobs, multiprocessing.get_context("fork")
        self._messages = context.Queue()
        shares = [list(enumerate(jobs))[k::workers] for k in range(workers)] if len(jobs) > 1 else []
        self._processes: list[BaseProcess] = [
            context.Process(target=_work, args=(share, self._messages, os.getpid()), daemon=True) for share in shares
        ]

    def __enter__(self) -> "Team":
        """Begin."""
        for process in self._processes:
            process.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End, whatever has not been done."""
        for process in self._processes:
            process.kill()
            process.join()

    def outcomes(self, watch: Callable[[Job, Step], None]) -> list[Outcome]:
        """Return what the jobs came to; `watch(job, step)` hears how each goes. Raises what a job raises."""
        if not self._processes:
            return [train(job, partial(watch, job)) for job in self._jobs]
        found: dict[int, Outcome] = {}
        while len(found) < len(self._jobs):
            number, message = self._hear()
            if isinstance(message, BaseException):
                raise message
            if isinstance(message, Outcome):
                found[number] = message
            else:
                watch(self._jobs[number], message)
        return [found[number] for number in range(len(self._jobs))]

    def _hear(self) -> tuple[int, Any]:
        while True:
            dead = [process for process in self._processes if process.exitcode]
            try:
                return self._messages.get(timeout=GLANCE)
            except queue.Empty:
                if dead:
                    code = dead[0].exitcode
                    raise RuntimeError(f"process {dead[0].pid}, which trained a part, ended with {code}") from None


def _work(share: Sequence[tuple[int, Job]], messages: Any, parent: int) -> None:
    for number, job in share:

        def tell(step: Step, number: int = number) -> None:
            if os.getppid() != parent:  # it was killed, and the next one would meet us at the same checkpoints
                os._exit(1)
            messages.put((number, step))

        try:
            messages.put((number, train(job, tell)))
        except Exception as error:
            error.add_note(traceback.format_exc())
            messages.put((number, error))
