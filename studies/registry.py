"""The studies there are. A folder beside this file with one of these is a study; there is no list to keep.

study.py      study(size) -> Tables, computed by `threefold study NAME`
schema.py     Size, the study's key in a profile's params.yaml, and the columns of its files; no torch
chapter.py    chapter(read, size) -> Chapter of the report; no torch
inputs.py     data(size) -> checksums of the files that the study reads, by name; only where it reads any
"""

import ast
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

from threefold.base.names import check

PARTS = {"study": "study", "schema": "Size", "chapter": "chapter"}  # what each module of a study must define


def names() -> list[str]:
    """Return the studies there are, sorted; raises `InputError` for a folder whose name cannot be one."""
    found = sorted({path.parent.name for part in PARTS for path in Path(__file__).parent.glob(f"*/{part}.py")})
    for name in found:
        check(name, f"studies/{name}")
    return found


def missing(name: str, *parts: str) -> str:
    """Return what a study lacks of some of its modules, of all if none is named, with the cure; or nothing.

    A folder is imported without an `__init__.py` too, but is no package, whose code counts in the study's fingerprint.
    """
    if not (Path(__file__).parent / name / "__init__.py").is_file():
        return f"studies/{name}/__init__.py: missing; write it, a line that says what the study measures"
    for part in parts or PARTS:
        path = Path(__file__).parent / name / f"{part}.py"
        if not path.exists():
            return f"studies/{name}/{part}.py: missing; write it as docs/own/study.md shows"
        if PARTS[part] not in _defined(path):
            return f"studies/{name}/{part}.py: {PARTS[part]}: missing; define it as docs/own/study.md shows"
    return ""


def size(name: str) -> Any:
    """Return the model of a study's size."""
    return import_module(f"studies.{name}.schema").Size


def study(name: str) -> ModuleType:
    """Return the module that computes a study."""
    return import_module(module_name(name))


def module_name(name: str) -> str:
    """Return the name of the module that computes a study."""
    return f"studies.{name}.study"


def data(name: str, size: Any) -> dict[str, str]:
    """Return the checksums of the files that a study reads; raises `InputError` for what is missing."""
    inputs = f"studies.{name}.inputs"
    return import_module(inputs).data(size) if find_spec(inputs) else {}


def chapter(name: str) -> ModuleType:
    """Return the module that reports a study."""
    return import_module(f"studies.{name}.chapter")


def _defined(path: Path) -> set[str]:
    """Return the names that a module defines or imports, without running it."""
    found: set[str] = set()
    for node in ast.parse(path.read_text(), str(path)).body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            found.add(node.name)
        elif isinstance(node, ast.Assign):
            found |= {target.id for target in node.targets if isinstance(target, ast.Name)}
        elif isinstance(node, ast.ImportFrom):
            found |= {alias.asname or alias.name for alias in node.names}
    return found
