"""What is left to compute of a profile: parts, environment steps, and a rough time.

The time is that of parts computed before: `results/*/provenance/` says what each took of a core or of a GPU. A cell
takes as long as its parts, as many at a time as there are cores, as `threefold run` computes them. Cells that use no
environment step are not counted: they take minutes.
"""

import json
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from envs import device as devices
from threefold.base.workers import default_threads
from threefold.cells.grid import Place, grid
from threefold.cells.run import is_delivered
from threefold.profile.design import Design
from threefold.tables import effort

LONG = 1.0  # hours; what takes longer is announced
Speeds = dict[tuple[str, str], list[float]]  # environment steps per second of one core or GPU, by task and row


def outlook(design: Design) -> str:
    """Return how many parts of a profile are there, and what it takes to compute the others, as a line."""
    places = grid(design)
    left = [place for place in places if not (is_delivered(place.cell, place.part) or place.entry.finished())]
    if not left:
        return f"{design.plan}: {len(places)} of {len(places)} parts are there, nothing to compute"
    there = len(places) - len(left)
    line = f"{design.plan}: {there} of {len(places)} parts are there, {len(left)} to compute"
    device = devices.choose("auto") if design.device == "auto" else design.device
    steps, speeds = sum(map(_steps, left)), measured(design.root, device)
    if not steps:
        return f"{line}, which learn from demonstrations alone, in minutes"
    line += f": {steps:,} environment steps"
    if speeds:
        time = hours(left, speeds, device)
        long = f"roughly {time:,.1f} hours" if time >= 0.1 else "some minutes"
        line += f", {long} at the speed of parts computed earlier"
        if time <= LONG:
            return line
    else:
        line += f"; how long they take is not known yet (`threefold estimate --params {design.params}` measures it)"
    return (
        f"{line}. `threefold launch --profile {design.profile}` computes several parts at a time; "
        f"`threefold report --available --params {design.params}` shows those that are there."
    )


def measured(root: Path, device: str) -> Speeds:
    """Return how fast the delivered parts of all profiles were on a kind of device, as their provenance says."""
    paths = sorted((root / "results").glob("*/provenance/*/*/*.json"))
    found = {path: facts for path in paths if (facts := _sidecar(path)).get("device") == device}
    speeds: Speeds = defaultdict(list)
    for path, seconds in effort.seconds(found).items():
        if (steps := found[path].get("env_steps")) and np.isfinite(seconds):
            speeds[path.parts[-3], path.parts[-2]].append(steps / seconds)
    return dict(speeds)


def _sidecar(path: Path) -> dict[str, Any]:
    """Return what a part's sidecar says; of a damaged one nothing."""
    try:
        facts = json.loads(path.read_text())
    except ValueError:
        return {}
    return facts if isinstance(facts, dict) else {}


def speed(speeds: Speeds, task: str, row: str) -> float:
    """Return the steps per second of a row on a task: the geometric mean of its parts.

    Where there are none, it is a factor of the task times a factor of the row, fitted to the others by least squares of
    logarithms, the smallest that do: a task or row of which nothing is known has the factor 1.
    """
    logs = {pair: float(np.log(found).mean()) for pair, found in speeds.items()}
    if (task, row) in logs:
        return float(np.exp(logs[task, row]))
    tasks, rows = sorted({pair[0] for pair in logs}), sorted({pair[1] for pair in logs})

    def marks(task: str, row: str) -> list[bool]:
        return [task == name for name in tasks] + [row == name for name in rows]

    mean = float(np.mean(list(logs.values())))
    factors = np.linalg.lstsq(np.array([marks(*pair) for pair in logs], float), np.array(list(logs.values())) - mean)[0]
    return float(np.exp(mean + factors @ marks(task, row)))


def hours(left: Iterable[Place], speeds: Speeds, device: str) -> float:
    """Return how long it takes to compute parts, one cell after the other."""
    cells: dict[tuple[str, str], list[float]] = defaultdict(list)
    for place in left:
        task, row = place.cell.task, place.cell.row
        cells[task, row].append(_steps(place) / speed(speeds, task, row) / 3600)
    at_a_time = default_threads() if device == "cpu" else 1
    return sum(sum(parts) / min(len(parts), at_a_time) for parts in cells.values())


def _steps(place: Place) -> int:
    """Environment steps of all learners of a part; none of a method that learns from demonstrations alone."""
    return place.cell.budget.env_steps * len(place.part.seeds) if hasattr(place.cell.config, "ppo") else 0
