"""Reading a profile's plan.json: which parts its cells have, their fingerprints, and the settings it was made with."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from threefold.base.errors import InputError
from threefold.profile.design import Design

CELLS = TypeAdapter(dict[str, dict[str, dict[str, str]]])  # by task and row, or by variant and task: parts
PRINTS = TypeAdapter(dict[str, str])  # of tasks' references, and of studies
KINDS: dict[str, TypeAdapter[Any]] = {
    "cells": CELLS,
    "variants": CELLS,
    "references": PRINTS,
    "studies": PRINTS,
    "settings": TypeAdapter(dict[str, dict[str, Any]]),
}
# What a params.yaml says of how results are made. Seeds and numbers of trajectories are not among it: they name parts.
SETTINGS: dict[str, Any] = {
    "evaluation": True,
    "budget": {"__all__": {"env_steps", "parallel_episodes"}},
    "overrides": True,
    "demonstrations_from": True,
    "variants": {"__all__": {"method", "config", "expert"}},
}
NOTHING = "nothing"  # where one of two has what the other lacks


def read(design: Design) -> dict[str, Any]:
    """Return the plan of a profile; raises InputError if it is missing or no plan."""
    cure = f"run `threefold plan --params {design.params}`"
    try:
        found = json.loads(design.plan.read_text())
        return {key: kind.validate_python(found[key]) for key, kind in KINDS.items()}
    except FileNotFoundError:
        raise InputError(f"{design.plan}: missing; {cure}") from None
    except (ValueError, KeyError, TypeError):
        raise InputError(f"{design.plan}: truncated or altered; {cure}") from None


def settings(design: Design) -> dict[str, Any]:
    """Return what a profile's params.yaml says of how results are made."""
    return design.model_dump(mode="json", include=SETTINGS)


def refuse_edited(design: Design, plan: dict[str, Any]) -> None:
    """Raise InputError if a params.yaml has other settings than a plan was made with: so have the results.

    What only one of them has, such as a new task, has no result that could be taken for another's.
    """
    both = {*design.tasks} & {*plan["references"]} | {*design.variants} & {*plan["variants"]}
    for key, before, after in differences(plan["settings"], settings(design)):
        kind, name, *_ = key.split(".")
        if kind == "evaluation" or name in both:
            raise InputError(
                f"{design.params}: {key}: {after}, but {before} when {design.plan} was made; "
                f"run `threefold plan --params {design.params}`"
            )


def differences(old: Any, new: Any, key: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Yield the dotted name of every leaf that differs between two mappings, with both values."""
    if isinstance(old, dict) and isinstance(new, dict):
        for name in dict.fromkeys([*old, *new]):
            inner = f"{key}.{name}" if key else name
            yield from differences(old.get(name, NOTHING), new.get(name, NOTHING), inner)
    elif old != new:
        yield key, old, new


def put(plan: dict[str, Any], design: Design, task: str, row: str, prints: dict[str, str]) -> None:
    """Enter the fingerprints of a cell's parts."""
    if row in design.variants:
        plan["variants"][row][task] = prints
    else:
        plan["cells"][task][row] = prints


def parts(plan: dict[str, Any], design: Design, task: str, row: str) -> dict[str, str]:
    """Return the fingerprints of a cell's parts by their names; nothing for a cell that the plan lacks."""
    if row == "reference":
        return {"all": plan["references"].get(task, "")}
    if row in design.variants:
        return plan["variants"].get(row, {}).get(task, {})
    return plan["cells"].get(task, {}).get(row, {})


def study_sidecar(design: Design, name: str) -> Path:
    """Return the file that says what a study was made from, when and how fast."""
    return design.results / "provenance" / "studies" / f"{name}.json"


def is_study_there(design: Design, plan: dict[str, Any], name: str) -> bool:
    """Return whether a study's files are made from what the plan says."""
    try:
        made_from = json.loads(study_sidecar(design, name).read_text())["fingerprint"]
    except (OSError, ValueError, KeyError, TypeError):
        return False
    return made_from == plan["studies"].get(name) and (design.results / "studies" / name).is_dir()
