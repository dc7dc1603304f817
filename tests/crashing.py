"""Runs cells, and makes experts, in processes that die: at the n-th change of a file, or when told to. For tests.

They are made by fork from the tests' own, which has imported everything, so that each starts at once.
"""

import itertools
import os
import signal
import sys
import time
from collections.abc import Callable
from contextlib import redirect_stderr
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from tests.fresh import CONTEXT
from threefold.__main__ import main
from threefold.store import checkpoints

CHANGES = ("mkdir", "open", "rename", "replace", "unlink", "rmdir", "utime")


def start(params: Path, row: str, task: str, die_at: int | None = None, pause_after: int | None = None) -> BaseProcess:
    """Start computing a cell; what it says goes to `said` beside params.yaml.

    Of `die_at` changes it does the first; it stands still after so many checkpoints, until there is a file `on`.
    """
    return _start(params.parent, die_at, pause_after, "run", "--params", params, "--row", row, "--task", task)


def start_expert(data: Path, task: str, die_at: int | None = None, pause_after: int | None = None) -> BaseProcess:
    """Start making an expert by the design in a folder `data`, where it is written, likewise."""
    command = ("expert", "--params", data / "params.yaml", "--task", task)
    return _start(data.parent, die_at, pause_after, *command)


def _start(folder: Path, die_at: int | None, pause_after: int | None, *command: object) -> BaseProcess:
    process = CONTEXT.Process(target=_run, args=(folder, die_at, pause_after, *map(str, command)))
    process.start()
    return process


def wait_until(true: Callable[[], Any]) -> None:
    """Wait a minute for something that another process does."""
    deadline = time.monotonic() + 60
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def finish(process: BaseProcess) -> int:
    process.join(120)
    assert process.exitcode is not None
    return process.exitcode


def _stand_still(on: Path) -> None:
    parent, deadline = os.getppid(), time.monotonic() + 120
    while not on.exists():
        # A learner's process goes with the one that is killed; and a test that fails touches nothing.
        if os.getppid() != parent or time.monotonic() > deadline:
            os._exit(1)
        time.sleep(0.01)


def _run(folder: Path, die_at: int | None, pause_after: int | None, *command: str) -> None:
    checkpoints.EVERY, checkpoints.SHARE = 0.0, 1e9
    count, saved, offer = itertools.count(1), itertools.count(1), checkpoints.Checkpoints.offer

    def pausing(*arguments: Any) -> None:
        offer(*arguments)
        if next(saved) == pause_after:
            _stand_still(folder / "on")

    setattr(checkpoints.Checkpoints, "offer", pausing)  # noqa: B010 - not to be typed

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        if event.removeprefix("os.") in CHANGES and str(folder) in str(arguments[0]) and next(count) == die_at:
            os.kill(os.getpid(), signal.SIGKILL)

    if die_at is not None:
        sys.addaudithook(hook)
    sys.argv = ["threefold", *command]
    with open(folder / "said", "a", buffering=1) as said, redirect_stderr(said):
        try:
            main()
        except SystemExit as stopped:
            os._exit(int(stopped.code or 0))
