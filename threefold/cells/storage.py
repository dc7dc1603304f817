"""What the store holds of a project: listed, verified, pruned."""

import shutil
from collections import defaultdict
from pathlib import Path

from rich.console import Console
from rich.filesize import decimal
from rich.table import Table

from threefold.base.errors import InputError
from threefold.cells.grid import grid, profiles, status
from threefold.experts import experts
from threefold.store.entries import damages, entries, location, removable


def wanted(root: Path) -> dict[Path, list[str]]:
    """Return the folders of the store that the project's profiles ask for, with the names of those."""
    found = defaultdict(list)
    for entry in experts.entries(root):
        found[entry.folder].append("data")
    for params, design in profiles(root):
        for entry in grid(design, params):
            found[entry.folder].append(design.profile)
    return found


def show(root: Path) -> None:
    """Print a table of all entries."""
    table = Table("cell", "made from", "", "size", "for")
    asked = wanted(root)
    for folder in entries(location(root)):
        size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
        cell = "/".join(folder.parts[-3:-1])
        table.add_row(cell, folder.name, status(folder), decimal(size), ", ".join(asked[folder]))
    Console().print(table)


def verify(root: Path) -> None:
    """Print what is damaged, a line each; raise InputError if anything is."""
    damaged = 0
    for folder in entries(location(root)):
        if status(folder) == "done" and (lines := damages(folder)):
            damaged += 1
            print("\n".join(lines))
    if damaged:
        raise InputError(f"{location(root)}: {damaged} damaged results; the next run of their cells makes them again")


def prune(root: Path, cells: list[str]) -> None:
    """Remove the named cells, or without a name what no profile asks for."""
    found = entries(location(root))
    names = {folder: "/".join(folder.parts[-3:-1]) for folder in found}
    for cell in set(cells) - set(names.values()):
        raise InputError(f"{cell}: not in {location(root)}; `threefold store list` shows what is")
    keep = set() if cells else set(wanted(root))
    for folder in found:
        if folder not in keep and (not cells or names[folder] in cells):
            with removable(folder) as free:
                if free:
                    shutil.rmtree(folder)
                print(f"{'removed' if free else 'being computed, stays'}: {folder}")
