"""Reading a profile's plan.json: which parts its cells have, and their fingerprints."""

import json
from typing import Any

from pydantic import TypeAdapter

from threefold.base.errors import InputError
from threefold.profile.design import Design

CELLS = TypeAdapter(dict[str, dict[str, dict[str, str]]])  # by task and row, or by variant and task: parts
KINDS: dict[str, TypeAdapter[Any]] = {"cells": CELLS, "variants": CELLS, "references": TypeAdapter(dict[str, str])}


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
