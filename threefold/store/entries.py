"""Where cells, and experts, are computed: a folder for each, per fingerprint of what it is made from.

    <store>/<task>/<row>/<fingerprint>/               an expert's row is `expert`
        inputs.json        what the fingerprint is of
        checkpoints/*/     the last two states of each part of the training, while there is no result
        result/            what DVC gets
        log                what it said, if threefold launch started it
        provenance.json    who computed it, when and how fast
        done               the checksums of the result and of the provenance; it comes last
    <store>/<task>/<row>/<fingerprint>.lock

A cell is computed under its lock, in its folder, and copied to where DVC wants it when it is done. So a killed run goes
on where it was, two runs of one cell do not meet, an old result is never taken for that of new code, and one computed
on another machine is found by the same check. The store is `.store/` in the project, or THREEFOLD_STORE.
"""

import hashlib
import json
import os
import platform
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from threefold.base.errors import InputError
from threefold.base.files import naming, replacing, write_bytes, write_json
from threefold.store.sources import differences

FOLDER = ".store"
LOG = "log"  # of a cell that `threefold launch` started
RESULT = ("cell.json", "evaluations.csv", "learners.csv", "policies.safetensors", "training.csv")
FINGERPRINT = 20  # hexadecimal digits of the sha256 of what a cell is made from
CHECKPOINT_EVERY = 30.0  # seconds between two checkpoints, at least;
CHECKPOINT_SHARE = 0.01  # and no more than this share of the time goes into them
KEEP = 2  # checkpoints
GLANCE = 0.5  # seconds for which a lock may be held by somebody who only looks
WAITING_LINE = 60.0  # seconds between the lines of a process that waits


def location(root: Path) -> Path:
    """Return the store of a project; raises InputError for a THREEFOLD_STORE that begins with somebody unknown's ~."""
    named = os.environ.get("THREEFOLD_STORE")
    if not named:
        return root / FOLDER
    try:
        return Path(named).expanduser()
    except RuntimeError:
        raise InputError(f"THREEFOLD_STORE: {named}: no such user's home; write the whole path") from None


def say(line: str) -> None:
    """Tell the user what happens, in a line on stderr."""
    print(line, file=sys.stderr, flush=True)


