"""The store: what is taken for a cell's result or for a state of its training, and what is not."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests import test_run
from tests.command import threefold
from tests.test_run import PARAMS, TASK, project
from threefold.base.errors import InputError
from threefold.cells.grid import grid, status
from threefold.cells.inputs import Sources, differences
from threefold.profile.design import load
from threefold.store import entries as module
from threefold.store import sources
from threefold.store.entries import Checkpoints, Entry, entries, is_locked, location

INPUTS = {"seeds": [0, 1], "files": {"algorithms/gail.py": "abc"}}
PROVENANCE = {"machine": "this one"}


@pytest.fixture
def entry(tmp_path):
    return Entry(tmp_path / "store", "Hopper-v5", "gail", INPUTS)


@pytest.fixture
def done(entry):
    with entry.locked():
        entry.result.mkdir()
        (entry.result / "learners.csv").write_text("a table\n")
        (entry.result / "policies.safetensors").write_bytes(b"weights")
        entry.finish(PROVENANCE)
    return entry


def test_a_finished_cell_is_copied(done, tmp_path):
    (tmp_path / "cell").mkdir()
    (tmp_path / "cell" / "old.csv").write_text("old")
    assert done.finished()
    done.copy(tmp_path / "cell")
    assert {path.name: path.read_bytes() for path in (tmp_path / "cell").iterdir()} == {
        "learners.csv": b"a table\n",
        "policies.safetensors": b"weights",
    }
    assert json.loads(done.provenance()) == PROVENANCE
    assert status(done.folder) == "done"


def test_other_inputs_are_another_entry(done, tmp_path):
    for other in (INPUTS | {"seeds": [0]}, INPUTS | {"files": {"algorithms/gail.py": "abd"}}):
        assert not Entry(tmp_path / "store", "Hopper-v5", "gail", other).finished()
    assert Entry(tmp_path / "store", "Hopper-v5", "gail", dict(reversed(INPUTS.items()))).finished()


def cut(path):
    path.write_bytes(path.read_bytes()[:-1])


def flip(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def link(path):
    path.rename(path.with_suffix(".elsewhere"))
    path.symlink_to(path.with_suffix(".elsewhere"))


DAMAGES = [
    ("result/learners.csv", cut, "missing, cut or altered"),
    ("result/policies.safetensors", flip, "missing, cut or altered"),
    ("result/learners.csv", Path.unlink, "missing, cut or altered"),
    ("result/learners.csv", link, "no plain file"),
    ("result/more.csv", lambda path: path.write_text("x"), "no part of the result"),
    ("provenance.json", flip, "missing, cut or altered"),
    ("done", lambda path: path.write_bytes(path.read_bytes()[:50]), "cut or altered"),
    ("done", lambda path: path.write_text('{"sha256": ["../../x"]}'), "cut or altered"),
    ("done", lambda path: path.write_text('{"sha256": {"../../x": "y"}}'), "missing, cut or altered"),
]


@pytest.mark.parametrize(("name", "damage", "said"), DAMAGES)
def test_a_damaged_result_is_found_said_and_not_taken(done, capsys, name, damage, said):
    damage(done.folder / name)
    assert not done.finished()
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"Hopper-v5/gail: {done.folder}/")
    assert line.endswith(f"{said}; computing it again")
    assert not done.finished()
    assert status(done.folder) == "stopped"


@pytest.fixture
def always(monkeypatch):
    """A checkpoint whenever one is offered."""
    monkeypatch.setattr(module, "CHECKPOINT_EVERY", 0.0)
    monkeypatch.setattr(module, "CHECKPOINT_SHARE", 1e9)


def test_the_last_two_checkpoints_are_kept(always, entry):
    checkpoints = Checkpoints(entry.checkpoints / "0", "a/b")
    assert checkpoints.last() is None
    for iteration in range(9, 12):
        checkpoints.offer(iteration, f"state {iteration}".encode)
    assert [path.name[:10] for path in sorted(checkpoints.folder.iterdir())] == ["0000000010", "0000000011"]
    assert checkpoints.last() == b"state 11"


@pytest.mark.parametrize("damage", [cut, flip, lambda path: path.write_bytes(b"")])
def test_a_damaged_checkpoint_is_said_and_the_one_before_is_taken(always, entry, capsys, damage):
    checkpoints = Checkpoints(entry.checkpoints / "0", "a/b")
    for iteration in (1, 2):
        checkpoints.offer(iteration, f"state {iteration}".encode)
    first, second = sorted(checkpoints.folder.iterdir())
    damage(second)
    assert checkpoints.last() == b"state 1"
    assert capsys.readouterr().err == f"a/b: {second}: cut or altered; going on from the one before\n"
    damage(first)
    assert checkpoints.last() is None
    (checkpoints.folder / ".0000000003-half").write_text("of a killed run")
    assert checkpoints.last() is None


def test_checkpoints_take_a_bounded_share_of_the_time(monkeypatch, entry):
    now = [0.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    checkpoints = Checkpoints(entry.checkpoints / "0", "a/b")
    times = []

    def slow():
        times.append(now[0])
        now[0] += 2.0
        return b"state"

    for _ in range(2000):
        now[0] += 1.0
        checkpoints.offer(1, slow)
    assert times[0] == pytest.approx(module.CHECKPOINT_EVERY, abs=1)
    assert all(b - a >= 2.0 / module.CHECKPOINT_SHARE for a, b in zip(times, times[1:], strict=False))
    assert len(times) > 5


HOLD = """
import sys, time
from pathlib import Path
from threefold.store.entries import Entry
with Entry(Path(sys.argv[1]), "Hopper-v5", "gail", {inputs}).locked():
    print("locked", flush=True)
    time.sleep(60)
