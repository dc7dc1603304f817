"""A made-up results folder for tests: numbers from a formula, no learner behind them, never shown as results."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from threefold.base.files import write_json
from threefold.tables import schema

VERSIONS = {"gymnasium": "1.4.0", "mujoco": "4.0.0", "torch": "2.13.0", "python": "3.11.0"}
RETURNS = {  # random, expert, expert-stochastic
    "InvertedPendulum-v5": (6.0, 1000.0, 998.0),
    "Reacher-v5": (-43.0, -4.0, -5.0),
    "Hopper-v5": (18.0, 3160.0, 2280.0),
}
ANY = (0.0, 100.0, 90.0)
QUALITY = {"bc": 0.4, "gail": 1.0, "airl": 0.9}  # final score with many demonstrations; others 0.7


BUDGET = {
    "InvertedPendulum-v5": {"env_steps": 20000, "parallel_episodes": 4, "demonstrations": [1, 4]},
    "Hopper-v5": {"env_steps": 100000, "parallel_episodes": 16, "demonstrations": [4, 11], "short_budget": True},
}


def design(folder: Path, **changes: Any) -> Path:
    """Write folder/params.yaml of a small profile called `made-up`; its path."""
    params = {
        "root": ".",
        "profile": "made-up",
        "tasks": ["InvertedPendulum-v5", "Hopper-v5"],
        "methods": ["bc", "gail"],
        "seeds": [0, 1, 2],
        "evaluation": {"episodes": 4, "points": 3, "episodes_during_training": 2},
        "budget": BUDGET,
        "overrides": {},
        "variants": {},
        **changes,
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    return folder / "params.yaml"


def fill(params_file: Path) -> Path:
    """Write every cell that params.yaml asks for; the folder of the profile's results."""
    params = yaml.safe_load(params_file.read_text())
    folder = params_file.parent / params["root"] / "results" / params["profile"]
    for task in params["tasks"]:
        for row in ["reference", *params["methods"]]:
            _cell(folder / "cells" / task / row, params, task, row)
    for name, variant in params["variants"].items():
        for task in variant["tasks"]:
            _cell(folder / "variants" / name / task, params, task, name)
    return folder


def _cell(path: Path, params: dict[str, Any], task: str, row: str) -> None:
    budget = params["budget"][task]
    rng = np.random.default_rng([len(task), *row.encode()])
    evaluations, training, learners = [], [], []
    if row == "reference":
        for name, value in zip(schema.REFERENCES, RETURNS.get(task, ANY), strict=True):
            key = (task, name, 0, 0)
            noise = rng.normal(0, 0.02 * abs(value), params["evaluation"]["episodes"])
            evaluations += [(*key, 0, i, value + x, 100, False) for i, x in enumerate(noise)]
            learners.append((*key, "ok", 0, 0, ""))
    for demonstrations in budget["demonstrations"] if row != "reference" else []:
        for seed in params["seeds"]:
            key = (task, row, demonstrations, seed)
            learners.append((*key, "ok", 10, 0 if row == "bc" else budget["env_steps"], ""))
            evaluations += list(_episodes(params, key, budget["env_steps"], rng))
            training += list(_training(key, budget["env_steps"], rng))
    for rows, name, columns in (
        (evaluations, "evaluations.csv", schema.EVALUATIONS),
        (training, "training.csv", schema.TRAINING),
        (learners, "learners.csv", schema.LEARNERS),
    ):
        schema.write_csv(pd.DataFrame(rows, columns=list(columns)).astype(columns), path / name, columns)
    cell = {
        "task": task,
        "row": row,
        "method": row,
        "expert": "own",
        "versions": VERSIONS,
        "engine": "native",
        "device": "cpu",
        "config": {"made_up": True},
        "budget": {"short_budget": False, **budget},
        "demonstrations_sha256": None if row == "reference" else "0" * 64,
    }
    write_json(cell, path / "cell.json")


def _episodes(params: dict[str, Any], key: tuple, env_steps: int, rng: np.random.Generator) -> Iterator[tuple]:
    task, row, demonstrations, _ = key
    low, high, _ = RETURNS.get(task, ANY)
    points = [1.0] if row == "bc" else np.linspace(0, 1, params["evaluation"]["points"] + 1)[1:]
    best = QUALITY.get(row, 0.7) * (1 - 0.5 / demonstrations) + rng.normal(0, 0.05)
    for point in points:
        final = point == 1.0
        count = params["evaluation"]["episodes" if final else "episodes_during_training"]
        score = best * (1 - np.exp(-3 * point)) / (1 - np.exp(-3)) + rng.normal(0, 0.04, count)
        at = 0 if row == "bc" else round(point * env_steps)
        for i in range(count):
            yield (*key, at, i, low + score[i] * (high - low), 900, bool(i % 2))


def _training(key: tuple, env_steps: int, rng: np.random.Generator) -> Iterator[tuple]:
    metrics = ("validation_loss",) if key[1] == "bc" else ("discriminator_loss", "expert_logit", "policy_logit")
    for iteration in range(1, 11):
        at = 0 if key[1] == "bc" else iteration * env_steps // 10
        for i, metric in enumerate(metrics):
            yield (*key, iteration, at, metric, float(i + np.exp(-iteration / 4) + rng.normal(0, 0.05)))


def fail(folder: Path, task: str, row: str, demonstrations: int, seed: int, reason: str) -> None:
    """Turn one learner into a failed one: no final evaluation, its reason in learners.csv."""
    path = folder / "cells" / task / row
    learners = schema.read_csv(path / "learners.csv", schema.LEARNERS)
    evaluations = schema.read_csv(path / "evaluations.csv", schema.EVALUATIONS)

    def which(frame: pd.DataFrame) -> pd.Series:
        return (frame["demonstrations"] == demonstrations) & (frame["seed"] == seed)

    learners.loc[which(learners), ["status", "reason"]] = ["failed", reason]
    last = evaluations["env_steps"].max()
    learners.loc[which(learners), ["iteration", "env_steps"]] = [5, last // 2]
    schema.write_csv(learners, path / "learners.csv", schema.LEARNERS)
    schema.write_csv(
        evaluations[~(which(evaluations) & (evaluations["env_steps"] == last))],
        path / "evaluations.csv",
        schema.EVALUATIONS,
    )


def edit_cell(folder: Path, name: str, **changes: Any) -> None:
    """Change keys of cells/<name>/cell.json."""
    path = folder / "cells" / name / "cell.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
