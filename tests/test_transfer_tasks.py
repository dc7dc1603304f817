"""The tasks of AIRL's transfer, which Gymnasium lacks: facts of the authors' files, and forces worked out by hand."""

import math

import mujoco
import pytest
import torch

import envs

MAZES = ("PointMazeRight-v0", "PointMazeLeft-v0")
ANTS = ("CustomAnt-v0", "DisabledAnt-v0")


def play(name, action, steps=None):
    """One world under one action for an episode: the positions of the point and the return."""
    env = envs.make(name, [0], 1)
    total, path = 0.0, []
    for _ in range(steps or env.horizon):
        step = env.step(torch.as_tensor(action(env.obs[0, 0]), dtype=torch.float64).view(1, 1, -1))
        total += float(step.reward)
        path.append(step.next_obs[0, 0])
    return torch.stack(path), total


@pytest.mark.parametrize("name", MAZES)
def test_the_points_returns_are_those_that_the_authors_numbers_say(name):
    """No action: 0.5 m from the goal for 100 steps. Straight up: it stops at the barrier, half as far."""
    path, total = play(name, lambda obs: [0.0, 0.0])
    assert total == pytest.approx(-50, abs=0.2)
    path, total = play(name, lambda obs: [0.0, 1.0])
    assert total == pytest.approx(-26, abs=0.5)
    assert path[-1, 1] == pytest.approx(0.3 - 0.02 - 0.03, abs=2e-3)  # radii of barrier and point


@pytest.mark.parametrize(("name", "way"), [("PointMazeRight-v0", -1.0), ("PointMazeLeft-v0", 1.0)])
def test_the_barrier_is_open_on_one_side(name, way):
    def around(side):
        """Aside until the wall, up past the barrier."""
        return lambda obs: [side, 0.0] if obs[0] > -0.02 and side < 0 or obs[0] < 0.5 and side > 0 else [0.0, 1.0]

    passed, _ = play(name, around(way))
    stopped, _ = play(name, around(-way))
    assert passed[:, 1].max() > 0.5
    assert stopped[:, 1].max() < 0.3


def test_a_point_pushed_by_one_newton_moves_as_newton_says():
    """Mass 0.1131 kg, damping 1 N s/m: v' = (1 - v) / m by steps of 0.01 s, damping implicit as MuJoCo's Euler."""
    path, _ = play("PointMazeRight-v0", lambda obs: [1.0, 0.0], steps=3)
    env = envs.make("PointMazeRight-v0", [0], 1)
    mass = 1000 * 4 / 3 * torch.pi * 0.03**3
    x, v = 0.3, float(env._state.qvel[0, 0, 0])
    seen = []
    for substep in range(15):
        seen += [x] if substep % 5 == 4 else []  # a step reads positions before its last substep ends
        v += 0.01 * (1 - v) / (mass + 0.01)
        x += 0.01 * v
    assert path[:, 0].tolist() == pytest.approx(seen, abs=1e-9)


def test_the_points_reward_counts_where_it_was():
    task = envs.load(MAZES[0])
    at = lambda *x: envs.state.State(xpos=torch.tensor([[0.0, 0, 0], x]))  # noqa: E731
    reward = task.reward(at(0.0, 0.1, 0.0), at(0.3, 0.5, 0.0), torch.tensor([0.6, -0.8]))
    assert float(reward) == pytest.approx(-0.5 - 0.001)


@pytest.mark.parametrize("name", MAZES)
def test_the_point_starts_at_one_place_with_a_random_velocity(name):
    env = envs.make(name, range(20), 50)
    assert (env.obs == torch.tensor([0.3, 0.0, 0.0], dtype=torch.float64)).all()
    v = env._state.qvel
    assert v.abs().max() < 0.01
    assert v.std() == pytest.approx(0.01 / 3**0.5, rel=0.1)


