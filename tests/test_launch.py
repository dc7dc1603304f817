"""Many parts of cells at a time: planning, the board, retries, what a worker refuses, and what comes back from one."""

import errno
import heapq
import json
import os
import shutil
import subprocess
import sys
import time
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

from tests import synthetic, test_run
from tests.command import threefold
from tests.test_run import ROOT, TASK, cell, contents, project
from threefold.base.errors import CURES, one_line
from threefold.cells import run
from threefold.cells.grid import grid, status
from threefold.cells.plan import expectation
from threefold.launch import executors as engines
from threefold.launch import launch
from threefold.launch.executors import Order, Outcome, compute
from threefold.profile.design import load
from threefold.store.entries import LOG, Entry, entries, location
from threefold.tables.collect import collect

NAME = "Hopper-v5/gail/4_0-1-2"
INPUTS = {"seeds": [0, 1], "code": {"algorithms/gail.py": "abc"}, "data": {"hopper.xml": "def"}}


@pytest.fixture
def params(tmp_path):
    """Of two cells of two parts each."""
    path = project(tmp_path, methods=["bc", "gail"], seeds=[0])
    (tmp_path / "dvc.yaml").write_text("stages: {}\n")
    return path


def finish(entry, seconds=60.0):
    """Make a result up."""
    with entry.locked():
        entry.result.mkdir(exist_ok=True)
        (entry.result / "learners.csv").write_text(f"{entry.name}\n")
        entry.finish({"wall_s": seconds})


def command(params, *arguments):
    return threefold("launch", "--root", params.parent, *arguments)


@pytest.mark.slow
def test_the_local_engine_computes_what_is_missing_and_dvc_then_only_copies(params, monkeypatch, capsys):
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("THREEFOLD_THREADS", "2")
    places = [place for place in grid(load(params)) if place.cell.row == "gail"]
    assert test_run.train(params, "bc") == 0
    shutil.rmtree(places[0].entry.folder.parents[2] / "bc")  # what is in its place needs no store
    assert command(params, "--profile", "tiny", "--cpus", "1") == 0
    lines = capsys.readouterr().err.splitlines()
    assert lines[-1] == "2 of 2 parts done, 0 running, 0 failed, about 0 min 0 s left"
    assert {line.split(":")[0] for line in lines[-3:-1]} == {place.entry.name for place in places}
    assert "done; 2 of 2 parts done" in lines[-2]
    monkeypatch.setattr(run, "Team", None)
    assert test_run.train(params, "gail") == 0
    for place in places:
        result = contents(place.entry.result)
        del result[run.LEARNT]
        assert contents(cell(params, "gail") / place.part.name) == result
    assert command(params, "--profile", "tiny") == 0
    assert capsys.readouterr().err.splitlines()[-1] == "4 of 4 parts are there, nothing to compute"


@pytest.mark.parametrize("number", [None, 1, 2])
def test_nothing_to_compute_is_said_of_the_waves_that_were_asked_for(params, monkeypatch, capsys, number):
    project(params.parent, methods=["bc", "gail"], seeds=[0], waves=[{"rows": ["gail"]}, {"demonstrations": "ends"}])
    parts = 2 if number == 1 else 4
    monkeypatch.setattr(launch, "is_delivered", lambda cell, part: True)
    assert command(params, "--profile", "tiny", *(["--waves", number] if number else [])) == 0
    assert capsys.readouterr().err == f"{parts} of {parts} parts are there, nothing to compute\n"


def test_an_unknown_profile(params, capsys):
    assert command(params, "--profile", "papre") == 2
    assert capsys.readouterr().err == "error: --profile papre: not one of tiny\n"


@pytest.mark.parametrize(
    ("devices", "gpus", "device", "slots"),
    [
        (0, None, "auto", 8),
        (0, None, "cpu", 8),
        (2, None, "auto", 2),  # a part for each GPU
        (2, None, "cpu", 8),
        (2, 0.5, "auto", 4),
        (2, 2.0, "cuda", 1),
        (2, 0.0, "cuda", 8),  # asked for
    ],
)
def test_a_part_takes_a_gpu_where_the_profile_computes_on_one(tmp_path, monkeypatch, devices, gpus, device, slots):
    monkeypatch.setenv("THREEFOLD_THREADS", "8")
    monkeypatch.setattr(launch.torch.cuda, "device_count", lambda: devices)
    monkeypatch.setattr(launch.torch.cuda, "is_available", lambda: devices > 0)
    assert launch.executor_of("local", tmp_path, 1, gpus, "auto", device).slots() == slots


