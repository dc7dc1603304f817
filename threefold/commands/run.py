"""`threefold run`: train and evaluate a method."""

from pathlib import Path
from typing import Annotated

import typer

from threefold.base.errors import InputError
from threefold.commands import COMPUTE, PARAMS, Params

GROUP = COMPUTE


def command(
    row: Annotated[str, typer.Option(help="A method or a variant of the profile, for example gail.", metavar="NAME")],
    task: Annotated[
        str | None,
        typer.Option(help="One task, for example Hopper-v5.", metavar="TASK", show_default="all of the profile"),
    ] = None,
    params: Params = PARAMS,
    again: Annotated[bool, typer.Option("--again", help="Compute again what is there already.")] = False,
    part: Annotated[str | None, typer.Option(hidden=True)] = None,
    expect: Annotated[Path | None, typer.Option(hidden=True)] = None,
) -> None:
    """Train and evaluate one method.

    All its learners train: each seed of the profile with each number of demonstrations. Stop it and start it again at
    any time: it goes on where it was, and what is done is not computed again.
    """
    from threefold.cells.run import run, run_part

    if task and part and expect:  # as `threefold launch` calls it
        run_part(params, row, task, part, expect)
    elif part or expect:
        raise InputError("--part, --expect: for `threefold launch` alone, with --task; leave them out")
    else:
        run(params, row, task, again)
