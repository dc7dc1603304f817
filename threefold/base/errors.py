"""What every command says about wrong input: one line that names the file, the key and the cure."""

import errno
import sys
from collections.abc import Iterator
from contextlib import contextmanager

# Causes that lie outside of the program, and what helps against each. Nothing that helps destroys data.
CURES = {
    errno.ENOSPC: "free space, or choose a folder on another disk",
    errno.EDQUOT: "free space within your quota, or choose a folder on another disk",
    errno.EROFS: "choose a folder that can be written",
    errno.EFBIG: "raise the limit on the size of files (ulimit -f), or choose a folder on another disk",
    errno.EACCES: "ask for permission, or choose another folder",
    errno.EPERM: "ask for permission, or choose another folder",
    errno.ENOENT: "name one that exists",
    errno.EISDIR: "a folder is there; name a file",
    errno.ENOTDIR: "a file is in the place of a folder; choose another place",
    errno.EEXIST: "it is in the way; choose another place",
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.ELOOP: "its links lead in a circle; let them end at a folder",
    errno.ENOLCK: "this file system has no locks; let THREEFOLD_STORE name a folder on one that has",
    errno.ENOSYS: "this file system has no locks; let THREEFOLD_STORE name a folder on one that has",
    errno.EOPNOTSUPP: "this file system has no locks; let THREEFOLD_STORE name a folder on one that has",
}


class InputError(ValueError):
    """The user's input is wrong; the message is one line naming the file, the key and the cure."""


def cure(error: OSError) -> str | None:
    """Return what helps against an error of the operating system, or None if its cause is not known."""
    return CURES.get(error.errno) if error.errno is not None else None


@contextmanager
def one_line() -> Iterator[None]:
    """Print an `InputError`, or an error of the system whose cure is known, as one line on stderr, and exit 2.

    Whatever else is raised is a fault of the program, and keeps its traceback.
    """
    try:
        yield
    except InputError as error:
        sys.exit(_complain(str(error)))
    except OSError as error:
        if (remedy := cure(error)) is None:
            raise
        where = f"{error.filename}: " if error.filename is not None else ""
        sys.exit(_complain(f"{where}{error.strerror}; {remedy}"))


def _complain(message: str) -> int:
    print(f"error: {message}", file=sys.stderr)
    return 2
