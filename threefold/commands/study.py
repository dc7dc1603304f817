"""`threefold study`: compute a study."""

from typing import Annotated

import typer

from threefold.commands import PARAMS, Params


def command(
    name: Annotated[str, typer.Argument(help="A folder of studies/.", metavar="NAME")], params: Params = PARAMS
) -> None:
    """Compute a study at the size that the profile gives it."""
    from studies.core.command import run

    run(name, params)