"""


def test_the_lock_of_a_killed_process_is_free(entry, capsys, monkeypatch):
    monkeypatch.setattr(module, "WAITING_LINE", 0.2)
    command = [sys.executable, "-c", HOLD.format(inputs=INPUTS), str(entry.folder.parents[2])]
    holder = subprocess.Popen(command, cwd=test_run.ROOT, stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "locked\n"
        assert is_locked(entry.folder)
        assert status(entry.folder) == "running"
        real = module.FileLock.acquire

        def acquire(lock, timeout):  # the third time its holder is gone
            if timeout == 0.2 and len(capsys.readouterr().err.splitlines()) > 0:
                holder.kill()
                holder.wait()
            return real(lock, timeout)

        monkeypatch.setattr(module.FileLock, "acquire", acquire)
        with entry.locked():
            assert holder.returncode is not None
            assert json.loads((entry.folder / "holder.json").read_text())["pid"] == os.getpid()
    finally:
        holder.kill()
        holder.wait()
    assert status(entry.folder) == "stopped"


def test_who_waits_says_for_whom(entry, capsys, monkeypatch):
    monkeypatch.setattr(module, "GLANCE", 0.0)
    with entry.locked():
        other, tries = Entry(entry.folder.parents[2], "Hopper-v5", "gail", INPUTS), []

        def acquire(lock, timeout):
            tries.append(timeout)
            if len(tries) > 2:
                raise KeyboardInterrupt
            raise module.Timeout(str(lock.lock_file))

        monkeypatch.setattr(module.FileLock, "acquire", acquire)
        with pytest.raises(KeyboardInterrupt), other.locked():
            pass
    said = f"Hopper-v5/gail: process {os.getpid()} on "
    assert all(line.startswith(said) for line in capsys.readouterr().err.splitlines())
    assert tries == [0.0, module.WAITING_LINE, module.WAITING_LINE]


# What a cell is made from.


@pytest.fixture
def params(tmp_path):
    return project(tmp_path)


def folders(path):
    return {entry.name: entry.folder for entry in grid(load(path), path)}


GAIL, BC = f"{TASK}/gail", f"{TASK}/bc"


@pytest.mark.parametrize(
    "change",
    [
        {"seeds": [0, 3, 4]},
        {"budget": {TASK: PARAMS["budget"][TASK] | {"env_steps": 351}}},
        {"budget": {TASK: PARAMS["budget"][TASK] | {"demonstrations": [1]}}},
        {"evaluation": PARAMS["evaluation"] | {"points": 4}},
        {"overrides": {TASK: PARAMS["overrides"][TASK] | {"batch": 17}}},
    ],
)
def test_a_change_of_the_design_is_another_cell(params, change):
    before = folders(params)
    after = folders(project(params.parent, **change))
    assert before[GAIL] != after[GAIL]
    assert before[BC] != after[BC]


@pytest.mark.parametrize(
    "change",
    [
        {"profile": "other"},
        {"methods": ["bc", "gail", "fem"]},
        {"overrides": {TASK: PARAMS["overrides"][TASK] | {"classifier_entropy_weight": 0.0}}},  # gail's alone
    ],
)
def test_a_change_that_a_cell_does_not_see_is_none(params, change):
    before = folders(params)
    after = folders(project(params.parent, **change))
    assert before[BC] == after[BC]


def test_every_file_that_dvc_makes_a_cell_from_counts(params):
    files = Sources(params.parent).of(load(params).demonstrations(TASK), "gail")
    assert {"algorithms/gail.py", "algorithms/core/ppo.py", "envs/batch.py", "results/run.py"} <= set(files)
    assert f"data/demonstrations/{TASK}/trajectories.safetensors" in files
    assert not [name for name in files if "pycache" in name or name == "algorithms/bc.py"]


def test_other_demonstrations_are_another_cell(params):
    before = folders(params)
    flip(params.parent / "data" / "demonstrations" / TASK / "trajectories.safetensors")
    assert before[GAIL] != folders(params)[GAIL]


def test_differences_are_named():
    other = {"seeds": [0, 1], "budget": 3, "files": {"algorithms/gail.py": "abd", "envs/ant.py": "x"}}
    assert differences(INPUTS, INPUTS) == []
    assert differences(INPUTS, other) == ["algorithms/gail.py", "budget", "envs/ant.py"]


def test_code_edited_while_the_command_starts_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(sources, "CODE", tmp_path)
    (tmp_path / "a.py").write_text("")
    with pytest.raises(InputError, match=r"a\.py: changed while this command was starting; start it again"):
        sources.refuse_edits_since_start({"a.py": ""})
    age = time.time() - sources._process_began()
    assert 0 < age < 86400
    monkeypatch.setattr(sources, "_process_began", lambda: time.time() + 1)
    sources.refuse_edits_since_start({"a.py": ""})


# The command.


def command(root, *arguments):
    return threefold("store", *arguments, "--root", root)


@pytest.fixture
def stocked(params):
    """A project whose store has gail's cell as it is asked for and as it was, and a damaged one."""
    (params.parent / "dvc.yaml").write_text("stages: {}\n")
    wanted = next(entry for entry in grid(load(params), params) if entry.name == GAIL)
    old = Entry(location(params.parent), TASK, "gail", INPUTS)
    broken = Entry(location(params.parent), TASK, "fem", INPUTS)
    for entry in (wanted, old, broken):
        with entry.locked():
            entry.result.mkdir()
            (entry.result / "learners.csv").write_text("a table\n")
            entry.finish(PROVENANCE)
    cut(broken.result / "learners.csv")
    return wanted, old, broken


