"""The verbs of `threefold`: a module of this folder is a verb. What it needs is imported when it runs.

Each has a `command`, a function or a `typer.Typer` with commands of its own, and a `GROUP` in `threefold --help`.
"""

from pathlib import Path
from typing import Annotated

import typer

from threefold.base.errors import InputError

COMPUTE, RESULTS, DATA, STORAGE = "Compute", "Look at results", "Experts and demonstrations", "Storage"
GROUPS = COMPUTE, RESULTS, DATA, STORAGE  # in the order shown
PROJECT = "Project"  # the options that say where it is


def _there(params: Path) -> Path:
    """Refuse a file that is not there, as in another folder than the project's."""
    if not params.exists():
        cure = "name a params.yaml that exists with --params, or run it in the project's folder"
        raise InputError(f"{params}: missing; {cure}")
    return params


Params = Annotated[
    Path,
    typer.Option(help="The profile: its params.yaml.", metavar="FILE", rich_help_panel=PROJECT, callback=_there),
]
DataParams = Annotated[
    Path,
    typer.Option(
        help="How experts and demonstrations are made.", metavar="FILE", rich_help_panel=PROJECT, callback=_there
    ),
]
Root = Annotated[
    Path,
    typer.Option(
        help="The project's folder.", metavar="FOLDER", rich_help_panel=PROJECT, show_default="the current folder"
    ),
]
Task = Annotated[str, typer.Option(help="A task, for example Hopper-v5.", metavar="TASK")]
PARAMS, DATA_PARAMS, ROOT = Path("params.yaml"), Path("data/params.yaml"), Path(".")
