"""Properties of every task, and of the batch around it. Equality with Gymnasium: test_envs_gymnasium.py."""

from unittest.mock import Mock

import mujoco
import pytest
import torch

import envs
from algorithms.core.state import pack, unpack
from envs.monitor import Monitor
from envs.state import normal
from threefold.base.errors import InputError

TASKS = envs.names()
STEPS = 70  # more than one block of start states


def actions(env, steps=STEPS, seed=0):
    """Random actions within the space, [T, P, E, A]; a learner's do not depend on how many there are."""
    shape = (steps, env.E, env.action_size)
    rows = [torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) for _ in range(env.P)]
    return env.action_low + torch.stack(rows, 1) * (env.action_high - env.action_low)


def rollout(env, action):
    """All that `step` returned, and the `obs` after it: each [T, P, E, ...]."""
    rows = [(*env.step(row), env.obs) for row in action]
    return [torch.stack(column) for column in zip(*rows, strict=True)]


def assert_equal(a, b):
    assert all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


def test_the_tasks_are_found():
    short = "Ant HalfCheetah Hopper Humanoid InvertedDoublePendulum InvertedPendulum Reacher Swimmer Walker2d"
    assert {f"{name}-v5" for name in short.split()} | {"CartPole-v1", "Acrobot-v1", "MountainCar-v0"} <= set(TASKS)
    assert sorted(TASKS) == TASKS


@pytest.mark.parametrize("name", ["Hoper-v5", "hopper", ""])
def test_unknown_task(name):
    with pytest.raises(InputError, match=f"task '{name}' does not exist; did you mean '.*-v5'") as error:
        envs.make(name, seeds=[0], episodes=1)
    assert "\n" not in str(error.value)
    if name:
        assert "did you mean 'Hopper-v5'" in str(error.value)


def test_unknown_engine():
    with pytest.raises(InputError, match="engine 'wrap' does not exist"):
        envs.make("Hopper-v5", seeds=[0], episodes=1, engine="wrap")


@pytest.mark.parametrize("name", TASKS)
def test_same_seed_same_rollout(name):
    first, second, other = (envs.make(name, seeds=[seed], episodes=2) for seed in (3, 3, 4))
    start, elsewhere = (torch.cat([env._state.qpos, env._state.qvel], -1) for env in (first, other))
    assert_equal(rollout(first, actions(first)), rollout(second, actions(second)))
    assert not (start == elsewhere).all(-1).any()


@pytest.mark.parametrize("name", TASKS)
def test_a_learner_does_not_feel_its_neighbours(name):
    """Bit-equal alone and among others, however many threads share the work."""
    among = envs.make(name, seeds=[5, 1, 9], episodes=2, threads=2)
    alone = envs.make(name, seeds=[1], episodes=2, threads=1)
    action = actions(among)
    action[:, 0] *= 0.1
    assert_equal([x[:, 1:2] for x in rollout(among, action)], rollout(alone, action[:, 1:2]))


@pytest.mark.parametrize("name", TASKS)
def test_what_was_returned_is_never_changed(name):
    env = envs.make(name, seeds=[0, 1], episodes=2)
    action = actions(env)
    given = action.clone()
    kept, copies = [], []
    for row in action:
        returned = (env.obs, env.elapsed, *env.step(row))
        kept.append(returned)
        copies.append([x.clone() for x in returned])
    for now, then in zip(kept, copies, strict=True):
        assert_equal(now, then)
    assert torch.equal(action, given)


def test_autoreset_gives_the_true_successor_and_a_new_start():
    env = envs.make("InvertedPendulum-v5", seeds=[0], episodes=3)
    next_obs, _, terminal, truncated, obs = rollout(env, torch.full((40, 1, 3, 1), 3.0))
    assert terminal.any()
    assert not truncated.any()
    assert (next_obs[terminal][:, 1].abs() > env.task.FALLEN_ANGLE).all()
    assert (obs[terminal].abs() < env.task.RESET_NOISE).all()
    assert len(obs[terminal].unique(dim=0)) == terminal.sum()  # no start state twice
    assert torch.equal(next_obs[~terminal], obs[~terminal])


