"""What a constant of a method is worth: trials on the tuning set, by seeds that no profile has.

    python -m benchmarks.tuning --task Hopper-v5 --method gail                         # as it is
    python -m benchmarks.tuning --task Hopper-v5 --method gail loop.reward_rate=1.0e-4 ppo.log_std=-1

The paper profile's constants with some changed, its budget, 4 trajectories, three learners on one core. A trial adds
its rows to tuning.csv: one for each learner and look, with the mean over the episodes of the deterministic policy and
the trial's seconds. The seeds of results have no part in it.
"""

import argparse
import csv
import fcntl
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import torch
import yaml

from threefold.base.errors import InputError, one_line
from threefold.cells.cell import Cell
from threefold.cells.prefix import Unsaved
from threefold.cells.training import train
from threefold.experts import policies
from threefold.profile.constants import replaced
from threefold.profile.design import load
from threefold.profile.names import check_names
from threefold.store.origin import commit
from threefold.tables.statistics import score

ROOT = Path(__file__).parents[1]
TABLE = Path(__file__).with_suffix(".csv")
TASKS = ("Hopper-v5", "HalfCheetah-v5")  # the tuning set
SEEDS = (100, 101, 102)
TRAJECTORIES = 4
COLUMNS = ("task", "method", "constants", "seed", "env_steps", "episode_return", "score", "terminated")
COSTS = ("budget", "seconds", "commit")


def trial(task: str, method: str, changes: dict[str, Any], env_steps: int | None = None) -> pd.DataFrame:
    """Train the three learners; return their rows."""
    design = load(ROOT / "paper" / "params.yaml")
    check_names(design, task)
    cell, learners = Cell(design, task, method), [(TRAJECTORIES, seed) for seed in SEEDS]
    begun = time.perf_counter()
    job = cell.job(dict(enumerate(learners)), cell.demonstrations(learners, "cpu"), Unsaved(), 1, "cpu")
    job = replace(job, config=replaced(job.config, changes, "constants"), env_steps=env_steps or job.env_steps)
    evaluations = pd.DataFrame(train(job, lambda step: None).evaluations)
    seconds = time.perf_counter() - begun
    card = policies.load(task, ROOT / "data" / "experts" / task)[1]
    ends = (card[play]["mean"] for play in ("random", "return_deterministic"))
    means = evaluations.groupby(["seed", "env_steps"])[["episode_return", "terminated"]].mean().reset_index()
    means["score"] = score(means["episode_return"], *ends)
    constants = " ".join(f"{name}={value}" for name, value in changes.items())
    facts = {"task": task, "method": method, "constants": constants, "budget": job.env_steps, "seconds": round(seconds)}
    facts |= {"commit": str(commit(ROOT)["commit"])[:7]}
    return means.round({"episode_return": 1, "score": 4, "terminated": 2}).assign(**facts)[[*COLUMNS, *COSTS]]


def keep(rows: pd.DataFrame) -> None:
    """Add rows to the table, whoever else does so at the same time."""
    with TABLE.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        rows.to_csv(file, index=False, header=file.tell() == 0, quoting=csv.QUOTE_MINIMAL)


def parsed(text: str) -> tuple[str, Any]:
    """Return the name and the value of `name=value`."""
    name, equals, value = text.partition("=")
    if not equals:
        raise InputError(f"{text}: write a constant as name=value, for example loop.reward_rate=1.0e-4")
    return name, yaml.safe_load(value)


def main() -> None:
    """Run one trial."""
    parser = argparse.ArgumentParser(description="Try constants of a method on the tuning set.")
    parser.add_argument("--task", required=True)
    parser.add_argument("--method", required=True)
    parser.add_argument("--env-steps", type=int, help="another budget than the paper profile's")
    parser.add_argument("constants", nargs="*", metavar="name=value")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    rows = trial(asked.task, asked.method, dict(map(parsed, asked.constants)), asked.env_steps)
    keep(rows)
    last = rows[rows["env_steps"] == rows["env_steps"].max()]
    print(
        asked.task, asked.method, *asked.constants, last["score"].tolist(), f"{rows['seconds'].iloc[0]} s", flush=True
    )


if __name__ == "__main__":
    with one_line():
        main()
