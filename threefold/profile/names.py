"""Whether the tasks and methods that a design names exist, and are whole."""

from threefold.base.errors import InputError
from threefold.profile.design import Design
from threefold.profile.methods import check_method
from threefold.profile.tasks import check_task


def check_names(design: Design, task: str | None = None, row: str | None = None) -> None:
    """Raise `InputError` for a task or method of the design, or of the command line, that is missing or not whole."""
    path = design.params
    named = [("tasks", design.tasks, check_task), ("methods", design.methods, check_method)]
    for name, variant in design.variants.items():
        named.append((f"variants.{name}.method", [variant.method], check_method))
    for key, names, find in named:
        for name in names:
            try:
                find(name)
            except InputError as error:
                raise InputError(f"{path}: {key}: {error}") from None
    if task is not None and task not in design.tasks:
        raise InputError(f"--task {task}: not one of tasks in {path} ({', '.join(design.tasks)})")
    if row is None:
        return
    if row not in (rows := [*design.methods, *design.variants]):
        raise InputError(f"--row {row}: not one of methods or variants in {path} ({', '.join(rows)})")
    if task is not None and task not in (tasks := design.variant(row).tasks):
        raise InputError(f"--task {task}: variants.{row} in {path} runs on {', '.join(tasks)}; choose one, or add it")
