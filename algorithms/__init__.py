"""One module is one method: `ls algorithms/*.py` is the list of methods; what they share is in `algorithms.core`."""

import difflib
import importlib
from pathlib import Path
from types import ModuleType

from threefold.base.errors import InputError
from threefold.base.names import check


def names() -> list[str]:
    """Return the methods there are: the modules of this folder, sorted."""
    return sorted(path.stem for path in Path(__file__).parent.glob("[!._]*.py"))


def load(name: str) -> ModuleType:
    """Return the method's module. Raises `InputError` for an unknown or a reserved name."""
    if name not in names():
        close = difflib.get_close_matches(name, names(), n=1)
        cure = f"did you mean '{close[0]}'?" if close else f"choose from {', '.join(names())}"
        raise InputError(f"no method '{name}' (there is no file algorithms/{name}.py); {cure}")
    check(name, f"algorithms/{name}.py", row=True)
    return importlib.import_module(f"algorithms.{name}")
