"""What the operating system refuses: each cause with its own cure, and none that destroys anything."""

import ast
import errno
import fcntl
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from threefold.base.errors import CURES, InputError, one_line
from threefold.store.entries import Entry, alone, is_locked, location

ROOT = Path(__file__).parents[1]


@pytest.fixture
def said(capsys):
    """Return the one line that a command ends with, in which this is raised."""

    def line(error: Exception) -> str:
        with pytest.raises(SystemExit) as stopped, one_line():
            raise error
        assert stopped.value.code == 2
        (text,) = capsys.readouterr().err.splitlines()
        return text

    return line


@pytest.mark.parametrize("number", sorted(CURES))
def test_a_cause_that_is_known(said, number):
    line = said(OSError(number, os.strerror(number), "results/x"))
    assert line == f"error: results/x: {os.strerror(number)}; {CURES[number]}"
    assert said(OSError(number, os.strerror(number))) == line.replace("results/x: ", "")


def test_space_is_the_cure_of_a_full_disk_alone():
    assert {number for number, cure in CURES.items() if "space" in cure} == {errno.ENOSPC, errno.EDQUOT}


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.EIO, "Input/output error", "x"),
        OSError("Cannot call rmtree on a symbolic link"),
        ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused"),
        TimeoutError(),
        KeyError("a fault of the program"),
    ],
)
def test_a_cause_that_is_not_known_keeps_its_traceback(error):
    with pytest.raises(type(error)) as raised, one_line():
        raise error
    assert raised.value is error


def messages(path):
    """The text of every statement of a module that has one, docstrings left out: what its users may get to read."""
    for node in ast.walk(ast.parse(path.read_text())):
        said = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        if isinstance(node, ast.stmt) and not said and not hasattr(node, "body"):
            text = " ".join(n.value for n in ast.walk(node) if isinstance(n, ast.Constant) and isinstance(n.value, str))
            if text:
                yield text


def test_no_message_tells_anyone_to_destroy_data():
    """What reads params.yaml may ask that a key be removed."""
    rooms = [ROOT / room for room in ("threefold", "algorithms", "envs", "studies")]
    found = {path: list(messages(path)) for room in rooms for path in room.rglob("*.py")}
    assert sum(map(len, found.values())) > 80
    names = ("base/strict.py", "base/yaml.py", "profile/design.py", "profile/keys.py")
    keys = {ROOT / "threefold" / name for name in names}
    for path, texts in found.items():
        for text in texts:
            assert not re.search(r"delete|erase|download it again|\brm\b", text), f"{path}: {text}"
            assert path in keys or not re.search(r"remove (it|the)", text), f"{path}: {text}"


ENTRY: dict[str, Any] = {"files": {}}
WITHOUT_LOCKS = [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP]


@pytest.fixture
def without_locks(monkeypatch):
    """A file system that answers so to whoever asks for a lock."""

    def answer(number):
        def flock(*_):
            raise OSError(number, os.strerror(number))

        monkeypatch.setattr(fcntl, "flock", flock)

    return answer


@pytest.mark.parametrize("number", WITHOUT_LOCKS)
def test_nothing_is_delivered_where_there_are_no_locks(tmp_path, without_locks, capsys, number):
    without_locks(number)
    with pytest.raises(SystemExit) as stopped, one_line(), alone(tmp_path, "Hopper-v5/gail"):
        raise AssertionError("nothing may be delivered without a lock")
    assert stopped.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line == f"error: {tmp_path / 'Hopper-v5' / 'gail'}: {os.strerror(number)}; {CURES[number]}"


@pytest.mark.parametrize("number", WITHOUT_LOCKS)
def test_a_file_system_without_locks(tmp_path, monkeypatch, without_locks, capsys, number):
    entry = Entry(tmp_path, "Hopper-v5/gail/4_0", ENTRY)
    without_locks(number)
    with pytest.raises(SystemExit) as stopped, one_line(), entry.locked():
        raise AssertionError("nothing may be computed without a lock")
    assert stopped.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line == f"error: {entry.folder}: {os.strerror(number)}; {CURES[number]}"
    monkeypatch.undo()
    assert not is_locked(entry.folder)  # nothing was left that would keep others out


@pytest.mark.parametrize("text", ["~/stores/mine", "~"])
def test_a_store_in_ones_home(tmp_path, monkeypatch, text):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("THREEFOLD_STORE", text)
    assert location(Path("project")) == tmp_path / text.removeprefix("~").removeprefix("/")


@pytest.mark.parametrize("text", ["/scratch/store", "stores/~mine", "there"])
def test_a_store_elsewhere(monkeypatch, text):
    monkeypatch.setenv("THREEFOLD_STORE", text)
    assert location(Path("project")) == Path(text)


def test_a_store_in_the_home_of_nobody(monkeypatch):
    monkeypatch.setenv("THREEFOLD_STORE", "~no-such-user/store")
    with pytest.raises(InputError, match=r"^THREEFOLD_STORE: ~no-such-user/store: there is no such user; write[^\n]+$"):
        location(Path("project"))


def test_a_store_beside_the_project(monkeypatch):
    monkeypatch.delenv("THREEFOLD_STORE", raising=False)
    assert location(Path("project")) == Path("project/.store")


@pytest.mark.parametrize("setting", ["true", "input", "false"])
def test_a_clone_has_the_bytes_that_were_hashed_whatever_it_does_to_line_endings(tmp_path, setting):
    """One file of each kind that the project has, committed by somebody without any settings."""

    def git(*arguments):
        names = ["-c", "user.name=t", "-c", "user.email=t@localhost"]
        return subprocess.run(["git", *names, *arguments], check=True, capture_output=True, text=True).stdout

    there = tmp_path / "there"
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    kinds = {Path(name).suffix or Path(name).name: name for name in filter(None, listed.split("\0"))}
    assert {".py", ".yaml", ".json", ".lock", ".safetensors", ".csv"} <= set(kinds)
    contents = {name: (ROOT / name).read_bytes() for name in kinds.values()}
    contents |= {"crlf.csv": b"a,b\r\n1,2\r\n", ".gitattributes": (ROOT / ".gitattributes").read_bytes()}
    for name, data in contents.items():
        (there / name).parent.mkdir(parents=True, exist_ok=True)
        (there / name).write_bytes(data)
    git("init", "--quiet", str(there))
    git("-C", str(there), "add", "--all", "--force")
    git("-C", str(there), "commit", "--quiet", "-m", "all")
    here = tmp_path / "here"
    git("clone", "--quiet", "-c", f"core.autocrlf={setting}", "-c", "core.eol=crlf", str(there), str(here))
    for name, data in contents.items():
        assert (here / name).read_bytes() == data, name
    assert git("-C", str(here), "status", "--porcelain") == ""
