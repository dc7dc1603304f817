"""A made-up results folder for tests: numbers from a formula, no learner behind them, never shown as results."""

import gzip
import json
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from threefold.base.files import checksums, write_json
from threefold.cells.plan import study_made_from
from threefold.profile.design import Design, Part, load
from threefold.report import inputs
from threefold.store.inputs import fingerprint
from threefold.tables import planned, schema

VERSIONS = {"gymnasium": "1.4.0", "mujoco": "4.0.0", "torch": "2.13.0", "python": "3.11.0"}
RETURNS = {  # random, expert, expert-stochastic
    "InvertedPendulum-v5": (6.0, 1000.0, 998.0),
    "Reacher-v5": (-43.0, -4.0, -5.0),
    "Hopper-v5": (18.0, 3160.0, 2280.0),
}
ANY = (0.0, 100.0, 90.0)
BUDGET: dict[str, dict[str, Any]] = {
    "InvertedPendulum-v5": {"env_steps": 20000, "parallel_episodes": 4, "demonstrations": [1, 4]},
    "Hopper-v5": {"env_steps": 100000, "parallel_episodes": 16, "demonstrations": [4, 11], "short_budget": True},
}
METRICS = {  # others as any adversarial method
    "bc": ("validation_loss",),
    "gcl": ("effective_samples", "log_z", "expert_cost", "policy_entropy"),
    "ebm_gan": ("log_z", "log_z_mixture", "expert_log_likelihood", "policy_entropy"),
}
ADVERSARIAL = ("discriminator_loss", "expert_logit", "policy_logit")
ITERATIONS = 10
QUALITY = {"bc": 0.4, "gail": 1.0, "airl": 0.9}  # final score with many demonstrations; others 0.7


