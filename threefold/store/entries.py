"""Where parts of cells, and experts, are computed: each in a folder that the fingerprint of its inputs names.

    <store>/<name>/<fingerprint>/      the name is <task>/<row>/<part>, or <task>/expert
        inputs.json        what the fingerprint is of
        checkpoints/*/     the last two states of the training, while there is no result
        result/            what is delivered
        log                the output of the process, if `threefold launch` started it
        provenance.json    who computed it, when and how fast
        done               the checksums of the result and of the provenance; it comes last
    <store>/<name>/<fingerprint>.lock

An entry is computed in its folder, under its lock, and copied to its place when it is done. So a killed run continues
where it was, two runs never compute the same entry, a result of old code is never taken for one of new code, and a
result of another machine is found by its fingerprint. The store is `.store/` in the project, or THREEFOLD_STORE.
"""

import hashlib
import json
import multiprocessing
import os
import platform
import re
import shutil
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from threading import Thread
from typing import Any

from filelock import FileLock, Timeout

from threefold.base import integrity
from threefold.base.errors import InputError
from threefold.base.files import naming, replacing, write_bytes, write_json
from threefold.base.messages import inform
from threefold.store.inputs import fingerprint

FOLDER = ".store"
LOG = "log"  # of an entry that `threefold launch` started
FILE = re.compile(r"done|provenance\.json|result/[a-z]+\.(csv|csv\.gz|json|safetensors)")  # of an entry, as it travels
GLANCE = 0.5  # seconds for which a lock may be held by somebody who only looks
WAITING_LINE = 60.0  # seconds between the lines of a process that waits


def location(root: Path) -> Path:
    """Return the store of a project; raises InputError for a THREEFOLD_STORE in an unknown user's home."""
    named = os.environ.get("THREEFOLD_STORE")
    if not named:
        return root / FOLDER
    try:
        return Path(named).expanduser()
    except RuntimeError:
        raise InputError(f"THREEFOLD_STORE: {named}: there is no such user; write the whole path") from None


class Entry:
    """One result, made from given inputs."""

    def __init__(self, store: Path, name: str, inputs: dict[str, Any]) -> None:
        self.name, self.inputs, self.fingerprint = name, inputs, fingerprint(inputs)
        self.folder = store / name / self.fingerprint
        self.checkpoints = self.folder / "checkpoints"

    @property
    def result(self) -> Path:
        """Return the folder of the result's files."""
        return self.folder / "result"

    def provenance(self) -> bytes:
        """Return who computed the result, when and how fast, as JSON."""
        return (self.folder / "provenance.json").read_bytes()

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the lock; wait for it, with a message. It is free when the process that holds it ends.

        A worker ends with the process that started it: killed, that one is started again, and would wait for its own.
        """
        if (parent := multiprocessing.parent_process()) is not None:
            _end_with(parent)
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        lock, patience = _lock(self.folder), GLANCE
        while not lock.is_locked:
            with suppress(Timeout), naming(self.folder):
                lock.acquire(timeout=patience)
                continue
            inform(f"{self.name}: {_holder(self.folder)} is computing it; waiting for the result")
            patience = WAITING_LINE
        try:
            for left in [*self.folder.glob(".*"), *self.checkpoints.glob("*/.*")]:  # by a killed run
                _remove(left)
            write_json(self.inputs, self.folder / "inputs.json")
            write_json({"pid": os.getpid(), "machine": platform.node()}, self.folder / "holder.json")
            yield
        finally:
            lock.release()

    def finished(self) -> bool:
        """Return whether the result is there and sound; a damaged one is removed, with a message."""
        damage = damages(self.folder)
        if not damage:
            shutil.rmtree(self.checkpoints, ignore_errors=True)  # left where a run was killed within `finish`
            return True
        if (self.folder / "done").exists():
            inform(f"{self.name}: {damage[0]}; computing it again")
            (self.folder / "done").unlink()
        return False

    def finish(self, provenance: dict[str, Any]) -> None:
        """Declare the result complete."""
        write_json(provenance, self.folder / "provenance.json")
        write_json({"sha256": _checksums(self.folder)}, self.folder / "done")
        shutil.rmtree(self.checkpoints, ignore_errors=True)

    def reopen(self) -> None:
        """Let the result, if there is one, be computed again; it stays until the new one is there."""
        with self.locked():
            (self.folder / "done").unlink(missing_ok=True)

    def deliver(self, folder: Path, leave_out: Collection[str] = ()) -> None:
        """Copy a complete result to where it is wanted, whole or not at all."""
        for left in folder.parent.glob(f".{folder.name}-*"):  # by a run that was killed here
            _remove(left)
        with replacing(folder) as fresh:
            for path in self.result.iterdir():
                if path.name not in leave_out:
                    shutil.copyfile(path, fresh / path.name)

    @staticmethod
    def files(folder: Path) -> dict[str, bytes]:
        """Return the files of a finished entry, for another machine's `receive`."""
        paths = [folder / "done", *(folder / name for name in _checksums(folder))]
        return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}

    def receive(self, files: dict[str, bytes]) -> None:
        """Take in what another machine's `files` returned; ValueError if it is not a whole result."""
        with self.locked():
            if self.finished():
                return
            if unknown := [name for name in files if not FILE.fullmatch(name)]:
                raise ValueError(f"{self.name}: {min(unknown)} is no file of a result")
            with replacing(self.result) as fresh:
                for name, data in files.items():
                    if name.startswith("result/"):
                        (fresh / name.removeprefix("result/")).write_bytes(data)
            for name in ("provenance.json", "done"):
                write_bytes(self.folder / name, files.get(name, b""))
            if damage := damages(self.folder):
                (self.folder / "done").unlink()
                raise ValueError(damage[0])
            shutil.rmtree(self.checkpoints, ignore_errors=True)