def test_the_ants_differ_in_two_legs_alone():
    whole, disabled = (envs.model(envs.load(name)) for name in ANTS)
    names = [mujoco.mj_id2name(whole, mujoco.mjtObj.mjOBJ_JOINT, joint) for joint in whole.actuator_trnid[:, 0]]
    assert names == [mujoco.mj_id2name(disabled, mujoco.mjtObj.mjOBJ_JOINT, j) for j in disabled.actuator_trnid[:, 0]]
    order = ["back_right", "front_left", "front_right", "back_left"]  # as Gymnasium's Ant-v5
    assert names == [f"{joint}_{leg}" for leg in order for joint in ("hip", "ankle")]
    assert whole.actuator_gear[:, 0].tolist() == [30.0] * 8
    assert disabled.actuator_gear[:, 0].tolist() == [1.0 if "back" in name else 30.0 for name in names]
    for model, lengths in ((whole, (0.2, 0.4)), (disabled, (0.1, 0.2))):
        for leg, (thigh, shank) in {"front_left": (0.2, 0.4), "back_left": lengths, "back_right": lengths}.items():
            for part, length in (("thigh", thigh), ("shank", shank)):
                geom = model.geom(model.body(f"{leg}_{part}").geomadr[0])
                assert 2 * geom.size[1] == pytest.approx(length * 2**0.5), (leg, part)  # from corner to corner


def test_the_disabled_legs_are_the_third_and_fourth():
    """Of four that are numbered as the torso's bodies; the motors are in the order 4, 1, 2, 3."""
    model = envs.model(envs.load("DisabledAnt-v0"))
    legs = [model.body(i).name for i in range(model.nbody) if model.body(i).parentid == model.body("torso").id]
    assert legs == ["front_left", "front_right", "back_left", "back_right"]
    driven = [model.joint(joint).name.partition("_")[2] for joint in model.actuator_trnid[::2, 0]]
    assert [legs.index(leg) + 1 for leg in driven] == [4, 1, 2, 3]
    short = [leg for leg in legs if model.geom(model.body(f"{leg}_thigh").geomadr[0]).size[1] < 0.1]
    weak = [leg for leg, gear in zip(driven, model.actuator_gear[::2, 0], strict=True) if gear == 1]
    assert short == sorted(weak) == legs[2:]


@pytest.mark.parametrize("name", ANTS)
def test_the_ants_physics_are_the_authors(name):
    """Hips turn by 30 degrees either way, ankles from 30 to 70; density 5; joints have damping and armature 1."""
    task = envs.load(name)
    model = envs.model(task)
    assert (model.opt.timestep, task.FRAME_SKIP) == (0.01, 5)
    assert model.opt.integrator == mujoco.mjtIntegrator.mjINT_RK4
    for joint in map(model.joint, range(1, model.njnt)):
        limits = sorted(abs(float(x)) for x in joint.range * 180 / math.pi)
        assert limits == pytest.approx([30, 30] if "hip" in joint.name else [30, 70])
        assert (joint.damping[0], joint.armature[0]) == (1, 1)
    assert not model.dof_damping[:6].any()
    assert not model.dof_armature[:6].any()
    assert model.body("torso").mass[0] == pytest.approx(5 * 4 / 3 * math.pi * 0.25**3)
    assert model.actuator_ctrlrange.tolist() == [[-1, 1]] * 8


@pytest.mark.parametrize("name", ANTS)
def test_the_ant_observes_111_numbers_and_standing_still_is_worth_nothing(name):
    env = envs.make(name, [0], 8)
    assert (env.obs_size, env.action_size, env.horizon) == (111, 8, 500)
    total = torch.zeros(8, dtype=torch.float64)
    for _ in range(env.horizon):
        step = env.step(torch.zeros(1, 8, 8, dtype=torch.float64))
        assert not step.terminal.any()
        total += step.reward[0]
    assert total.abs().median() < 10


def test_the_ants_reward_by_hand():
    task = envs.load(ANTS[0])
    force = torch.zeros(14, 6)
    force[3, 0], force[4, 1] = 7.0, -0.5  # clipped to 1, and not
    state = lambda speed, height: envs.state.State(  # noqa: E731
        qpos=torch.tensor([0.0, 0, height]), qvel=torch.tensor([speed]), cfrc_ext=force
    )
    action = torch.full((8,), 0.5)
    paid = task.reward(state(2.0, 0.5), state(9.0, 0.5), action)
    assert float(paid) == pytest.approx(2.0 - 0.01 * 2.0 - 5e-4 * 1.25)
    assert float(task.reward(state(2.0, 0.5), state(9.0, 0.19), action) - paid) == pytest.approx(-1.0)
