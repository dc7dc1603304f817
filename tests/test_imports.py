"""The import rules of CONTRIBUTING.md ("Who may import whom"), read from the syntax trees so that nothing runs."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[1]
# From the lowest to the highest: a room imports itself and what stands before it. The format of files stands below the
# room that it lies in: studies name their columns in it.
ROOMS = ("base", "tables.schema", "store", "profile", "experts", "tables", "cells", "launch", "report", "commands")
# What the modules of a study may import beside its own; none imports another study, and `core` none at all.
SCHEMA = ("threefold.base", "threefold.tables.schema")
CHAPTER = ("threefold.base", "threefold.report")
STUDY = (
    *("algorithms", "envs", "studies.core", "threefold.base", "threefold.tables.schema", "threefold.store"),
    *("threefold.profile.constants", "threefold.experts"),
)
# Which room has the list of studies load which part of one, by its name: an arrow that no import shows.
LOADERS = {"registry.size": "profile", "registry.study": "cells", "registry.chapter": "report"}
LIGHT = ("a schema", "a chapter")  # parts of a study that never reach HEAVY, as reports
HEAVY = ("torch", "mujoco", "safetensors.torch")


class Module(NamedTuple):
    path: Path
    tree: ast.Module
    package: str


@cache  # a tree that is looked through has been written
def modules_of(root: Path) -> dict[str, Module]:
    """Every module of the project by its dotted name; tests and benchmarks may import what they like."""
    found = {}
    for path in sorted(root.rglob("*.py")):
        parts = path.relative_to(root).with_suffix("").parts
        if parts[0].startswith(".") or parts[0] in ("tests", "benchmarks"):
            continue
        is_package = parts[-1] == "__init__"
        name = ".".join(parts[:-1] if is_package else parts)
        package = name if is_package else name.rpartition(".")[0]
        found[name] = Module(path.relative_to(root), ast.parse(path.read_text()), package)
    return found


def is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test).removeprefix("typing.") == "TYPE_CHECKING"


def running(tree: ast.AST) -> Iterator[ast.AST]:
    """All nodes except what only a type checker reads."""
    for node in ast.iter_child_nodes(tree):
        if not is_type_checking(node):
            yield node
            yield from running(node)


@cache
def names(module: Module) -> tuple[str, ...]:
    """Every dotted name a module imports, inside functions and by `import_module` too; `from a import b` is `a.b`."""
    return tuple(named(module))


def named(module: Module) -> Iterator[str]:
    for node in running(module.tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = module.package.split(".")[: module.package.count(".") + 2 - node.level] if node.level else []
            base = ".".join([*above, *filter(None, [node.module])])
            yield from (f"{base}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] in ("import_module", "__import__"):
            yield from (arg.value for arg in node.args if isinstance(arg, ast.Constant) and isinstance(arg.value, str))


def parents(name: str) -> list[str]:
    """`a.b.c` -> `a.b.c`, `a.b`, `a`: importing the first runs all three."""
    parts = name.split(".")
    return [".".join(parts[:n]) for n in range(len(parts), 0, -1)]


def within(name: str, *packages: str) -> bool:
    return any(package in parents(name) for package in packages)


def imported(name: str, modules: dict[str, Module]) -> set[str]:
    """The project's own modules that a module imports by name."""
    closest = (next((p for p in parents(target) if p in modules), None) for target in names(modules[name]))
    return {target for target in closest if target}


def reach(start: str, modules: dict[str, Module]) -> set[str]:
    """All modules that run when `start` is imported."""
    seen: set[str] = set()
    todo = [start]
    while todo:
        name = todo.pop()
        if name in modules and name not in seen:
            seen.add(name)
            todo += [p for target in imported(name, modules) | {name} for p in parents(target)]
    return seen


def methods_of(modules: dict[str, Module]) -> list[str]:
    return [
        name for name in modules if name.startswith("algorithms.") and modules[name].path.parent.name == "algorithms"
    ]


def said_by(module: Module) -> set[str]:
    """Strings, and dotted names such as `algorithms.gail`, in a module's code."""
    nodes = list(ast.walk(module.tree))
    strings = {n.value for n in nodes if isinstance(n, ast.Constant) and isinstance(n.value, str)}
    return strings | {ast.unparse(n) for n in nodes if isinstance(n, ast.Attribute)}


def room(name: str) -> int | None:
    """The place of a module's room in ROOMS."""
    found = [place for place, known in enumerate(ROOMS) if within(name, f"threefold.{known}")]
    return found[0] if found else None


