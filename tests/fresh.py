"""A process that has nothing of the project loaded yet, and takes it from any folder; torch and the like it has.

It is made by fork from the tests' own, since to import those anew takes seconds.
"""

import importlib
import json
import multiprocessing
import os
import runpy
import socket
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch._dynamo  # noqa: F401 - the first optimiser imports it: here once, or in each process for seconds

from threefold.store.code import PACKAGES

OWN = (*PACKAGES, "docs")  # what a process takes from its folder
CONTEXT = multiprocessing.get_context("fork")
LIBRARIES = ["pandas", "mujoco", "seaborn", "matplotlib.backends.backend_pdf", "scipy.stats", "jinja2"]
OF_DVC = ["networkx", "ruamel.yaml", "scmrepo.git", "dvc_data.index", "dvc_render", "voluptuous", "dvc_task"]
PYTHON = """#!{python} -SEI
import json, os, socket, sys
with socket.socket(socket.AF_UNIX) as server:
    server.connect({address!r})
    given = json.dumps([sys.argv, os.getcwd(), dict(os.environ)]) + chr(10)
    socket.send_fds(server, [given.encode()], [0, 1, 2])
    sys.exit(int(server.makefile().readline()))
"""


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
    return fresh(folder, command, arguments)


def dvc(folder: Path, *arguments: str) -> tuple[int, str, str]:
    """Return the same of a command of DVC."""
    return fresh(folder, command, arguments, "dvc.cli")


@contextmanager
def python() -> Iterator[Path]:
    """Yield a folder for PATH, whose `python` runs `python -m threefold ...`, as dvc.yaml has it, in such a process."""
    for name in LIBRARIES + OF_DVC:
        importlib.import_module(name)
    with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX) as listening:
        address, client = os.path.join(folder, "server"), Path(folder, "python")
        client.write_text(PYTHON.format(python=sys.executable, address=address))
        client.chmod(0o755)
        listening.bind(address)
        listening.listen()
        server = CONTEXT.Process(target=_serve, args=(listening,))  # whose commands have processes of their own
        server.start()
        try:
            yield client.parent
        finally:
            server.terminate()
            server.join()


class Module:
    """Stands in for `subprocess.Popen` of `python -m MODULE ...` in a folder of the project."""

    def __init__(self, command: Sequence[str], cwd: Path, env: Mapping[str, str]) -> None:
        assert command[:2] == [sys.executable, "-m"]
        assert env["PYTHONPATH"].split(os.pathsep)[0] == str(cwd)  # or it would be another folder's module
        self._process = CONTEXT.Process(target=_run, args=(cwd, command[2:], env))
        self._process.start()

    def wait(self) -> int | None:
        self._process.join()
        return self._process.exitcode

    @property
    def returncode(self) -> int | None:
        return self._process.exitcode

    def kill(self) -> None:
        self._process.kill()


def _run(folder: Path, command: Sequence[str], environment: Mapping[str, str]) -> None:
    _enter(folder)
    os.environ.update(environment)
    sys.argv[1:] = command[1:]
    runpy.run_module(command[0], run_name="__main__", alter_sys=True)


def _serve(listening: socket.socket) -> None:
    """Run one command after the other, each in a process of its own; tell who asked its exit code."""
    parent = os.getppid()
    listening.settimeout(1)
    while os.getppid() == parent:  # or the tests were killed
        try:
            connection, _ = listening.accept()
        except TimeoutError:
            continue
        with connection:
            process = os.fork()
            if not process:
                os._exit(_asked(connection))
            code = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
            connection.sendall(f"{code}\n".encode())


def _asked(connection: socket.socket) -> int:
    given, streams, _, _ = socket.recv_fds(connection, 1 << 20, 3)
    while not given.endswith(b"\n"):
        given += connection.recv(1 << 20)
    (_, *command), folder, environment = json.loads(given)
    assert command[:2] == ["-m", "threefold"]
    os.environ.clear()
    os.environ.update(environment)
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
    _enter(Path(folder))
    return _main("threefold.__main__", command[2:])


def _call(sender: Connection, folder: Path, function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    _enter(folder)
    try:
        sender.send(function(*arguments))
    except BaseException as error:
        sender.send(error)


def _enter(folder: Path) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] in OWN]:
        del sys.modules[name]
    os.chdir(folder)
    os.environ["PYTHONPATH"] = str(folder)  # of the processes that it starts
    sys.path.insert(0, str(folder))
    importlib.invalidate_caches()


def command(arguments: Sequence[str], module: str = "threefold.__main__") -> tuple[int, str, str]:
    """Run a command in a process that is there for nothing else; what `threefold` returns."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        os.dup2(out.fileno(), 1)  # where processes write that it starts
        os.dup2(err.fileno(), 2)
        code = _main(module, arguments)
        out.seek(0)
        err.seek(0)
        return code, out.read().decode(), err.read().decode()


def _main(module: str, arguments: Sequence[str]) -> int:
    sys.stdout, sys.stderr = (os.fdopen(number, "w", buffering=1, closefd=False) for number in (1, 2))
    sys.argv = [module, *arguments]
    try:
        code = importlib.import_module(module).main()
    except SystemExit as ended:
        code = ended.code
    sys.stdout.flush()
    sys.stderr.flush()
    return int(code or 0)
