"""Whether a task exists that a user names, in one file, with what a task has."""

from difflib import get_close_matches
from pathlib import Path
from types import ModuleType

import envs
from threefold.base.errors import InputError

# The names of a task's file, as the docstring of envs/__init__.py explains them.
EVERY = ("HORIZON", "DT", "FIELDS", "reset", "observation", "reward", "terminal")
OF_A_MODEL = ("XML", "FRAME_SKIP")
OF_EQUATIONS = ("ACTIONS", "COORDINATES", "advance")


def check_task(name: str) -> None:
    """Raise `InputError` for a task that does not exist, with the nearest id if one is near, or else all of them.

    Also for an id that two files have, as which of them would be computed is not known, and for a file that lacks
    something.
    """
    if name not in (there := envs.names()):
        near = get_close_matches(name, there, n=1)
        cure = f"did you mean {near[0]!r}? A" if near else f"choose from {', '.join(there)}; a"
        raise InputError(f'task {name!r} does not exist; {cure} file of your own in envs/ needs the line ID = "{name}"')
    if len(files := _files(name)) > 1:
        raise InputError(f"task {name!r}: {' and '.join(files)} have the same ID; give each its own")
    if fault := _fault(envs.load(name)):
        raise InputError(f"{files[0]}: {fault}")


def _files(name: str) -> list[str]:
    """Return the task files that have an id."""
    ids = {path: envs.ID.search(path.read_text()) for path in sorted(Path(envs.__file__).parent.glob("*.py"))}
    return [f"envs/{path.name}" for path, found in ids.items() if found and found[1] == name]


def _fault(task: ModuleType) -> str:
    """Return what a task's file lacks, with the cure, or nothing."""
    of_its_own = OF_EQUATIONS if any(hasattr(task, name) for name in OF_EQUATIONS) else OF_A_MODEL
    for name in (*EVERY, *of_its_own):
        if not hasattr(task, name):
            return f"{name}: missing; docs/own/task.md shows what a task has"
        if name.islower() and not callable(getattr(task, name)):
            return f"{name}: no function; docs/own/task.md shows what a task has"
    if missing := [file.name for file in envs.model_files(task) if not file.is_file()]:
        return f"XML: {missing[0]}: neither in envs/assets nor among Gymnasium's models; put it there, or correct it"
    return ""
