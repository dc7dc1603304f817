"""What a report of the results that are there needs: the plan, and what scores are relative to."""

from pathlib import Path
from typing import Any

from threefold.base.messages import inform
from threefold.cells.plan import plan
from threefold.cells.reference import reference
from threefold.cells.storage import undelivered
from threefold.profile.design import Design, load
from threefold.profile.names import check_names
from threefold.tables import planned
from threefold.tables.collect import without_references


def prepare(params: Path) -> tuple[Design, dict[str, Any]]:
    """Return the design of a profile and its plan, after measuring the reference policies that it lacks.

    The plan is made now: plan.json is DVC's, and may be of other code. One of other settings is refused, as most of the
    results may be its.
    """
    design = load(params)
    check_names(design)
    if design.plan.exists():
        planned.refuse_edited(design, planned.read(design))
    now = plan(design)
    for task in without_references(design, now):
        inform(f"{task}: measuring random actions and the expert")
        reference(params, task)
    if count := undelivered(design):
        inform(f"finished in the store, not yet in {design.results}: {count} (`threefold store deliver` copies them)")
    return design, now
