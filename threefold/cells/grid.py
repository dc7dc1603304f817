"""The parts that a profile asks for, and how far each is."""

from pathlib import Path
from typing import Literal, NamedTuple

from threefold.cells.cell import Cell, cells
from threefold.profile.design import Design, Part
from threefold.store.entries import Entry, is_locked

Status = Literal["done", "running", "stopped", "to do"]


class Place(NamedTuple):
    """A part of a cell, and where it is computed."""

    cell: Cell
    part: Part
    entry: Entry


def grid(design: Design) -> list[Place]:
    """Return every part of every cell of a profile, in the order of its tasks and rows."""
    return [Place(cell, part, cell.entry(part)) for cell in cells(design) for part in cell.parts]


def status(folder: Path) -> Status:
    """Return how far the entry of a folder of the store is; `stopped`: begun, and no process computes it."""
    if (folder / "done").exists():
        return "done"
    if not folder.exists():
        return "to do"
    return "running" if is_locked(folder) else "stopped"
