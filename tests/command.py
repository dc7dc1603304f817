"""The command line, run in the test's own process."""

import sys

import pytest

from threefold.__main__ import main


def threefold(*arguments: object) -> int:
    """Return the exit code of `threefold` with these arguments."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["threefold", *map(str, arguments)])
        with pytest.raises(SystemExit) as stopped:
            main()
    code = stopped.value.code
    return code if isinstance(code, int) else int(code is not None)