class Entry:
    """One cell, made from given inputs."""

    def __init__(self, store: Path, task: str, row: str, inputs: dict[str, Any]) -> None:
        text = json.dumps(inputs, sort_keys=True, allow_nan=False)
        self.task, self.row, self.name, self.inputs = task, row, f"{task}/{row}", inputs
        self.folder = store / task / row / hashlib.sha256(text.encode()).hexdigest()[:FINGERPRINT]
        self.checkpoints = self.folder / "checkpoints"

    @property
    def result(self) -> Path:
        """Return the folder of the cell's files."""
        return self.folder / "result"

    def provenance(self) -> bytes:
        """Return who computed the result, when and how fast, as JSON."""
        return (self.folder / "provenance.json").read_bytes()

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the cell's lock, waiting for it and saying so. The death of its holder frees it."""
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        lock, patience = _lock(self.folder), GLANCE
        while not lock.is_locked:
            with suppress(Timeout), naming(self.folder):
                lock.acquire(timeout=patience)
                continue
            say(f"{self.name}: {_holder(self.folder)} is computing it; waiting for the result")
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
        """Return whether the result is there and what it was; a damaged one is removed, which is said."""
        damage = damages(self.folder)
        if not damage:
            return True
        if (self.folder / "done").exists():
            say(f"{self.name}: {damage[0]}; computing it again")
            (self.folder / "done").unlink()
        return False

    def finish(self, provenance: dict[str, Any]) -> None:
        """Declare the result complete."""
        write_json(provenance, self.folder / "provenance.json")
        write_json({"sha256": _checksums(self.folder)}, self.folder / "done")
        shutil.rmtree(self.checkpoints, ignore_errors=True)

    def obtain(self, compute: Callable[[], None], inputs: Callable[[], dict[str, Any]], folder: Path) -> None:
        """Compute the result, unless it is there, and copy it to where DVC wants it.

        `inputs` reads again what it is made from: raises InputError if that was changed meanwhile.
        """
        with self.locked():
            if self.finished():
                say(f"{self.name}: taken from {self.folder}")
            else:
                compute()
            if edited := differences(self.inputs, inputs()):
                raise InputError(
                    f"{edited[0]}: changed while {self.name} was computed; the result stays in the store, as the old "
                    "file's; start it again"
                )
            self.copy(folder)

    def copy(self, folder: Path) -> None:
        """Copy a complete result to where DVC wants it, whole or not at all."""
        for left in folder.parent.glob(f".{folder.name}-*"):  # by a run that was killed here
            _remove(left)
        with replacing(folder) as fresh:
            for path in self.result.iterdir():
                shutil.copyfile(path, fresh / path.name)

    @staticmethod
    def files(folder: Path) -> dict[str, bytes]:
        """Return the files of a finished entry, for another machine's `receive`."""
        paths = [folder / "done", *(folder / name for name in _checksums(folder))]
        return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}

    def receive(self, files: dict[str, bytes]) -> None:
        """Take in what another machine's `files` returned; ValueError if it is not a whole result."""
        names = {"done": "done", "provenance.json": "provenance.json"} | {f"result/{name}": name for name in RESULT}
        with self.locked():
            if self.finished():
                return
            if unknown := set(files) - set(names):
                raise ValueError(f"{self.name}: {min(unknown)} is no file of a result")
            with replacing(self.result) as fresh:
                for name, data in files.items():
                    if name.startswith("result/"):
                        (fresh / names[name]).write_bytes(data)
            for name in ("provenance.json", "done"):
                write_bytes(self.folder / name, files.get(name, b""))
            if damage := damages(self.folder):
                (self.folder / "done").unlink()
                raise ValueError(damage[0])
            shutil.rmtree(self.checkpoints, ignore_errors=True)


class Checkpoints:
    """The last states of a training, each in a file whose name has its checksum."""

    def __init__(self, folder: Path, name: str) -> None:
        self.folder, self.name = folder, name
        self._next = time.monotonic() + CHECKPOINT_EVERY

    def offer(self, iteration: int, state: Callable[[], bytes]) -> None:
        """Save a state if it is time to; training goes on if the disk is full, which is said."""
        began = time.monotonic()
        if began < self._next:
            return
        try:
            data = state()
            path = self.folder / f"{iteration:010d}-{hashlib.sha256(data).hexdigest()}.safetensors"
            write_bytes(path, data)
            for old in self._saved()[KEEP:]:
                old.unlink(missing_ok=True)
        except OSError as error:
            say(f"{self.name}: iteration {iteration} is not saved: {self.folder}: {error.strerror}; training goes on")
        now = time.monotonic()
        self._next = now + max(CHECKPOINT_EVERY, (now - began) / CHECKPOINT_SHARE)

    def last(self) -> bytes | None:
        """Return the newest state that is what was written; what is not is passed over, which is said."""
        for path in self._saved():
            try:
                data = path.read_bytes()
            except FileNotFoundError:  # a killed run's last process has just replaced it
                continue
            if hashlib.sha256(data).hexdigest() == path.stem.partition("-")[2]:
                return data
            say(f"{self.name}: {path}: cut or altered; going on from the one before")
        return None

    def _saved(self) -> list[Path]:
        return sorted(self.folder.glob("[0-9]*-*.safetensors"), reverse=True)


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
    return sorted(path for path in store.glob("*/*/*") if path.is_dir())


def damages(folder: Path) -> list[str]:
    """Return what is wrong with an entry that says it is done, or that it does not; nothing if it is sound."""
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
    return [f"{folder / name}: missing, cut or altered" for name in expected if found.get(name) != expected[name]] + [
        f"{folder / name}: no part of the result" for name in found if name not in expected
    ]


def _checksums(folder: Path) -> dict[str, str]:
    """Checksums of the result and its provenance; a link among them, which could lead anywhere, is refused."""
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
