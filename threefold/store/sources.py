"""The files that results are made from: their checksums, and whether they are those that this process runs."""

import hashlib
import os
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from threefold.base.errors import InputError

CODE = Path(__file__).resolve().parents[2]  # the project whose code runs


def checksums(root: Path, path: Path) -> dict[str, str]:
    """Return the sha256 of a file below `root`, or of each in a folder, by its name from there."""
    return {file.relative_to(root).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest() for file in _files(path)}


def _files(path: Path) -> Iterator[Path]:
    """The files in a folder, less what Python leaves there, or the file itself."""
    if path.is_dir():
        for inside in sorted(path.iterdir()):
            if inside.name != "__pycache__" and not inside.name.startswith("."):
                yield from _files(inside)
    elif path.exists():
        yield path


def differences(ours: dict[str, Any], theirs: dict[str, Any]) -> list[str]:
    """Return the names of the inputs, or of the files among them, that are not the same."""
    flat = [{k: v for k, v in x.items() if k != "files"} | x["files"] for x in (ours, theirs)]
    return sorted(name for name in set(flat[0]) | set(flat[1]) if flat[0].get(name) != flat[1].get(name))


def refuse_edits_since_start(names: Iterable[str]) -> None:
    """Raise InputError if code was changed after this process began: which of the two it runs cannot be known."""
    began = _process_began()
    for name in names:
        path = CODE / name
        if path.exists() and max(path.stat().st_mtime, path.stat().st_ctime) > began:
            raise InputError(f"{name}: changed while this command was starting; start it again")


def _process_began() -> float:
    """Seconds since the epoch, to a hundredth."""
    ticks = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])
    age = time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")
    return time.time() - age
