"""What real machines do: kills, double starts, edits in the middle, full disks, flipped bits, hostile files.

THREEFOLD_KILLS says how often something is killed: few times here, many in `tox -e faults`.
"""

import ast
import hashlib
import io
import json
import os
import pickle
import random
import shutil
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from algorithms import gail
from algorithms.core.state import pack
from tests import crashing, test_imports, test_run
from tests.test_run import ROOT, TASK, cell, contents, project
from threefold.cells.cell import Cell
from threefold.cells.run import Work
from threefold.profile.design import load
from threefold.store import code
from threefold.store.entries import Entry, entries, is_locked, location

KILLS = int(os.environ.get("THREEFOLD_KILLS", "4"))
SMALL = {
    "seeds": [0, 1],  # one part, which trains in the process that is started, or in the tests' own
    "evaluation": {"episodes": 2, "points": 3, "episodes_during_training": 1},
    "budget": {TASK: {"env_steps": 500, "parallel_episodes": 2, "demonstrations": [1]}},
}

TWO = SMALL | {"seeds": [0, 3]}  # two parts


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The bytes of cells that nothing happened to."""
    params = project(tmp_path_factory.mktemp("whole"), methods=["bc", "gail", "gcl"], **SMALL)
    assert [test_run.train(params, name) for name in ("bc", "gail", "gcl")] == [0] * 3
    return {name: contents(cell(params, name)) for name in ("bc", "gail", "gcl")}


@pytest.fixture
def params(tmp_path):
    return project(tmp_path, methods=["bc", "gail", "gcl"], **SMALL)


@pytest.fixture
def stopped(params):
    """A cell that was killed after two checkpoints; the folder of those."""
    process = crashing.start(params, "gail", TASK, pause_after=2)
    crashing.wait_until(lambda: len(checkpoints(params)) == 2)
    process.kill()
    assert crashing.finish(process) == -9
    return checkpoints(params)[0].parent


def checkpoints(params):
    return list(location(params.parent).glob("*/*/*/*/checkpoints/*/[0-9]*"))


def said(params):
    return params.with_name("said").read_text()


def sound(params, row, whole):
    """The cell is what it would be without any fault, nothing is left behind, and who computed it is known."""
    assert contents(cell(params, row)) == whole[row]
    parts = sorted(part.name for part in load(params).parts(TASK, "gail"))
    folders = entries(location(params.parent))
    assert [folder.parent.name for folder in folders] == parts
    for folder in folders:
        assert {path.name for path in folder.iterdir()} == {
            "inputs.json",
            "holder.json",
            "provenance.json",
            "done",
            "result",
        }
        assert not is_locked(folder)
        sidecar = load(params).results / "provenance" / TASK / row / f"{folder.parent.name}.json"
        assert sidecar.read_bytes() == (folder / "provenance.json").read_bytes()
    assert [path.name for path in cell(params, row).parent.iterdir()] == [row]
    assert sorted(path.name for path in cell(params, row).iterdir()) == parts


@pytest.mark.parametrize("row", ["bc", "gail", "gcl"])
def test_killed_at_any_change_of_a_file_a_cell_ends_with_the_same_bytes(params, whole, row):
    """Each life gets a bit further; some end between two changes that belong together."""
    rng = random.Random(row)
    codes = [crashing.finish(crashing.start(params, row, TASK, rng.randrange(1, 40))) for _ in range(KILLS)]
    assert -9 in codes
    assert set(codes) <= {0, -9}
    assert crashing.finish(crashing.start(params, row, TASK)) == 0
    sound(params, row, whole)


def test_killed_at_any_time(params, stopped, whole):
    rng = random.Random(0)
    for _ in range(KILLS):
        process = crashing.start(params, "gail", TASK)
        process.join(rng.uniform(0.0, 0.5))
        process.kill()
        assert crashing.finish(process) in (0, -9)
    assert crashing.finish(crashing.start(params, "gail", TASK)) == 0
    sound(params, "gail", whole)


@pytest.fixture(scope="module")
def whole_in_two(tmp_path_factory):
    """The bytes of a cell of two parts that nothing happened to."""
    params = project(tmp_path_factory.mktemp("two"), methods=["gail"], **TWO)
    assert crashing.finish(crashing.start(params, "gail", TASK)) == 0
    return {"gail": contents(cell(params, "gail"))}


@pytest.mark.parametrize("threads", ["1", "2"])
def test_parts_in_processes_of_their_own_killed_at_any_change_of_a_file(tmp_path, whole_in_two, monkeypatch, threads):
    monkeypatch.setenv("THREEFOLD_THREADS", threads)
    params, rng = project(tmp_path, methods=["gail"], **TWO), random.Random(threads)
    codes = [crashing.finish(crashing.start(params, "gail", TASK, rng.randrange(1, 40))) for _ in range(KILLS)]
    assert set(codes) <= {0, 1, -9}  # 1: a part's process was killed, and the others with it
    assert set(codes) != {0}
    assert crashing.finish(crashing.start(params, "gail", TASK)) == 0
    sound(params, "gail", whole_in_two)


def test_two_runs_do_not_deliver_a_cell_at_the_same_time(params, whole, monkeypatch):
    """Or one would remove, as no part of the cell, what the other has half written."""
    assert test_run.train(params, "bc") == 0
    shutil.rmtree(cell(params, "bc"))
    deliver, asked, second = Entry.deliver, Cell(load(params), TASK, "bc"), []

    def slowly(entry, folder, leave_out):
        monkeypatch.setattr(Entry, "deliver", deliver)
        half = folder.with_name(f".{folder.name}-half")
        half.mkdir(parents=True)
        second.append(pool.submit(test_run.run.deliver, Cell(load(params), TASK, "bc")))
        with pytest.raises(TimeoutError):
            second[0].result(timeout=0.5)
        assert half.exists()
        deliver(entry, folder, leave_out)

    monkeypatch.setattr(Entry, "deliver", slowly)
    with ThreadPoolExecutor(1) as pool:
        assert test_run.run.deliver(asked) == second[0].result(timeout=60) == []
    sound(params, "bc", whole)


def test_a_run_that_dies_while_it_delivers_leaves_no_part_without_its_origin(params, whole, monkeypatch):
    def killed(*arguments):
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Entry, "deliver", killed)
        assert test_run.train(params, "bc") != 0
        assert not (cell(params, "bc") / "1_0-1").exists()
    monkeypatch.setattr(test_run.run, "Team", None)
    assert test_run.train(params, "bc") == 0
    sound(params, "bc", whole)


def test_a_state_of_other_parts_that_trained_with_the_first_is_none_of_these(tmp_path, monkeypatch):
    """As on a GPU, where what is missing trains together, and another run may have missed other parts."""
    folders = []

    def train(job, watch):
        folders.append(job.checkpoints.folder)
        raise KeyboardInterrupt

    monkeypatch.setattr(test_run.run, "train", train)
    asked = Cell(load(project(tmp_path, **SMALL | {"seeds": [0, 3, 6]})), TASK, "gail")
    first, second, third = asked.parts
    for parts in ([first, second], [first, third], [first, second]):
        learners = [learner for part in parts for learner in part.learners]
        shown = asked.demonstrations(learners, "cpu")
        with pytest.raises(KeyboardInterrupt):
            test_run.run.compute_group(Work(asked, parts, learners, shown, 1, "cpu"), lambda step: None)
    assert folders[0] == folders[2] != folders[1]
    assert folders[0].parent == folders[1].parent == asked.entry(first).checkpoints


def test_a_part_that_is_delivered_already_is_not_computed_again(params, whole, monkeypatch):
    """As in a fresh clone, whose store is empty."""
    assert test_run.train(params, "bc") == 0
    shutil.rmtree(location(params.parent))
    monkeypatch.setattr(test_run.run, "Team", None)
    assert test_run.train(params, "bc") == 0
    assert contents(cell(params, "bc")) == whole["bc"]


@pytest.mark.parametrize("stored", [True, False])
def test_a_part_that_was_damaged_in_its_place_is_made_good(params, whole, stored):
    """From the store if that has it, or by computing it again."""
    assert test_run.train(params, "bc") == 0
    part = cell(params, "bc") / "1_0-1"
    names = sorted(path.name for path in part.iterdir())
    assert len(names) == 5
    damages = [(name, damage) for name in names for damage in (half, flipped, None)] if stored else [(names[0], half)]
    for name, damage in [*damages, ("more.csv", lambda data: b"x")]:
        path = part / name
        if damage is None:
            path.unlink()
        else:
            path.write_bytes(damage(path.read_bytes() if path.exists() else b""))
        if not stored:
            shutil.rmtree(location(params.parent))
        assert test_run.train(params, "bc") == 0
        sound(params, "bc", whole)


def test_two_starts_of_a_cell_compute_it_once(params, whole):
    params.with_name("said").touch()
    first, second = (crashing.start(params, "gail", TASK, pause_after=1) for _ in range(2))
    crashing.wait_until(lambda: "waiting" in said(params))
    (params.parent / "on").touch()
    assert [crashing.finish(first), crashing.finish(second)] == [0, 0]
    lines = said(params).splitlines()
    (waits,) = [line for line in lines if "waiting" in line]
    assert waits.startswith(f"{TASK}/gail/1_0-1: process ")
    assert len([line for line in lines if "512/500 steps per learner" in line]) == 1
    sound(params, "gail", whole)


def test_a_start_that_is_killed_hands_over_to_the_one_that_waits(params, whole):
    first = crashing.start(params, "gail", TASK, pause_after=1)
    crashing.wait_until(lambda: checkpoints(params))
    second = crashing.start(params, "gail", TASK)
    crashing.wait_until(lambda: "waiting" in said(params))
    first.kill()
    assert [crashing.finish(first), crashing.finish(second)] == [-9, 0]
    sound(params, "gail", whole)
    assert provenance(params, "gail")["resumed"] == 1


def provenance(params, row):
    return json.loads((load(params).results / "provenance" / TASK / row / "1_0-1.json").read_text())


@pytest.fixture
def copied(tmp_path, monkeypatch):
    """A copy of the code for the fingerprint to be taken of."""
    folder = tmp_path / "code"
    listed = subprocess.run(["git", "ls-files", "-z", "*.py", "dvc.yaml"], cwd=ROOT, capture_output=True, check=True)
    for name in filter(None, listed.stdout.decode().split("\0")):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, folder / name)
    monkeypatch.setattr(code, "ROOT", folder)
    monkeypatch.setattr(code, "_process_began", lambda: time.time() + 1)
    code.forget()
    yield folder
    code.forget()


def test_an_edit_during_the_run_is_never_recorded_as_the_new_codes_result(params, whole, copied, monkeypatch, capsys):
    method, train = copied / "algorithms" / "gail.py", gail.train
    text = method.read_text()

    def edits(*arguments):
        method.write_text(text + "EDITED = True\n")
        yield from train(*arguments)

    monkeypatch.setattr(gail, "train", edits)
    assert test_run.train(params, "gail") == 2
    assert capsys.readouterr().err.splitlines()[-1] == (
        f"error: algorithms/gail.py: changed while {TASK}/gail/1_0-1 was computed; the result stays in the store, as "
        "the old file's; start it again"
    )
    assert not cell(params, "gail").exists()
    method.write_text(f"# A comment.\n{text}")
    code.forget()  # as another process does

    def trains(env, demonstrations, seeds, config):
        raise ZeroDivisionError("it is computed")

    monkeypatch.setattr(gail, "train", trains)
    assert test_run.train(params, "gail") == 0  # which computes nothing
    assert contents(cell(params, "gail")) == whole["gail"]
    method.write_text(text + "EDITED = True\n")
    code.forget()
    with pytest.raises(ZeroDivisionError):  # but this does
        test_run.train(params, "gail")


def mount(folder, size, *options):
    folder.mkdir(exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", ",".join([f"size={size}", *options]), "tmpfs", str(folder)]
    return subprocess.run(command, check=False, capture_output=True).returncode == 0


@pytest.fixture
def small_disk(params):
    """The store on a disk that has room for one checkpoint."""
    store = location(params.parent)
    if not mount(store, "440k"):
        pytest.skip("mounting needs root")
    yield store
    subprocess.run(["umount", str(store)], check=True)


def test_a_full_disk(params, small_disk, whole):
    assert crashing.finish(crashing.start(params, "gail", TASK)) == 2
    lines = said(params).splitlines()
    (entry,) = entries(small_disk)
    unsaved = [line for line in lines if line.endswith("No space left on device; training continues")]
    assert unsaved[0].startswith(f"{TASK}/gail/1_0-1: iteration ")
    assert lines[-1].startswith(f"error: {entry}")
    assert lines[-1].endswith("No space left on device; free space, or choose a folder on another disk")
    assert not cell(params, "gail").exists()
    assert mount(small_disk, "100m", "remount")
    assert crashing.finish(crashing.start(params, "gail", TASK)) == 0
    assert "cut or altered" not in said(params)
    sound(params, "gail", whole)
    assert provenance(params, "gail")["resumed"] == 1


def test_a_read_only_store(params, small_disk):
    assert mount(small_disk, "100m", "remount", "ro")
    assert crashing.finish(crashing.start(params, "gail", TASK)) == 2
    (line,) = said(params).splitlines()
    assert line.startswith(f"error: {small_disk}")
    assert line.endswith("Read-only file system; choose a folder that can be written")


def half(data):
    return data[: len(data) // 2]


def flipped(data):
    return data[:-1] + bytes([data[-1] ^ 1])


@pytest.mark.parametrize("damage", [half, flipped])
def test_a_damaged_checkpoint(params, stopped, whole, damage):
    older, newest = sorted(stopped.glob("[0-9]*"))
    newest.write_bytes(damage(newest.read_bytes()))
    assert crashing.finish(crashing.start(params, "gail", TASK)) == 0
    assert f"{TASK}/gail/1_0-1: {newest}: cut or altered; taking the one before it" in said(params).splitlines()
    sound(params, "gail", whole)
    assert provenance(params, "gail")["resumed"] == 1


class Bomb:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (self.path,)


def hostile(tmp_path):
    """Files that run code where they are unpickled, and states that are none of this training."""
    bomb = Bomb(str(tmp_path / "exploded"))
    saved = io.BytesIO()
    torch.save(bomb, saved)
    return [pickle.dumps(bomb), saved.getvalue(), pack({"method": 1}), pack(["x"]), b""]


def test_a_hostile_checkpoint_runs_no_code(params, stopped, tmp_path):
    for data in hostile(tmp_path):
        name = f"9999999999-{hashlib.sha256(data).hexdigest()}.safetensors"
        (stopped / name).write_bytes(data)
        assert crashing.finish(crashing.start(params, "gail", TASK)) == 2
        assert said(params).splitlines()[-1].startswith(f"error: {stopped}: no checkpoint of this training (")
        (stopped / name).unlink()
    assert not (tmp_path / "exploded").exists()
    assert crashing.finish(crashing.start(params, "gail", TASK)) == 0


def test_hostile_demonstrations_and_weights_run_no_code(params, tmp_path, capsys):
    """Their checksums are as they should be: whoever alters a file can alter its card."""
    for kind, arrays, verb in (("demonstrations", "trajectories", "run"), ("experts", "policy", "reference")):
        folder = params.parent / "data" / kind / TASK
        for data in hostile(tmp_path):
            (folder / f"{arrays}.safetensors").write_bytes(data)
            card = json.loads((folder / "card.json").read_text())
            (folder / "card.json").write_text(json.dumps(card | {"sha256": hashlib.sha256(data).hexdigest()}))
            options = ["--row", "bc"] if kind == "demonstrations" else []
            assert test_run.command(verb, params, *options) == 2
            assert capsys.readouterr().err.splitlines()[-1].startswith(f"error: {folder}")
    assert not (tmp_path / "exploded").exists()


FORBIDDEN = ("pickle", "marshal", "shelve", "dill", "joblib", "cloudpickle")
CALLS = ("torch.load", "numpy.load", "np.load", "pd.read_pickle", "yaml.load", "yaml.unsafe_load", "eval", "exec")


def test_nothing_that_reads_a_file_can_run_code():
    for name, module in test_imports.modules_of(ROOT).items():
        imported = {target.split(".")[0] for target in test_imports.names(module)}
        assert not imported & set(FORBIDDEN), name
        assert not called(module.tree) & set(CALLS), name


def called(tree):
    """The names, dotted once or not at all as in CALLS, of what is called."""
    functions = [node.func for node in ast.walk(tree) if isinstance(node, ast.Call)]
    plain = {function.id for function in functions if isinstance(function, ast.Name)}
    return plain | {
        f"{function.value.id}.{function.attr}"
        for function in functions
        if isinstance(function, ast.Attribute) and isinstance(function.value, ast.Name)
    }


@pytest.mark.parametrize("call", CALLS)
def test_each_of_these_calls_is_found(call):
    assert call in called(ast.parse(f"def f(x):\n    return [{call}(x)]"))
