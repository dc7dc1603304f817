"""`threefold expert`: train an expert."""

from pathlib import Path
from typing import Annotated

import typer

from threefold.commands import Params, Task


def command(
    task: Task,
    params: Params = Path("data/params.yaml"),
    out: Annotated[
        Path | None, typer.Option(help="Where to write it.  [default: data/experts/TASK]", metavar="FOLDER")
    ] = None,
    device: Annotated[str, typer.Option(help="Where to train: auto, cpu or cuda.")] = "cpu",
) -> None:
    """Train an expert on the task's own reward, and write its weights and its card."""
    from threefold.experts.experts import make

    make(task, params, out or Path("data/experts") / task, device)
