"""What the store holds of a project: listed, verified, pruned."""

import shutil
from collections import defaultdict
from pathlib import Path

from rich.console import Console
from rich.filesize import decimal
from rich.table import Table

from threefold.base.errors import InputError
from threefold.cells.cell import cells
from threefold.cells.grid import grid, status
from threefold.cells.run import deliver, is_delivered
from threefold.experts import experts
from threefold.profile.design import Design
from threefold.profile.profiles import profiles
from threefold.store.entries import damages, entries, location, removable

STUDIES = "studies"  # parts of a study, by their names in the store


def wanted(root: Path) -> dict[Path, list[str]]:
    """Return the folders of the store that the project's profiles ask for, with the names of those."""
    found = defaultdict(list)
    for entry in experts.entries(root):
        found[entry.folder].append("data")
    for design in profiles(root):
        for place in grid(design):
            found[place.entry.folder].append(design.profile)
    return found


def show(root: Path) -> None:
    """Print a table of all entries."""
    table = Table("cell", "made from", "", "size", "for")
    asked = wanted(root)
    for folder in entries(location(root)):
        size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
        table.add_row(_name(root, folder), folder.name, status(folder), decimal(size), ", ".join(asked[folder]))
    Console().print(table)


def verify(root: Path) -> None:
    """Print what is damaged, a line each; raise InputError if anything is."""
    damaged = 0
    profiles(root)  # a wrong folder has none, and its store would seem sound
    for folder in entries(location(root)):
        if status(folder) == "done" and (lines := damages(folder)):
            damaged += 1
            print("\n".join(lines))
    if damaged:
        raise InputError(f"{location(root)}: {damaged} damaged results; the next run of their cells makes them again")


def prune(root: Path, named: list[str]) -> None:
    """Remove the named entries, all those of a cell by its name, or without a name what no profile asks for.

    Parts of studies stay unless they are named: a study alone knows which of them it asks for.
    """
    found = entries(location(root))
    names = {folder: _name(root, folder) for folder in found}
    for cell in named:
        if any(_is_within(name, cell) for name in names.values()):
            continue
        raise InputError(f"{cell}: not in {location(root)}; `threefold store list` shows what is")
    keep = set() if named else {*wanted(root), *(folder for folder in found if _is_within(names[folder], STUDIES))}
    for folder in found:
        if folder not in keep and (not named or any(_is_within(names[folder], cell) for cell in named)):
            with removable(folder) as free:
                if free:
                    shutil.rmtree(folder)
                print(f"{'removed' if free else 'being computed, stays'}: {folder}")


def deliver_all(root: Path) -> None:
    """Put every finished part of every profile in its place, without computing; print what is still missing."""
    for design in profiles(root):
        asked = cells(design)
        missing = sum(len(deliver(cell)) for cell in asked)
        print(
            f"{design.profile}: {sum(len(cell.parts) for cell in asked) - missing} parts delivered, {missing} missing"
        )


def undelivered(design: Design) -> int:
    """Return how many parts of a profile are finished in the store and not in their place."""
    done = [place for place in grid(design) if status(place.entry.folder) == "done"]
    return sum(not is_delivered(place.cell, place.part) for place in done)


def _name(root: Path, folder: Path) -> str:
    return folder.parent.relative_to(location(root)).as_posix()


def _is_within(name: str, cell: str) -> bool:
    return name == cell or name.startswith(f"{cell}/")
