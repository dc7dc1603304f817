"""What a command tells its user while it works."""

import sys


def inform(line: str) -> None:
    """Print a line on stderr."""
    print(line, file=sys.stderr, flush=True)
