"""Whether budgets are long enough: from which step on a method's scores rise no more."""

from functools import partial

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from threefold.report import style
from threefold.report.inputs import Inputs
from threefold.report.plot import Plot
from threefold.report.tables import NONE, Table, budget_mark
from threefold.tables.statistics import interquartile_mean

METHODS = ("gail", "ebm_gan")  # whose curves budgets are chosen by
WITHIN = 0.02  # of the expert, in score: less is no rise
COLUMNS = 4
HEIGHT = 1.7  # of a panel, in inches
STILL = "still rises"


def middles(given: Inputs) -> pd.DataFrame:
    """Interquartile mean over a row's learners, of all numbers of trajectories, at each evaluation.

    Columns task, row, env_steps, score; tasks in the profile's order. A score that is not finite counts as random's, 0.
    """
    curves = given.curves[given.curves["row"].isin(METHODS)]
    curves = curves.assign(score=curves["score"].where(np.isfinite(curves["score"]), 0.0))
    found = curves.groupby(["task", "row", "env_steps"])["score"].agg(interquartile_mean).reset_index()
    return found.sort_values("task", key=lambda task: task.map(given.design.tasks.index), kind="stable")


def stops(middle: pd.Series) -> float:
    """Return the first of the steps (index, rising) after which a score is never above its own by more than WITHIN.

    NaN if only the last of them is like that: then it is not known where the rise ends.
    """
    after = middle[::-1].cummax()[::-1] - middle
    first = after.index[after <= WITHIN][0]
    return float("nan") if first == middle.index[-1] else float(first)


def ends(given: Inputs) -> pd.DataFrame:
    """Return a row per task and method: the budget, and the steps from which on it rises no more."""
    rows = [
        (task, row, given.design.budget[task].env_steps, stops(curve.set_index("env_steps")["score"]))
        for (task, row), curve in middles(given).groupby(["task", "row"], sort=False)
    ]
    return pd.DataFrame(rows, columns=["task", "row", "budget", "rises_until"])


def tables(given: Inputs) -> dict[str, Table]:
    """Return the table of this name, or nothing in a profile without these methods."""
    data = ends(given)
    if data.empty:
        return {}
    shown, methods = [], [row for row in METHODS if row in given.design.methods]
    for task, found in data.groupby("task", sort=False):
        budget = given.design.budget[task].env_steps
        text = {"Task": task + budget_mark(given, task), "Budget": style.steps(budget)}
        until = dict(zip(found["row"], found["rises_until"], strict=True))
        shown.append(text | {style.label(row): _text(until[row], budget) if row in until else NONE for row in methods})
    return {
        "rising": Table(
            "Where scores stop rising",
            "Environment steps from which on the interquartile mean of the score, over all learners of a task, is "
            f"never exceeded by more than {WITHIN}, with their share of the budget; the methods are those that budgets "
            f"are chosen by. {STILL.capitalize()}: up to the last evaluation.{given.incomplete}",
            data,
            pd.DataFrame(shown),
            {style.label(row): [f"{task}/{row}" for task in data["task"].unique()] for row in methods},
        )
    }


def _text(steps: float, budget: int) -> str:
    return STILL if pd.isna(steps) else f"{style.steps(steps)} ({steps / budget:.0%})"


def plots(given: Inputs) -> dict[str, Plot]:
    """Return the figure of this name, or nothing in a profile without these methods."""
    if middles(given).empty:
        return {}
    plot = Plot(
        partial(figure, given),
        "Where scores stop rising",
        "Interquartile mean of the score over all learners of a task, against environment steps, up to the budget. "
        f"Dots: from there on it is never exceeded by more than {WITHIN}; without one it still rises."
        + given.incomplete,
        ("evaluations.csv", "learners.csv"),
    )
    return {"rising": plot}


def figure(given: Inputs) -> Figure:
    """Draw a panel for each task."""
    curves = middles(given)
    tasks, colours = list(curves["task"].unique()), style.colours(given.design.methods)
    rows = -(-len(tasks) // COLUMNS)
    drawn = Figure(figsize=(style.WIDTH, HEIGHT * rows + 0.4), layout="constrained")
    axes = drawn.subplots(rows, COLUMNS, squeeze=False)
    for ax, task in zip(axes.flat, tasks, strict=False):
        _panel(ax, curves[curves["task"] == task], colours)
        ax.set_title(task, fontsize=9)
    for ax in axes.flat[len(tasks) :]:
        ax.remove()
    for ax in axes[:, 0]:
        ax.set_ylabel("score")
    drawn.supxlabel("environment steps per learner", fontsize=9)
    present = [row for row in METHODS if row in set(curves["row"])]
    lines = [axes.flat[0].plot([], [], color=colours[row], label=style.label(row))[0] for row in present]
    drawn.legend(handles=lines, loc="outside upper center", ncols=len(lines))
    return drawn


def _panel(ax: Axes, curves: pd.DataFrame, colours: dict[str, str]) -> None:
    for row, curve in curves.groupby("row", sort=False):
        middle = curve.set_index("env_steps")["score"]
        ax.plot(middle.index, middle, color=colours[row], linewidth=1.4)
        if not pd.isna(at := stops(middle)):
            ax.plot([at], [middle.loc[at]], "o", color=colours[row], markersize=4.5)
    ax.axhline(1, zorder=1, **style.EXPERT)
    ax.axhline(0, zorder=1, **style.RANDOM)
    ax.set_ylim(-0.3, 1.15)
    ax.xaxis.set_major_formatter(style.steps_formatter())
