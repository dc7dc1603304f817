"""`threefold study`: compute a study."""

from typing import Annotated

import typer

from threefold.commands import COMPUTE, PARAMS, Params

GROUP = COMPUTE


def command(
    name: Annotated[str, typer.Argument(help="A folder of studies/, for example connection.", metavar="NAME")],
    params: Params = PARAMS,
) -> None:
    """Compute a study, which measures theory without a task."""
    from threefold.cells.study import run

    run(name, params)
