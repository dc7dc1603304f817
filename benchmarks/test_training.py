"""All-in training speed: GAIL on Hopper for 1, 4 and 16 learners at once, beside the bare physics on the same cores.

    pytest benchmarks/test_training.py -s

The learners train in processes, a few in each, as in `results.run`. An iteration is everything that training does:
rollout, reward, PPO. The bare physics is `mujoco.rollout` of as many worlds (see test_physics.py).
"""

import multiprocessing
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import pytest
import torch

import envs
from algorithms import gail
from benchmarks import test_physics as physics
from data import demonstrations
from envs.monitor import Monitor
from envs.physics.native import default_threads
from results.parts import split

TASK, EPISODES = "Hopper-v5", 16
ROUNDS, ITERATIONS = 5, 4


def train(seeds: list[int], threads: int, barrier: Any, times: Any) -> None:
    """Train these learners for a while, and put down how long it took from when all were ready."""
    torch.set_num_threads(1)
    env = Monitor(envs.make(TASK, seeds, EPISODES, threads=threads))
    expert = demonstrations.load(Path("data/demonstrations") / TASK, TASK, [4] * len(seeds), env=env)
    iterations = gail.train(env, expert, seeds, gail.Config())
    next(iterations)
    barrier.wait()
    start = perf_counter()
    for _ in range(ITERATIONS):
        next(iterations)
        env.take_rewards()
        env.take_episodes()
    times.put(perf_counter() - start)


def rate(population: int) -> float:
    """Environment steps per second of learners in processes as `results.run` has them, until the last is ready."""
    context, parts = multiprocessing.get_context("fork"), split(list(range(population)))
    workers, times, taken = min(len(parts), default_threads()), context.Queue(), 0.0
    for first in range(0, len(parts), workers):
        team = parts[first : first + workers]
        barrier = context.Barrier(len(team))
        processes = [
            context.Process(target=train, args=(part, default_threads() // workers, barrier, times)) for part in team
        ]
        for process in processes:
            process.start()
        taken += max(times.get() for _ in team)
        for process in processes:
            process.join()
    return gail.Config().ppo.steps * EPISODES * population * ITERATIONS / taken


@pytest.mark.parametrize("population", [1, 4, 16])
def test_share_of_physics(population, monkeypatch, capsys):
    """Training and bare physics in turn; the aim at 4 learners is 0.7."""
    monkeypatch.setattr(physics, "WORLDS", population * EPISODES)
    bare_steps, bare = physics.mujoco_rollout(TASK)
    seconds(bare)
    ours, bare_rates = np.array([(rate(population), bare_steps / seconds(bare)) for _ in range(ROUNDS)]).T
    with capsys.disabled():
        print(
            f"\nP = {population}: {np.median(ours):,.0f} steps per second all in, bare physics "
            f"{np.median(bare_rates):,.0f}, ratio {np.median(ours / bare_rates):.2f}"
        )


def seconds(run: Callable[[], object]) -> float:
    start = perf_counter()
    run()
    return perf_counter() - start