def test_no_ray_is_one_line(params, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    assert command(params, "--profile", "tiny", "--executor", "ray") == 2
    assert capsys.readouterr().err.startswith("error: --executor ray: Ray is not installed; run `pip install ray`")


class Scripted:
    """Stands in for processes: each ends with the next code, and says the next line."""

    def __init__(self, folder, *ends):
        self.folder, self.ends, self.commands = folder, list(ends), []

    def __call__(self, command, stdout, env, **options):
        self.commands.append((command, env))
        code, said = self.ends.pop(0)
        stdout.write(said + "\n")
        stdout.flush()
        if code == 0:
            finish(Entry(self.folder, NAME, INPUTS))
        return subprocess.CompletedProcess(command, code)


@pytest.fixture
def scripted(tmp_path, monkeypatch):
    """What `compute` returns if the processes it starts end like this."""

    def run(*ends):
        entry = Entry(location(tmp_path), NAME, INPUTS)
        script = Scripted(location(tmp_path), *ends)
        monkeypatch.setattr(engines.subprocess, "run", script)
        folder = str(entry.folder.relative_to(location(tmp_path)))
        outcome = compute(tmp_path, Order("paper/params.yaml", "Hopper-v5", "gail", "4_0-1-2", folder, INPUTS), 3)
        return outcome, script, entry

    monkeypatch.delenv("THREEFOLD_THREADS", raising=False)
    return run


def test_a_process_that_is_killed_is_started_again(scripted):
    outcome, script, entry = scripted((-9, ""), (-9, ""), (0, "done"))
    assert outcome.reason == ""
    assert set(outcome.files) == {"done", "provenance.json", "result/learners.csv"}
    assert len(script.commands) == 3
    arguments, environment = script.commands[0]
    assert arguments[1:13] == [
        "-m", "threefold", "run", "--params", "paper/params.yaml",
        "--task", "Hopper-v5", "--row", "gail", "--part", "4_0-1-2", "--expect",
    ]  # fmt: skip
    assert environment["THREEFOLD_THREADS"] == "3"


def test_the_cores_of_a_part_are_those_that_launch_gives_it(scripted, monkeypatch):
    """THREEFOLD_THREADS, as a user has it, is of the machine."""
    monkeypatch.setenv("THREEFOLD_THREADS", "8")
    _, script, _ = scripted((0, "done"))
    assert [environment["THREEFOLD_THREADS"] for _, environment in script.commands] == ["3"]


def test_a_process_that_is_killed_again_and_again_is_given_up(scripted):
    outcome, script, _ = scripted(*[(-9, "")] * engines.TRIES)
    assert (outcome.files, outcome.reason) == ({}, "killed by SIGKILL")
    assert script.ends == []


@pytest.mark.parametrize(
    ("code", "said", "reason"),
    [
        (1, "Traceback\nerror: it is wrong", "it is wrong"),
        (2, "Traceback\nIndexError: too many indices\n\n  ", "IndexError: too many indices"),
        (2, "", "exited with 2 without output"),
    ],
)
def test_an_error_is_not_tried_again_and_said(scripted, code, said, reason):
    outcome, script, entry = scripted((code, said), (0, ""))
    assert (outcome.files, outcome.reason) == ({}, reason)
    assert len(script.ends) == 1
    assert (entry.folder / LOG).read_text() == said + "\n"


def test_a_worker_with_other_code_or_inputs_is_refused_with_the_difference_named(params, tmp_path, capsys):
    gail = next(place.entry for place in grid(load(params)) if place.cell.row == "gail")
    expected = expectation(gail.inputs)
    file = tmp_path / "expected.json"

    def computed(other, part="1_0"):
        file.write_text(json.dumps(other))
        return test_run.command("run", params, "--row", "gail", "--part", part, "--expect", str(file))

    def refused(*arguments):
        assert computed(*arguments) == 2
        assert not (gail.folder / "checkpoints").exists()
        (line,) = capsys.readouterr().err.splitlines()
        return line

    files = expected["code"] | {"envs/batch.py": "0", "envs/new.py": "1"}
    assert refused(expected | {"code": files}) == (
        "error: envs/batch.py, envs/new.py: not the launching machine's; make this machine's checkout the same"
    )
    data = expected["data"] | {"demonstrations.sha256": "0"}
    assert refused(expected | {"data": data}).startswith("error: demonstrations.sha256: not the launching")
    assert refused(expected | {"version of mujoco": "3.9"}).startswith("error: version of mujoco: not the launching")
    assert refused(expected | {"seeds": [0, 1]}).startswith("error: seeds: not the launching")
    assert refused(expected, "1_3-4") == (
        f"error: {params}: {TASK}/gail has no part 1_3-4; make this machine's checkout the same"
    )
    assert computed(expected) == 0
    assert status(gail.folder) == "done"
    assert not cell(params, "gail").exists()  # a worker computes, and delivers nothing


@pytest.fixture
def sent(tmp_path):
    """A result as another machine's store returns it."""
    there = Entry(tmp_path / "there", NAME, INPUTS)
    finish(there)
    return Entry.files(there.folder)


@pytest.fixture
def here(tmp_path):
    return Entry(tmp_path / "here", NAME, INPUTS)


def test_a_result_from_another_machine_is_taken_in(sent, here):
    here.receive(sent)
    assert here.finished()
    assert Entry.files(here.folder) == sent
    here.receive({})  # what is there is there


@pytest.mark.parametrize(
    "change",
    [
        {"result/../../../../evil.csv": b"x"},
        {"/tmp/evil.csv": b"x"},
        {"result/evil.py": b"x"},
        {"result/learners.csv": b"altered"},
        {"result/training.csv": b"more"},
        {"provenance.json": b"{}"},
        {"done": b"{}"},
    ],
)
def test_a_result_that_is_not_sound_is_refused_and_written_nowhere_else(sent, here, tmp_path, change):
    before = sorted(path for path in tmp_path.rglob("*") if not path.is_relative_to(tmp_path / "here"))
    with pytest.raises(ValueError, match=r"is no file of a result|altered|no part of the result"):
        here.receive(sent | change)
    assert not here.finished()
    assert status(here.folder) == "stopped"
    assert before == sorted(path for path in tmp_path.rglob("*") if not path.is_relative_to(tmp_path / "here"))
    assert not list(tmp_path.rglob("evil*"))


def settled(entry, files):
    """What is said of a worker's files."""
    future: Future[Outcome] = Future()
    future.set_result(Outcome(files))
    return launch.settle(entry, future)


def test_a_result_that_is_not_sound_is_its_own_parts_failure(sent, here):
    assert settled(here, sent | {"done": b"{}"}).startswith("ValueError: ")
    assert settled(here, sent) == ""


def test_a_full_disk_of_this_machine_is_no_parts_failure_and_keeps_its_cure(sent, here, monkeypatch, capsys):
    def full(path, data):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(SystemExit), one_line():
        settled(here, sent)
    said = capsys.readouterr().err
    assert said.startswith("error: ")
    assert said.endswith(f"/learners.csv: {os.strerror(errno.ENOSPC)}; {CURES[errno.ENOSPC]}\n")


class Simulated:
    """An engine in which cells take `seconds(row)` of a clock that jumps from one end to the next."""

    def __init__(self, monkeypatch, store, slots, seconds, fail=()):
        self.now, self._ends, self._seconds, self._fail = 0.0, [], seconds, fail
        self._store, self._slots, self.most = store, slots, 0
        monkeypatch.setattr(launch.time, "monotonic", lambda: self.now)
        monkeypatch.setattr(launch, "wait", self.wait)

    def slots(self):
        return self._slots(self.now) if callable(self._slots) else self._slots

    def submit(self, order):
        future: Future[Outcome] = Future()
        heapq.heappush(self._ends, (self.now + self._seconds(order.row), len(self._ends), id(future), future, order))
        self.most = max(self.most, len(self._ends))
        return future

    def wait(self, running, timeout, return_when):
        assert set(running) == {end[3] for end in self._ends}
        self.now, _, _, future, order = heapq.heappop(self._ends)
        if order.row in self._fail:
            future.set_exception(RuntimeError("the worker\nis lost"))
        else:
            folder = self._store / order.folder
            finish(FOLDERS[folder], self._seconds(order.row))
            future.set_result(Outcome(Entry.files(folder)))
        return type("Waited", (), {"done": {future}})


FOLDERS: dict[Path, Entry] = {}


def simulate(tmp_path, monkeypatch, cells, slots, fail=()):
    store = tmp_path / "store"
    rows = [f"row_{i % 7}" for i in range(cells)]
    made = [Entry(store, f"Task-v{i // 7}/{row}/1_0", INPUTS) for i, row in enumerate(rows)]
    FOLDERS.update({entry.folder: entry for entry in made})
    engine = Simulated(monkeypatch, store, slots, lambda row: 60.0 * (1 + int(row[-1])), fail)
    board = launch.Board(made)
    launch.launch(board, "params.yaml", store, engine)
    return board, engine


def test_cells_that_fail_do_not_stop_the_others(tmp_path, monkeypatch, capsys):
    board, engine = simulate(tmp_path, monkeypatch, 21, 4, fail=("row_3",))
    assert len(board.done) == 18
    assert board.failed == dict.fromkeys([f"Task-v{i}/row_3/1_0" for i in range(3)], "RuntimeError: the worker is lost")
    assert engine.most == 4
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("18 of 21 parts done, 0 running, 3 failed")


def test_workers_may_come_and_go(tmp_path, monkeypatch):
    board, engine = simulate(tmp_path, monkeypatch, 30, lambda now: 1 if now < 600 else 8)
    assert len(board.done) == 30
    assert engine.most == 8


def test_the_time_left_is_that_of_cells_like_those_that_are_left(tmp_path, monkeypatch):
    store, now = tmp_path / "store", [0.0]
    made = [Entry(store, f"{task}/{row}/1_0", INPUTS) for task in ("a", "b", "c") for row in ("bc", "gail")]
    for entry, seconds in zip(made[:3], (10.0, 100.0, 30.0), strict=True):
        finish(entry, seconds)
    monkeypatch.setattr(launch.time, "monotonic", lambda: now[0])
    board = launch.Board(made)
    assert board.left() is None  # before the engine has said how many at a time
    board.slots = 2
    assert board.left() == (100 + 20 + 100) / 2
    board.start(board.waiting.popleft())
    now[0] = 40.0
    assert board.left() == (60 + 20 + 100) / 2
    assert board.line() == "3 of 6 parts done, 1 running, 0 failed, about 1 min 30 s left"


def test_a_simulated_grid_scales_to_64_workers(tmp_path, monkeypatch):
    work = sum(60.0 * (1 + i % 7) for i in range(192))
    for slots in (1, 2, 64):
        _, engine = simulate(tmp_path / str(slots), monkeypatch, 192, slots)
        assert engine.now <= work / slots + 420
        assert engine.most == slots


LARGE: dict[str, Any] = {
    "tasks": ["InvertedPendulum-v5", "Hopper-v5"],
    "methods": ["bc", "gail"],
    "seeds": [0],
    "evaluation": {"episodes": 1, "points": 1, "episodes_during_training": 1},
}


def large(folder, parts):
    """A profile with so many cells of one part each, most of them variants."""
    for task in LARGE["tasks"]:
        shutil.copytree(ROOT / "data" / "demonstrations" / task, folder / "data" / "demonstrations" / task)
    variants = {
        f"gail_{i}": {"method": "gail", "tasks": ["Hopper-v5"], "config": {"batch": i + 1000}} for i in range(parts - 4)
    }
    budget = {
        "InvertedPendulum-v5": {"env_steps": 20000, "parallel_episodes": 4, "demonstrations": [1]},
        "Hopper-v5": {"env_steps": 100000, "parallel_episodes": 16, "demonstrations": [4]},
    }
    overrides = {"Hopper-v5": {"ppo.steps": 64, "steps": 100}}  # of which one is another method's
    return synthetic.design(folder, variants=variants, budget=budget, overrides=overrides, **LARGE)


def measured(function, *arguments):
    began = time.process_time()
    result = function(*arguments)
    return time.process_time() - began, result


def test_large_grids_are_planned_looked_through_and_collected_quickly(tmp_path):
    """Ten thousand parts are to take under ten seconds each; here a tenth of them, of the time as well."""
    parts = int(os.environ.get("THREEFOLD_LARGE", "1000"))
    params = large(tmp_path, parts)
    design = load(params)
    planning, found = measured(grid, design)
    assert len(found) == parts
    for place in found:
        place.entry.folder.mkdir(parents=True)
        (place.entry.folder / "inputs.json").write_text("{}")
        (place.entry.folder / "done").write_text("{}")
    looking, board = measured(launch.Board, [place.entry for place in found])
    assert len(board.done) == parts
    assert len(entries(location(tmp_path))) == parts
    synthetic.fill(params, model="gail_0")
    collecting, _ = measured(collect, design)
    assert len(json.loads((design.results / "cells.json").read_text())) == parts + 2  # of the references
    print(f"{parts} parts: {planning:.1f} s to plan, {looking:.1f} s to look through, {collecting:.1f} s to collect")
    assert max(planning, looking, collecting) < 10 * parts / 10_000 + 1
