"""The tasks of AIRL's transfer, which Gymnasium lacks: facts of the authors' files, and forces worked out by hand."""

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