def test_terminal_and_truncated_are_told_apart():
    env = envs.make("InvertedPendulum-v5", seeds=[0], episodes=3)
    qpos, qvel = torch.zeros(1, 3, 2, dtype=torch.float64), torch.zeros(1, 3, 2, dtype=torch.float64)
    qvel[0, 1, 1] = 0.9  # rad/s: falls at the sixth step, with the time limit
    qvel[0, 2, 1] = 20.0  # falls at the first
    env.horizon = 6
    env.set_state(qpos, qvel)
    _, _, terminal, truncated, _ = rollout(env, torch.zeros(6, 1, 3, 1))
    never, at_last = [False] * 6, [False] * 5 + [True]
    assert (terminal[:, 0, 0].tolist(), truncated[:, 0, 0].tolist()) == (never, at_last)
    assert (terminal[:, 0, 1].tolist(), truncated[:, 0, 1].tolist()) == (at_last, at_last)
    assert (terminal[0, 0, 2].item(), truncated[0, 0, 2].item()) == (True, False)


def test_elapsed_counts_the_steps_of_the_episode():
    env = envs.make("Hopper-v5", seeds=[0], episodes=2)
    env.horizon = 5
    counts = []
    for _ in range(12):
        counts.append(env.elapsed[0, 0].item())
        env.step(torch.zeros(1, 2, 3))
    assert counts == [0, 1, 2, 3, 4, 0, 1, 2, 3, 4, 0, 1]
    env.reset()
    assert env.elapsed.tolist() == [[0, 0]]


@pytest.mark.parametrize("name", TASKS)
def test_inactive_worlds_stand_still(name, monkeypatch):
    env, twin = (envs.make(name, seeds=[0, 1], episodes=2) for _ in range(2))
    env.horizon = twin.horizon = 8
    active = torch.tensor([[True, False], [False, True]])
    start = env.obs
    mj_step = Mock(wraps=mujoco.mj_step)
    monkeypatch.setattr(mujoco, "mj_step", mj_step)
    for row in actions(env, 20):
        mj_step.reset_mock()
        one = env.step(row, active)
        # No physics for the others: the time saved is real. Equations of a task's own move all at once.
        assert mj_step.call_count == (0 if env.discrete else 2)
        other = twin.step(row)
        assert_equal([x[active] for x in one], [x[active] for x in other])
        assert all(x.isfinite().all() for x in one)
        assert not (one.terminal | one.truncated)[~active].any()
        assert torch.equal(env.obs[~active], start[~active])
        assert not env.elapsed[~active].any()


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_non_finite_actions_act_as_zero_and_disturb_nobody(bad):
    env, twin = (envs.make("Hopper-v5", seeds=[0, 1], episodes=2) for _ in range(2))
    action = actions(env, 20)
    poisoned = action.clone()
    action[:, 0], poisoned[:, 0] = 0.0, bad
    assert_equal(rollout(env, action), rollout(twin, poisoned))


@pytest.mark.parametrize("name", TASKS)
def test_actions_are_clipped(name):
    env, twin = (envs.make(name, seeds=[0], episodes=2) for _ in range(2))
    action = 5 * actions(env, 10)
    assert_equal(rollout(env, action), rollout(twin, action.clamp(env.action_low, env.action_high)))


@pytest.mark.parametrize("name", [name for name in TASKS if hasattr(envs.load(name), "ACTIONS")])
def test_a_discrete_action_is_a_one_hot_vector_or_acts_as_its_largest_number(name):
    env, twin = (envs.make(name, seeds=[0], episodes=2) for _ in range(2))
    assert (env.discrete, env.action_size) == (True, env.task.ACTIONS)
    action = actions(env, 20)
    assert_equal(rollout(env, action), rollout(twin, torch.eye(env.action_size)[action.argmax(-1)]))
    env, twin = (envs.make(name, seeds=[0], episodes=2) for _ in range(2))
    first = torch.eye(env.action_size)[0].expand(5, 1, 2, -1)
    assert_equal(rollout(env, first), rollout(twin, torch.full_like(first, float("nan"))))


def test_32_bit_actions_are_taken():
    env = envs.make("Hopper-v5", seeds=[0], episodes=2)
    assert env.step(torch.ones(1, 2, 3)).reward.dtype == env.obs.dtype == torch.float64


