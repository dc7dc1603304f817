"""`threefold report`: the report of a profile."""

import os
from typing import Annotated

import typer

from threefold.commands import PARAMS, RESULTS, Params

GROUP = RESULTS


def command(
    params: Params = PARAMS,
    available: Annotated[
        bool, typer.Option("--available", help="Show what is computed so far, and mark what is missing.")
    ] = False,
) -> None:
    """Make the report of a profile: reports/PROFILE/report.html, with figures and tables.

    It is made from the tables of `threefold collect`. With `--available` it is reports/PROFILE/available/report.html,
    made from the results in results/PROFILE that are sound and up to date: nothing is trained for it, and what
    `dvc repro` makes stays as it is. `threefold store deliver` first puts in what `threefold launch` has finished.
    """
    if not available:
        from threefold.report import build, inputs

        print(build.build(inputs.read(params)))
        return
    from threefold.cells.available import prepare
    from threefold.report.available import available as make

    page, note = make(*prepare(params))
    print(f"{os.path.relpath(page)}: {note}")
