"""The code that counts for a result: by syntax trees, of the modules that run at an import."""

import json
import subprocess
from pathlib import Path

import pytest

from threefold.base.errors import InputError
from threefold.store import code

ROOT = Path(__file__).parents[1]
FILES = {
    "algorithms/__init__.py": "",
    "algorithms/a.py": '''
"""A module."""

from dataclasses import dataclass

import envs.b as b
from algorithms.core import c
from algorithms.core.d import thing

LIMIT = 3


@dataclass
class Config:
    """A class."""

    rate: float = 0.1


def train(steps=10):
    """A function."""
    from envs import never

    return f"{steps:,} of {LIMIT}", never, b, c, thing
''',
    "algorithms/core/__init__.py": "",
    "algorithms/core/c.py": "from . import e\nfrom .. import f\nfrom ..g import value\n",
    "algorithms/core/d.py": "thing = 1\n",
    "algorithms/core/e.py": "",
    "algorithms/f.py": "",
    "algorithms/g.py": "value = 1\n",
    "envs/__init__.py": "",
    "envs/b.py": "",
    "envs/never.py": "",
}
A = ["algorithms", "algorithms.a", "algorithms.core", "algorithms.core.c", "algorithms.core.d", "algorithms.core.e"]
A += ["algorithms.f", "algorithms.g", "envs", "envs.b"]


@pytest.fixture
def root(tmp_path, monkeypatch):
    """A small project in the place of this one."""
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(code, "ROOT", tmp_path)
    code.forget()
    yield tmp_path
    code.forget()


def edit(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    code.forget()


def test_the_closure_has_what_runs_at_an_import_with_the_packages_around_it(root):
    assert code.closure("algorithms.a") == A
    assert list(code.checksums("algorithms.a")) == [name for name in sorted(FILES) if name != "envs/never.py"]
    assert code.closure("envs.never", "algorithms.f") == ["algorithms", "algorithms.f", "envs", "envs.never"]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("LIMIT = 3", "# A comment.\nLIMIT = 3  # another"),
        ('"""A module."""', '"""Another text,\n\nof two lines."""'),
        ('"""A class."""', "'''Another text.'''"),
        ('    """A function."""\n', ""),
        ("def train(steps=10):", "def train(\n    steps = (10),\n):"),
        ('f"{steps:,} of {LIMIT}"', "f'{steps:,} of {LIMIT}'"),
        ("0.1", "1e-1"),
        ("LIMIT = 3", "LIMIT = 0b11"),
    ],
)
def test_a_comment_a_docstring_and_formatting_leave_a_checksum_alone(root, old, new):
    before = code.checksums("algorithms.a")
    edit(root / "algorithms" / "a.py", old, new)
    assert code.checksums("algorithms.a") == before


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("LIMIT = 3", "LIMIT = 4"),
        ("LIMIT = 3", "LIMIT = 3.0"),
        ("LIMIT = 3", "LIMIT = True"),
        ("LIMIT = 3", 'LIMIT = "3"'),
        ("rate: float = 0.1", "rate: float = 0.2"),
        ("steps=10", "steps=11"),
        ("@dataclass\n", "@dataclass(frozen=True)\n"),
        ("{steps:,}", "{steps:_}"),
        ("import never", "import never as other"),
        ('"""A function."""', 'return "A function."'),
    ],
)
def test_whatever_may_change_a_result_changes_a_checksum(root, old, new):
    before = code.checksums("algorithms.a")
    edit(root / "algorithms" / "a.py", old, new)
    after = code.checksums("algorithms.a")
    assert [name for name in before if after[name] != before[name]] == ["algorithms/a.py"]


@pytest.mark.parametrize(
    "name", ["algorithms/core/d.py", "algorithms/core/e.py", "envs/b.py", "algorithms/__init__.py"]
)
def test_an_edit_of_what_is_imported_counts_for_who_imports_it(root, name):
    before = code.checksums("algorithms.a")
    (root / name).write_text("thing = 2\n")
    code.forget()
    after = code.checksums("algorithms.a")
    assert [file for file in before if after[file] != before[file]] == [name]


