"""`threefold minari`: datasets in and out."""

from pathlib import Path
from typing import Annotated

import typer

from threefold.commands import Task

command = typer.Typer(help="Import a Minari dataset as demonstrations, or export demonstrations as one.")
Dataset = Annotated[str, typer.Option(help="Its Minari name, for example mujoco/hopper/expert-v0.", metavar="NAME")]


@command.command("import")
def import_(
    dataset: Dataset,
    task: Task,
    out: Annotated[Path, typer.Option(help="Where to write the demonstrations.", metavar="FOLDER")],
    every: Annotated[int, typer.Option(help="Use every n-th pair.", min=1)] = 1,
    seed: Annotated[int, typer.Option(help="Of the random first pair of each trajectory.", min=0)] = 0,
) -> None:
    """Write a local Minari dataset as demonstrations."""
    from threefold.experts.minari import import_dataset

    import_dataset(dataset, task, out, every, seed)


@command.command()
def export(
    demonstrations: Annotated[Path, typer.Option(help="Folder of demonstrations.", metavar="FOLDER")], dataset: Dataset
) -> None:
    """Write demonstrations as a new local Minari dataset."""
    from threefold.experts.minari import export_dataset

    export_dataset(demonstrations, dataset)
