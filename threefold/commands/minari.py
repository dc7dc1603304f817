"""`threefold minari`: datasets in and out."""

from pathlib import Path
from typing import Annotated

import typer

from threefold.commands import DATA, ROOT, Root, Task

GROUP = DATA
command = typer.Typer(help="Exchange demonstrations with Minari, the Farama Foundation's collection of datasets.")
Dataset = Annotated[
    str, typer.Option(help="Its name in Minari, for example mujoco/hopper/expert-v0.", metavar="DATASET")
]


@command.command("import")
def import_(
    dataset: Dataset,
    task: Task,
    name: Annotated[str, typer.Option(help="What to call it here, for example my-hopper.", metavar="NAME")],
    every: Annotated[int, typer.Option(help="Use every n-th step of a trajectory.", min=1, metavar="N")] = 1,
    seed: Annotated[
        int,
        typer.Option(help="Draws the first step used of each trajectory.", min=0, max=2**63 - 1, metavar="SEED"),
    ] = 0,
    allow_weak_expert: Annotated[
        bool, typer.Option("--allow-weak-expert", help="Accept a dataset that is no better than random actions.")
    ] = False,
    root: Root = ROOT,
) -> None:
    """Make demonstrations from a local Minari dataset.

    They are written to data/imported/NAME, which is never overwritten. A profile uses them for a task with
    `demonstrations_from: {TASK: NAME}` in its params.yaml.
    """
    from threefold.experts.minari import import_dataset
    from threefold.profile.profiles import refuse_no_project

    refuse_no_project(root)
    out = import_dataset(dataset, task, name, root, every, seed, allow_weak_expert)
    print(f"{out}: written; a params.yaml uses it with `demonstrations_from: {{{task}: {name}}}`")


@command.command()
def export(
    demonstrations: Annotated[
        Path, typer.Option(help="Their folder, for example data/demonstrations/Hopper-v5.", metavar="FOLDER")
    ],
    dataset: Dataset,
) -> None:
    """Make a local Minari dataset from demonstrations."""
    from threefold.experts.minari import export_dataset

    export_dataset(demonstrations, dataset)