def of_study(name: str) -> tuple[str, tuple[str, ...]] | None:
    """What a module of `studies` is, and what it may import; None for another."""
    first, *rest = name.split(".")
    if first != "studies":
        return None
    if rest in ([], ["registry"]):
        return "the list of studies", ("threefold.base",)
    own = f"studies.{rest[0]}"
    if rest[-1] == "schema":
        return "a schema", SCHEMA
    if rest[-1].startswith("chapter"):
        return "a chapter", (*CHAPTER, own)
    return "a study", (*STUDY, own)


def violations(root: Path) -> list[str]:
    modules = modules_of(root)
    methods = [name for name in methods_of(modules) if not name.endswith(".core")]
    stems = {name.rpartition(".")[2] for name in methods}
    found = []
    for name, module in modules.items():
        own = imported(name, modules)
        if name in methods:
            allowed = ("algorithms.core", "threefold.base")
            found += [f"{module.path}: a method imports {t}" for t in own if not within(t, *allowed)]
        if within(name, "algorithms.core"):
            said = said_by(module) & (stems | set(methods))
            found += [f"{module.path}: core names the method {t}" for t in said | (own & set(methods))]
        if within(name, "algorithms", "envs"):
            low = ("algorithms", "envs", "threefold.base")
            found += [f"{module.path}: {name.split('.')[0]} import {t}" for t in own if not within(t, *low)]
        study = of_study(name)
        if within(name, "threefold.report", "threefold.tables") or (study and study[0] in LIGHT):
            for via in reach(name, modules):
                heavy = [t for t in names(modules[via]) if within(t, *HEAVY)]
                found += [f"{module.path}: reports import {t} through {modules[via].path}" for t in heavy]
        if study:
            found += [f"{module.path}: {study[0]} imports {t}" for t in own if not within(t, *study[1])]
        own_room = room(name)
        for loader, of in LOADERS.items():
            if "studies.registry" in own and own_room not in (None, ROOMS.index(of)) and loader in said_by(module):
                found.append(f"{module.path}: {loader} is for {of}")
        for target in own:
            its_room = room(target)
            if own_room is not None and its_room is not None and its_room > own_room:
                found.append(f"{module.path}: {ROOMS[own_room]} imports {target}, of a higher room")
            if own_room is not None and within(target, "studies") and target != "studies.registry":
                found.append(f"{module.path}: imports {target}; the list of studies loads it")
            if within(target, "threefold.commands") and not within(name, "threefold.commands", "threefold.__main__"):
                found.append(f"{module.path}: imports the command {target}")
    return sorted(set(found))


def write(root: Path, files: dict[str, str]) -> None:
    for path, text in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)


SOUND = {
    "algorithms/__init__.py": "",
    "algorithms/gail.py": "from algorithms.core import policy\nfrom algorithms.core.policy import Policy",
    "algorithms/bc.py": "import torch\nimport algorithms.core.policy\nfrom threefold.base import errors",
    "algorithms/core/__init__.py": '"""What gail and bc share."""',
    "algorithms/core/policy.py": "import torch\nfrom .. import core\nclass Policy: ...",
    "threefold/__init__.py": "",
    "threefold/__main__.py": "from threefold.commands import run",
    "threefold/base/__init__.py": "",
    "threefold/base/errors.py": "",
    "threefold/experts/experts.py": "from algorithms.core import policy\nfrom threefold.base import errors",
    "threefold/cells/run.py": "import algorithms.gail\nfrom threefold.tables import schema",
    "threefold/tables/__init__.py": "",
    "threefold/tables/schema.py": "import pandas",
    "threefold/tables/table.py": "import typing\nif typing.TYPE_CHECKING:\n    import torch\nfrom . import schema",
    "threefold/report/build.py": "from threefold.tables import table",
    "threefold/commands/run.py": "def command():\n    from threefold.cells.run import run",
    "studies/__init__.py": "",
    "studies/registry.py": "from importlib import import_module\nfrom threefold.base import errors",
    "studies/core/__init__.py": "",
    "studies/core/losses.py": "import torch\nfrom algorithms.core import policy",
    "studies/twin/__init__.py": "",
    "studies/twin/schema.py": "from threefold.base import errors\nfrom threefold.tables import schema",
    "studies/twin/study.py": "from studies.core import losses\nfrom studies.twin import schema",
    "studies/twin/chapter.py": "from studies.twin import schema\nfrom threefold.report import build",
    "studies/density/__init__.py": "",
    "studies/density/study.py": "from threefold.store import entries",
    "threefold/store/entries.py": "",
    "threefold/profile/design.py": "from studies import registry\nsizes = registry.size('twin')",
    "tests/test_run.py": "import threefold.commands.run",
}


