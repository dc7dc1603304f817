"""The verbs of `threefold`: a module of this folder is a verb. What it needs is imported when it runs."""

from pathlib import Path
from typing import Annotated

import typer

Params = Annotated[Path, typer.Option(help="The profile's params.yaml.", metavar="FILE")]
Root = Annotated[Path, typer.Option(help="The project's folder.", metavar="FOLDER")]
Task = Annotated[str, typer.Option(help="A task, for example Hopper-v5.", metavar="TASK")]
PARAMS, ROOT = Path("params.yaml"), Path(".")
