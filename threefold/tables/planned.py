"""Reading a profile's plan.json: which parts its cells have, and their fingerprints."""

import json
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from threefold.base.errors import InputError
from threefold.profile.design import Design

CELLS = TypeAdapter(dict[str, dict[str, dict[str, str]]])  # by task and row, or by variant and task: parts
PRINTS = TypeAdapter(dict[str, str])  # of tasks' references, and of studies
KINDS: dict[str, TypeAdapter[Any]] = {"cells": CELLS, "variants": CELLS, "references": PRINTS, "studies": PRINTS}


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
