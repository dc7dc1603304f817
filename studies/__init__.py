"""The theory, measured. A folder here is a study; `names()` finds it by looking.

study.py      study(size) -> Tables, computed by `threefold study NAME`
schema.py     Size, the study's key in a profile's params.yaml, and the columns of its files; no torch
chapter.py    chapter(read, size) -> Chapter of the report; no torch
"""

from importlib import import_module
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
    return import_module(f"{__name__}.{name}.study")


def chapter(name: str) -> ModuleType:
    """Return the module that reports a study."""
    return import_module(f"{__name__}.{name}.chapter")