def test_an_edit_of_what_is_not_imported_does_not_count(root):
    before = code.checksums("algorithms.a")
    (root / "envs" / "never.py").write_text("thing = 2\n")
    (root / "algorithms" / "new.py").write_text("thing = 2\n")
    code.forget()
    assert code.checksums("algorithms.a") == before


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("import envs.b", ["envs", "envs.b"]),
        ("from envs import b, LIMIT", ["envs", "envs.b"]),
        ("from envs.b import LIMIT", ["envs", "envs.b"]),
        ("from envs import *", ["envs"]),
        ("if 1 > 0:\n    import envs.b", ["envs", "envs.b"]),
        ("if 1 > 0:\n    pass\nelif 2 > 1:\n    pass\nelse:\n    import envs.b", ["envs", "envs.b"]),
        ("try:\n    import envs.b\nexcept ImportError:\n    import envs.never", ["envs", "envs.b", "envs.never"]),
        ("try:\n    pass\nfinally:\n    import envs.b", ["envs", "envs.b"]),
        ("with open('x'):\n    import envs.b", ["envs", "envs.b"]),
        ("for _ in ():\n    import envs.b", ["envs", "envs.b"]),
        ("match 1:\n    case 1:\n        import envs.b", ["envs", "envs.b"]),
        ("class A:\n    import envs.b", ["envs", "envs.b"]),
        ("class A:\n    def f(self):\n        import envs.b", []),
        ("def f():\n    import envs.b", []),
        ("async def f():\n    import envs.b", []),
        ("from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import envs.b", []),
        ("import typing\nif typing.TYPE_CHECKING:\n    import envs.b", []),
        (
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import envs.b\nelse:\n    import envs.never",
            ["envs", "envs.never"],
        ),
        ("from typing import TYPE_CHECKING\nif not TYPE_CHECKING:\n    import envs.b", ["envs", "envs.b"]),
        ("import os.path, numpy, torch.nn as nn\nfrom collections import abc", []),
    ],
)
def test_which_imports_are_followed(root, text, found):
    (root / "algorithms" / "new.py").write_text(text + "\n")
    assert code.closure("algorithms.new") == ["algorithms", "algorithms.new", *found]


@pytest.mark.parametrize(
    ("place", "text", "found"),
    [
        ("algorithms/core/new.py", "from . import e", "algorithms.core.e"),
        ("algorithms/core/new.py", "from .e import x", "algorithms.core.e"),
        ("algorithms/core/new.py", "from .. import f", "algorithms.f"),
        ("algorithms/core/new.py", "from ..f import x", "algorithms.f"),
        ("algorithms/core/new.py", "from ..core.e import x", "algorithms.core.e"),
        ("algorithms/new/__init__.py", "from .inner import x", "algorithms.new.inner"),
        ("algorithms/new/__init__.py", "from . import inner", "algorithms.new.inner"),
        ("algorithms/new/__init__.py", "from ..f import x", "algorithms.f"),
    ],
)
def test_relative_imports(root, place, text, found):
    path = root / place
    path.parent.mkdir(exist_ok=True)
    (root / "algorithms" / "new").mkdir(exist_ok=True)
    (root / "algorithms" / "new" / "inner.py").write_text("x = 1\n")
    path.write_text(text + "\n")
    name = ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__")
    around = {".".join(one.split(".")[:n]) for one in (name, found) for n in (1, 2, 3)}
    assert code.closure(name) == sorted(around)


def test_two_modules_that_import_each_other_end(root):
    (root / "envs" / "b.py").write_text("import algorithms.a\n")
    code.forget()
    assert code.closure("envs.b") == A


def test_nothing_is_read_again_until_it_is_asked_for(root):
    before = code.checksums("algorithms.a")
    (root / "algorithms" / "a.py").write_text("")
    assert code.checksums("algorithms.a") == before
    code.forget()
    assert list(code.checksums("algorithms.a")) == ["algorithms/__init__.py", "algorithms/a.py"]


def test_code_that_is_gone_is_no_edit_and_what_was_edited_is_named(root, monkeypatch):
    monkeypatch.setattr(code, "_process_began", lambda: 0.0)
    code.refuse_edits_since_start(["algorithms/gone.py"])
    with pytest.raises(InputError, match=r"^envs/b\.py: changed while this command was starting; start it again$"):
        code.refuse_edits_since_start(["algorithms/gone.py", "envs/b.py"])


def interpreters():
    """Other Pythons on this machine, of the versions that the project has met."""
    found = {}
    for version in ("3.11", "3.12", "3.13"):
        for path in sorted(Path.home().glob(f".pyenv/versions/{version}.*/bin/python")):
            found[version] = path
    return found


SCRIPT = """
import json, sys
from threefold.store import code
print(json.dumps([sys.version_info[:2], code.checksums(*sys.argv[1:])]))
"""


@pytest.fixture(scope="module")
def modules():
    """All modules of the project."""
    files = [path for top in code.PACKAGES for path in (code.ROOT / top).rglob("*.py")]
    names = [path.relative_to(code.ROOT).with_suffix("") for path in files]
    return sorted(".".join(name.parts).removesuffix(".__init__") for name in names)


@pytest.fixture(scope="module")
def ours(modules):
    return code.checksums(*modules)


def checksums_by(python, modules):
    """The version and the checksums of modules as an interpreter computes them: it needs no package for that."""
    done = subprocess.run([python, "-c", SCRIPT, *modules], cwd=ROOT, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


@pytest.mark.parametrize("version", ["3.11", "3.12", "3.13"])
def test_checksums_do_not_depend_on_the_version_of_python(modules, ours, version):
    if version not in interpreters():
        pytest.skip(f"no Python {version} in ~/.pyenv/versions")
    numbers, theirs = checksums_by(interpreters()[version], modules)
    assert numbers == [int(number) for number in version.split(".")]
    assert list(theirs.items()) == list(ours.items())
    assert len(theirs) > 80
