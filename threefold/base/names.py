"""Names of methods, variants, profiles, studies and tasks: they become folders, stages of DVC and words of a shell."""

import re

from threefold.base.errors import InputError

REFERENCES = ("random", "expert", "expert-stochastic")  # rows that every task has beside those of its profile
RESERVED = (*REFERENCES, "reference")  # the last one is the cell of those rows


def fault(name: str, row: bool = False) -> str:
    """Return why a name cannot be used, or nothing; a row's may not be one that tables give to other rows."""
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_-]*", name):
        return "a name has letters, digits, _ and - only, and no - at its beginning"
    if row and name.lower() in RESERVED:  # some file systems do not tell capitals apart
        return f"this name is reserved, as are {', '.join(RESERVED)}"
    return ""


def check(name: str, where: str, row: bool = False) -> None:
    """Raise `InputError` for a name that cannot be used; `where` is the file or option that gives it."""
    if reason := fault(name, row):
        raise InputError(f"{where}: {name!r}: {reason}; rename it")
