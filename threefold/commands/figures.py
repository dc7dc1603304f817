"""`threefold figures`: the report's figures alone."""

from typing import Annotated

import typer

from threefold.commands import PARAMS, Params


def command(
    params: Params = PARAMS,
    only: Annotated[str | None, typer.Option(help="One figure.  [default: all of them]", metavar="NAME")] = None,
) -> None:
    """Draw the figures of the report as PDF and PNG."""
    from threefold.report.figures import draw

    draw(params, only)
