"""A process that has nothing of the project loaded yet, and takes it from any folder; torch and the like it has.

It is made by fork from the tests' own, since to import those anew takes seconds.
"""

import importlib
import multiprocessing
import os
import sys
import tempfile
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from threefold.store.code import PACKAGES

CONTEXT = multiprocessing.get_context("fork")


def fresh(folder: Path, function: Callable[..., Any], *arguments: Any) -> Any:
    """Return what a function returns that imports the project from a folder; raise what it raises."""
    outcome, sender = CONTEXT.Pipe(duplex=False)
    process = CONTEXT.Process(target=_call, args=(sender, folder, function, arguments))
    process.start()
    sender.close()
    try:
        found = outcome.recv()
    finally:
        process.join()
    if isinstance(found, BaseException):
        raise found
    return found


def threefold(folder: Path, *arguments: str) -> tuple[int, str, str]:
    """Return the exit code of a command of the project in a folder, and what it writes to stdout and stderr."""
    return fresh(folder, _command, arguments)


def _call(sender: Connection, folder: Path, function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] in PACKAGES]:
        del sys.modules[name]
    os.chdir(folder)
    os.environ["PYTHONPATH"] = str(folder)  # of the processes that it starts
    sys.path.insert(0, str(folder))
    importlib.invalidate_caches()
    try:
        sender.send(function(*arguments))
    except BaseException as error:
        sender.send(error)


def _command(arguments: tuple[str, ...]) -> tuple[int, str, str]:
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        os.dup2(out.fileno(), 1)  # where processes write that it starts
        os.dup2(err.fileno(), 2)
        sys.stdout, sys.stderr = (os.fdopen(number, "w", buffering=1, closefd=False) for number in (1, 2))
        sys.argv = ["threefold", *arguments]
        main = importlib.import_module("threefold.__main__").main
        try:
            main()
            code = 0
        except SystemExit as ended:
            code = int(ended.code or 0)
        sys.stdout.flush()
        sys.stderr.flush()
        out.seek(0)
        err.seek(0)
        return code, out.read().decode(), err.read().decode()
