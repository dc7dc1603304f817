"""The native engine by itself."""

import os
from types import ModuleType

import mujoco
import numpy as np
import pytest
import torch

import envs
from envs.physics.native import Native
from threefold.base.errors import InputError
from threefold.base.workers import default_threads

HOPPER = envs.load("Hopper-v5")
FIELDS = ("qpos", "qvel", "xpos", "cfrc_ext")


@pytest.fixture
def model():
    return envs.model(HOPPER)


def everyone(worlds):
    return torch.ones(worlds, dtype=torch.bool)


def start(model, worlds):
    qpos = torch.from_numpy(model.qpos0.copy()).repeat(worlds, 1)
    qvel = torch.linspace(-0.1, 0.1, worlds * model.nv, dtype=torch.float64).view(worlds, -1)
    return qpos, qvel


def test_a_step_is_mujocos(model):
    """Fields of the last forward pass and contact forces included, from the second world of five on two threads."""
    physics = Native(model, 5, 4, FIELDS, threads=2)
    qpos, qvel = start(model, 5)
    physics.reset(everyone(5), qpos, qvel)
    data = mujoco.MjData(model)
    data.qpos[:], data.qvel[:] = qpos[1], qvel[1]
    mujoco.mj_forward(model, data)
    for t in range(30):
        ctrl = torch.full((5, 3), 0.1 * (t % 7 - 3), dtype=torch.float64)
        physics.step(ctrl)
        data.ctrl[:] = ctrl[1]
        mujoco.mj_step(model, data, nstep=4)
        mujoco.mj_rnePostConstraint(model, data)
        for name, tensor in physics.state().items():
            np.testing.assert_array_equal(tensor[1], getattr(data, name))


def test_shapes_and_zero_copy(model):
    physics = Native(model, 3, 4, FIELDS, threads=2)
    state = physics.state()
    assert {name: tuple(x.shape) for name, x in state.items()} == {
        "qpos": (3, 6),
        "qvel": (3, 6),
        "xpos": (3, 5, 3),
        "cfrc_ext": (3, 5, 6),
    }
    before = state["qpos"].data_ptr()
    physics.reset(everyone(3), *start(model, 3))
    physics.step(torch.zeros(3, 3, dtype=torch.float64))
    assert physics.state()["qpos"].data_ptr() == before


def test_only_the_worlds_asked_for_move(model):
    physics = Native(model, 4, 4, FIELDS, threads=2)
    qpos, qvel = start(model, 4)
    physics.reset(everyone(4), qpos, qvel)
    which = torch.tensor([True, False, False, True])
    physics.step(torch.zeros(4, 3, dtype=torch.float64), which)
    moved = (physics.state()["qvel"] != qvel).any(-1)
    assert torch.equal(moved, which)
    physics.reset(which, qpos, qvel)
    assert torch.equal(physics.state()["qvel"], qvel)


def test_nobody_to_move_is_fine(model):
    physics = Native(model, 2, 4, FIELDS, threads=2)
    qpos, qvel = start(model, 2)
    physics.reset(everyone(2), qpos, qvel)
    physics.step(torch.zeros(2, 3, dtype=torch.float64), ~everyone(2))
    physics.reset(~everyone(2), 0 * qpos, 0 * qvel)
    assert torch.equal(physics.state()["qvel"], qvel)


def test_never_more_threads_than_worlds(model):
    assert Native(model, 3, 4, FIELDS, threads=8).threads == 3
    assert Native(model, 3, 4, FIELDS, threads=2).threads == 2


def test_threads_by_default(model, monkeypatch):
    monkeypatch.delenv("THREEFOLD_THREADS", raising=False)
    assert 1 <= default_threads() <= (os.cpu_count() or 1)
    monkeypatch.setenv("THREEFOLD_THREADS", "3")
    assert Native(model, 64, 4, FIELDS).threads == 3
    assert Native(model, 64, 4, FIELDS, threads=1).threads == 1


@pytest.mark.parametrize("value", ["0", "-1", "two", ""])
def test_bad_number_of_threads(model, monkeypatch, value):
    monkeypatch.setenv("THREEFOLD_THREADS", value)
    with pytest.raises(InputError, match=f"THREEFOLD_THREADS='{value}'"):
        Native(model, 2, 4, FIELDS)


def test_the_model_is_gymnasiums_own_file():
    task = ModuleType("task")
    task.__dict__["XML"] = "no_such.xml"
    with pytest.raises(ValueError, match=r"gymnasium.envs.mujoco.assets.no_such\.xml"):
        envs.model(task)
