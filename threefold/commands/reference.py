"""`threefold reference`: measure random actions and the expert."""

from threefold.commands import PARAMS, Params, Task


def command(task: Task, params: Params = PARAMS) -> None:
    """Measure what the scores of a task are relative to: random actions and the expert."""
    from threefold.cells.reference import reference

    reference(params, task)
