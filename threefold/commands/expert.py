"""`threefold expert`: train an expert."""

from pathlib import Path
from typing import Annotated

import typer

from threefold.commands import DATA, DATA_PARAMS, DataParams, Task

GROUP = DATA


def command(
    task: Task,
    params: DataParams = DATA_PARAMS,
    out: Annotated[
        Path | None,
        typer.Option(help="Where to write it.", metavar="FOLDER", show_default="experts/TASK, beside params.yaml"),
    ] = None,
    device: Annotated[str, typer.Option(help="Where to train: auto, cpu or cuda.", metavar="DEVICE")] = "cpu",
) -> None:
    """Train the expert of a task on the task's own reward.

    Writes its weights, and a card with its returns, where `threefold demonstrate` finds them. The experts of every task
    come with the project.
    """
    from threefold.experts.experts import make

    make(task, params, out or params.parent / "experts" / task, device)