def test_list(stocked, params, capsys):
    assert command(params.parent, "list") == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if stocked[0].folder.name in line and "tiny" in line and "done" in line]
    assert [line for line in lines if stocked[1].folder.name in line and "tiny" not in line]


def test_verify(stocked, params, capsys):
    assert command(params.parent, "verify") == 2
    said = capsys.readouterr()
    assert said.out == f"{stocked[2].result / 'learners.csv'}: missing, cut or altered\n"
    assert said.err.startswith("error: ")
    (stocked[2].result / "learners.csv").write_text("a table\n")
    assert command(params.parent, "verify") == 0


def test_prune_keeps_what_is_asked_for_and_what_is_being_computed(stocked, params, capsys):
    with stocked[2].locked():
        assert command(params.parent, "prune") == 0
    assert entries(location(params.parent)) == sorted([stocked[0].folder, stocked[2].folder])
    assert capsys.readouterr().out.splitlines() == [
        f"being computed, stays: {stocked[2].folder}",
        f"removed: {stocked[1].folder}",
    ]
    assert not stocked[1].folder.with_name(f"{stocked[1].folder.name}.lock").exists()


def test_prune_a_cell(stocked, params, capsys):
    assert command(params.parent, "prune", GAIL) == 0
    assert entries(location(params.parent)) == [stocked[2].folder]
    assert command(params.parent, "prune", "Hopper-v5/gial") == 2
    assert "Hopper-v5/gial: not in" in capsys.readouterr().err
