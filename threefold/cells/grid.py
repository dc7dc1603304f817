"""The cells that a profile asks for, and how far each is."""

from pathlib import Path
from typing import Literal

from threefold.cells.inputs import Sources, inputs
from threefold.profile.design import Design, load
from threefold.profile.overrides import configure
from threefold.store.entries import Entry, is_locked, location

Status = Literal["done", "running", "stopped", "to do"]


def grid(design: Design, params: Path) -> list[Entry]:
    """Return an entry for every cell of a profile, in the order of its tasks and rows."""
    store, sources = location(design.root), Sources(design.root)
    return [
        Entry(store, task, row, inputs(design, task, row, configure(design, params, task, row), sources))
        for task in design.tasks
        for row in design.rows(task)
    ]


def profiles(root: Path) -> list[tuple[Path, Design]]:
    """Return the params.yaml and the design of every profile of a project: of each folder with the chain, dvc.yaml."""
    found = [path.with_name("params.yaml") for path in sorted([*root.glob("dvc.yaml"), *root.glob("*/dvc.yaml")])]
    return [(params, load(params)) for params in found if params.exists() and "profile:" in params.read_text()]


def status(folder: Path) -> Status:
    """Return how far the cell of a folder of the store is; `stopped`: begun, and nobody is at it."""
    if (folder / "done").exists():
        return "done"
    if not folder.exists():
        return "to do"
    return "running" if is_locked(folder) else "stopped"
