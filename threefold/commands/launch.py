"""`threefold launch`: compute many cells at a time."""

from typing import Annotated

import typer

from threefold.commands import ROOT, Root


def command(
    profile: Annotated[str, typer.Option(help="For example paper.", metavar="NAME")],
    executor: Annotated[str, typer.Option(help="local (this machine) or ray (a cluster).")] = "local",
    cpus: Annotated[int, typer.Option(help="Cores of a cell.", min=1)] = 2,
    gpus: Annotated[float, typer.Option(help="Share of a GPU that a cell gets.", min=0.0)] = 0.0,
    address: Annotated[str, typer.Option(help="Of the Ray cluster; auto: the one this machine is in.")] = "auto",
    waves: Annotated[int | None, typer.Option(help="Only the first so many waves of the profile.", min=1)] = None,
    root: Root = ROOT,
) -> None:
    """Compute the cells of a profile that the store lacks, several at a time.

    `dvc repro` then only verifies and copies them. A cell that fails does not stop the others. It can be ended and
    started again at any time, also beside a `dvc repro`: no cell is computed twice.
    """
    from threefold.launch.launch import launch_profile

    launch_profile(root.resolve(), profile, executor, cpus, gpus, address, waves)
