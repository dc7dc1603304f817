"""The one reader of YAML, by each of the three that use it: what is wrong with a file is one line, with its cure."""

import os
import re

import pytest

from threefold.base import yaml
from threefold.base.errors import InputError
from threefold.experts import demonstrate as making
from threefold.experts import experts
from threefold.profile import design

TASK = "InvertedPendulum-v5"
READERS = [
    design.load,
    lambda path: experts.read_design(path, TASK),
    lambda path: making.design(path, TASK),
]


@pytest.fixture(params=READERS, ids=["profile", "experts", "demonstrations"])
def said(request, tmp_path):
    """Return what a reader complains of, less the file's name, when the file has this content."""

    def line(content: bytes) -> str:
        path = tmp_path / "params.yaml"
        path.write_bytes(content)
        with pytest.raises(InputError) as caught:
            request.param(path)
        (text,) = str(caught.value).splitlines()
        assert text.startswith(f"{path}: ")
        return text.removeprefix(f"{path}: ")

    return line


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "expected keys and values; found nothing; write them"),
        (b"# only a comment\n", "expected keys and values; found nothing; write them"),
        (b"null", "expected keys and values; found nothing; write them"),
        (b"- Hopper-v5", "expected keys and values; found list; write them"),
        (b"Hopper-v5", "expected keys and values; found str; write them"),
        (
            b"seeds:\n\t- 0",
            "line 2, column 1: not valid YAML (found character '\\\\t' that cannot start",
        ),
        (b"a:\n  b: 1\n\tc: 2", "line 3, column 1: not valid YAML (found character '\\\\t'"),
        (b"tasks: [a\nseeds: 1", "line 2, column 6: not valid YAML (expected ',' or ']'"),
        (b"a: b: c", "line 1, column 5: not valid YAML (mapping values are not allowed here); correct it"),
        (b"a: 1\n---\nb: 2", "line 2, column 1: not valid YAML (but found another document); correct it"),
        (b"a: *b", "line 1, column 4: not valid YAML (found undefined alias 'b'); correct it"),
        (b"a: !!python/object:os.system {}", "line 1, column 4: not valid YAML (could not determine a constructor"),
        (b"profile: \xe9t\xe9", "not valid YAML (unacceptable character #x00e9: "),
        (b"\xff\xfe\x00", "not valid YAML ("),
        (b"a: \x01", "not valid YAML ("),
        (b"a: 2026-13-45", "not valid YAML (month must be in 1..12); correct it"),
        (b"[" * 5000, "not valid YAML ("),
    ],
)
def test_text_that_cannot_be_read(said, content, expected):
    assert said(content).startswith(expected.replace("\\\\", "\\"))


@pytest.mark.parametrize(
    ("content", "key", "lines"),
    [
        (b"seeds: [0]\ntasks: []\nseeds: [1]", "seeds", "1 and 3"),
        (b"budget:\n  A: {x: 1}\n  A: {x: 2}", "budget.A", "2 and 3"),
        (b"budget:\n  A: {env_steps: 1, env_steps: 2}", "budget.A.env_steps", "2 and 2"),
        (b"a:\n  - b: 1\n    b: 2", "a.0.b", "2 and 3"),
        (b"a: 1\n'a': 2", "a", "1 and 2"),
    ],
)
def test_a_key_that_stands_twice(said, content, key, lines):
    assert said(content) == f"{key}: stands in lines {lines}; remove one"


@pytest.mark.parametrize(
    ("content", "key"),
    [
        (b"1: x", "1"),
        (b"a: {yes: 1}", "a.yes"),
        (b"a:\n  null: 1", "a.null"),
        (b"? [1, 2]\n: 3", "a list or a mapping"),
    ],
)
def test_a_key_that_is_no_text(said, content, key):
    assert re.fullmatch(rf"line \d: key {key} is no text for YAML; put it in quotes", said(content))


def test_a_merge_may_be_changed(tmp_path):
    (tmp_path / "x.yaml").write_text("base: &base {a: 1, b: 2}\nours:\n  <<: *base\n  b: 3\ntheirs: *base\n")
    assert yaml.read(tmp_path / "x.yaml")["ours"] == {"a": 1, "b": 3}


def test_any_encoding_that_yaml_has(tmp_path):
    for encoding in ("utf-8", "utf-8-sig", "utf-16"):
        (tmp_path / "x.yaml").write_bytes("a: ä".encode(encoding))
        assert yaml.read(tmp_path / "x.yaml") == {"a": "ä"}


@pytest.mark.parametrize("reader", READERS)
def test_files_that_are_none(tmp_path, reader):
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    (tmp_path / "file").write_text("")
    for name, line in (
        ("none", "missing; name a params.yaml that exists with --params"),
        (".", "Is a directory; a folder is there; name a file"),
        ("loop", "Too many levels of symbolic links; its links lead in a circle; let them end at a folder"),
        ("file/params.yaml", "Not a directory; a file is in the place of a folder; choose another place"),
    ):
        with pytest.raises(InputError) as caught:
            reader(tmp_path / name)
        assert str(caught.value) == f"{tmp_path / name}: {line}"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read(tmp_path):
    (tmp_path / "x.yaml").write_text("a: 1")
    (tmp_path / "x.yaml").chmod(0)
    with pytest.raises(InputError, match="Permission denied; ask for permission"):
        yaml.read(tmp_path / "x.yaml")


@pytest.mark.parametrize("section", ["experts", "demonstrations"])
@pytest.mark.parametrize(("text", "expected"), [("x: 1", "missing; add it"), ("{0}:", "None are"), ("{0}: 3", "3 are")])
def test_a_section_that_is_none(tmp_path, section, text, expected):
    path = tmp_path / "params.yaml"
    path.write_text(text.format(section))
    with pytest.raises(InputError, match=rf"^{path}: {section}: {expected}[^\n]+$"):
        READERS[1 if section == "experts" else 2](path)
