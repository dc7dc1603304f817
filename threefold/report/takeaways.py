"""What the numbers of a report say, a sentence each, made from the tables' data; each with the table to look it up in.

A sentence that would need what the profile lacks (a published number, a control, a second method) is left out.
"""

from collections.abc import Iterator
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from threefold.report import claims
from threefold.report.cost import BAR
from threefold.report.inputs import Inputs
from threefold.report.sentences import MANY, beside_own, held, listed, where
from threefold.report.tables import MARGIN, SHORT, Table, budget_mark, estimate_text, score_text
from threefold.tables import statistics
from threefold.tables.statistics import Estimate

BARS = (0.9, 0.95)  # of the expert


class Takeaway(NamedTuple):
    """One sentence, and the name of the table that it is from."""

    text: str
    table: str


def takeaways(given: Inputs, tables: dict[str, Table]) -> list[Takeaway]:
    """All that can be said of a report's tables (`contents.every_table`)."""
    summary, aggregate, returns = (tables[name].data for name in ("summary", "aggregate", "returns"))
    found = [
        *(Takeaway(text, "summary") for text in _reached(given, summary)),
        *(Takeaway(text, "aggregate") for text in _ranking(given, aggregate)),
        *(Takeaway(text, "aggregate") for text in _demonstrations(given, aggregate)),
        *(Takeaway(text, "returns") for text in _controls(given, returns)),
        *(Takeaway(text, "returns") for text in _variants(given, returns)),
        *(Takeaway(text, "returns") for text in claims.trpo(given, returns)),
        *(Takeaway(text, "returns") for text in claims.entropy(given, returns)),
        *(Takeaway(text, "returns") for text in claims.cartpole(given)),
    ]
    if "runs" in tables:
        found += [Takeaway(text, "runs") for text in claims.spread(tables["runs"].shown)]
    if "published" in tables:
        found += [Takeaway(text, "published") for text in _published(given, tables["published"].data)]
    return found + [Takeaway(text, "cost") for text in _cost(given, tables["cost"].data)]


def _reached(given: Inputs, summary: pd.DataFrame) -> Iterator[str]:
    """On how many tasks each method's mean score reaches the bars, from the most trajectories."""
    most = summary.sort_values("demonstrations").drop_duplicates(["task", "row"], keep="last").dropna()
    if most.empty:
        return
    counts = {row: [int((mine["score_mean"] >= bar).sum()) for bar in BARS] for row, mine in most.groupby("row")}
    order = sorted(counts, key=lambda row: counts[row], reverse=True)
    told = [f"{given.label(row)} {counts[row][0]} ({counts[row][1]})" for row in order]
    tasks = most["task"].nunique()
    yield (
        f"Tasks, of {tasks}, on which the mean score from the most trajectories is at least {BARS[0]} ({BARS[1]}) of "
        f"the expert: {listed(told)}."
    )


def _ranking(given: Inputs, aggregate: pd.DataFrame) -> Iterator[str]:
    """Which methods' intervals over all learners lie apart, and which overlap: no order is claimed there.

    Two methods are compared where both have results: one that lacks the hard tasks is no better for it.
    """
    lines = aggregate[aggregate["demonstrations"] == "all"].dropna(subset=["score_low"])
    above: dict[str, list[str]] = {}
    alike: dict[str, list[str]] = {}
    lines = lines.sort_values("score_iqm", ascending=False, kind="stable")
    overall = {x.row: Estimate(x.score_iqm, x.score_low, x.score_high) for x in lines.itertuples()}
    for rows in combinations(overall, 2):
        found = _where_both(given, *rows) or overall
        high, low = sorted(rows, key=lambda row: found[row].value, reverse=True)
        kind = above if found[high].low > found[low].high else alike
        kind.setdefault(given.label(high), []).append(given.label(low))
    if above:
        told = [f"{high} above {listed(lower)}" for high, lower in above.items()]
        over = "all tasks and numbers of trajectories"
        over += " that both of two methods have" if lines["strata"].nunique() > 1 else ""
        tasks = given.design.tasks
        if short := sum(given.design.budget[task].short_budget for task in tasks):
            over += f" ({SHORT} on {short} of {len(tasks)} tasks)"
        yield f"Over {over}, with 95 % intervals apart: {'; '.join(told)}."
    if alike:
        told = [f"{high} with {listed(lower)}" for high, lower in alike.items()]
        yield f"Intervals overlap, so these are not ranked: {'; '.join(told)}."