def design(folder: Path, /, **changes: Any) -> Path:
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
    (folder / params["root"] / "data").mkdir(exist_ok=True)  # what makes it a project
    (folder / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    return folder / "params.yaml"


def fill(params_file: Path, model: str = "") -> Path:
    """Write every part that params.yaml asks for, and the plan that asks for them; the folder of the results.

    With a model, a variant, the other variants are copies of it by their own names: that takes a tenth of the time.
    """
    asked = load(params_file)
    plan: dict[str, Any] = {"cells": {}, "variants": {name: {} for name in asked.variants}, "references": {}}
    for task in asked.tasks:
        plan["references"][task] = _part(asked, task, "reference", None)
        plan["cells"][task] = {}
        for row in asked.rows(task):
            write = partial(_copy, model=model) if model and row in set(asked.variants) - {model} else _part
            planned.put(plan, asked, task, row, {p.name: write(asked, task, row, p) for p in asked.parts(task, row)})
    studies = {name: fingerprint(study_made_from(asked, name)) for name in asked.sizes}
    write_json(plan | {"studies": studies, "settings": planned.settings(asked)}, asked.plan)
    return asked.results


def _part(asked: Design, task: str, row: str, part: Part | None) -> str:
    """Write a part, or the whole of a reference cell; return its fingerprint."""
    path = asked.cell(task, row) / (part.name if part else "all")
    rng = np.random.default_rng([len(task), *row.encode(), *path.name.encode()])
    evaluations, training, learners = [], [], []
    if part is None:
        for name, value in zip(schema.REFERENCES, RETURNS.get(task, ANY), strict=True):
            key = (task, name, 0, 0)
            noise = rng.normal(0, 0.02 * abs(value), asked.evaluation.episodes)
            evaluations += [(*key, 0, i, value + x, 100, False) for i, x in enumerate(noise)]
            learners.append((*key, "ok", 0, 0, ""))
    env_steps = asked.budget[task].env_steps
    for demonstrations, seed in part.learners if part else []:
        key = (task, row, demonstrations, seed)
        learners.append((*key, "ok", 10, 0 if row == "bc" else env_steps, ""))
        evaluations += list(_episodes(asked, key, env_steps, rng))
        training += list(_training(key, env_steps, rng))
    for rows, name in ((evaluations, "evaluations"), (training, "training"), (learners, "learners")):
        columns = schema.TABLES[name]
        schema.write_csv(pd.DataFrame(rows, columns=list(columns)).astype(columns), path / schema.FILES[name], columns)
    made_from: dict[str, Any] = {"task": task, "row": row, "method": row, "config": {"made_up": True}}
    if part:
        made_from |= {"demonstrations": part.demonstrations, "seeds": list(part.seeds)}
    write_json({"made_from": made_from, "versions": VERSIONS, "engine": "native", "device": "cpu"}, path / schema.PART)
    seal(path)
    return fingerprint(made_from)


def _copy(asked: Design, task: str, row: str, part: Part, model: str) -> str:
    """Write a part of a row that has the numbers of another row's, which is written; return its fingerprint."""
    source, path = asked.cell(task, model) / part.name, asked.cell(task, row) / part.name
    path.mkdir(parents=True)
    for name in schema.FILES.values():
        data = (source / name).read_bytes()
        zipped = name.endswith(".gz")
        text = (gzip.decompress(data) if zipped else data).replace(f",{model},".encode(), f",{row},".encode())
        (path / name).write_bytes(gzip.compress(text, 1) if zipped else text)
    card = json.loads((source / schema.PART).read_text())
    card["made_from"] |= {"row": row, "method": row}
    write_json(card, path / schema.PART)
    seal(path)
    return fingerprint(card["made_from"])


def _episodes(asked: Design, key: tuple, env_steps: int, rng: np.random.Generator) -> Iterator[tuple]:
    task, row, demonstrations, _ = key
    low, high, _ = RETURNS.get(task, ANY)
    points = [1.0] if row == "bc" else np.linspace(0, 1, asked.evaluation.points + 1)[1:]
    best = QUALITY.get(row, 0.7) * (1 - 0.5 / demonstrations) + rng.normal(0, 0.05)
    for point in points:
        final = point == 1.0
        count = asked.evaluation.episodes if final else asked.evaluation.episodes_during_training
        score = best * (1 - np.exp(-3 * point)) / (1 - np.exp(-3)) + rng.normal(0, 0.04, count)
        at = 0 if row == "bc" else round(point * env_steps)
        for i in range(count):
            yield (*key, at, i, low + score[i] * (high - low), 900, bool(i % 2))


def _training(key: tuple, env_steps: int, rng: np.random.Generator) -> Iterator[tuple]:
    for iteration in range(1, ITERATIONS + 1):
        at = 0 if key[1] == "bc" else iteration * env_steps // ITERATIONS
        for i, metric in enumerate(METRICS.get(key[1], ADVERSARIAL)):
            yield (*key, iteration, at, metric, float(i + np.exp(-iteration / 4) + rng.normal(0, 0.05)))


def by_hand(params: Path, final: Mapping[tuple[str, str, int, int], Sequence[float] | None]) -> inputs.Inputs:
    """Inputs from returns of final episodes by task, row, trajectories and seed; None is of a learner that failed."""
    evaluations, learners = [], []
    for key, returns in final.items():
        evaluations += [(*key, 0, i, value, 1, False) for i, value in enumerate(returns or [])]
        learners.append((*key, "failed" if returns is None else "ok", 0, 0, ""))
    rows = {"evaluations": evaluations, "training": [], "learners": learners}
    given = {
        name: pd.DataFrame(rows[name], columns=list(columns)).astype(columns) for name, columns in schema.TABLES.items()
    }
    return inputs.derive(load(params), given, {})


def fail(folder: Path, task: str, row: str, demonstrations: int, seed: int, reason: str) -> None:
    """Turn one learner into a failed one: no final evaluation, its reason in learners.csv."""
    path = part_of(folder / "cells" / task / row, demonstrations)
    learners = schema.read_csv(path / schema.FILES["learners"], schema.LEARNERS)
    evaluations = schema.read_csv(path / schema.FILES["evaluations"], schema.EVALUATIONS)
    which = learners["seed"] == seed
    last = evaluations["env_steps"].max()
    learners.loc[which, ["status", "reason"]] = ["failed", reason]
    learners.loc[which, ["iteration", "env_steps"]] = [5, last // 2]
    schema.write_csv(learners, path / schema.FILES["learners"], schema.LEARNERS)
    kept = evaluations[~((evaluations["seed"] == seed) & (evaluations["env_steps"] == last))]
    schema.write_csv(kept, path / schema.FILES["evaluations"], schema.EVALUATIONS)
    seal(path)


def seal(part: Path) -> None:
    """Let a part's part.json have the checksums of the files that are now beside it."""
    files = checksums(part)
    del files[schema.PART]
    edit(part, sha256=files)


def part_of(cell: Path, demonstrations: int) -> Path:
    """The folder of a cell's first part with a number of demonstrations."""
    return sorted(cell.glob(f"{demonstrations}_*"))[0]


def edit(part: Path, **changes: Any) -> None:
    """Change keys of a part's part.json."""
    path = part / schema.PART
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
