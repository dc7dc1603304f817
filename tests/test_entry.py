"""The store: what is taken for a cell's result or for a state of its training, and what is not."""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from select import select
from signal import SIGKILL

import pytest

import envs
from tests import test_run
from tests.command import threefold
from tests.test_run import PARAMS, TASK, contents, project
from threefold.base.errors import InputError
from threefold.cells import run
from threefold.cells.cell import Cell
from threefold.cells.grid import grid, status
from threefold.profile.design import load
from threefold.store import checkpoints as saving
from threefold.store import code
from threefold.store import entries as module
from threefold.store.checkpoints import Checkpoints
from threefold.store.entries import Entry, damages, entries, is_locked, location
from threefold.store.inputs import differences, fingerprint, plain

NAME = "Hopper-v5/gail/4_0-1-2"
INPUTS = {"seeds": [0, 1], "code": {"algorithms/gail.py": "abc"}, "data": {"hopper.xml": "def"}}
PROVENANCE = {"machine": "this one"}


@pytest.fixture
def entry(tmp_path):
    return Entry(tmp_path / "store", NAME, INPUTS)


@pytest.fixture
def done(entry):
    with entry.locked():
        entry.result.mkdir()
        (entry.result / "learners.csv").write_text("a table\n")
        (entry.result / "policies.safetensors").write_bytes(b"weights")
        entry.finish(PROVENANCE)
    return entry


def test_a_finished_result_is_delivered_in_the_place_of_what_was_there(done, tmp_path):
    part = tmp_path / "cell" / "4_0-1-2"
    part.mkdir(parents=True)
    (part / "old.csv").write_text("old")
    (part.parent / ".4_0-1-2-left").mkdir()  # by a run that was killed
    assert done.finished()
    done.deliver(part)
    assert contents(part) == {"learners.csv": b"a table\n", "policies.safetensors": b"weights"}
    assert [path.name for path in part.parent.iterdir()] == [part.name]
    done.deliver(part, ["policies.safetensors"])
    assert contents(part) == {"learners.csv": b"a table\n"}
    assert json.loads(done.provenance()) == PROVENANCE
    assert status(done.folder) == "done"


def test_checkpoints_left_by_a_run_that_was_killed_while_it_finished_go(done):
    left = done.checkpoints / "cpu-abc" / "12"
    left.mkdir(parents=True)
    assert done.finished()
    assert not done.checkpoints.exists()
    assert damages(done.folder) == []


def test_other_inputs_are_another_entry(done, tmp_path):
    for other in (INPUTS | {"seeds": [0]}, INPUTS | {"code": {"algorithms/gail.py": "abd"}}):
        assert not Entry(tmp_path / "store", NAME, other).finished()
    assert not Entry(tmp_path / "store", "Hopper-v5/gail/4_0-1", INPUTS).finished()
    assert Entry(tmp_path / "store", NAME, dict(reversed(INPUTS.items()))).finished()


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
    assert line.startswith(f"{NAME}: {done.folder}/")
    assert line.endswith(f"{said}; computing it again")
    assert not done.finished()
    assert status(done.folder) == "stopped"


@pytest.fixture
def always(monkeypatch):
    """A checkpoint whenever one is offered."""
    monkeypatch.setattr(saving, "EVERY", 0.0)
    monkeypatch.setattr(saving, "SHARE", 1e9)


class Counter:
    """Something that trains."""

    def __init__(self):
        self.count = 0

    def load_state_dict(self, state):
        self.count = state["count"]


def state(count):
    return lambda: {"counter": {"count": count}, "iteration": count}


def restored(checkpoints):
    """The count that is restored, or None."""
    counter = Counter()
    tree = checkpoints.restore({"counter": counter})
    assert checkpoints.found() == (tree is not None)
    if tree is None:
        return None
    assert tree == {"counter": {"count": counter.count}, "iteration": counter.count}
    return counter.count


def test_the_last_two_checkpoints_are_kept(always, entry):
    checkpoints = Checkpoints(entry.checkpoints / "0", "a/b")
    assert restored(checkpoints) is None
    for iteration in range(9, 12):
        checkpoints.offer(iteration, state(iteration))
    assert [path.name[:10] for path in sorted(checkpoints.folder.iterdir())] == ["0000000010", "0000000011"]
    assert restored(checkpoints) == 11


