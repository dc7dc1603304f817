"""`threefold run`: compute cells."""

from pathlib import Path
from typing import Annotated

import typer

from threefold.commands import PARAMS, Params


def command(
    row: Annotated[str, typer.Option(help="A method or a variant of the profile.", metavar="ROW")],
    task: Annotated[str | None, typer.Option(help="One of its tasks.  [default: all of them]", metavar="TASK")] = None,
    params: Params = PARAMS,
    part: Annotated[str | None, typer.Option(hidden=True)] = None,
    expect: Annotated[Path | None, typer.Option(hidden=True)] = None,
) -> None:
    """Train, evaluate and write the cells of one method or variant.

    What the store has already is not computed again; what was stopped goes on from its last checkpoint.
    """
    from threefold.cells.run import run, run_part

    if task and part and expect:  # as `threefold launch` calls it
        run_part(params, row, task, part, expect)
    else:
        run(params, row, task)
