"""Environment steps per second: `envs` against MuJoCo's own `rollout` and Gymnasium's `SyncVectorEnv`.

    pytest benchmarks/test_physics.py -s

`envs` pays for everything: observation, reward, termination, autoreset. `rollout` pays for the physics alone, of the
same steps (states, warm starts and actions were recorded from `envs`) on as many worlds and threads.
"""

from collections.abc import Callable
from statistics import median
from time import perf_counter

import gymnasium
import mujoco
import numpy as np
import pytest
import torch
from mujoco.rollout import Rollout

import envs
from envs.physics.native import STATE, Native
from threefold.base.workers import default_threads

TASKS = ["Hopper-v5", "HalfCheetah-v5", "Ant-v5"]
WORLDS, GYM_WORLDS = 64, 16
STEPS = 50
ROUNDS = 9
ROLLOUT_STATE = mujoco.mjtState.mjSTATE_FULLPHYSICS

torch.set_num_threads(1)


def ours(name: str) -> tuple[int, Callable[[], None]]:
    """Environment steps of one call, and the call."""
    env = envs.make(name, seeds=range(4), episodes=WORLDS // 4)
    start = env._state.qpos.clone(), env._state.qvel.clone()
    actions = _actions(env, WORLDS).view(STEPS, 4, WORLDS // 4, -1)

    def run() -> None:
        env.set_state(*start)  # or the later calls would be about bodies that lie on the ground
        for action in actions:
            env.step(action)

    return STEPS * WORLDS, run


def mujoco_rollout(name: str) -> tuple[int, Callable[[], None]]:
    env = envs.make(name, seeds=range(4), episodes=WORLDS // 4)
    model, skip = env._physics.model, env.task.FRAME_SKIP
    assert isinstance(env._physics, Native)
    scratch = mujoco.MjData(model)
    steps = []
    for action in _actions(env, WORLDS):
        states, warm_starts = [], []
        for row in env._physics._rows:
            mujoco.mj_setState(model, scratch, row, STATE)
            states.append(np.empty(mujoco.mj_stateSize(model, ROLLOUT_STATE)))
            mujoco.mj_getState(model, scratch, states[-1], ROLLOUT_STATE)
            warm_starts.append(scratch.qacc_warmstart.copy())
        steps.append((np.stack(states), np.repeat(action[:, None].numpy(), skip, 1), np.stack(warm_starts)))
        env.step(action.view(4, WORLDS // 4, -1))
    threads = min(default_threads(), WORLDS)
    pool = Rollout(nthread=threads)
    data = [mujoco.MjData(model) for _ in range(threads)]

    def run() -> None:
        for state, control, warm_start in steps:
            pool.rollout(model, data, state, control, initial_warmstart=warm_start)

    return STEPS * WORLDS, run


def sync_vector_env(name: str) -> tuple[int, Callable[[], None]]:
    env = gymnasium.make_vec(name, num_envs=GYM_WORLDS, vectorization_mode="sync")
    env.reset(seed=0)
    actions = _actions(envs.make(name, seeds=[0], episodes=1), GYM_WORLDS).numpy()

    def run() -> None:
        for action in actions:
            env.step(action)

    return STEPS * GYM_WORLDS, run


def _actions(env: envs.BatchEnv, worlds: int) -> torch.Tensor:
    uniform = torch.rand(
        STEPS, worlds, env.action_size, generator=torch.Generator().manual_seed(0), dtype=torch.float64
    )
    return env.action_low + uniform * (env.action_high - env.action_low)


@pytest.mark.parametrize("make", [ours, mujoco_rollout, sync_vector_env])
@pytest.mark.parametrize("name", TASKS)
def test_throughput(benchmark, name, make):
    env_steps, run = make(name)
    benchmark.group = name
    benchmark.pedantic(run, rounds=ROUNDS, warmup_rounds=2)
    benchmark.extra_info["env_steps_per_s"] = round(env_steps / benchmark.stats.stats.median)


@pytest.mark.parametrize("name", TASKS)
def test_ratios(name, capsys):
    """The three in turn, round by round, so that another program's load falls on all; aims: 0.9 and 2.5."""
    runners = [make(name) for make in (ours, mujoco_rollout, sync_vector_env)]
    rates = []
    for _ in range(ROUNDS + 1):
        rates.append([env_steps / _seconds(run) for env_steps, run in runners])
    us, rollout, gym = np.array(rates[1:]).T  # the first round warms up
    with capsys.disabled():
        print(
            f"\n{name}: {median(us):,.0f} env steps per second, "
            f"{median(us / rollout):.2f} x mujoco.rollout, {median(us / gym):.1f} x SyncVectorEnv"
        )


def _seconds(run: Callable[[], None]) -> float:
    start = perf_counter()
    run()
    return perf_counter() - start
