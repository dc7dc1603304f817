"""`threefold demonstrate`: roll out an expert."""

from pathlib import Path
from typing import Annotated

import typer

from threefold.commands import Params, Task


def command(
    task: Task,
    params: Params = Path("data/params.yaml"),
    allow_weak_expert: Annotated[
        bool, typer.Option("--allow-weak-expert", help="Accept an expert that is no better than random.")
    ] = False,
) -> None:
    """Roll out the stochastic expert of a task, and write its trajectories."""
    from threefold.experts.demonstrate import demonstrate

    demonstrate(task, params, allow_weak_expert)
