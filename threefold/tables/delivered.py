"""Whether a delivered part is there, and its files are what its part.json says."""

from pathlib import Path
from typing import Any

from threefold.base import integrity
from threefold.base.errors import InputError
from threefold.base.files import checksums
from threefold.tables import schema


def is_there(folder: Path, made_from: dict[str, Any]) -> bool:
    """Return whether a part made from this is in its place and undamaged."""
    try:
        card = schema.read_part(folder / schema.PART)
    except InputError:
        return False
    return card["made_from"] == made_from and not damages(folder, card)


def damages(folder: Path, card: dict[str, Any]) -> list[str]:
    """Return a line for each file beside a part.json that is not what that says; `card` is its content."""
    expected = card.get("sha256")
    if not isinstance(expected, dict):
        return [f"{folder / schema.PART}: no proper 'sha256'"]
    found = checksums(folder)
    del found[schema.PART]
    return integrity.damages(folder, expected, found)
