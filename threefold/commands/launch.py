"""`threefold launch`: compute a profile several results at a time."""

from typing import Annotated

import typer

from threefold.commands import COMPUTE, ROOT, Root

GROUP = COMPUTE
WHERE = "Where to compute"


def command(
    profile: Annotated[str, typer.Option(help="The profile, for example paper.", metavar="NAME")],
    waves: Annotated[
        int | None,
        typer.Option(
            help="Only the first N waves, as the profile orders its results.",
            min=1,
            metavar="N",
            show_default="all of them",
        ),
    ] = None,
    executor: Annotated[
        str,
        typer.Option(help="local: on this machine. ray: on a Ray cluster.", metavar="local|ray", rich_help_panel=WHERE),
    ] = "local",
    cpus: Annotated[int, typer.Option(help="Cores for each result.", min=1, metavar="N", rich_help_panel=WHERE)] = 1,
    gpus: Annotated[
        float | None,
        typer.Option(
            help="GPUs for each result, for example 0.5.",
            min=0.0,
            metavar="SHARE",
            show_default="1 where the profile uses them here, else 0",
            rich_help_panel=WHERE,
        ),
    ] = None,
    address: Annotated[
        str,
        typer.Option(
            help="Of the Ray cluster. auto: the one that this machine is in.", metavar="ADDRESS", rich_help_panel=WHERE
        ),
    ] = "auto",
    root: Root = ROOT,
) -> None:
    """Compute a whole profile, several results at a time, here or on a cluster.

    `dvc repro` then takes the results and makes the report. If one fails, the others go on. Stop it and start it again
    at any time, also beside a `dvc repro`: nothing is computed twice.
    """
    from threefold.launch.launch import launch_profile

    launch_profile(root.resolve(), profile, executor, cpus, gpus, address, waves)
