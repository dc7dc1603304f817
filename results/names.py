"""Whether the tasks and methods that a design names exist."""

from pathlib import Path

import algorithms
import envs
from errors import InputError
from results.design import Design


def check_names(design: Design, path: Path, task: str, algorithm: str | None = None) -> None:
    """Raise `InputError` for a task or method of the design, or of the command line, that does not exist."""
    for key, names, find in (("tasks", design.tasks, envs.load), ("algorithms", design.algorithms, algorithms.load)):
        for name in names:
            try:
                find(name)
            except InputError as error:
                raise InputError(f"{path}: {key}: {error}") from None
    if task not in design.tasks:
        raise InputError(f"--task {task}: not one of tasks in {path} ({', '.join(design.tasks)})")
    if algorithm is not None and algorithm not in design.algorithms:
        raise InputError(f"--algorithm {algorithm}: not one of algorithms in {path} ({', '.join(design.algorithms)})")
