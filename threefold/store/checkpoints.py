"""The last states of a training, from which it continues exactly."""

import hashlib
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from algorithms.core.state import pack, unpack
from threefold.base.errors import InputError
from threefold.base.files import write_bytes
from threefold.base.messages import inform

EVERY = 30.0  # seconds between two checkpoints, at least;
SHARE = 0.01  # and no more than this share of the time goes into them
KEEP = 2


class Checkpoints:
    """The last states of a training, each in a file whose name has its checksum."""

    def __init__(self, folder: Path, name: str) -> None:
        self.folder, self.name = folder, name
        self._next = time.monotonic() + EVERY

    def offer(self, iteration: int, state: Callable[[], dict[str, Any]]) -> None:
        """Save a state if it is time to; if the disk is full, training continues, with a warning."""
        began = time.monotonic()
        if began < self._next:
            return
        try:
            data = pack(state())
            path = self.folder / f"{iteration:010d}-{hashlib.sha256(data).hexdigest()}.safetensors"
            write_bytes(path, data)
            for old in self._saved()[KEEP:]:
                old.unlink(missing_ok=True)
        except OSError as error:
            inform(
                f"{self.name}: iteration {iteration} is not saved: {self.folder}: {error.strerror}; training continues"
            )
        now = time.monotonic()
        self._next = now + max(EVERY, (now - began) / SHARE)

    def restore(self, parts: Mapping[str, Any]) -> dict[str, Any] | None:
        """Put objects back to where they were in the newest state, by name; return the state, or None without one.

        Raises InputError if what is saved is no state of this training.
        """
        data = self._last()
        if data is None:
            return None
        try:
            tree = unpack(data)
            for name, part in parts.items():
                part.load_state_dict(tree[name])
            return tree
        except (AttributeError, KeyError, RuntimeError, SafetensorError, TypeError, ValueError) as error:
            reason = " ".join(str(error).split())
            raise InputError(
                f"{self.folder}: no checkpoint of this training ({reason}); move the folder away to begin again"
            ) from None

    def found(self) -> bool:
        """Return whether there is a state to restore."""
        return self._last() is not None

    def _last(self) -> bytes | None:
        """Return the newest state that is sound; a damaged one is skipped, with a warning."""
        for path in self._saved():
            try:
                data = path.read_bytes()
            except FileNotFoundError:  # a killed run's last process has just replaced it
                continue
            if hashlib.sha256(data).hexdigest() == path.stem.partition("-")[2]:
                return data
            inform(f"{self.name}: {path}: cut or altered; taking the one before it")
        return None

    def _saved(self) -> list[Path]:
        return sorted(self.folder.glob("[0-9]*-*.safetensors"), reverse=True)
