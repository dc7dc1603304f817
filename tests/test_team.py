"""A cell's parts, shared out to processes: the same results, whoever does them; nothing hidden, nothing left."""

import os
import signal
import struct
import time
from functools import partial
from typing import Any

import pytest
import safetensors.torch
import torch

from algorithms import gail
from tests.test_run import TASK, cell, contents, project, train
from threefold.base import workers as module
from threefold.base.errors import InputError
from threefold.base.workers import Team
from threefold.cells import run
from threefold.cells.grid import grid
from threefold.cells.record import Outcome, Took
from threefold.profile.design import TOGETHER, Part, load, together

# Three parts: of seed 0, of 3 and 5, and of 6.
FOUR = {"seeds": [0, 3, 5, 6], "budget": {TASK: {"env_steps": 128, "parallel_episodes": 2, "demonstrations": [1]}}}


def test_who_trains_together_depends_on_a_learner_alone():
    assert together([5, 0, 6, 3]) == [(0,), (3, 5), (6,)]
    for n in range(1, 50):
        found = together(range(n))
        assert [seed for seeds in found for seed in seeds] == list(range(n))
        assert max(map(len, found)) <= TOGETHER
        assert found[: n // TOGETHER] == together(range(50))[: n // TOGETHER]


def test_parts_have_names_of_their_own(tmp_path):
    design = load(project(tmp_path, seeds=[12, 1, 2, 0, 3]))
    parts = design.parts(TASK, "gail")
    assert [part.name for part in parts] == [f"{n}_{seeds}" for n in (1, 2) for seeds in ("0-1-2", "3", "12")]
    assert parts[3] == Part(2, (0, 1, 2))
    assert design.learners(TASK, "gail") == [(n, seed) for n in (1, 2) for seed in (0, 1, 2, 3, 12)]


def outcome():
    """Of four learners, of which one failed."""
    learners = [(1, 0), (1, 1), (2, 0), (2, 1)]
    rows = [{"task": TASK, "row": "gail", "demonstrations": n, "seed": seed} for n, seed in learners]
    ends = [row | {"status": "ok", "iteration": 9, "reason": ""} for row in rows]
    ends[1] |= {"status": "failed", "iteration": 3, "reason": "not finite: reward loss"}
    tensors = {"policy.x": torch.arange(4.0), "policy.action_scale": torch.rand(3)}
    return Outcome(learners, rows * 2, rows, ends, tensors, {"reward.w": torch.rand(4, 2)}, 9, "", 0, Took(1.0, 1.0))


def test_an_outcome_of_several_parts_says_of_each_what_is_its_own():
    whole = outcome()
    own = whole.of([(2, 1), (1, 1)])
    assert own.learners == [(2, 1), (1, 1)]
    assert [(row["demonstrations"], row["seed"]) for row in own.evaluations] == [(1, 1), (2, 1)] * 2
    assert len(own.training) == 2
    assert own.policies["policy.x"].tolist() == [3, 1]
    assert torch.equal(own.policies["policy.action_scale"], whole.policies["policy.action_scale"])
    assert torch.equal(own.models["reward.w"], whole.models["reward.w"][[3, 1]])
    assert (
        own.failures
        == whole.failures
        == [f"failed: gail {TASK}, 1 demonstrations, seed 1, iteration 3: not finite: reward loss"]
    )
    assert whole.of([(1, 0)]).failures == []


def test_each_part_holds_its_own_learners(tmp_path):
    params = project(tmp_path, **FOUR)
    assert train(params, "gail") == 0
    for place in grid(load(params)):
        if place.cell.row == "gail":
            tensors = safetensors.torch.load(
                (place.cell.folder / place.part.name / "policies.safetensors").read_bytes()
            )
            assert {name.split(".")[0] for name in tensors} == {"policy"}
            assert len(tensors["policy.log_std"]) == len(place.part.seeds)
            learnt = safetensors.torch.load((place.entry.result / run.LEARNT).read_bytes())
            assert {name.split(".")[0] for name in learnt} == {"reward"}
            assert {len(tensor) for name, tensor in learnt.items() if name.endswith("weight")} == {
                len(place.part.seeds)
            }


@pytest.mark.parametrize("row", ["bc", "gail"])
def test_bytes_do_not_depend_on_the_number_of_processes(tmp_path, monkeypatch, row):
    found = []
    for threads in ("1", "2", "5"):
        (tmp_path / threads).mkdir()
        monkeypatch.setenv("THREEFOLD_THREADS", threads)
        params = project(tmp_path / threads, **FOUR)
        assert train(params, row) == 0
        found.append(contents(cell(params, row)))
    assert found[0] == found[1] == found[2]
    assert len({name.split("/")[0] for name in found[0]}) == 3


def failing(error, *arguments):
    """Train as GAIL does, but for the learner of seed 5."""
    if 5 in arguments[2]:
        error()
    yield from TRAIN(*arguments)


TRAIN = gail.train


def test_what_a_part_complains_of_is_said(tmp_path, monkeypatch, capsys):
    def complain():
        raise InputError("a file: a key; a cure")

    monkeypatch.setattr(gail, "train", partial(failing, complain))
    params = project(tmp_path, **FOUR)
    assert train(params, "gail") == 2
    assert capsys.readouterr().err.splitlines()[-1] == "error: a file: a key; a cure"
    assert not cell(params, "gail").exists()


def test_a_crash_of_a_part_is_that_of_the_cell_with_its_traceback(tmp_path, monkeypatch):
    monkeypatch.setattr(gail, "train", partial(failing, lambda: 1 // 0))
    with pytest.raises(ZeroDivisionError) as caught:
        train(project(tmp_path, **FOUR), "gail")
    assert "in failing" in caught.value.__notes__[0]


def test_a_part_that_is_killed_is_noticed_and_the_next_run_goes_on(tmp_path, monkeypatch):
    monkeypatch.setattr(gail, "train", partial(failing, lambda: os.kill(os.getpid(), signal.SIGKILL)))
    params = project(tmp_path, **FOUR)
    with pytest.raises(RuntimeError, match="which trained a part, ended with -9"):
        train(params, "gail")
    monkeypatch.setattr(gail, "train", TRAIN)
    assert train(params, "gail") == 0
    assert len(list(cell(params, "gail").iterdir())) == 3


def test_no_process_is_left_when_one_part_fails(tmp_path, monkeypatch):
    teams = []

    class Watched(Team):
        def __init__(self, *arguments, **options):
            super().__init__(*arguments, **options)
            teams.append(self)

    def endless(*arguments):
        if 5 in arguments[2]:
            raise InputError("stop")
        while True:
            time.sleep(0.01)
            yield from ()

    monkeypatch.setattr(run, "Team", Watched)
    monkeypatch.setattr(gail, "train", endless)
    monkeypatch.setenv("THREEFOLD_THREADS", "2")
    assert train(project(tmp_path, **FOUR), "gail") == 2
    (team,) = teams
    assert len(team._workers) == 2
    assert not any(worker.is_alive() for worker in team._workers.values())


def half_a_word(messages):
    """Begin a message, as a process does that is killed while it writes one."""
    os.write(messages.fileno(), struct.pack("!i", 1000) + b"half")
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_part_that_is_killed_in_the_middle_of_a_message_is_noticed(monkeypatch):
    monkeypatch.setattr(module, "_work", lambda do, share, messages, parent: half_a_word(messages))
    jobs: list[Any] = [None, None]
    with Team(lambda job, watch: None, jobs, 2) as team, pytest.raises(RuntimeError, match="ended with -9"):
        team.outcomes(lambda step: None)