@contextmanager
def alone(store: Path, name: str) -> Iterator[None]:
    """Let one process at a time put the results of this name where they are wanted."""
    folder = store / name
    folder.parent.mkdir(parents=True, exist_ok=True)
    lock = _lock(folder)
    with naming(folder):
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


@cache
def _end_with(parent: BaseProcess) -> None:
    def watch() -> None:
        wait([parent.sentinel])
        os._exit(1)

    Thread(target=watch, name="end with parent", daemon=True).start()


def _lock(folder: Path) -> FileLock:
    # Where there are no locks, a file in their place would outlive a killed run, and the next one would wait for ever.
    return FileLock(folder.with_name(f"{folder.name}.lock"), fallback_to_soft=False)


@contextmanager
def removable(folder: Path) -> Iterator[bool]:
    """Hold an entry's lock if it is free, and yield whether it was; the lock goes with the folder."""
    lock = _lock(folder)
    try:
        with naming(folder):
            lock.acquire(timeout=0)
    except Timeout:
        yield False
        return
    try:
        yield True
        if not folder.exists():
            Path(lock.lock_file).unlink()
    finally:
        lock.release()


def is_locked(folder: Path) -> bool:
    """Return whether somebody is at an entry."""
    with removable(folder) as free:
        return not free


def entries(store: Path) -> list[Path]:
    """Return the folders of all entries, sorted."""
    return sorted({path.parent for depth in ("*/*/*", "*/*/*/*") for path in store.glob(f"{depth}/inputs.json")})


def damages(folder: Path) -> list[str]:
    """Return what is wrong with an entry, a line each: it is not done, or files are damaged; nothing if it is sound."""
    try:
        expected = dict(json.loads((folder / "done").read_text())["sha256"])
    except FileNotFoundError:
        return [f"{folder}: not done"]
    except (ValueError, TypeError, KeyError):
        return [f"{folder / 'done'}: cut or altered"]
    try:
        found = _checksums(folder)
    except OSError as error:
        return [f"{error.filename}: {error.strerror}"]
    return integrity.damages(folder, expected, found)


def _checksums(folder: Path) -> dict[str, str]:
    """Return the checksums of the result and its provenance; OSError for a link, which could lead anywhere."""
    paths = [folder / "provenance.json", *sorted((folder / "result").iterdir())]
    for path in paths:
        if path.is_symlink() or not path.is_file():
            raise OSError(0, "no plain file", str(path))
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()


def _holder(folder: Path) -> str:
    try:
        holder = json.loads((folder / "holder.json").read_text())
        return f"process {holder['pid']} on {holder['machine']}"
    except (OSError, ValueError, TypeError, KeyError):
        return "another process"
