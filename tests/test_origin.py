"""The commit that is recorded is that of the code which runs, or none, and the tree of another; `git` here is real."""

import json
import os
import shutil
import subprocess

import pytest

from tests import test_run
from threefold.base.errors import InputError
from threefold.profile.design import load
from threefold.store.origin import commit
from threefold.store.worktree import worktree

UNKNOWN = {"commit": None, "dirty": None}


def git(folder, *arguments):
    command = ["git", "-C", folder, "-c", "user.name=t", "-c", "user.email=t@localhost", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def repository(folder):
    """A checkout with one file in one commit."""
    folder.mkdir(parents=True)
    git(folder, "init", "--quiet")
    (folder / "code.py").write_text("x = 1\n")
    git(folder, "add", "code.py")
    git(folder, "commit", "--quiet", "-m", "a commit")
    return folder


@pytest.fixture
def checkout(tmp_path):
    return repository(tmp_path / "checkout")


def test_a_checkout(checkout):
    head = git(checkout, "rev-parse", "HEAD")
    assert commit(checkout) == {"commit": head, "dirty": False}
    (checkout / "notes.txt").write_text("untracked\n")
    assert commit(checkout) == {"commit": head, "dirty": False}
    (checkout / "code.py").write_text("x = 2\n")
    assert commit(checkout) == {"commit": head, "dirty": True}


def test_it_does_not_depend_on_where_the_command_runs(checkout, tmp_path, monkeypatch):
    monkeypatch.chdir(repository(tmp_path / "other"))
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "other" / ".git"))
    monkeypatch.setenv("GIT_WORK_TREE", str(tmp_path / "other"))
    found = commit(checkout)
    monkeypatch.undo()
    assert found["commit"] == git(checkout, "rev-parse", "HEAD")


def test_by_a_link_and_as_a_second_working_tree(checkout, tmp_path):
    (tmp_path / "link").symlink_to(checkout)
    git(checkout, "worktree", "add", "--quiet", tmp_path / "tree")
    head = {"commit": git(checkout, "rev-parse", "HEAD"), "dirty": False}
    assert commit(tmp_path / "link") == commit(tmp_path / "tree") == head


def test_the_tree_of_a_commit_does_not_depend_on_where_the_command_runs(checkout, tmp_path, monkeypatch):
    monkeypatch.setenv("GIT_DIR", str(repository(tmp_path / "other") / ".git"))
    with worktree(checkout, "HEAD") as (_, tree):
        assert (tree / "code.py").read_text() == "x = 1\n"
    assert not tree.exists()


def test_a_tree_that_git_cannot_make_is_one_line_with_what_git_says(checkout):
    """A filter that is asked for and fails, as git-lfs does without a network."""
    (checkout / ".gitattributes").write_text("code.py filter=large\n")
    git(checkout, "add", ".gitattributes")
    git(checkout, "commit", "--quiet", "-m", "a filter")
    for key, value in {"smudge": "false", "required": "true"}.items():
        git(checkout, "config", f"filter.large.{key}", value)
    line = (
        r"/tree: git cannot make a working tree of HEAD there: [^\n]*smudge filter large failed; mend that, or [^\n]+$"
    )
    with pytest.raises(InputError, match=line), worktree(checkout, "HEAD"):
        raise AssertionError("there is no tree")
    assert git(checkout, "worktree", "list").count("\n") == 0


@pytest.mark.parametrize("tracked", [False, True])
def test_unzipped_inside_another_repository(checkout, tracked):
    inside = checkout / "deep" / "threefold"
    inside.mkdir(parents=True)
    (inside / "code.py").write_text("x = 1\n")
    if tracked:
        git(checkout, "add", "deep")
        git(checkout, "commit", "--quiet", "-m", "another commit")
    assert commit(inside) == UNKNOWN


def test_no_repository_and_one_without_a_commit(tmp_path):
    assert commit(tmp_path) == UNKNOWN
    git(tmp_path, "init", "--quiet")
    assert commit(tmp_path) == UNKNOWN


def test_another_owners_checkout(checkout, monkeypatch):
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
    assert commit(checkout) == UNKNOWN
    monkeypatch.undo()
    if os.geteuid() == 0:
        for path in (checkout, checkout / ".git"):
            os.chown(path, 12345, 12345)
        monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)  # in which it might be trusted
        assert commit(checkout) == UNKNOWN


@pytest.mark.parametrize("kind", ["none", "not executable"])
def test_no_git_program(checkout, tmp_path, monkeypatch, kind):
    (tmp_path / "bin").mkdir()
    if kind == "not executable":
        (tmp_path / "bin" / "git").write_text("")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    assert commit(checkout) == UNKNOWN


def test_without_git_a_cell_is_delivered_all_the_same(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert shutil.which("git") is None
    params = test_run.project(tmp_path)
    assert test_run.train(params, "bc") == 0
    sidecar = load(params).results / "provenance" / test_run.TASK / "bc" / f"{test_run.PARTS[0]}.json"
    assert json.loads(sidecar.read_text())["commit"] is None
    assert (test_run.cell(params, "bc") / test_run.PARTS[0] / "evaluations.csv.gz").exists()
