"""`threefold videos`: short videos of the report's cells."""

import os
from typing import Annotated

import typer

from threefold.commands import PARAMS, RESULTS, Params

GROUP = RESULTS


def command(
    task: Annotated[
        list[str] | None,
        typer.Option(help="A task; repeat it for more.", metavar="TASK", show_default="all that can be drawn"),
    ] = None,
    params: Params = PARAMS,
) -> None:
    """Draw short videos for the report: each task's expert, best and worst learner.

    They come to results/PROFILE/videos/TASK, and the next report shows them where a cell opens. It needs the collected
    tables and the learners' policies. Without a screen MuJoCo draws by EGL; MUJOCO_GL=osmesa chooses OSMesa.
    """
    if "DISPLAY" not in os.environ:
        os.environ.setdefault("MUJOCO_GL", "egl")  # read when mujoco is imported
    from rich.console import Console
    from rich.progress import track

    from threefold.cells.videos import drawable, videos
    from threefold.profile.design import load
    from threefold.profile.names import check_names

    design = load(params)
    check_names(design)
    tasks = task or drawable(design)
    for name in tasks:
        check_names(design, name)
    for name in track(tasks, description="videos", console=Console(stderr=True)):
        print(videos(design, name))
