"""Whether a task exists that a user names, and in one file."""

from difflib import get_close_matches
from pathlib import Path

import envs
from threefold.base.errors import InputError


def check_task(name: str) -> None:
    """Raise `InputError` for a task that does not exist, with the nearest id if one is near, or else all of them.

    Also for an id that two files have: which of them would be computed is not known.
    """
    if name not in (there := envs.names()):
        near = get_close_matches(name, there, n=1)
        cure = f"did you mean {near[0]!r}? A" if near else f"choose from {', '.join(there)}; a"
        raise InputError(f'task {name!r} does not exist; {cure} file of your own in envs/ needs the line ID = "{name}"')
    if len(files := _files(name)) > 1:
        raise InputError(f"task {name!r}: {' and '.join(files)} have the same ID; give each its own")


def _files(name: str) -> list[str]:
    """Return the task files that have an id."""
    ids = {path: envs.ID.search(path.read_text()) for path in sorted(Path(envs.__file__).parent.glob("*.py"))}
    return [f"envs/{path.name}" for path, found in ids.items() if found and found[1] == name]
