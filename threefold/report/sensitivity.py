"""What a number in a method's constants is worth: rows that differ from their method's own in that number alone."""

from collections.abc import Iterator
from typing import Any, NamedTuple, TypeGuard

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from threefold.report import style
from threefold.report.inputs import Inputs
from threefold.report.tables import Table, estimate_text
from threefold.tables import statistics

COLUMNS = 4
HEIGHT = 2.0  # inches, of a panel
KEY = ["task", "method", "constant", "demonstrations"]


class Change(NamedTuple):
    """A row on a task, and the constant that it gives a value of its own, or the method's own row."""

    task: str
    method: str
    constant: str
    value: float
    row: str


def changes(given: Inputs) -> list[Change]:
    """Return every variant that changes one number, and for each such number the method's own row, by value."""
    found: set[Change] = set()
    for task in given.design.tasks:
        for row in given.design.rows(task):
            method = given.design.variant(row).method
            for constant, own, value in _one_number(given, f"{task}/{method}", f"{task}/{row}"):
                found |= {Change(task, method, constant, value, row), Change(task, method, constant, own, method)}
    order = {method: i for i, method in enumerate(given.design.methods)}
    tasks = given.design.tasks
    return sorted(found, key=lambda x: (tasks.index(x.task), order[x.method], x.constant, x.value))


def _one_number(given: Inputs, own: str, other: str) -> Iterator[tuple[str, float, float]]:
    """Yield the one constant in which two cells differ and both its values, if nothing else differs."""
    cells = [given.cells.get(name, {}) for name in (own, other)]
    if not all(cells) or cells[0]["expert"] != cells[1]["expert"]:
        return
    a, b = map(_constants, cells)
    differ = [name for name in a | b if a.get(name) != b.get(name)]
    if len(differ) == 1:
        first, second = (constants.get(differ[0]) for constants in (a, b))
        if _is_number(first) and _is_number(second):
            yield differ[0], first, second


def _is_number(value: Any) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _constants(cell: dict[str, Any]) -> dict[str, Any]:
    """A cell's constants by their dotted names."""
    return pd.json_normalize(cell["config"]).to_dict("records")[0]


def table(given: Inputs) -> dict[str, Table]:
    """Return the table of this name, or nothing where no row changes one number."""
    lines = [
        (*change[:3], number, change.value, change.row, *_score(given, change, number))
        for change in changes(given)
        for number in given.numbers(change.task)
        if len(given.stratum(change.task, change.row, number))
    ]
    if not lines:
        return {}
    data = pd.DataFrame(lines, columns=[*KEY, "value", "row", "learners", "score", "low", "high"])
    shown = pd.DataFrame(
        {
            "Task": data["task"],
            "Trajectories": data["demonstrations"].astype(str),
            "Method": data["method"].map(style.label),
            "Constant": data["constant"],
            "Value": list(map(_written, data["value"], data["method"] == data["row"])),
            "Score": list(map(estimate_text, data["score"], data["low"], data["high"])),
        }
    )
    caption = (
        "Rows that differ from their method's own in one number, and that row itself (*): interquartile mean of the "
        f"score and its 95 % bootstrap interval over learners.{given.incomplete}"
    )
    links = {"Score": (data["task"] + "/" + data["row"]).tolist()}
    return {"sensitivity": Table("Sensitivity", caption, data, shown, links)}


def _score(given: Inputs, change: Change, number: int) -> tuple[float, ...]:
    scores = given.stratum(change.task, change.row, number)["score"].to_numpy()
    return len(scores), *map(float, statistics.aggregate([scores], np.random.default_rng(0)))


def _written(value: float, own: bool) -> str:
    return f"{value:g}" + " *" * own


def figure(given: Inputs) -> Figure:
    """Draw a panel for each task, method and constant: score against value, a mark for each learner."""
    panels = pd.DataFrame(changes(given)).groupby(["task", "method", "constant"], sort=False)
    rows = -(-len(panels) // COLUMNS)
    drawn = Figure(figsize=(style.WIDTH, HEIGHT * rows + 0.3), layout="constrained")
    axes = drawn.subplots(rows, COLUMNS, squeeze=False)
    for ax, ((task, method, constant), values) in zip(axes.flat, panels, strict=False):
        _panel(ax, given, values)
        ax.set_title(f"{style.label(method)} on {task}\n{constant}", fontsize=8)
    for ax in axes.flat[len(panels) :]:
        ax.remove()
    for ax in axes[:, 0]:
        ax.set_ylabel("score")
    return drawn


def _panel(ax: Axes, given: Inputs, values: pd.DataFrame) -> None:
    task, method = values["task"].iloc[0], values["method"].iloc[0]
    numbers = given.numbers(task)
    for number, shade in zip(numbers, style.shades(len(numbers)), strict=True):
        strata = [given.stratum(task, row, number)["score"] for row in values["row"]]
        for x, scores in enumerate(strata):
            ax.plot([x] * len(scores), scores, "o", color=shade, ms=3.4, mew=0, alpha=0.6)
        ax.plot(range(len(strata)), [scores.mean() for scores in strata], color=shade, linewidth=1.2)
    ax.axhline(1, zorder=1, **style.EXPERT)
    ax.axhline(0, zorder=1, **style.RANDOM)
    ax.set_xticks(range(len(values)), list(map(_written, values["value"], values["row"] == method)))
