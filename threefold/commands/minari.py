"""`threefold minari`: datasets in and out."""

from pathlib import Path
from typing import Annotated

import typer

from threefold.commands import ROOT, Root, Task

command = typer.Typer(help="Import a Minari dataset as demonstrations, or export demonstrations as one.")
Dataset = Annotated[str, typer.Option(help="Its Minari name, for example mujoco/hopper/expert-v0.", metavar="NAME")]


@command.command("import")
def import_(
    dataset: Dataset,
    task: Task,
    name: Annotated[str, typer.Option(help="What to call it here, for example my-hopper.", metavar="NAME")],
    every: Annotated[int, typer.Option(help="Use every n-th pair.", min=1)] = 1,
    seed: Annotated[int, typer.Option(help="Of the random first pair of each trajectory.", min=0, max=2**63 - 1)] = 0,
    allow_weak_expert: Annotated[
        bool, typer.Option("--allow-weak-expert", help="Accept a dataset that is no better than random.")
    ] = False,
    root: Root = ROOT,
) -> None:
    """Write a local Minari dataset as demonstrations to data/imported/NAME, which is never overwritten.

    A profile uses it for a task with `demonstrations_from: {TASK: NAME}` in its params.yaml.
    """
    from threefold.experts.minari import import_dataset

    out = import_dataset(dataset, task, name, root, every, seed, allow_weak_expert)
    print(f"{out}: written; a params.yaml uses it with `demonstrations_from: {{{task}: {name}}}`")


@command.command()
def export(
    demonstrations: Annotated[Path, typer.Option(help="Folder of demonstrations.", metavar="FOLDER")], dataset: Dataset
) -> None:
    """Write demonstrations as a new local Minari dataset."""
    from threefold.experts.minari import export_dataset

    export_dataset(demonstrations, dataset)