def test_an_unstable_world_stays_finite_and_leaves_no_file(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    env = envs.make("HalfCheetah-v5", seeds=[0, 1], episodes=1)
    qpos, qvel = (torch.zeros(2, 1, 9, dtype=torch.float64) for _ in range(2))
    qvel[0] = 1e12
    env.set_state(qpos, qvel)
    assert env.step(torch.zeros(2, 1, 6)).next_obs.isfinite().all()
    assert capfd.readouterr() == ("", "")
    assert not list(tmp_path.iterdir())


def test_monitor_records_what_the_env_paid():
    env, twin = (envs.make("Hopper-v5", seeds=[0, 1], episodes=3) for _ in range(2))
    monitor = Monitor(env)
    action = actions(env, 60)
    expected, running, rewards = [], torch.zeros(2, 3, dtype=torch.float64), []
    length = torch.zeros(2, 3, dtype=torch.int64)
    for row in action:
        _, reward, terminal, truncated = twin.step(row)
        rewards.append(reward)
        running, length = running + reward, length + 1
        for p, e in (terminal | truncated).nonzero().tolist():
            expected.append((p, running[p, e].item(), length[p, e].item()))
            running[p, e] = length[p, e] = 0
    for row in action[:25]:
        monitor.step(row)
    episodes, taken = monitor.take_episodes(), [monitor.take_rewards()]
    for row in action[25:]:
        monitor.step(row)
    episodes += monitor.take_episodes()
    taken.append(monitor.take_rewards())
    assert len(expected) > 6
    assert episodes == expected
    assert torch.equal(torch.cat(taken), torch.stack(rewards))
    assert monitor.take_episodes() == []
    assert monitor.take_rewards().shape == (0, 2, 3)


@pytest.mark.parametrize("name", TASKS)
def test_an_env_goes_on_exactly_from_a_saved_state(name):
    """Start states to come, the solver's warm start, episodes under way and what the monitor has summed included."""
    env, again = (envs.make(name, seeds=[0, 5], episodes=2) for _ in range(2))
    action, monitor, other = actions(env), Monitor(env), Monitor(again)
    for row in action:
        monitor.step(row)
    monitor.take_episodes(), monitor.take_rewards()
    saved = pack(monitor.state_dict())
    other.step(action[0])  # somewhere else
    other.load_state_dict(unpack(saved))
    assert torch.equal(env.obs, again.obs)
    assert torch.equal(env.elapsed, again.elapsed)
    for row in action[:60].flip(0):  # into the block of start states after next
        assert_equal(monitor.step(row), other.step(row))
        assert torch.equal(env.obs, again.obs)
    assert monitor.take_episodes() == other.take_episodes()
    assert torch.equal(monitor.take_rewards(), other.take_rewards())


def test_the_state_of_other_worlds_is_refused():
    env, other = (envs.make("Hopper-v5", seeds=[0], episodes=episodes) for episodes in (2, 3))
    with pytest.raises(ValueError, match="rows: "):
        env.load_state_dict(other.state_dict())


def test_monitor_hides_the_reward():
    env, twin = (envs.make("Reacher-v5", seeds=[0], episodes=2) for _ in range(2))
    monitor = Monitor(env)
    returned = monitor.step(torch.ones(1, 2, 2))
    step = twin.step(torch.ones(1, 2, 2))
    assert_equal(returned, [step.next_obs, step.terminal, step.truncated])
    public = {name for name in dir(monitor) if not name.startswith("_")}
    sizes = {"P", "E", "obs_size", "action_size", "discrete", "action_low", "action_high", "horizon", "elapsed"}
    assert public == sizes | {"obs", "step", "take_rewards", "take_episodes", "state_dict", "load_state_dict"}
    assert torch.equal(monitor.obs, twin.obs)


def test_normal_noise():
    uniform = torch.tensor([0.0, 0.02275013194817921, 0.5, 0.8413447460685429, 1 - 2**-53], dtype=torch.float64)
    low, *middle, high = normal(uniform, 0.1).tolist()
    assert middle == pytest.approx([-0.2, 0.0, 0.1])
    assert -1 < low < -0.5  # the smallest uniform number is 0: finite all the same
    assert 0.5 < high < 1
