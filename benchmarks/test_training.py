"""All-in training speed: GAIL on Hopper for 1, 4 and 16 learners at once, beside the bare physics on the same cores.

    pytest benchmarks/test_training.py -s

An iteration is everything that training does: rollout, reward, PPO. The bare physics is `mujoco.rollout` of as many
worlds (see test_physics.py).
"""

from collections.abc import Callable
from pathlib import Path
from time import perf_counter

import numpy as np
import pytest
import torch

import envs
from algorithms import gail
from benchmarks import test_physics as physics
from data import demonstrations
from envs.monitor import Monitor
from results.run import LEARNING_THREADS

TASK, EPISODES = "Hopper-v5", 16
ROUNDS = 5

torch.set_num_threads(LEARNING_THREADS)


def training(population: int) -> tuple[int, Callable[[], object]]:
    """Environment steps of one iteration, and the iteration."""
    seeds = list(range(population))
    env = Monitor(envs.make(TASK, seeds, EPISODES))
    expert = demonstrations.load(Path("data/demonstrations") / TASK, TASK, [4] * population, env=env)
    config = gail.Config()
    iterations = gail.train(env, expert, seeds, config)

    def run() -> None:
        next(iterations)
        env.take_rewards()
        env.take_episodes()

    return config.ppo.steps * EPISODES * population, run


@pytest.mark.parametrize("population", [1, 4, 16])
def test_training(benchmark, population):
    env_steps, run = training(population)
    benchmark.pedantic(run, rounds=ROUNDS, warmup_rounds=1)
    benchmark.extra_info["env_steps_per_s"] = round(env_steps / benchmark.stats.stats.median)


@pytest.mark.parametrize("population", [1, 4, 16])
def test_share_of_physics(population, monkeypatch, capsys):
    """Training and bare physics in turn; the aim at 4 learners is 0.7."""
    monkeypatch.setattr(physics, "WORLDS", population * EPISODES)
    env_steps, train = training(population)
    bare_steps, bare = physics.mujoco_rollout(TASK)
    rates = []
    for _ in range(ROUNDS + 1):
        rates.append((env_steps / seconds(train), bare_steps / seconds(bare)))
    ours, bare_rates = np.array(rates[1:]).T
    with capsys.disabled():
        print(
            f"\nP = {population}: {np.median(ours):,.0f} steps per second all in, bare physics "
            f"{np.median(bare_rates):,.0f}, ratio {np.median(ours / bare_rates):.2f}"
        )


def seconds(run: Callable[[], object]) -> float:
    start = perf_counter()
    run()
    return perf_counter() - start
