"""What every command says about wrong input: one line that names the file, the key and the cure."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager


class InputError(ValueError):
    """The user's input is wrong; the message is one line naming the file, the key and the cure."""


@contextmanager
def one_line() -> Iterator[None]:
    """Print an `InputError`, or a full or read-only folder, as one line on stderr and exit 2 instead of a traceback."""
    try:
        yield
    except InputError as error:
        sys.exit(_complain(str(error)))
    except OSError as error:
        if error.filename is None and error.errno is None:
            raise
        sys.exit(_complain(f"{error.filename or 'output'}: {error.strerror}; free space or choose a writable folder"))


def _complain(message: str) -> int:
    print(f"error: {message}", file=sys.stderr)
    return 2
