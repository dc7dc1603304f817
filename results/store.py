"""Look after the store, where cells and experts are computed (store/entry.py).

    python -m results.store list                      every cell and expert computed, and the profiles that ask for it
    python -m results.store verify                    compare all results with their checksums
    python -m results.store prune                     remove what no profile asks for
    python -m results.store prune Hopper-v5/gail      remove a cell, so that it will be computed again

What is being computed stays. A profile is a folder with a dvc.yaml and a params.yaml.
"""

import argparse
import shutil
from collections import defaultdict
from pathlib import Path

from rich.console import Console
from rich.filesize import decimal
from rich.table import Table

from data import experts
from errors import InputError, one_line
from results.grid import grid, profiles, status
from store.entry import damages, entries, location, removable


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
        raise InputError(f"{cell}: not in {location(root)}; `python -m results.store list` shows what is")
    keep = set() if cells else set(wanted(root))
    for folder in found:
        if folder not in keep and (not cells or names[folder] in cells):
            with removable(folder) as free:
                if free:
                    shutil.rmtree(folder)
                print(f"{'removed' if free else 'being computed, stays'}: {folder}")


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, default=Path("."), help="the project (default: this folder)")
    verbs = parser.add_subparsers(dest="verb", required=True)
    for verb in ("list", "verify"):
        verbs.add_parser(verb)
    verbs.add_parser("prune").add_argument("cells", nargs="*", metavar="TASK/ROW")
    arguments = parser.parse_args()
    if arguments.verb == "prune":
        prune(arguments.root, arguments.cells)
    else:
        {"list": show, "verify": verify}[arguments.verb](arguments.root)


if __name__ == "__main__":
    with one_line():
        main()
