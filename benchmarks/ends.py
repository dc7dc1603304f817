"""What FEM and GTAL make of episodes that end: our absorbing state beside the shift of Ho & Ermon's (2016) code.

    python -m benchmarks.ends  # from the project's root; a quarter of an hour of one core

A linear reward has free sign. The authors take its lowest value so far off, which favours survival; here an episode
that terminates goes on in an absorbing state. Constants of the paper profile, 4 trajectories, seeds of the trials.
Writes ends.csv, one row for each learner and look, with the score of the deterministic policy.
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
TRIALS = {("CartPole-v1", "gtal"): 100_000, ("Hopper-v5", "fem"): 400_000}  # environment steps
LOOKS = 10


class Shifted(LinearReward):
    """A linear reward and the lowest value that it has had."""

    lowest: Tensor | float = 0.0


def shifted_reward(model: Shifted, batch: Batch, config: Any) -> Tensor:
    """Return rewards `[P, N]`, none of which is negative."""
    value = model(batch)
    model.lowest = torch.clamp(value.amin(1), max=model.lowest)
    return value - model.lowest[:, None]


TREATMENTS: dict[str, tuple[type[LinearReward], Callable[..., Tensor], bool]] = {
    "absorbing": (LinearReward, linear_reward, True),
    "shift": (Shifted, shifted_reward, False),
}


def train(task: str, method: str, treatment: str, budget: int) -> pd.DataFrame:
    """Return a row for each learner and look of a training."""
    design, (reward_class, reward, absorbing) = load(ROOT / "paper" / "params.yaml"), TREATMENTS[treatment]
    config = replaced(configure(design, task, method), {"loop.absorbing": absorbing}, "benchmarks/ends.py")
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