@pytest.mark.parametrize("damage", [cut, flip, lambda path: path.write_bytes(b"")])
def test_a_damaged_checkpoint_is_said_and_the_one_before_is_taken(always, entry, capsys, damage):
    checkpoints = Checkpoints(entry.checkpoints / "0", "a/b")
    for iteration in (1, 2):
        checkpoints.offer(iteration, state(iteration))
    first, second = sorted(checkpoints.folder.iterdir())
    damage(second)
    assert restored(checkpoints) == 1
    assert set(capsys.readouterr().err.splitlines()) == {f"a/b: {second}: cut or altered; taking the one before it"}
    damage(first)
    assert restored(checkpoints) is None
    (checkpoints.folder / ".0000000003-half").write_text("of a killed run")
    assert restored(checkpoints) is None


def test_a_state_of_another_training_is_refused(always, entry):
    checkpoints = Checkpoints(entry.checkpoints / "0", "a/b")
    checkpoints.offer(1, lambda: {"counter": {}})
    with pytest.raises(InputError, match=r"no checkpoint of this training \('count'\)"):
        restored(checkpoints)
    checkpoints.offer(2, dict)
    with pytest.raises(InputError, match=r"no checkpoint of this training \('counter'\)"):
        restored(checkpoints)


def test_a_checkpoint_that_cannot_be_written_is_said_and_training_continues(always, entry, capsys):
    checkpoints = Checkpoints(entry.checkpoints / "0", "a/b")
    checkpoints.folder.parent.mkdir(parents=True)
    checkpoints.folder.write_text("a file in its way")
    checkpoints.offer(7, state(7))
    assert capsys.readouterr().err == (
        f"a/b: iteration 7 is not saved: {checkpoints.folder}: File exists; training continues\n"
    )


def test_checkpoints_take_a_bounded_share_of_the_time(monkeypatch, entry):
    now = [0.0]
    monkeypatch.setattr(saving.time, "monotonic", lambda: now[0])
    checkpoints = Checkpoints(entry.checkpoints / "0", "a/b")
    times = []

    def slow():
        times.append(now[0])
        now[0] += 2.0
        return {}

    for _ in range(2000):
        now[0] += 1.0
        checkpoints.offer(1, slow)
    assert times[0] == pytest.approx(saving.EVERY, abs=1)
    assert all(b - a >= 2.0 / saving.SHARE for a, b in zip(times, times[1:], strict=False))
    assert len(times) > 5


HOLD = """
import sys, time
from pathlib import Path
from threefold.store.entries import Entry
with Entry(Path(sys.argv[1]), "{name}", {inputs}).locked():
    print("locked", flush=True)
    time.sleep(60)
"""


def test_the_lock_of_a_killed_process_is_free(entry, capsys, monkeypatch):
    monkeypatch.setattr(module, "WAITING_LINE", 0.2)
    command = [sys.executable, "-c", HOLD.format(name=NAME, inputs=INPUTS), str(entry.folder.parents[3])]
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


LEAVE = """
import multiprocessing, sys, time
from pathlib import Path
from threefold.store.entries import Entry

def hold(store):
    with Entry(store, "{name}", {inputs}).locked():
        print(multiprocessing.current_process().pid, flush=True)
        time.sleep(60)

process = multiprocessing.get_context("fork").Process(target=hold, args=(Path(sys.argv[1]),))
process.start()
process.join()
"""


def test_a_worker_lets_go_when_its_parent_is_killed(entry):
    command = [sys.executable, "-c", LEAVE.format(name=NAME, inputs=INPUTS), str(entry.folder.parents[3])]
    parent = subprocess.Popen(command, cwd=test_run.ROOT, stdout=subprocess.PIPE, text=True)
    try:
        assert parent.stdout is not None
        worker = int(parent.stdout.readline())
        assert is_locked(entry.folder)
    finally:
        parent.kill()
        parent.wait()
    ended, _, _ = select([parent.stdout], [], [], 30.0)  # the pipe's end, which comes with that of the worker
    if not ended:
        os.kill(worker, SIGKILL)
    assert ended
    assert not is_locked(entry.folder)


def test_who_waits_says_for_whom(entry, capsys, monkeypatch):
    monkeypatch.setattr(module, "GLANCE", 0.0)
    with entry.locked():
        other, tries = Entry(entry.folder.parents[3], NAME, INPUTS), []

        def acquire(lock, timeout):
            tries.append(timeout)
            if len(tries) > 2:
                raise KeyboardInterrupt
            raise module.Timeout(str(lock.lock_file))

        monkeypatch.setattr(module.FileLock, "acquire", acquire)
        with pytest.raises(KeyboardInterrupt), other.locked():
            pass
    said = f"{NAME}: process {os.getpid()} on "
    assert all(line.startswith(said) for line in capsys.readouterr().err.splitlines())
    assert tries == [0.0, module.WAITING_LINE, module.WAITING_LINE]


