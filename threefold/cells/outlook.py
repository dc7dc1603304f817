"""What is left to compute of a profile: parts, environment steps, and a rough time.

The time is that of parts computed before: `results/*/provenance/` says what each took of a core or of a GPU. It goes by
environment steps, or, for a method that learns from demonstrations alone, by learners. A cell takes as long as its
parts, as many at a time as there are cores, as `threefold run` computes them.
"""

import json
from collections import defaultdict
from collections.abc import Iterable
from math import isfinite, nan
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from envs import device as devices
from threefold.base.workers import default_threads
from threefold.cells.cell import Cell
from threefold.cells.grid import grid
from threefold.cells.run import is_delivered
from threefold.profile.design import Design, Part
from threefold.tables import effort

LONG = 1.0  # hours; what takes longer is announced
ByCell = dict[tuple[str, str], list[float]]  # by task and row: of each part that is there
Pairs = Iterable[tuple[Cell, Part]]


class Speeds(NamedTuple):
    """What a second of one core, or of one GPU, has computed so far."""

    env_steps: ByCell
    learners: ByCell  # of methods that use no environment step


def outlook(design: Design) -> str:
    """Return how many parts of a profile are there, and what it takes to compute the others, as a line."""
    places = grid(design)
    left = [
        (place.cell, place.part)
        for place in places
        if not (is_delivered(place.cell, place.part) or place.entry.finished())
    ]
    if not left:
        return f"{design.plan}: {len(places)} of {len(places)} parts are there, nothing to compute"
    there = len(places) - len(left)
    line = f"{design.plan}: {there} of {len(places)} parts are there, {len(left)} to compute"
    device = devices.choose("auto") if design.device == "auto" else design.device
    steps, speeds = sum(env_steps(*pair) for pair in left), measured(design.root, device)
    line += f": {steps:,} environment steps" if steps else ", which learn from demonstrations alone"
    if not (speeds.env_steps if steps else speeds.learners):
        line += "; how long they take is not known yet"
        if not steps:
            return line
        line += f" (`threefold estimate --params {design.params}` measures it)"
    else:
        time = hours(left, speeds, device)
        long = f"roughly {time:,.1f} hours" if time >= 0.1 else "some minutes"
        line += f", {long} at the speed of parts computed earlier"
        if unknown := untimed(left, speeds):
            line += f", without {', '.join(unknown)}: no part of it has been timed yet"
        if time <= LONG:
            return line
    return (
        f"{line}. `threefold launch --profile {design.profile}` computes several parts at a time; "
        f"`threefold report --available --params {design.params}` shows those that are there."
    )


def measured(root: Path, device: str) -> Speeds:
    """Return how fast the delivered parts of all profiles were on a kind of device, as their provenance says."""
    paths = sorted((root / "results").glob("*/provenance/*/*/*.json"))
    found = {path: facts for path in paths if (facts := _sidecar(path)).get("device") == device}
    speeds = Speeds(defaultdict(list), defaultdict(list))
    for path, seconds in effort.seconds(found).items():
        steps, learners = (found[path].get(key, 0) for key in ("env_steps", "learners"))
        if (steps or learners) and seconds > 0:  # which it is not where it is not known
            by_cell = speeds.env_steps if steps else speeds.learners
            by_cell[path.parts[-3], path.parts[-2]].append((steps or learners) / seconds)
    return Speeds(*map(dict, speeds))


def _sidecar(path: Path) -> dict[str, Any]:
    """Return what a part's sidecar says; of a damaged one nothing."""
    try:
        facts = json.loads(path.read_text())
    except ValueError:
        return {}
    return facts if isinstance(facts, dict) else {}


def speed(speeds: ByCell, task: str, row: str) -> float:
    """Return the speed of a row on a task: the geometric mean of its parts.

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


def hours(parts: Pairs, speeds: Speeds, device: str) -> float:
    """Return how long it takes to compute parts, one cell after the other, as far as that is known."""
    cells: dict[str, list[float]] = defaultdict(list)
    for cell, part in parts:
        if isfinite(took := _seconds(cell, part, speeds)):
            cells[cell.name].append(took / 3600)
    at_a_time = default_threads() if device == "cpu" else 1
    return sum(sum(each) / min(len(each), at_a_time) for each in cells.values())


def untimed(parts: Pairs, speeds: Speeds) -> list[str]:
    """Return the rows of which it is not known how long they take."""
    return list(dict.fromkeys(cell.row for cell, part in parts if not isfinite(_seconds(cell, part, speeds))))


def _seconds(cell: Cell, part: Part, speeds: Speeds) -> float:
    """Return what a part takes of a core or GPU; NaN where no part is there that tells."""
    steps = env_steps(cell, part)
    by_cell = speeds.env_steps if steps else speeds.learners
    return (steps or len(part.seeds)) / speed(by_cell, cell.task, cell.row) if by_cell else nan


def env_steps(cell: Cell, part: Part) -> int:
    """Return the steps of all learners of a part; none of a method that learns from demonstrations alone."""
    return cell.budget.env_steps * len(part.seeds) if hasattr(cell.config, "ppo") else 0
