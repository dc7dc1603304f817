"""`threefold reference`: measure random actions and the expert."""

from threefold.commands import COMPUTE, PARAMS, Params, Task

GROUP = COMPUTE


def command(task: Task, params: Params = PARAMS) -> None:
    """Measure random actions and the expert of a task: scores 0 and 1."""
    from threefold.cells.reference import reference

    reference(params, task)
