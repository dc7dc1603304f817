"""One module is one method: `ls algorithms/*.py` is the list of methods; what they share is in `algorithms.core`."""

import dataclasses
import difflib
import importlib
from pathlib import Path
from types import ModuleType
from typing import Any

from threefold.base.errors import InputError
from threefold.base.names import check


def names() -> list[str]:
    """Return the methods there are: the modules of this folder, sorted."""
    return sorted(path.stem for path in Path(__file__).parent.glob("[!._]*.py"))


def load(name: str) -> ModuleType:
    """Return the method's module. Raises `InputError` for an unknown or a reserved name, and for a faulty `Config`."""
    if name not in names():
        close = difflib.get_close_matches(name, names(), n=1)
        cure = f"did you mean '{close[0]}'?" if close else f"choose from {', '.join(names())}"
        raise InputError(f"no method '{name}' (there is no file algorithms/{name}.py); {cure}")
    check(name, f"algorithms/{name}.py", row=True)
    module = importlib.import_module(f"algorithms.{name}")
    if fault := _fault(getattr(module, "Config", None)):
        raise InputError(f"algorithms/{name}.py: Config{fault}")
    return module


def _fault(config: Any) -> str:
    """Return what keeps a profile from changing constants of a method, or nothing."""
    if not (isinstance(config, type) and dataclasses.is_dataclass(config)):
        return ": missing, or no dataclass; write `@dataclass(frozen=True)` above `class Config:`"
    for name, value in vars(config).items():
        if not (name.startswith("_") or name in config.__dataclass_fields__ or hasattr(value, "__get__")):
            return f".{name}: has no type, so no profile can change it; write `{name}: {type(value).__name__}`"
    return ""
