"""Every task, step for step and episode after episode, against Gymnasium's own environment.

The physics is the same C code doing the same operations in the same order, so the states are equal to the last bit, and
even the chaotic tasks (all that touch the ground) stay together: none of them is tested for fewer steps. Tasks with
discrete actions repeat Gymnasium's operations in torch; Gymnasium shows their states in 32 bit.
"""

import inspect
from functools import cache
from types import SimpleNamespace
from typing import Any, cast

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.wrappers import ClipAction
from scipy.stats import ks_2samp

import envs

TASKS = [name for name in envs.names() if name in gymnasium.registry]
DISCRETE = [name for name in TASKS if hasattr(envs.load(name), "ACTIONS")]
MUJOCO = [name for name in TASKS if name not in DISCRETE]
STEPS = 1100  # more than every horizon
P, E = 3, 1
TOLERANCE = 1e-9
CONTACT_TASKS = [name for name in MUJOCO if "cfrc_ext" in envs.load(name).FIELDS]  # observe the contact forces
ENDLESS = [name for name in TASKS if inspect.getdoc(envs.load(name).terminal) == "Never."]

# Linear feedback that makes whole episodes seen: action = -gains . (qpos, qvel), which holds the poles up. Of discrete
# actions it pushes by its sign, and pumps energy into the other two tasks.
GAINS = {
    "CartPole-v1": [-0.5, -20.0, -1.0, -3.0],
    "Acrobot-v1": [0.0, 0.0, 1.0, 0.0],
    "MountainCar-v0": [0.0, -1.0],
    "InvertedPendulum-v5": [-0.24, -4.67, -0.47, -0.79],
    "InvertedDoublePendulum-v5": [0.08, 0.8, 4.06, 0.15, 0.54, 0.6],
}

# Entries of the observation that never change, in Gymnasium either, such as a goal that stays where it is.
CONSTANT: dict[str, list[int]] = {}


def gym_env(name, env, world, **options):
    """Gymnasium's environment, whose resets begin where `env`'s world does."""
    inner: Any = gymnasium.make(name, disable_env_checker=True, **options)
    if name in DISCRETE:
        return OneHot(inner, lambda: state(env)[world])

    def reset_model():
        qpos, qvel = (field.flatten(0, 1)[world].numpy() for field in (env._state.qpos, env._state.qvel))
        inner.unwrapped.set_state(qpos, qvel)
        return inner.unwrapped._get_obs()

    inner.unwrapped.reset_model = reset_model
    return inner


def state(env):
    """Positions and speeds of every world, [W, nq + nv]."""
    return torch.cat([env._state.qpos, env._state.qvel], -1).flatten(0, 1)


class OneHot(gymnasium.Wrapper):
    """A task with discrete actions that begins where `start` says and takes one-hot vectors."""

    def __init__(self, inner, start):
        super().__init__(inner)
        self.start = start

    def reset(self, **options):
        self.env.reset(**options)
        where, task = self.start().numpy(), cast(Any, self.unwrapped)
        # Gymnasium's order of CartPole's numbers is place, speed, angle, speed.
        task.state = where[[0, 2, 1, 3]] if task.spec.id == "CartPole-v1" else where.copy()
        shown = task._get_ob() if task.spec.id == "Acrobot-v1" else task.state
        return np.array(shown, np.float32), {}

    def step(self, action):
        return self.env.step(int(np.argmax(action.clip(0, 1))))


def actions(name, env, generator):
    """Steady, random, and (for ClipAction) far too large: one way for each world. [P, E, A]."""
    uniform = torch.rand(P * E, env.action_size, generator=generator, dtype=torch.float64)
    action = env.action_low + uniform * (env.action_high - env.action_low)
    action[1] *= 0.1
    action[2] *= 10
    if name in GAINS:
        x = torch.cat([env._state.qpos, env._state.qvel], -1).flatten(0, 1)[0]
        force = -(x @ torch.tensor(GAINS[name], dtype=torch.float64))
        if env.discrete:  # the last action pushes forward, the first one back
            force = torch.eye(env.action_size, dtype=torch.float64)[-1 if force > 0 else 0]
        action[0] = force
    return action.view(P, E, -1)


@cache
def side_by_side(name, steps=STEPS, horizon=None):
    """The same actions in both; ours and theirs: obs [T, W, O] seen before each step, next_obs, reward, ..."""
    env = envs.make(name, seeds=range(P), episodes=E)
    options = {}
    if horizon is not None:
        env.horizon = options["max_episode_steps"] = horizon
    gyms = [gym_env(name, env, world, **options) for world in range(P * E)]
    if not env.discrete:
        gyms[2] = ClipAction(gyms[2])
    generator = torch.Generator().manual_seed(0)
    ours, theirs = [], []
    their_obs = [gym.reset()[0] for gym in gyms]
    for _ in range(steps):
        obs, action = env.obs, actions(name, env, generator)
        ours.append([x.flatten(0, 1).numpy() for x in (obs, *env.step(action))])
        returned = [gym.step(row.numpy())[:4] for gym, row in zip(gyms, action.flatten(0, 1), strict=True)]
        theirs.append([np.stack(their_obs), *(np.array(column) for column in zip(*returned, strict=True))])
        ended = [terminal or truncated for _, _, terminal, truncated in returned]
        their_obs = [gym.reset()[0] if end else row[0] for gym, row, end in zip(gyms, returned, ended, strict=True)]
    names = ("obs", "next_obs", "reward", "terminal", "truncated")
    return [
        SimpleNamespace(**{key: np.stack(column) for key, column in zip(names, zip(*side, strict=True), strict=True)})
        for side in (ours, theirs)
    ]