# What a part of a cell is made from.


@pytest.fixture
def params(tmp_path):
    return project(tmp_path)


def folders(path, row):
    """The folder in the store of each part of a cell, by its name."""
    return {place.part.name: place.entry.folder for place in grid(load(path)) if place.cell.row == row}


GAIL = f"{TASK}/gail"


@pytest.mark.parametrize(
    "change",
    [
        {"budget": {TASK: PARAMS["budget"][TASK] | {"env_steps": 351}}},
        {"budget": {TASK: PARAMS["budget"][TASK] | {"parallel_episodes": 3}}},
        {"evaluation": PARAMS["evaluation"] | {"points": 4}},
        {"overrides": {TASK: PARAMS["overrides"][TASK] | {"batch": 17}}},
        {"seeds": [0, 2]},
    ],
)
def test_a_change_of_the_design_is_another_part(params, change):
    before = {row: folders(params, row) for row in ("bc", "gail")}
    project(params.parent, **change)
    for row in before:
        after = folders(params, row)
        assert len(after) == len(before[row]) == 2
        assert not set(before[row].values()) & set(after.values())


@pytest.mark.parametrize(
    "change",
    [
        {"profile": "other"},
        {"methods": ["bc", "gail", "fem"]},
        {"overrides": {TASK: PARAMS["overrides"][TASK] | {"classifier_entropy_weight": 0.0}}},  # gail's alone
        {"budget": {TASK: PARAMS["budget"][TASK] | {"short_budget": True}}},  # which only the report reads
        {"variants": {"bc_again": {"method": "bc", "tasks": [TASK]}}},
        {"keep_going": True},
    ],
)
def test_a_change_that_a_part_does_not_see_is_none(params, change):
    before = folders(params, "bc")
    project(params.parent, **change)
    assert folders(params, "bc") == before


def test_more_seeds_and_numbers_of_demonstrations_add_parts_and_leave_the_others(params):
    before = folders(params, "gail")
    assert list(before) == ["1_0-1", "2_0-1"]
    project(params.parent, seeds=[4, 0, 1, 3], budget={TASK: PARAMS["budget"][TASK] | {"demonstrations": [1, 2, 5]}})
    after = folders(params, "gail")
    assert list(after) == ["1_0-1", "1_3-4", "2_0-1", "2_3-4", "5_0-1", "5_3-4"]
    assert before.items() <= after.items()


def test_the_machine_does_not_count_but_what_it_computes_does(params):
    made_from = Cell(load(params), TASK, "gail").made_from(load(params).parts(TASK, "gail")[0])
    assert {"algorithms/gail.py", "algorithms/core/ppo.py", "envs/batch.py", "envs/inverted_pendulum.py"} <= set(
        made_from["code"]
    )
    assert {"threefold/cells/training.py", "threefold/cells/record.py"} <= set(made_from["code"])
    assert not {"algorithms/bc.py", "envs/hopper.py", "envs/physics/warp.py"} & set(made_from["code"])
    assert not [name for name in made_from["code"] if name.startswith(("threefold/report", "studies"))]
    assert set(made_from["data"]) == {
        "inverted_pendulum.xml", "demonstrations.sha256", "demonstrations.every", "demonstrations.whole"
    }  # fmt: skip
    assert not {"version", "versions", "device", "cpu", "machine"} & set(made_from)
    assert plain(made_from) == made_from


@pytest.mark.parametrize("key", ["sha256", "every", "whole"])
def test_other_demonstrations_are_another_part(params, key):
    before = folders(params, "gail")
    path = params.parent / "data" / "demonstrations" / TASK / "card.json"
    card = json.loads(path.read_text())
    other = {"sha256": "0" * 64, "every": card["every"] + 1, "whole": not card["whole"]}
    path.write_text(json.dumps(card | {"command": "another", "returns": []}))
    assert folders(params, "gail") == before
    path.write_text(json.dumps(card | {key: other[key]}))
    assert not set(folders(params, "gail").values()) & set(before.values())


def test_another_model_is_another_part(params, tmp_path, monkeypatch):
    before = folders(params, "gail")
    path = tmp_path / "inverted_pendulum.xml"
    path.write_bytes(envs.model_files(envs.load(TASK))[0].read_bytes() + b"\n")
    monkeypatch.setattr(envs, "model_files", lambda task: [path])
    assert not set(folders(params, "gail").values()) & set(before.values())


