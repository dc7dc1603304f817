"""A report of the results that are there, beside the one that DVC makes: nothing is computed for it.

It is reports/<profile>/available/report.html, with the tables that it shows in collected/.
"""

from pathlib import Path
from typing import Any

from threefold.profile.design import Design
from threefold.report.build import Edition, build, params_from_root
from threefold.report.inputs import derive
from threefold.tables import planned
from threefold.tables.collect import gather, write

FOLDER = "available"
TABLES = "collected"


def available(design: Design, plan: dict[str, Any]) -> tuple[Path, str]:
    """Write the report of those parts that are sound and made from what a plan says.

    Return its path, and a line on how many parts it shows. Raises InputError as `gather` does with `keep_going`, so
    also if no part is there.
    """
    lacking = [name for name in design.sizes if not planned.is_study_there(design, plan, name)]
    design = design.model_copy(
        update={"keep_going": True, "studies": design.studies.model_copy(update=dict.fromkeys(lacking))}  # type: ignore[attr-defined] # a pydantic model, made from what is found
    )
    found = gather(design, plan)
    folder = design.root / "reports" / design.profile / FOLDER
    write(found, folder / TABLES)
    note = _note(found.parts, sum(len(design.parts(task, row)) for task in design.tasks for row in design.rows(task)))
    if lacking:
        note += f" Studies that are not there as planned: {', '.join(lacking)}."
    command = f"threefold report --available --params {params_from_root(design)}"
    edition = Edition(folder, folder / TABLES, lambda _: command, note)
    return build(derive(design, found.tables, found.cells), edition), note


def _note(parts: int, total: int) -> str:
    if parts == total:
        return f"All {total} parts of the profile are there."
    return f"{parts} of {total} parts of the profile are there; the others are marked as missing."
