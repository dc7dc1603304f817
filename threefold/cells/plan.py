"""The plan of a profile: the fingerprint of every part of its cells, for DVC to see what is stale.

`plan.json` lies beside the profile's params.yaml. DVC compares a cell's entry in it with the one that the cell was made
with, so an edit makes stale just the cells whose parts it can change.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from algorithms.core.experience import Demonstrations
from envs.device import versions
from studies import registry
from threefold.base.errors import InputError
from threefold.base.files import write_json
from threefold.cells.cell import Cell, cells
from threefold.cells.fit import refuse_misfit
from threefold.cells.reference import made_from as reference_made_from
from threefold.experts.demonstrations import read_card
from threefold.profile.design import Design, load
from threefold.profile.names import check_names
from threefold.profile.profiles import refuse_taken_name
from threefold.store import code
from threefold.store.entries import Entry
from threefold.store.inputs import differences, fingerprint
from threefold.tables import planned


def write_plan(params: Path) -> Design:
    """Write the plan of a profile beside its params.yaml; return the profile's design."""
    design = load(params)
    check_names(design)
    refuse_taken_name(design)
    write_json(plan(design), design.plan)
    return design


def plan(design: Design) -> dict[str, Any]:
    """Return the fingerprints, `cells`, `variants`, `references` and `studies`, as stages of dvc.yaml have them.

    `settings` are those that it is made with, for whoever shows results without computing the fingerprints anew.

    Raises InputError for demonstrations that a run would refuse, for a variant that is none, and for constants that do
    not fit each other.
    """
    _refuse_unfit_demonstrations(design)
    for name in design.variants:
        _refuse_no_variant(design, name)
    found: dict[str, Any] = {
        "cells": {task: {} for task in design.tasks},
        "variants": {name: {} for name in design.variants},
        "references": {},
        "studies": {name: fingerprint(study_made_from(design, name)) for name in design.sizes},
        "settings": planned.settings(design),
    }
    for task in design.tasks:
        found["references"][task] = fingerprint(reference_made_from(design, task))
        for row, reason in design.left_out.get(task, {}).items():
            planned.put(found, design, task, row, {"left out": reason})
    for cell in cells(design):
        refuse_misfit(cell)
        prints = {part.name: fingerprint(cell.made_from(part)) for part in cell.parts}
        planned.put(found, design, cell.task, cell.row, prints)
    return found


def _shown(cell: Cell) -> Demonstrations:
    """Return what a cell's learners imitate, read as a run reads it; what that refuses is refused, with its key."""
    design, task = cell.design, cell.task
    numbers = design.numbers(task, cell.row)
    try:
        shown = cell.demonstrations([(number, 0) for number in numbers], "cpu")
        _refuse_too_few_pairs(cell, shown)
        return shown
    except InputError as error:
        key = f"budget.{task}.demonstrations"
        if task in design.demonstrations_from:
            key = f"demonstrations_from.{task}"
        if cell.row in design.variants:
            key = f"variants.{cell.row}.expert"
        raise InputError(f"{design.params}: {key}: {error}") from None


def _refuse_too_few_pairs(cell: Cell, shown: Demonstrations) -> None:
    """Raise InputError for fewer pairs than BC needs: one to learn from, one to choose by."""
    try:
        shown.require(2)
    except InputError as error:
        every = read_card(cell.demonstrations_folder)["every"]
        raise InputError(f"{error}, or make them anew with every less than {every}") from None


def _refuse_unfit_demonstrations(design: Design) -> None:
    """Raise InputError for demonstrations that some cell cannot learn from."""
    for task in design.tasks:
        shown = _shown(Cell(design, task, design.methods[0]))
        for row in design.rows(task):
            cell = Cell(design, task, row)
            if cell.variant.expert == "never_terminated":
                _shown(cell)
            if cell.variant.expert == "own" and hasattr(cell.config, "loop") and cell.config.loop.trajectories:
                try:
                    shown.whole()
                except InputError as error:
                    raise InputError(f"{design.params}: {cell.name}: {cell.demonstrations_folder}: {error}") from None


def _refuse_no_variant(design: Design, name: str) -> None:
    """Raise InputError for a variant with the constants and the expert of its method's own row on all of its tasks."""
    variant = design.variants[name]
    if variant.method not in design.methods or variant.expert != design.variant(variant.method).expert:
        return
    pairs = ((Cell(design, task, name), Cell(design, task, variant.method)) for task in variant.tasks)
    if all(one.config == other.config for one, other in pairs):
        raise InputError(
            f"{design.params}: variants.{name}: differs in nothing from {variant.method}'s own row; "
            "change a constant in its config"
        )


def study_made_from(design: Design, name: str) -> dict[str, Any]:
    """Return all that decides the bytes of a study's files; raises InputError where what it reads is missing."""
    if fault := registry.missing(name):
        raise InputError(f"{design.params}: studies.{name}: {fault}")
    size = design.sizes[name]
    made_from = {"study": name, "size": size.model_dump(), "code": code.checksums(registry.module_name(name))}
    try:
        read = registry.data(name, size)
    except InputError as error:
        raise InputError(f"{design.params}: {error}") from None
    return made_from | ({"data": read} if read else {})


def refuse_other_plan(cell: Cell, entries: Sequence[Entry]) -> None:
    """Raise InputError if the profile's plan has other fingerprints for a cell than those that it now has."""
    design = cell.design
    if not design.plan.exists():
        return
    expected = planned.parts(planned.read(design), design, cell.task, cell.row)
    if expected != {part.name: entry.fingerprint for part, entry in zip(cell.parts, entries, strict=True)}:
        raise stale(design, cell.name)


def stale(design: Design, name: str) -> InputError:
    """Return the error that a profile's plan has another fingerprint of a cell or a study than it now has."""
    return InputError(
        f"{design.plan}: {name}: made before the last change of code or settings; "
        f"run `threefold plan --params {design.params}`"
    )


def expectation(made_from: dict[str, Any]) -> dict[str, Any]:
    """Return what a worker's part must be made from, and with, to stand beside ours."""
    programs = versions("native")  # which every engine needs
    return made_from | {f"version of {name}": version for name, version in programs.items() if name != "python"}


def refuse_other_inputs(expected: dict[str, Any], made_from: dict[str, Any]) -> None:
    """Raise InputError if the launcher expects something else, naming all that differs."""
    if names := differences(expected, expectation(made_from)):
        raise InputError(f"{', '.join(names)}: not the launching machine's; make this machine's checkout the same")