@pytest.mark.parametrize("name", TASKS)
def test_episodes_equal_gymnasium(name):
    ours, theirs = side_by_side(name)
    for key in ("obs", "next_obs", "reward"):
        a, b = getattr(ours, key), getattr(theirs, key)
        if b.dtype == np.float32:
            np.testing.assert_array_max_ulp(a.astype(np.float32), b, maxulp=1)
        else:
            np.testing.assert_allclose(a, b, rtol=0, atol=TOLERANCE, err_msg=key)
    np.testing.assert_array_equal(ours.terminal, theirs.terminal)
    np.testing.assert_array_equal(ours.truncated, theirs.truncated)


@pytest.mark.parametrize("name", TASKS)
def test_whole_episodes_were_seen(name):
    """Or the test above compared little: a task that can terminate did, and one that can reach the time limit did."""
    ours, _ = side_by_side(name)
    assert ours.terminal.any() == (name not in ENDLESS)
    assert ours.truncated.any() or name not in {*ENDLESS, *GAINS, "Ant-v5"}


@pytest.mark.parametrize("name", TASKS)
def test_time_limit_equals_gymnasium(name):
    """A short time limit, so that in every task episodes are truncated, and in some terminal at that very step."""
    ours, theirs = side_by_side(name, steps=60, horizon=6)
    assert ours.truncated.any()
    np.testing.assert_array_equal(ours.truncated, theirs.truncated)
    np.testing.assert_array_equal(ours.terminal, theirs.terminal)
    np.testing.assert_allclose(ours.obs.astype(theirs.obs.dtype), theirs.obs, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("name", TASKS)
def test_observation_entries_are_constant_only_where_gymnasiums_are(name):
    ours, theirs = (np.ptp(side.next_obs, (0, 1)) == 0 for side in side_by_side(name))
    np.testing.assert_array_equal(ours, theirs)
    if name not in CONTACT_TASKS:  # these have bodies that touch nothing
        assert np.flatnonzero(ours).tolist() == CONSTANT.get(name, [])


@pytest.mark.parametrize("name", CONTACT_TASKS)
def test_contact_forces_were_felt(name):
    ours, _ = side_by_side(name)
    assert (ours.next_obs[..., -78:] != 0).any()  # 13 bodies, 6 each
    assert (ours.obs[0, :, -78:] == 0).all()  # a reset knows none


@pytest.mark.parametrize("name", TASKS)
def test_spaces_equal_gymnasium(name):
    env = envs.make(name, seeds=[0], episodes=1)
    gym: Any = gymnasium.make(name)
    assert (env.obs_size,) == gym.observation_space.shape
    assert env.horizon == gym.spec.max_episode_steps
    if env.discrete:
        assert env.action_size == gym.action_space.n
        return
    np.testing.assert_array_equal(env.action_low, gym.action_space.low)
    np.testing.assert_array_equal(env.action_high, gym.action_space.high)
    assert gym.unwrapped.dt == pytest.approx(env.task.DT, rel=1e-12)


@pytest.mark.parametrize("name", TASKS)
def test_reset_distribution_equals_gymnasium(name):
    """Kolmogorov-Smirnov, every coordinate and every pair's radius (a disc is not a square), Bonferroni at 1 %."""
    count = 1500
    env = envs.make(name, seeds=range(3), episodes=10)
    ours = []
    for _ in range(count // 30):
        env.reset()
        ours.append(torch.cat([env._state.qpos, env._state.qvel], -1).flatten(0, 1).numpy())
    theirs: list[np.ndarray] = []
    gym: Any = gymnasium.make(name).unwrapped
    gym.reset(seed=0)
    if env.discrete:
        for _ in range(count):
            gym.reset()
            theirs.append(gym.state[[0, 2, 1, 3]] if name == "CartPole-v1" else gym.state)
    else:
        gym.set_state = lambda qpos, qvel: theirs.append(np.concatenate([qpos, qvel]))  # no physics: the draw is enough
        for _ in range(count):
            gym.reset_model()
    a, b = (_with_radii(x) for x in (np.concatenate(ours), np.stack(theirs)))
    constant = np.ptp(b, 0) == 0
    np.testing.assert_array_equal(a[:, constant], b[:, constant])
    values = [ks_2samp(a[:, i], b[:, i]).pvalue for i in np.flatnonzero(~constant)]
    assert min(values) > 0.01 / len(values)


def _with_radii(x):
    return np.concatenate([x, np.hypot(x[:, 1:], x[:, :-1])], 1)
