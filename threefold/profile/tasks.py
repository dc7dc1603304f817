"""Whether a task exists that a user names."""

from difflib import get_close_matches

import envs
from threefold.base.errors import InputError


def check_task(name: str) -> None:
    """Raise `InputError` for a task that does not exist, with the nearest id if one is near, or else all of them."""
    if name not in (there := envs.names()):
        near = get_close_matches(name, there, n=1)
        cure = f"did you mean {near[0]!r}? A" if near else f"choose from {', '.join(there)}; a"
        raise InputError(f'task {name!r} does not exist; {cure} file of your own in envs/ needs the line ID = "{name}"')
