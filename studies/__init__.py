"""The theory, measured. A folder here is a study; `names()` finds it by looking.

study.py      study(size) -> Tables, computed by `threefold study NAME`
schema.py     Size, the study's key in a profile's params.yaml, and the columns of its files; no torch
chapter.py    chapter(read, size) -> Chapter of the report; no torch
inputs.py     data(size) -> checksums of the files that the study reads, by name; only where it reads any
"""

from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

from threefold.base.names import check


def names() -> list[str]:
    """Return the studies there are, sorted; raises `InputError` for a folder whose name cannot be one."""
    found = sorted(path.parent.name for path in Path(__file__).parent.glob("*/study.py"))
    for name in found:
        check(name, f"studies/{name}")
    return found


def size(name: str) -> Any:
    """Return the model of a study's size."""
    return import_module(f"{__name__}.{name}.schema").Size


def study(name: str) -> ModuleType:
    """Return the module that computes a study."""
    return import_module(module_name(name))


def module_name(name: str) -> str:
    """Return the name of the module that computes a study."""
    return f"{__name__}.{name}.study"


def data(name: str, size: Any) -> dict[str, str]:
    """Return the checksums of the files that a study reads; raises `InputError` for what is missing."""
    inputs = f"{__name__}.{name}.inputs"
    return import_module(inputs).data(size) if find_spec(inputs) else {}


def chapter(name: str) -> ModuleType:
    """Return the module that reports a study."""
    return import_module(f"{__name__}.{name}.chapter")
