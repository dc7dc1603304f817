"""All-in training speed: GAIL on Hopper for 1, 4 and 16 learners at once, beside the bare physics on the same cores.

    pytest benchmarks/test_training.py -s

The learners train in processes, a few in each, as in `threefold run`. An iteration is everything that training does:
rollout, reward, PPO. The bare physics is `mujoco.rollout` of as many worlds (see test_physics.py).
"""

import multiprocessing
from collections.abc import Callable
from time import perf_counter
from typing import Any

import numpy as np
import pytest
import torch

import envs
from algorithms import gail
from benchmarks import test_physics as physics
from envs.monitor import Monitor
from threefold.base.workers import default_threads
from threefold.cells.estimate import noise
from threefold.profile.design import together

EPISODES = 16
ROUNDS, ITERATIONS = 5, 4


def train(task: str, parts: list[tuple[int, ...]], iterations: int, threads: int, times: Any) -> None:
    """Train learners, part by part, and put down how long that took once each was ready."""
    torch.set_num_threads(1)
    taken = 0.0
    for seeds in parts:
        env = Monitor(envs.make(task, seeds, EPISODES, threads=threads))
        training = gail.train(env, noise(env, len(seeds), "cpu"), seeds, gail.Config())
        next(training)
        start = perf_counter()
        for _ in range(iterations):
            next(training)
            env.take_rewards()
            env.take_episodes()
        taken += perf_counter() - start
    times.put(taken)


def rate(task: str, population: int, iterations: int = ITERATIONS) -> float:
    """Environment steps per second of learners in processes as `threefold run` has them, until the last is ready."""
    context, parts = multiprocessing.get_context("fork"), together(range(population))
    workers, times = min(len(parts), default_threads()), context.Queue()
    shares, threads = [parts[k::workers] for k in range(workers)], default_threads() // workers
    processes = [context.Process(target=train, args=(task, share, iterations, threads, times)) for share in shares]
    for process in processes:
        process.start()
    taken = max(times.get() for _ in processes)
    for process in processes:
        process.join()
    return gail.Config().ppo.steps * EPISODES * population * iterations / taken


def bare(task: str, population: int, monkeypatch: pytest.MonkeyPatch) -> Callable[[], float]:
    """Environment steps per second of the physics alone, in as many worlds, as a function that measures them."""
    monkeypatch.setattr(physics, "WORLDS", population * EPISODES)
    steps, run = physics.mujoco_rollout(task)
    seconds(run)
    return lambda: steps / seconds(run)


@pytest.mark.parametrize("population", [1, 4, 16])
def test_share_of_physics(population, monkeypatch, capsys):
    """Training and bare physics in turn; the aim at 4 learners is 0.7."""
    alone = bare("Hopper-v5", population, monkeypatch)
    ours, rates = np.array([(rate("Hopper-v5", population), alone()) for _ in range(ROUNDS)]).T
    with capsys.disabled():
        print(
            f"\nP = {population}: {np.median(ours):,.0f} steps per second all in, bare physics "
            f"{np.median(rates):,.0f}, ratio {np.median(ours / rates):.2f}"
        )


def seconds(run: Callable[[], object]) -> float:
    start = perf_counter()
    run()
    return perf_counter() - start
