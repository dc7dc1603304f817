"""What FEM and GTAL make of episodes that end: our absorbing state beside the shift of Ho & Ermon's (2016) code.

    python -m benchmarks.ends  # from the project's root; at most a quarter of an hour of one core for each trial

A linear reward has free sign. The authors take its lowest value so far off, which favours survival, or where success
ends the episode its highest; here an episode that terminates goes on in an absorbing state. Constants of the paper
profile, 4 trajectories, seeds of the trials. Writes ends.csv, one row for each learner and look, with the score of the
deterministic policy.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor

import algorithms
import envs
from algorithms.core.adversarial import imitate
from algorithms.core.experience import Batch
from algorithms.core.linear import LinearReward, linear_reward
from benchmarks.rollouts import EPISODES, HELD_OUT, looks
from benchmarks.tuning import ROOT, SEEDS, TRAJECTORIES
from envs.episodes import play
from envs.monitor import Monitor
from threefold.base.errors import one_line
from threefold.base.files import write_bytes
from threefold.experts import demonstrations, policies
from threefold.profile.constants import replaced
from threefold.profile.design import load
from threefold.profile.overrides import configure
from threefold.tables.statistics import score

TABLE = Path(__file__).with_suffix(".csv")
TRIALS = {  # environment steps
    ("CartPole-v1", "gtal"): 100_000,
    ("MountainCar-v0", "fem"): 250_000,
    ("MountainCar-v0", "gtal"): 250_000,
    ("Hopper-v5", "fem"): 400_000,
    ("Hopper-v5", "gtal"): 400_000,
}
LOOKS = 10
TREATMENTS = ("absorbing", "shift")


class Shifted(LinearReward):
    """A linear reward and its extremes so far."""

    lowest: Tensor | float = 0.0
    highest: Tensor | float = 0.0


def shifted_reward(model: Shifted, batch: Batch, config: Any, success_ends: bool) -> Tensor:
    """Return rewards `[P, N]`, none of which is negative, or where success ends the episode none positive."""
    value = model(batch)
    model.lowest = torch.clamp(value.amin(1), max=model.lowest)
    model.highest = torch.clamp(value.amax(1), min=model.highest)
    return value - (model.highest if success_ends else model.lowest)[:, None]


def rewards(task: str, treatment: str) -> tuple[type[LinearReward], Callable[..., Tensor]]:
    """Return the reward's class and function."""
    if treatment == "absorbing":
        return LinearReward, linear_reward
    return Shifted, partial(shifted_reward, success_ends=envs.preset(task).get("success_ends", False))


def train(task: str, method: str, treatment: str, budget: int) -> pd.DataFrame:
    """Return a row for each learner and look of a training."""
    design, (reward_class, reward) = load(ROOT / "paper" / "params.yaml"), rewards(task, treatment)
    absorbing = {"loop.absorbing": treatment == "absorbing"}
    config = replaced(configure(design, task, method), absorbing, "benchmarks/ends.py")
    env = Monitor(envs.make(task, SEEDS, design.budget[task].parallel_episodes))
    expert = demonstrations.load(ROOT / "data" / "demonstrations" / task, task, [TRAJECTORIES] * len(SEEDS))
    learning = partial(imitate, reward_class, algorithms.load(method).loss, reward)
    rows = [
        look(task, progress.policy).assign(env_steps=progress.env_steps)
        for progress in looks(learning(env, expert, SEEDS, config), env, budget, LOOKS)
    ]
    facts = {"task": task, "method": method, "treatment": treatment}
    return pd.concat(rows).assign(**facts)[[*facts, "seed", "env_steps", "episode_return", "score"]]


def look(task: str, policy: Any) -> pd.DataFrame:
    """Return a row for each learner: its mean return and score on held-out start states."""
    card = policies.load(task, ROOT / "data" / "experts" / task)[1]
    played = play(envs.make(task, [HELD_OUT + seed for seed in SEEDS], EPISODES), policy)
    rows = pd.DataFrame({"seed": SEEDS, "episode_return": played.episode_return.double().mean(1).tolist()})
    ends = (card[of]["mean"] for of in ("random", "return_deterministic"))
    return rows.assign(score=score(rows["episode_return"], *ends)).round({"episode_return": 1, "score": 4})


def main() -> None:
    """Train all, and write the table."""
    torch.set_num_threads(1)
    found = []
    for (task, method), budget in TRIALS.items():
        for treatment in TREATMENTS:
            found.append(train(task, method, treatment, budget))
            print(found[-1].tail(len(SEEDS)).to_string(index=False, header=len(found) == 1), flush=True)
    write_bytes(TABLE, pd.concat(found).to_csv(index=False).encode())


if __name__ == "__main__":
    with one_line():
        main()
