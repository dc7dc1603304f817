"""The code that a result is made from: the syntax trees of the modules that run when a module is imported.

Comments, docstrings and formatting are no part of a syntax tree. An import within a function is not followed: what only
some runs load, as the engine of a GPU, does not count for the others.
"""

import ast
import hashlib
import os
import time
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from threefold.base.errors import InputError

ROOT = Path(__file__).resolve().parents[2]  # the project whose code runs
PACKAGES = ("algorithms", "envs", "studies", "threefold")
WITH_DOCSTRING = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
FOR_TYPE_CHECKERS = ("TYPE_CHECKING", "typing.TYPE_CHECKING")
UNCOUNTED = ("kind", "type_comment", "type_params")  # fields that differ between versions of Python


@cache
def checksums(*modules: str) -> dict[str, str]:
    """Return the checksum of each of the project's modules that run when these are imported, by its file's name."""
    return {_file(name).relative_to(ROOT).as_posix(): _checksum(_source(name)) for name in closure(*modules)}


def changed(recorded: Mapping[str, str]) -> list[str]:
    """Return the files, of some with the checksums that they had, that are now others or not there."""
    return [name for name, checksum in recorded.items() if not _is(ROOT / name, checksum)]


def closure(*modules: str) -> list[str]:
    """Return the names of the project's modules that run when these are imported, sorted."""
    found: set[str] = set()
    waiting = [name for module in modules for name in _with_packages(module)]
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += [above for target in _imports(name) for above in _with_packages(target)]
    return sorted(found)


def refuse_edits_since_start(files: Iterable[str]) -> None:
    """Raise InputError if code was changed after this process began: which of the two it runs cannot be known."""
    began = _process_began()
    for name in files:
        path = ROOT / name
        if path.exists() and max(path.stat().st_mtime, path.stat().st_ctime) > began:
            raise InputError(f"{name}: changed while this command was starting; start it again")


def forget() -> None:
    """Read all files again from now on; what has not changed is not parsed again."""
    for cached in (checksums, _source, _imports):
        cached.cache_clear()


def _with_packages(module: str) -> list[str]:
    parts = module.split(".")
    return [".".join(parts[:n]) for n in range(1, len(parts) + 1)]


def _file(module: str) -> Path:
    path = ROOT.joinpath(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def _is(path: Path, checksum: str) -> bool:
    return path.exists() and _checksum(path.read_bytes()) == checksum


@cache
def _source(module: str) -> bytes:
    return _file(module).read_bytes()


@cache
def _tree(source: bytes) -> ast.Module:
    return ast.parse(source)


@cache
def _checksum(source: bytes) -> str:
    return hashlib.sha256(repr(_essence(_tree(source))).encode()).hexdigest()


def _essence(node: Any) -> Any:
    """Return a syntax tree as nested tuples, without docstrings and what is empty."""
    if isinstance(node, list):
        return tuple(map(_essence, node))
    if not isinstance(node, ast.AST):
        return node
    fields = {name: value for name, value in ast.iter_fields(node) if name not in UNCOUNTED}
    if isinstance(node, WITH_DOCSTRING) and ast.get_docstring(node, clean=False) is not None:
        fields["body"] = node.body[1:]
    return type(node).__name__, *((name, _essence(value)) for name, value in fields.items() if value not in (None, []))


@cache
def _imports(module: str) -> tuple[str, ...]:
    """Return the project's modules that a module imports when it is imported."""
    path = _file(module)
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    named: list[str] = []
    for node in _import_statements(_source(module)):
        if isinstance(node, ast.Import):
            named += [alias.name for alias in node.names]
        else:
            above = package.split(".")[: package.count(".") + 2 - node.level] if node.level else []
            base = ".".join([*above, *filter(None, [node.module])])
            named += [f"{base}.{alias.name}" for alias in node.names]
    own = (name for name in named if name.split(".")[0] in PACKAGES)
    return tuple(name if _file(name).exists() else name.rpartition(".")[0] for name in own)


@cache
def _import_statements(source: bytes) -> list[ast.Import | ast.ImportFrom]:
    return [node for node in _run_at_import(_tree(source)) if isinstance(node, (ast.Import, ast.ImportFrom))]


def _run_at_import(node: ast.AST) -> Iterator[ast.AST]:
    """Yield the nodes below one that run at an import: all but what is within functions, or for type checkers alone."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and ast.unparse(child.test) in FOR_TYPE_CHECKERS:
            for statement in child.orelse:
                yield statement
                yield from _run_at_import(statement)
        elif not isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.expr)):
            yield child
            yield from _run_at_import(child)


def _process_began() -> float:
    """Seconds since the epoch, to a hundredth."""
    ticks = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])
    age = time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")
    return time.time() - age
