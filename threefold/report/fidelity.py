"""Published against measured: table 3 of Ho & Ermon (2016), cell by cell, as a table and as a scatter of scores."""

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from threefold.report import style
from threefold.report.inputs import PUBLISHED, Inputs
from threefold.report.tables import (
    MARGIN,
    NONE,
    Table,
    budget_mark,
    estimate_text,
    limit_mark,
    score_text,
    steps_text,
    time_limits,
)
from threefold.tables import statistics

LOWEST, HIGHEST = -0.25, 1.25  # scores beyond are drawn at the edge of a panel
LOOKS: dict[str, dict[str, Any]] = {  # of a verdict
    "non-inferior": {"marker": "o", "fillstyle": "full"},
    "inconclusive": {"marker": "o", "fillstyle": "none"},
    "inferior": {"marker": "X", "fillstyle": "full"},
}
PALETTE = ("#0072B2", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#E69F00", "#332288", "#882255", "#999933")


def cells(given: Inputs) -> pd.DataFrame:
    """Every stratum that the paper and we both have: a row per task, number of trajectories and method.

    Our scores are as they count at the paper's time limits.
    difference, low, high: our mean score minus the published one, with its one-sided 95 % bounds.
    """
    return pd.DataFrame(
        _cells(given),
        columns=[
            *("task", "demonstrations", "row", "score_mean", "score_low", "score_high", "env_steps"),
            *("published_score", "published_score_sd", "published_runs", "published_env_steps"),
            *("difference", "low", "high", "margin", "verdict", "short_budget"),
        ],
    )


def _cells(given: Inputs) -> Iterator[tuple]:
    budget = pd.read_csv(PUBLISHED / "gail_budget.csv").set_index("task")
    for paper in given.published.itertuples():
        rows = given.as_published.stratum(paper.task, paper.row, paper.demonstrations)
        if rows.empty:
            continue
        mean = statistics.mean([rows["score"].to_numpy()], np.random.default_rng(0))
        held = statistics.non_inferiority(rows["score"].to_numpy(), paper.score, MARGIN)
        steps = int(rows["env_steps"].max())
        # what learns from the demonstrations alone takes no steps there either
        theirs = int(budget.loc[paper.task.rsplit("-v", 1)[0]].prod()) if steps else 0
        yield (
            *(paper.task, paper.demonstrations, paper.row, *map(float, mean), steps),
            *(paper.score, paper.score_sd, paper.runs, theirs),
            *(held.difference, held.low, held.high, MARGIN, held.verdict, given.design.budget[paper.task].short_budget),
        )


def tables(given: Inputs) -> dict[str, Table]:
    """Return `published` and, if cells differ from the paper's, `differences`; nothing if it has none of ours."""
    data = cells(given)
    if data.empty:
        return {}
    shown = pd.DataFrame(
        {
            "Task": [task + limit_mark(task) + budget_mark(given, task) for task in data["task"]],
            "Method": data["row"].map(given.label),
            "Trajectories": data["demonstrations"].astype(str),
            "Score [95 %]": [estimate_text(x.score_mean, x.score_low, x.score_high) for x in data.itertuples()],
            "Published (runs)": [
                f"{score_text(x.published_score)} ± {score_text(x.published_score_sd)} ({x.published_runs:.0f})"
                for x in data.itertuples()
            ],
            "Difference [bounds]": [estimate_text(x.difference, x.low, x.high) for x in data.itertuples()],
            "Verdict": data["verdict"],
            "Steps": data["env_steps"].map(steps_text),
            "Published steps": data["published_env_steps"].map(steps_text),
        }
    )
    told = Table(
        "Published against measured",
        "Table 3 of Ho & Ermon (2016), in score by that paper's own random and expert policies, beside ours. "
        "Published: mean ± spread; with one run the spread is over episodes of one policy. Difference: our mean minus "
        "the published one, taken as exact, with one-sided 95 % Student's t bounds. Verdict: non-inferior where the "
        f"lower bound lies above −{MARGIN}, the declared margin; inferior where the upper bound lies below it. Steps: "
        f"environment steps of a learner ({NONE}: none); theirs are table 2's iterations by the steps of each."
        f"{time_limits(given)}{given.incomplete}",
        data,
        shown,
        {"Score [95 %]": (data["task"] + "/" + data["row"]).tolist()},
    )
    return {"published": told} | _differences(given, told)


def _differences(given: Inputs, published: Table) -> dict[str, Table]:
    """Return the table, under its name, of the cells that differ from the paper's by more than the margin, and why."""
    apart = published.data[(published.data["verdict"] == "inferior") | (published.data["low"] > MARGIN)]
    if apart.empty:
        return {}
    remarks = [given.design.remarks.get(key(x.task, x.row, x.demonstrations)) for x in apart.itertuples()]
    strata = (given.as_published.stratum(x.task, x.row, x.demonstrations) for x in apart.itertuples())
    ours = [_listed(rows["score"]) for rows in strata]
    said = apart[["task", "demonstrations", "row", "difference", "low", "high"]].assign(
        why=[remark.why.format(ours=scores) if remark else "" for remark, scores in zip(remarks, ours, strict=True)],
        evidence=[remark.evidence if remark else "" for remark in remarks],
    )
    groups = [
        (f"{task}/{row}", why, mine) for (task, row, why), mine in said.groupby(["task", "row", "why"], sort=False)
    ]
    shown = pd.DataFrame(
        [
            published.shown.loc[mine.index[0], ["Task", "Method"]].to_dict()
            | {"Trajectories": ", ".join(map(str, mine["demonstrations"]))}
            | {"Difference": ", ".join(map(score_text, mine["difference"]))}
            | {"Why": why or "not explained yet", "Evidence": mine["evidence"].iloc[0] or NONE}
            for _, why, mine in groups
        ]
    )
    told = Table(
        "Where we and the paper differ",
        f"The cells whose score lies below or above the published one by more than the margin, {MARGIN}, with what "
        "explains it and what shows that, as params.yaml has it under remarks; numbers of trajectories with the same "
        f"remark share a line, and their differences stand in the same order.{given.incomplete}",
        said,
        shown,
        {"Difference": [cell for cell, _, _ in groups]},
    )
    return {"differences": told}


def _listed(scores: Iterable[float]) -> str:
    """Return scores as a sentence has them: 0.39, 0.80 and 0.93."""
    *others, last = map(score_text, scores)
    return f"{', '.join(others)} and {last}" if others else last


def key(task: str, row: str, number: int) -> str:
    """How a mark of the scatter is called: the cell, and a number of trajectories."""
    return f"{task}/{row}/{number}"


def about(given: Inputs) -> dict[str, str]:
    """What each mark of the scatter says to who points at it, by its name."""
    return {
        key(x.task, x.row, x.demonstrations): (
            f"{given.label(x.row)} on {x.task}{limit_mark(x.task)}, {x.demonstrations} trajectories: "
            f"{estimate_text(x.score_mean, x.score_low, x.score_high)}, published {score_text(x.published_score)}; "
            f"{x.verdict}"
        )
        for x in cells(given).itertuples()
    }


def scatter(given: Inputs) -> Figure:
    """A panel per method: measured against published score, a mark per task and number of trajectories."""
    data = cells(given)
    rows = [method for method in given.design.methods if (data["row"] == method).any()]
    tasks = [task for task in given.design.tasks if (data["task"] == task).any()]
    colours = {task: PALETTE[i % len(PALETTE)] for i, task in enumerate(tasks)}
    columns = 2 if len(rows) == 4 else min(3, len(rows))
    height = -(-len(rows) // columns)
    figure = Figure(figsize=(3.2 * columns + 0.3, 3.05 * height + 0.9))
    axes = figure.subplots(height, columns, squeeze=False, sharex=True, sharey=True)
    for ax, row in zip(axes.flat, rows, strict=False):
        _panel(ax, data[data["row"] == row], colours)
        ax.set_title(given.label(row))
    for ax in list(axes.flat)[len(rows) :]:
        ax.remove()
    figure.supxlabel("published score", fontsize=9)
    figure.supylabel("measured score", fontsize=9)
    handles = [
        Line2D([], [], marker="s", linestyle="none", color=colours[task], label=task + limit_mark(task))
        for task in tasks
    ]
    handles += [Line2D([], [], color="#444444", linestyle="none", label=name, **look) for name, look in LOOKS.items()]
    figure.legend(handles=handles, loc="outside upper center", ncols=min(len(handles), 2 * columns), fontsize=8)
    return figure


def _panel(ax: Axes, data: pd.DataFrame, colours: dict[str, str]) -> None:
    ends = np.array([LOWEST, HIGHEST])
    ax.fill_between(ends, ends - MARGIN, ends, color="#888888", alpha=0.25, linewidth=0, zorder=1)
    ax.plot(ends, ends, **style.EXPERT, zorder=1)
    for x in data.itertuples():
        at, value, low, high = np.clip([x.published_score, x.score_mean, x.score_low, x.score_high], LOWEST, HIGHEST)
        ax.plot([at, at], [low, high], color=colours[x.task], linewidth=0.9, alpha=0.6, zorder=2)
        look: dict[str, Any] = {"color": colours[x.task], "ms": 5, "mew": 0.9, "linestyle": "none"} | LOOKS[x.verdict]
        ax.plot([at], [value], zorder=3, gid=key(x.task, x.row, x.demonstrations), **look)
    ax.set_xlim(LOWEST - 0.05, HIGHEST + 0.05)
    ax.set_ylim(LOWEST - 0.05, HIGHEST + 0.05)
    ax.set_aspect("equal")
