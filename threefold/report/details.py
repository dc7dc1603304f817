"""What the page shows of a cell that a reader opens: every learner's final score, curves, lengths, training, videos.

All of it is in the page as JSON, drawn by cells.js. It is rounded and thinned to what a drawing of this size can show:
numbers to read are in the tables' CSV.
"""

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from threefold.report import style
from threefold.report.inputs import Inputs, with_score
from threefold.tables import statistics

POINTS = 30  # of a curve, at most
DIGITS = 4  # significant
SEED = ["demonstrations", "seed"]  # what tells the learners of a cell apart


def details(given: Inputs) -> str:
    """The details of every cell as JSON that may stand inside a script of the page."""
    frames = _Frames(given)
    found = {
        "cells": {
            f"{task}/{row}": _cell(given, frames, task, row)
            for task in given.design.tasks
            for row in given.design.rows(task)
        },
        "stochastic": {
            task: _round(statistics.score(ends["expert-stochastic"], ends["random"], ends["expert"]))
            for task, ends in given.references.iterrows()
        },
        "videos": {task: _videos(given, task) for task in given.design.tasks},
    }
    return json.dumps(found, separators=(",", ":"), allow_nan=False).replace("</", "<\\/").replace("<!", "<\\u0021")


class _Frames:
    """The rows of every table by task and row, found once."""

    def __init__(self, given: Inputs) -> None:
        self.curves = _by_cell(with_score(statistics.learner_means(given.episodes), given.references))
        self.final = _by_cell(statistics.final_episodes(given.episodes))
        self.learners, self.training = _by_cell(given.learners), _by_cell(given.training)
        self.missing = _by_cell(given.missing)
        self.common = _common(given)


def _by_cell(frame: pd.DataFrame) -> Callable[[str, str], pd.DataFrame]:
    found = dict(iter(frame.groupby(["task", "row"])))
    return lambda task, row: found.get((task, row), frame.iloc[:0])


def _cell(given: Inputs, frames: _Frames, task: str, row: str) -> dict[str, Any]:
    training, numbers = frames.training(task, row), sorted(given.design.numbers(task, row))
    axis = _axis(training)
    curves, final = (dict(iter(one(task, row).groupby(SEED))) for one in (frames.curves, frames.final))
    return {
        "title": f"{given.label(row)} on {task}",
        "task": task,
        "row": row,
        "short": bool(given.design.budget[task].short_budget),
        "shades": {number: _hex(shade) for number, shade in zip(numbers, style.shades(len(numbers)), strict=True)},
        "missing": len(frames.missing(task, row)),
        "learners": [
            {
                "number": int(learner.demonstrations),
                "seed": int(learner.seed),
                "failed": learner.reason if learner.status == "failed" else "",
                "score": _round(learner.score),
                "lengths": final[key]["episode_length"].tolist() if learner.status == "ok" else [],
                "curve": _pairs(curves[key], "env_steps", "score") if key in curves else [],
            }
            for learner in frames.learners(task, row).itertuples()
            for key in [(learner.demonstrations, learner.seed)]
        ],
        "axis": axis,
        "training": {
            metric: [
                {"number": int(number), "seed": int(seed), "curve": _pairs(mine, axis, "value")}
                for (number, seed), mine in rows.groupby(SEED)
            ]
            # what few methods log says most of the method, so it comes first
            for metric, rows in sorted(training.groupby("metric", sort=False), key=lambda one: one[0] in frames.common)
        },
    }


def _axis(training: pd.DataFrame) -> str:
    return "env_steps" if (training["env_steps"] > 0).any() else "iteration"


def _common(given: Inputs) -> set[str]:
    """Metrics that more than half of the methods log."""
    rows = given.training[given.training["row"].isin(given.design.methods)]
    logging = rows.groupby("metric")["row"].nunique()
    return set(logging.index[logging > len(given.design.methods) / 2])


def _pairs(rows: pd.DataFrame, x: str, y: str) -> list[list[float]]:
    """At most POINTS pairs, the first and the last among them."""
    at, values = rows[x].to_numpy(), rows[y].to_numpy()
    if len(at) > POINTS:
        kept = np.unique(np.linspace(0, len(at) - 1, POINTS).round().astype(int))
        at, values = at[kept], values[kept]
    return [[int(place), _round(value)] for place, value in zip(at, values, strict=True)]


def _round(value: float) -> float:
    return float(f"{value:.{DIGITS}g}")


def _hex(shade: tuple[float, ...]) -> str:
    return "#" + "".join(f"{round(255 * part):02x}" for part in shade[:3])


def _videos(given: Inputs, task: str) -> list[dict[str, str]]:
    """Short videos of a task, if `threefold videos` has made any: results/<profile>/videos/<task>/*.webp."""
    return [
        {"name": _of(given, path.stem), "source": f"data:image/webp;base64,{_base64(path)}"}
        for path in sorted((given.design.results / "videos" / task).glob("*.webp"), key=_order)
    ]


def _order(path: Path) -> tuple[bool, str]:
    return path.stem != "expert", path.stem


def _of(given: Inputs, name: str) -> str:
    """Who is seen: `worst-gail-4-0` is the worst learner, GAIL's seed 0 from 4 trajectories."""
    if name == "expert":
        return "The expert"
    which, learner = name.split("-", 1)
    row, number, seed = learner.rsplit("-", 2)  # a row's name may have a - too
    return f"The {which} learner: {given.label(row)}, {number} trajectories, seed {seed}"


def _base64(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()