def test_the_project_keeps_its_import_rules():
    modules = modules_of(ROOT)
    assert {"algorithms.core.policy", "threefold.cells.run", "threefold.report.build"} <= set(modules)
    rooms = {path.parent.name for path in (ROOT / "threefold").glob("*/__init__.py")}
    assert rooms | {"tables.schema"} == set(ROOMS)
    assert violations(ROOT) == []


def test_a_sound_tree_passes(tmp_path):
    write(tmp_path, SOUND)
    assert violations(tmp_path) == []


@pytest.mark.parametrize(
    ("path", "text", "complaint"),
    [
        ("algorithms/gail.py", "from algorithms import bc", "a method imports algorithms.bc"),
        ("algorithms/gail.py", "from .bc import loss", "a method imports algorithms.bc"),
        ("algorithms/gail.py", "def f():\n    import algorithms.bc as x", "a method imports algorithms.bc"),
        ("algorithms/gail.py", "import threefold.tables.schema", "a method imports threefold.tables.schema"),
        ("algorithms/core/policy.py", "from ..gail import loss", "core names the method algorithms.gail"),
        ("algorithms/core/policy.py", "wide = lambda name: name == 'gail'", "core names the method gail"),
        ("algorithms/core/policy.py", "load('algorithms.gail')", "core names the method algorithms.gail"),
        ("algorithms/core/policy.py", "from threefold.tables import schema", "algorithms import threefold.tables"),
        ("algorithms/core/policy.py", "import threefold.experts.experts", "algorithms import threefold.experts"),
        ("algorithms/core/policy.py", "__import__('threefold.cells.run')", "algorithms import threefold.cells.run"),
        ("envs/ant.py", "import threefold.cells.run", "envs import threefold.cells.run"),
        ("threefold/report/style.py", "import torch.nn", "reports import torch.nn through threefold/report/style.py"),
        ("threefold/report/style.py", "from safetensors import torch", "reports import safetensors.torch through"),
        (
            "threefold/tables/schema.py",
            "def load():\n    import mujoco",
            "reports import mujoco through threefold/tables",
        ),
        ("threefold/tables/__init__.py", "import torch", "reports import torch through threefold/tables/__init__.py"),
        (
            "threefold/tables/schema.py",
            "from threefold.cells.run import x",
            "tables.schema imports threefold.cells.run",
        ),
        (
            "threefold/base/errors.py",
            "def f():\n    import threefold.experts.experts",
            "base imports threefold.experts",
        ),
        ("threefold/cells/run.py", "from threefold.commands import run", "imports the command threefold.commands.run"),
        ("studies/twin/study.py", "from threefold.commands import run", "imports the command threefold.commands.run"),
        ("studies/twin/study.py", "from studies.density import study", "a study imports studies.density.study"),
        ("studies/twin/study.py", "from threefold.profile import design", "a study imports threefold.profile.design"),
        ("studies/twin/study.py", "from threefold.report import build", "a study imports threefold.report.build"),
        ("studies/core/losses.py", "from studies.twin import schema", "a study imports studies.twin.schema"),
        ("studies/twin/schema.py", "from threefold.tables import table", "a schema imports threefold.tables.table"),
        ("studies/twin/schema.py", "import torch", "reports import torch through studies/twin/schema.py"),
        (
            "studies/twin/chapter.py",
            "from studies.twin import study",
            "reports import torch through studies/core/losses",
        ),
        ("studies/twin/chapter.py", "from threefold.cells import run", "a chapter imports threefold.cells.run"),
        ("studies/registry.py", "from studies.twin import schema", "the list of studies imports studies.twin.schema"),
        ("threefold/profile/design.py", "from studies.twin import schema", "imports studies.twin.schema; the list"),
        (
            "threefold/profile/design.py",
            "from studies import registry\nregistry.chapter('twin')",
            "registry.chapter is for",
        ),
        ("threefold/profile/design.py", "from threefold.tables import table", "profile imports threefold.tables.table"),
        ("threefold/store/entries.py", "from threefold.tables import table", "store imports threefold.tables.table"),
    ],
)
def test_a_planted_violation_is_caught(tmp_path, path, text, complaint):
    write(tmp_path, SOUND | {path: text})
    assert any(complaint in found for found in violations(tmp_path)), violations(tmp_path)


def test_importing_reports_brings_in_neither_torch_nor_mujoco():
    """What the syntax trees cannot show: what third-party packages import."""
    rooms = ("threefold.report", "threefold.tables")
    imports = "; ".join(f"import {name}" for name in modules_of(ROOT) if any(within(name, room) for room in rooms))
    check = "import sys; sys.exit(', '.join({'torch', 'mujoco', 'envs'} & set(sys.modules)) or None)"
    done = subprocess.run([sys.executable, "-c", f"{imports}; {check}"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
