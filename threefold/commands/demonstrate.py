"""`threefold demonstrate`: the trajectories of an expert."""

from typing import Annotated

import typer

from threefold.commands import DATA, DATA_PARAMS, DataParams, Task

GROUP = DATA


def command(
    task: Task,
    params: DataParams = DATA_PARAMS,
    allow_weak_expert: Annotated[
        bool, typer.Option("--allow-weak-expert", help="Accept an expert that is no better than random actions.")
    ] = False,
) -> None:
    """Record demonstrations of a task's expert.

    They are written to demonstrations/TASK beside params.yaml. Those of every task come with the project.
    """
    from threefold.experts.demonstrate import demonstrate

    demonstrate(task, params, allow_weak_expert)