def _where_both(given: Inputs, *rows: str) -> dict[str, Estimate]:
    """The interquartile means of two methods where both have results; empty if that is wherever one of them has."""
    scores = list(zip(*map(given.strata, rows), strict=True))
    both = [each for each in scores if all(map(len, each))]
    if len(both) == sum(any(map(len, each)) for each in scores):
        return {}
    means = (statistics.aggregate([each[k] for each in both], np.random.default_rng(0)) for k in range(len(rows)))
    return dict(zip(rows, means, strict=True))


def _demonstrations(given: Inputs, aggregate: pd.DataFrame) -> Iterator[str]:
    """Which method gains most from more trajectories, and which least."""
    if all(len(given.numbers(task)) == 1 for task in given.design.tasks):
        return
    ends = aggregate.pivot(index="row", columns="demonstrations", values="score_iqm").dropna()
    if len(ends) < 2:
        return
    gain = ends["most"] - ends["fewest"]
    told = [
        f"{given.label(row)} (from {score_text(ends.at[row, 'fewest'])} to {score_text(ends.at[row, 'most'])})"
        for row in (gain.idxmax(), gain.idxmin())
    ]
    yield f"From the fewest to the most trajectories, {told[0]} changes most for the better and {told[1]} least."


def _controls(given: Inputs, returns: pd.DataFrame) -> Iterator[str]:
    """What rows that know nothing of the expert reach: a method that no table compares, or an idle expert."""
    for row, variant in given.design.variants.items():
        if variant.method in given.design.methods and variant.expert != "idle":
            continue
        told = [_on(given, x) for x in _best(returns, row).itertuples()]
        if told:
            yield (
                f"{given.label(row)}, which knows nothing of the expert, scores {listed(told)}: "
                "that much needs no imitation."
            )


def _variants(given: Inputs, returns: pd.DataFrame) -> Iterator[str]:
    """Where a change of a method moves its score by more than both intervals."""
    for row, variant in given.design.variants.items():
        if variant.method not in given.design.methods or variant.expert == "idle":
            continue
        both = beside_own(returns, row, variant.method)
        told = [
            f"{score_text(x.score_mean)} against {score_text(x.score_mean_own)} on {where(given, x)}"
            for x in both.itertuples()
            if x.score_low > x.score_high_own or x.score_high < x.score_low_own
        ]
        if told:
            yield f"{given.label(row)} and {given.label(variant.method)} lie apart: {listed(told)}."


def _published(given: Inputs, data: pd.DataFrame) -> Iterator[str]:
    """How the cells that a paper has too compare with it, and where they fall short."""
    counts = data["verdict"].value_counts()
    told = [f"{counts[name]} {name}" for name in ("non-inferior", "inconclusive", "inferior") if name in counts]
    text = f"Of the {len(data)} cells that Ho & Ermon (2016) publish too, held at a margin of {MARGIN}: {listed(told)}"
    worse = data[data["verdict"] == "inferior"].sort_values("difference")
    places = [f"{given.label(x.row)} on {held(given, x)} ({score_text(x.difference)})" for x in worse.itertuples()]
    yield text + (f"; furthest below are {listed(places[:MANY])}." if places else ".")
    better = data[data["low"] > MARGIN].sort_values("difference", ascending=False)
    if len(better):
        places = [
            f"{given.label(x.row)} on {held(given, x)} (+{score_text(x.difference)})" for x in better.itertuples()
        ]
        number = f"{len(better)} cell{'s' if len(better) > 1 else ''}"
        yield f"Above the published score by more than the margin: {number}; furthest, {listed(places[:MANY])}."


def _cost(given: Inputs, data: pd.DataFrame) -> Iterator[str]:
    """Who reaches the bar with the fewest environment steps, among those that take any."""
    rows = data[np.isfinite(data["env_steps"]) & (data["env_steps"] > 0)]
    if rows.empty:
        return
    strata = rows.groupby(["task", "demonstrations"])["env_steps"]
    first = rows[rows["env_steps"] == strata.transform("min")]["row"].value_counts()
    told = [f"{given.label(row)} {count}" for row, count in first.items()]
    yield (
        f"Fewest environment steps to {BAR} of the expert, ties counted for each, in pairs of a task and a number of "
        f"trajectories, of {strata.ngroups} in which any method gets there: {listed(told)}."
    )


def _best(returns: pd.DataFrame, row: str) -> pd.DataFrame:
    """A row's highest mean score on each task."""
    rows = returns[returns["row"] == row].dropna(subset=["score_mean"])
    return rows.sort_values("score_mean", ascending=False).drop_duplicates("task").sort_index()


def _on(given: Inputs, x: Any) -> str:
    return f"{estimate_text(x.score_mean, x.score_low, x.score_high)} on {x.task}{budget_mark(given, x.task)}"
