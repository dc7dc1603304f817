"""`threefold figures`: the report's figures alone."""

from typing import Annotated

import typer

from threefold.commands import PARAMS, RESULTS, Params

GROUP = RESULTS


def command(
    only: Annotated[
        str | None,
        typer.Option(help="One figure, for example learning_curves.", metavar="NAME", show_default="all of them"),
    ] = None,
    params: Params = PARAMS,
) -> None:
    """Draw the figures of the report alone, as PDF and PNG."""
    from threefold.report.figures import draw

    draw(params, only)
