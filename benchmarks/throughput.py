"""How fast GAIL trains on a CPU, all in: the table of docs/use/speed.md, each beside its rivals in the same minutes.

    python -m benchmarks.throughput                # from the project's root, on a quiet machine; a quarter of an hour

For each task and number of learners: environment steps per second of training, of the bare physics (`mujoco.rollout`
of as many worlds), and of HumanCompatibleAI `imitation` with its own tuned settings for that task, as its command runs
it and the fastest way; all in turn, the medians of a few rounds. Then what an iteration spends its time on. The
demonstrations are noise, since speed does not depend on them. Writes throughput/cpu.csv and throughput/profile.csv.
For the same on a GPU see gpu.py.
"""

import platform
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import envs
from benchmarks import gpu
from benchmarks.test_training import EPISODES, bare, rate
from benchmarks.versus_imitation import compare
from threefold.base.errors import one_line
from threefold.base.files import write_bytes

HERE = Path(__file__).parent / "throughput"
TASKS = {"Hopper-v5": "Hopper-v4", "HalfCheetah-v5": "HalfCheetah-v4", "Ant-v5": "Ant-v4"}  # theirs
OBSERVATIONS = {"Ant-v4": 27}  # without contact forces, which version 5 has
LEARNERS = (1, 10, 40)
ROUNDS = 3
SLICE = 12.0  # seconds of the peer's training
WAYS = [compare.WAYS[0], compare.WAYS[-1]]


def peer(task: str, way: compare.Way, python: Path) -> float:
    """Environment steps per second of `imitation`, all its learners together."""
    env = envs.make(task, [0], 1)
    draw, rows = np.random.default_rng(0), 1000
    obs, next_obs = draw.normal(size=(2, rows, OBSERVATIONS.get(TASKS[task], env.obs_size)))
    action = draw.uniform(-1, 1, (rows, env.action_size))
    pairs = HERE / "runs" / f"{task}.npz"
    pairs.parent.mkdir(parents=True, exist_ok=True)
    np.savez(pairs, obs=obs, action=action, next_obs=next_obs, terminal=np.zeros(rows, bool))
    bounds = compare.Bounds(steps=10**9, seconds=SLICE)
    way = way._replace(arguments=(*way.arguments, f"--task={TASKS[task]}"))
    return compare.speed(compare.train_theirs(python, pairs, way, compare.SEEDS[: way.at_once], bounds))


def measure(task: str, python: Path) -> list[dict[str, object]]:
    """Return a task's rows of the table."""
    with pytest.MonkeyPatch.context() as patch:
        alone = [bare(task, learners, patch) for learners in LEARNERS]
        ours, physics, peers = [], [], []
        for _ in range(ROUNDS):
            peers.append([peer(task, way, python) for way in WAYS])
            ours.append([rate(task, learners, max(2, 12 // learners)) for learners in LEARNERS])
            physics.append([run() for run in alone])
    share = np.median(np.array(ours) / np.array(physics), 0)
    default, fastest = np.median(peers, 0)
    return [
        {
            "task": task,
            "learners": learners,
            "episodes": EPISODES,
            "steps_per_s": round(np.median(ours, 0)[k]),
            "physics_alone_steps_per_s": round(np.median(physics, 0)[k]),
            "share_of_physics": round(share[k], 2),
            "imitation_default_steps_per_s": round(default),
            "imitation_fastest_steps_per_s": round(fastest),
            "machine": f"{compare.CORES} cores, {platform.machine()}",
        }
        for k, learners in enumerate(LEARNERS)
    ]


def main() -> None:
    """Measure, and save what there is after each task."""
    python = compare.make_venv(compare.HERE / ".venv")
    (compare.HERE / "runs").mkdir(exist_ok=True)
    rows, profiles = [], []
    sizes = replace(gpu.TINY, learners=(3,), worlds=EPISODES, steps=256, engine="native")
    for task in TASKS:
        rows += measure(task, python)
        write_bytes(HERE / "cpu.csv", pd.DataFrame(rows).to_csv(index=False).encode())
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("THREEFOLD_THREADS", "1")  # as one of the processes has
            profiles.append(gpu.speed(sizes, task, 3))
        write_bytes(HERE / "profile.csv", pd.DataFrame(profiles).to_csv(index=False).encode())
    print(pd.DataFrame(rows).to_string(index=False), pd.DataFrame(profiles).to_string(index=False), sep="\n")


if __name__ == "__main__":
    with one_line():
        main()
