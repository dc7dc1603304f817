"""A cell's learners, shared out to processes: the same results, whoever does them; nothing hidden, nothing left."""

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
from threefold.base.workers import Team, split
from threefold.cells import run
from threefold.cells.record import joined

FOUR = {"seeds": [0, 3, 5, 6], "budget": {TASK: {"env_steps": 128, "parallel_episodes": 2, "demonstrations": [1]}}}


def test_parts_are_as_equal_as_can_be_and_in_order():
    assert [list(map(len, split(range(n)))) for n in (1, 3, 4, 6, 7)] == [[1], [3], [2, 2], [3, 3], [2, 2, 3]]
    assert split(range(3), most=1) == [[0], [1], [2]]
    for n in range(1, 50):
        found = split(range(n))
        assert [k for part in found for k in part] == list(range(n))
        sizes = list(map(len, found))
        assert max(sizes) <= module.PART
        assert max(sizes) - min(sizes) <= 1
        assert len(found) == -(-n // module.PART)


def test_tensors_of_parts_are_joined_learner_by_learner():
    a, b = torch.rand(2, 3), torch.rand(1, 3)
    scale = torch.rand(3)
    saved = [safetensors.torch.save({"policy.x": x, "policy.action_scale": scale}) for x in (a, b)]
    found = safetensors.torch.load(joined(saved))
    assert torch.equal(found["policy.x"], torch.cat([a, b]))
    assert torch.equal(found["policy.action_scale"], scale)


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