def test_a_fingerprint_is_that_of_the_values():
    assert fingerprint(INPUTS) == fingerprint(plain(dict(reversed(INPUTS.items())) | {"seeds": (0, 1)}))
    assert fingerprint(INPUTS) != fingerprint(INPUTS | {"seeds": [0, 1.0]})
    with pytest.raises(ValueError, match="JSON compliant"):
        fingerprint({"weight": float("nan")})


def test_differences_are_named():
    other = {"seeds": [0, 1], "budget": 3, "code": {"algorithms/gail.py": "abd", "envs/ant.py": "x"}}
    assert differences(INPUTS, INPUTS) == []
    assert differences(INPUTS, other) == ["algorithms/gail.py", "budget", "envs/ant.py", "hopper.xml"]


def test_code_edited_while_the_command_starts_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(code, "ROOT", tmp_path)
    (tmp_path / "a.py").write_text("")
    with pytest.raises(InputError, match=r"a\.py: changed while this command was starting; start it again"):
        code.refuse_edits_since_start({"a.py": ""})
    age = time.time() - code._process_began()
    assert 0 < age < 86400
    monkeypatch.setattr(code, "_process_began", lambda: time.time() + 1)
    code.refuse_edits_since_start({"a.py": ""})


# The command.


def command(root, *arguments):
    return threefold("store", *arguments, "--root", root)


@pytest.fixture
def stocked(params):
    """A project whose store has a part of gail's cell as it is asked for and as it was, and a damaged one."""
    (params.parent / "dvc.yaml").write_text("stages: {}\n")
    wanted = next(place.entry for place in grid(load(params)) if place.cell.row == "gail")
    old = Entry(location(params.parent), wanted.name, INPUTS)
    broken = Entry(location(params.parent), f"{TASK}/fem/1_0-1", INPUTS)
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


def test_prune_where_no_profile_is_removes_nothing(stocked, params, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("THREEFOLD_STORE", str(location(params.parent)))
    before = entries(location(params.parent))
    (tmp_path / "empty").mkdir()
    for verb in ("prune", "list", "verify", "deliver"):
        assert command(tmp_path / "empty", verb) == 2
        said = f"error: --root {tmp_path / 'empty'}: no profile here, a params.yaml beside a dvc.yaml; name the project"
        assert capsys.readouterr().err.startswith(said)
    assert entries(location(params.parent)) == before


def test_prune_leaves_parts_of_studies_alone(stocked, params, capsys):
    part = Entry(location(params.parent), "studies/visual/row", INPUTS)
    with part.locked():
        pass
    assert command(params.parent, "prune") == 0
    assert part.folder in entries(location(params.parent))
    assert command(params.parent, "prune", "studies/visual") == 0
    assert part.folder not in entries(location(params.parent))


def test_prune_a_cell_or_a_part(stocked, params, capsys):
    other = Entry(location(params.parent), f"{TASK}/gail/2_0-1", INPUTS)
    with other.locked():
        pass
    assert command(params.parent, "prune", f"{TASK}/gai") == 2
    assert command(params.parent, "prune", f"{GAIL}/1_0-1") == 0
    assert entries(location(params.parent)) == sorted([stocked[2].folder, other.folder])
    assert command(params.parent, "prune", GAIL) == 0
    assert entries(location(params.parent)) == [stocked[2].folder]
    capsys.readouterr()
    assert command(params.parent, "prune", "Hopper-v5/gial") == 2
    assert "Hopper-v5/gial: not in" in capsys.readouterr().err


def test_deliver_puts_what_is_finished_in_its_place_and_computes_nothing(params, capsys, monkeypatch):
    (params.parent / "dvc.yaml").write_text("stages: {}\n")
    project(params.parent, evaluation={"episodes": 1, "points": 1, "episodes_during_training": 1})
    assert test_run.train(params, "bc") == 0
    cell, parts = load(params).cell(TASK, "bc"), load(params).parts(TASK, "gail")
    before = contents(cell)
    shutil.rmtree(load(params).results)
    monkeypatch.setattr(run, "compute", None)
    capsys.readouterr()
    assert command(params.parent, "deliver") == 0
    assert capsys.readouterr().out == "tiny: 2 parts delivered, 2 missing\n"
    assert contents(cell) == before
    assert not [name for name in before if "models" in name]
    provenance = load(params).results / "provenance" / TASK / "bc"
    assert sorted(path.stem for path in provenance.iterdir()) == [part.name for part in parts]
    assert not load(params).cell(TASK, "gail").exists()
