"""Writing results so that nothing half-written is ever found."""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from threefold.base.errors import InputError

IMPORTED = Path("data") / "imported"  # demonstrations that users bring, a folder for each name


def checksum(path: Path) -> str:
    """Return the sha256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def checksums(folder: Path) -> dict[str, str]:
    """Return the sha256 of each file of a folder by its name."""
    return {path.name: checksum(path) for path in folder.iterdir() if path.is_file()}


def check_writable(folder: Path) -> None:
    """Raise `OSError` now if no file can be made in `folder`, rather than after hours of training."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=folder):
        pass


def refuse_strangers(folder: Path, own: Collection[str], what: str) -> None:
    """Raise InputError if to replace a folder would destroy more than its `own` files, which are `what`."""
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder}: a file is there; choose a folder for {what}")
    if strangers := {path.name for path in folder.iterdir()} - set(own) if folder.is_dir() else set():
        raise InputError(f"{folder}: holds {min(strangers)}, which is no part of {what}; choose another folder")


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Add `path` to an `OSError` that names no file, as that of a full disk or of a lock."""
    try:
        yield
    except OSError as error:
        error.filename = error.filename or str(path)
        raise


@contextmanager
def replacing(folder: Path) -> Iterator[Path]:
    """Yield an empty folder to fill; it becomes `folder` if the body succeeds, else `folder` stays as it was.

    A link stays, and the folder that it leads to is replaced. An `OSError` names a file, or `folder`.
    """
    folder = Path(os.path.realpath(folder)) if folder.is_symlink() else folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        with naming(folder):
            yield fresh
            fresh.chmod(0o755)  # mkdtemp makes folders only their owner can read
            if folder.exists():
                old = fresh.with_name(f"{fresh.name}-old")
                folder.rename(old)
                fresh.rename(folder)
                shutil.rmtree(old)
            else:
                fresh.rename(folder)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file whole or not at all, through a temporary file in the same folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with naming(path):
            with os.fdopen(handle, "wb") as file:
                file.write(data)
            os.chmod(name, 0o644)  # mkstemp makes files only their owner can read
            os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise


def write_json(content: dict[str, Any], path: Path) -> None:
    """Write JSON with sorted keys; NaN and infinity are refused (ValueError)."""
    write_bytes(path, (json.dumps(content, indent=2, sort_keys=True, allow_nan=False) + "\n").encode())
