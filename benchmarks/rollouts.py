"""Whether GAIL learns as well from rollouts in the shapes that suit a GPU: many worlds, few steps.

    python -m benchmarks.rollouts                                # from the project's root; ten minutes of one core
    python -m benchmarks.rollouts --seeds 2 3 4 5 --shapes 2     # more learners of the first two shapes

A GPU steps thousands of worlds in the time of one, so a rollout of the same size is done sooner in more worlds and
fewer steps. On a CPU the shape costs nothing, and learning can be compared at equal numbers of samples: GAIL on Hopper,
4 trajectories, deterministic returns on the same start states. Writes rollouts.csv, one row for each learner and look;
a shape whose learners are there is not trained again.
"""

import argparse
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd
import torch

import envs
from algorithms import gail
from algorithms.core.progress import Progress
from envs.episodes import play
from envs.monitor import Monitor
from threefold.base.errors import one_line
from threefold.base.files import write_bytes
from threefold.experts import demonstrations

ROOT = Path(__file__).parents[1]
TABLE = Path(__file__).with_suffix(".csv")
TASK, TRAJECTORIES = "Hopper-v5", 4
LOOKS = 3
EPISODES = 10  # of a look
HELD_OUT = 1_000_000  # seeds of its start states


@dataclass(frozen=True)
class Shape:
    """A rollout of one learner and what is made of it."""

    worlds: int
    steps: int  # of each world
    minibatches: int = 8
    reward_steps: int = 10  # of the discriminator, on 512 samples of each source

    @property
    def config(self) -> gail.Config:
        """Return GAIL's constants with these."""
        config = gail.Config()
        ppo = replace(config.ppo, steps=self.steps, minibatches=self.minibatches)
        return replace(config, ppo=ppo, loop=replace(config.loop, reward_steps=self.reward_steps))


SHAPES = (
    Shape(16, 256),  # the paper profile's
    Shape(64, 64),
    Shape(64, 256, minibatches=32, reward_steps=40),  # four times the transitions, as many steps for each of them
    Shape(128, 32),
    Shape(64, 256),  # four times the transitions, a quarter of the steps, on minibatches four times as large
    Shape(256, 16),
)


def looks(training: Iterable[Progress], env: Monitor, budget: int, count: int) -> Iterator[Progress]:
    """Train until a budget of environment steps is used, and yield at `count` even shares of it."""
    before = 0
    for progress in training:
        env.take_episodes(), env.take_rewards()
        after = progress.env_steps
        if after * count // budget > before * count // budget:
            yield progress
        if after >= budget:
            return
        before = after


def train(shape: Shape, seeds: Sequence[int], budget: int) -> list[dict[str, Any]]:
    """Return a row for each learner and look of a training."""
    env = Monitor(envs.make(TASK, seeds, shape.worlds))
    expert = demonstrations.load(ROOT / "data" / "demonstrations" / TASK, TASK, [TRAJECTORIES] * len(seeds))
    rows = list[dict[str, Any]]()
    for progress in looks(gail.train(env, expert, seeds, shape.config), env, budget, LOOKS):
        played = play(envs.make(TASK, [HELD_OUT + seed for seed in seeds], EPISODES), progress.policy)
        returns, lengths = (x.double().mean(1).tolist() for x in (played.episode_return, played.length))
        for seed, episode_return, length in zip(seeds, returns, lengths, strict=True):
            look = {"env_steps": progress.env_steps, "return": round(episode_return, 1)}
            look |= {"episode_length": round(length, 1)}
            rows.append(asdict(shape) | {"transitions": shape.worlds * shape.steps, "seed": seed} | look)
    return rows


def main() -> None:
    """Train what is not in the table, and save it after each shape."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1], help="of the learners (default: 0 1)")
    parser.add_argument("--shapes", type=int, default=len(SHAPES), help="only the first so many (default: all)")
    parser.add_argument("--env-steps", type=int, default=300_000, help="of each learner (default: 300000)")
    parser.add_argument("--out", type=Path, default=TABLE, help="the table (default: rollouts.csv beside this file)")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    table = pd.read_csv(arguments.out) if arguments.out.exists() else pd.DataFrame()
    for shape in SHAPES[: arguments.shapes]:
        there = table if table.empty else table[(table[list(asdict(shape))] == pd.Series(asdict(shape))).all(axis=1)]
        seeds = [seed for seed in arguments.seeds if there.empty or seed not in set(there["seed"])]
        if seeds:
            rows = train(shape, seeds, arguments.env_steps)
            table = pd.concat([table, pd.DataFrame(rows)], ignore_index=True)
            write_bytes(arguments.out, table.to_csv(index=False).encode())
            print(pd.DataFrame(rows).to_string(index=False), flush=True)


if __name__ == "__main__":
    with one_line():
        main()
