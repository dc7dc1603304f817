"""Every figure of the report, each made alone from the collected results; those of the studies from theirs.

They are reports/<profile>/figures/<name>.pdf and .png.
"""

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from threefold.base.errors import InputError
from threefold.profile.design import load
from threefold.report import fidelity, inputs, rising, sensitivity, studies, style, tables
from threefold.report.inputs import Inputs
from threefold.report.plot import Plot, write_all
from threefold.tables import statistics

LOWEST, HIGHEST = -0.5, 1.5  # scores beyond are drawn at the edge of a panel
FAILED: dict[str, Any] = {"marker": "x", "markersize": 6, "markeredgewidth": 1.8, "linestyle": "none"}
PUBLISHED = (
    " Hollow marks: published means (GAIL, table 3), scored by that paper's own random and expert policies; on "
    "locomotion each is a single training run."
)


def plots(given: Inputs) -> dict[str, Plot]:
    """All figures of a report by name, in reading order."""
    named = {
        "score_against_trajectories": Plot(
            partial(score_against_trajectories, given),
            "Score against number of trajectories",
            "Final score against the number of expert trajectories, as figure 1(a) of Ho & Ermon (2016). Small marks: "
            "one learner (seed) each, the mean return of its final deterministic episodes. Large marks: their mean, "
            "with its 95 % stratified-bootstrap interval."
            + (PUBLISHED + tables.time_limits(given) if len(given.published) else "")
            + _notes(given, given.as_published.methods, given.published),
            ("evaluations.csv", "learners.csv"),
        ),
        "learning_curves": Plot(
            partial(learning_curves, given),
            "Learning curves",
            "Score against environment steps per learner. Thin lines: one learner (seed) each; bold: their "
            "interquartile mean. A method that takes no environment steps (BC) is a level line, evaluated once."
            + _notes(given, given.curves),
            ("evaluations.csv", "learners.csv"),
        ),
        "performance_profile": Plot(
            partial(performance_profile, given),
            "Performance profile",
            "Share of learners, over all tasks and numbers of trajectories, whose final score lies above a threshold; "
            "higher is better. Bands: 95 % stratified-bootstrap intervals, pointwise. Failed learners count as "
            f"score 0.{tables.unlike(given)}{given.incomplete}",
            ("evaluations.csv", "learners.csv"),
        ),
    }
    named |= rising.plots(given)
    if marks := fidelity.about(given):
        named["published_scores"] = Plot(
            partial(fidelity.scatter, given),
            "Published against measured scores",
            "Each mark is a task and a number of trajectories that table 3 of Ho & Ermon (2016) has too: our mean score"
            " against theirs, each by its own random and expert policies; strokes: our 95 % intervals. On the dashed "
            f"line both agree; the band is the declared margin of {tables.MARGIN} below it. The verdict is that of the "
            "table. A mark opens its cell. Scores beyond the panel are drawn at its edge."
            + tables.time_limits(given)
            + given.incomplete,
            ("evaluations.csv", "learners.csv"),
            about=marks,
        )
    if len(given.runs):
        named["published_runs"] = Plot(
            partial(published_runs, given),
            "Run by run",
            "Every learner beside every published run of the same method and number of trajectories, as in the "
            "table of this name, by the scores there: hollow and grey, at the left, those of Ho & Ermon (2016); "
            "filled, ours. "
            "Scores below −1 are on a logarithmic scale. On Reacher GAIL's rows are figure 1(b): weights of causal "
            "entropy. Lines at 1 and 0: the deterministic expert and the random policy." + given.incomplete,
            ("evaluations.csv", "learners.csv"),
        )
    if given.design.variants:
        named["variants"] = Plot(
            partial(variants, given),
            "Variants and controls",
            "Each method that has variants, followed by them: other configurations of it, parts of it taken away, or "
            "controls that know nothing of the expert and show what a task gives to anyone (a constant reward; an "
            "expert who always outputs 0). Left: final score; right: length of the final episodes. Dots: one learner "
            "(seed) each, in the colour of its number of trajectories; strokes: their means."
            + _notes(given, given.learners),
            ("evaluations.csv", "learners.csv"),
        )
    if sensitivity.changes(given):
        named["sensitivity"] = Plot(
            partial(sensitivity.figure, given),
            "Sensitivity to constants",
            "Final score against the value of a constant, all others as the method has them; * is the method's own "
            "value. Dots: one learner (seed) each; lines: their means. Every variant that differs from its method's "
            "own row in one number has its place here." + given.incomplete,
            ("evaluations.csv", "learners.csv"),
        )
    trained = set(given.training["row"])
    for method in (name for name in given.design.methods if name in trained):
        named[f"training_{method}"] = Plot(
            partial(training, given, method),
            f"Training of {style.label(method)}",
            f"What {style.label(method)} logs while it trains, by task. Thin lines: one learner (seed) each; bold: "
            "their median, per number of trajectories. The vertical range holds all but the outermost 1 % of values; "
            "values that are not finite are left out.",
            ("training.csv",),
            diagnostic=True,
        )
    return named


def _notes(given: Inputs, *shown: pd.DataFrame) -> str:
    """What all figures of scores have in common, for their captions."""
    notes = (
        " Lines at 1 and 0: the deterministic expert and the random policy, measured; dash-dotted: the stochastic "
        "expert that gave the demonstrations."
    )
    if any(((frame["score"] < LOWEST) | (frame["score"] > HIGHEST)).any() for frame in shown):
        notes += f" Scores below −{-LOWEST} or above {HIGHEST} lie outside: lines are cut, points are triangles."
    if (given.learners["status"] == "failed").any():
        notes += " Crosses: learners that failed; they count as score 0."
    return notes + given.incomplete


def score_against_trajectories(given: Inputs) -> Figure:
    """Ho & Ermon 2016, figure 1(a): one panel per task, every seed a point."""
    tasks = given.design.tasks
    figure, axes = _grid(len(tasks), min(3, len(tasks)), height=2.6)
    for ax, task in zip(axes, tasks, strict=True):
        beside = given.as_published if (given.published["task"] == task).any() else given
        _trajectories_panel(ax, beside, task)
        ax.set_title(task + (tables.limit_mark(task) if beside is not given else "") + tables.budget_mark(given, task))
        _score_axis(ax, beside, task, (beside.methods, given.published))
    _outer_labels(axes, min(3, len(tasks)), "expert trajectories", "score")
    published = [Line2D([], [], marker="o", mfc="none", mec="#444444", linestyle="none", label="published")]
    _legend(figure, given, markers=True, more=published if len(given.published) else [])
    return figure


def _trajectories_panel(ax: Axes, given: Inputs, task: str) -> None:
    methods = given.design.methods
    numbers = given.numbers(task)
    published = given.published[given.published["task"] == task]
    ticks = sorted({*numbers, *published["demonstrations"]})  # evenly spaced: 1, 4, 16 would crowd on a linear axis
    place = {number: i for i, number in enumerate(ticks)}
    slot = 0.8 / len(methods)
    colours, markers = style.colours(methods), style.markers(methods)
    for i, method in enumerate(methods):
        shift = slot * (i + 0.5) - 0.4
        means = []
        for number in numbers:
            rows = given.stratum(task, method, number)
            means.append(statistics.mean([rows["score"].to_numpy()], np.random.default_rng(0)))
            _points(ax, place[number] + shift + 0.3 * slot, rows, colours[method])
        x = np.array([place[number] for number in numbers]) + shift - 0.15 * slot
        value, low, high = np.array(means).T
        ax.plot(x, value, color=colours[method], linewidth=1.1, alpha=0.6, zorder=3)
        ax.vlines(x, low, high, color=colours[method], linewidth=1.8, zorder=4)
        _mark(ax, x, value, markers[method], color=colours[method], mec="white", ms=6, zorder=5)
        paper = published[published["row"] == method]
        at = paper["demonstrations"].map(place).to_numpy(float) + shift - 0.15 * slot
        hollow = {"mfc": "none", "mec": colours[method], "ms": 8, "mew": 1.1}
        _mark(ax, at, paper["score"].to_numpy(), markers[method], zorder=6, **hollow)
    ax.set_xticks(range(len(ticks)), [str(number) for number in ticks])
    ax.set_xlim(-0.55, len(ticks) - 0.45)
    ax.grid(visible=False, axis="x")


def _points(ax: Axes, x: float, rows: pd.DataFrame, colour: str) -> None:
    """Every learner of a stratum: a dot, or a cross if it failed."""
    failed = rows["status"] == "failed"
    score = rows.loc[~failed, "score"].to_numpy()
    _mark(ax, np.full(len(score), x), score, "o", color=colour, alpha=0.5, ms=3.4, mew=0, zorder=2)
    ax.plot(np.full(failed.sum(), x), rows.loc[failed, "score"], color=colour, zorder=6, **FAILED)


def _mark(ax: Axes, x: np.ndarray, score: np.ndarray, marker: str, **look: Any) -> None:
    """Markers without a line; a score out of range is a triangle at the edge, pointing out."""
    for shape, which in (
        (marker, (score >= LOWEST) & (score <= HIGHEST)),
        ("v", score < LOWEST),
        ("^", score > HIGHEST),
    ):
        ax.plot(x[which], score[which].clip(LOWEST, HIGHEST), marker=shape, linestyle="none", **look)


def learning_curves(given: Inputs) -> Figure:
    """Score against environment steps: a row per task, a column per number of demonstrations, of those with results."""
    every = [(task, number) for task in given.design.tasks for number in given.numbers(task)]
    there = [one for one in every if any(len(given.stratum(one[0], row, one[1])) for row in given.design.methods)]
    panels = there or every
    most = max(Counter(task for task, _ in panels).values())
    columns = most if most > 1 else min(3, len(panels))
    places = _places(panels, columns) if most > 1 else list(range(len(panels)))
    figure, axes = _grid(max(places) + 1, columns, keep=places)
    for ax, (task, number) in zip(axes, panels, strict=True):
        for method in given.design.methods:
            _curves(ax, given, task, method, number)
        ax.set_title(f"{task}\n{number} {_trajectories(number)}{tables.budget_mark(given, task)}")
        ax.xaxis.set_major_formatter(style.steps_formatter())
        ax.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]))
        _score_axis(ax, given, task, (given.curves,))
    _outer_labels(axes, columns, "environment steps per learner", "score", places)
    _legend(figure, given, markers=False)
    return figure


def _places(panels: Sequence[tuple[str, int]], columns: int) -> list[int]:
    """Where each panel stands in the grid when every task starts a new row."""
    rows = {task: i for i, task in enumerate(dict.fromkeys(task for task, _ in panels))}
    seen = dict.fromkeys(rows, 0)
    places = []
    for task, _ in panels:
        places.append(rows[task] * columns + seen[task])
        seen[task] += 1
    return places


def _curves(ax: Axes, given: Inputs, task: str, method: str, number: int) -> None:
    colour = style.colours(given.design.methods)[method]
    final = given.stratum(task, method, number).set_index("seed")
    if final.empty:
        return
    rows = given.curves
    rows = rows[(rows["task"] == task) & (rows["row"] == method) & (rows["demonstrations"] == number)]
    table = rows.pivot(index="env_steps", columns="seed", values="score").reindex(columns=final.index)
    if (table.index == 0).all():
        for value in final["score"]:
            ax.axhline(value, color=colour, linewidth=0.7, alpha=0.45, zorder=2)
        ax.axhline(
            float(statistics.interquartile_mean(final["score"].to_numpy())), color=colour, linewidth=2.2, zorder=4
        )
        return
    for seed, failed in (final["status"] == "failed").items():
        line = table[seed].dropna()
        ax.plot(line.index, line, color=colour, linewidth=0.8, alpha=0.5, zorder=2)
        if failed:
            ax.plot([final.at[seed, "env_steps"]], [0.0], color=colour, zorder=6, **FAILED)
            table[seed] = table[seed].fillna(0.0)
    ax.plot(table.index, statistics.interquartile_mean(table.to_numpy()), color=colour, linewidth=2.2, zorder=4)


def performance_profile(given: Inputs) -> Figure:
    """Share of learners above each score, over all strata."""
    figure = Figure(figsize=(6.4, 3.8))
    ax = figure.subplots()
    top = float(np.fmin(np.fmax(given.methods["score"].max() + 0.05, 1.1), HIGHEST))  # there may be no score
    thresholds = np.round(np.arange(-0.1, top + 0.005, 0.01), 2)
    for method, colour in _coloured(given):
        strata = given.strata(method)
        if not any(map(len, strata)):
            continue
        value, low, high = statistics.performance_profile(strata, thresholds, np.random.default_rng(0))
        ax.plot(thresholds, value, color=colour, linewidth=2, drawstyle="steps-post", label=style.label(method))
        ax.fill_between(thresholds, low, high, color=colour, alpha=0.15, linewidth=0, step="post")
    ax.axvline(1, label="expert", **style.EXPERT)
    ax.axvline(0, label="random", **style.RANDOM)
    ax.set_xlim(thresholds[0], thresholds[-1])
    ax.set_ylim(-0.02, 1.02)
    ax.set_xlabel("score threshold (0 = random, 1 = expert)")
    ax.set_ylabel("share of learners above it")
    figure.legend(loc="outside right center")
    return figure


def published_runs(given: Inputs) -> Figure:
    """One panel per task that has published runs: rows along the axis, numbers of trajectories within each."""
    tasks = [task for task in given.design.tasks if (given.runs["task"] == task).any()]
    figure = Figure(figsize=(style.WIDTH, 2.5 * len(tasks)))
    for ax, task in zip(figure.subplots(len(tasks), 1, squeeze=False)[:, 0], tasks, strict=True):
        _runs_panel(ax, given.as_published, task)
        ax.set_title(task + tables.limit_mark(task))
    figure.supylabel("score", fontsize=9)
    return figure


def _runs_panel(ax: Axes, given: Inputs, task: str) -> None:
    runs = given.runs[given.runs["task"] == task]
    rows = [row for row in given.design.rows(task) if (runs["row"] == row).any()]
    colours = style.colours(given.design.methods)
    ticks: list[tuple[float, str]] = []
    names: list[tuple[float, str]] = []
    for row in rows:
        method, start = given.design.variant(row).method, len(ticks) + 0.6 * len(names)
        numbers = [number for number in given.numbers(task) if number in given.design.numbers(task, row)]
        for x, number in enumerate(numbers, start=1):
            paper = runs[(runs["row"] == row) & (runs["demonstrations"] == number)]["score"]
            ours = given.stratum(task, row, number)["score"]
            hollow: dict[str, Any] = {"mfc": "none", "mec": "#777777", "ms": 4.5}
            ax.plot(np.full(len(paper), start + x - 0.15), paper, "o", zorder=3, **hollow)
            ax.plot(np.full(len(ours), start + x + 0.15), ours, "o", color=colours[method], ms=5, alpha=0.8, zorder=4)
            ticks.append((start + x, str(number)))
        names.append((start + (1 + len(numbers)) / 2, given.label(row)))
    ax.axhline(1, **style.EXPERT)
    ax.axhline(0, **style.RANDOM)
    ax.set_yscale("symlog", linthresh=1)
    lowest = min(0.0, runs["score"].min())
    powers = [-(10**k) for k in range(max(0, math.ceil(math.log10(-lowest))) + 1)] if lowest < -0.5 else []
    marks = [*powers, 0, 0.5, 1]
    ax.set_yticks(marks, [f"{y:g}".replace("-", "−") for y in marks])
    ax.set_xticks([x for x, _ in ticks], [text for _, text in ticks])
    ax.grid(visible=False, axis="x")
    below = ax.secondary_xaxis(-0.1)
    below.set_xticks([x for x, _ in names], [text for _, text in names])
    below.tick_params(length=0)
    below.spines["bottom"].set_visible(False)


def variants(given: Inputs) -> Figure:
    """A row of two panels per task, scores and episode lengths: what a change of a method, or a control, is worth."""
    compared = {task: _compared(given, task) for task in given.design.tasks}
    tasks = [task for task, rows in compared.items() if rows]
    heights = [0.9 + 0.21 * len(compared[task]) for task in tasks]
    figure = Figure(figsize=(style.WIDTH, sum(heights) + 0.4))
    axes = figure.subplots(len(tasks), 2, gridspec_kw={"height_ratios": heights, "width_ratios": (3, 2)}, squeeze=False)
    for task, (scores, lengths) in zip(tasks, axes, strict=True):
        _variants_panel(scores, given, task, compared[task], "score")
        _variants_panel(lengths, given, task, compared[task], "episode_length")
        ends = given.references.loc[task]
        for value, look in (
            (1, style.EXPERT),
            (0, style.RANDOM),
            (statistics.score(ends["expert-stochastic"], ends["random"], ends["expert"]), style.STOCHASTIC),
        ):
            scores.axvline(value, zorder=1, **look)
        scores.set_title(task + tables.budget_mark(given, task))
        scores.set_yticks(range(len(compared[task])), [given.label(row) for row in compared[task]])
        lengths.set_yticks(range(len(compared[task])), [])
        lengths.set_xlim(left=0)
        lengths.legend(loc="lower right", fontsize=8, bbox_to_anchor=(1.0, 0.97), ncols=4, handletextpad=0.1)
    axes[-1, 0].set_xlabel("score (0 = random, 1 = expert)")
    axes[-1, 1].set_xlabel("episode length (steps)")
    return figure


def _compared(given: Inputs, task: str) -> list[str]:
    """Rows of a task's panel: every method that has variants there, each followed by them; then what has no method."""
    variants = {
        row: given.design.variant(row).method for row in given.design.rows(task) if row in given.design.variants
    }
    order = [*given.design.methods, *dict.fromkeys(variants.values())]
    heads = [name for name in dict.fromkeys(order) if name in variants.values()]
    own = {name: [name] if name in given.design.methods else [] for name in heads}
    return [row for name in heads for row in own[name] + [v for v, method in variants.items() if method == name]]


def _variants_panel(ax: Axes, given: Inputs, task: str, rows: Sequence[str], column: str) -> None:
    numbers = given.numbers(task)
    for j, (number, shade) in enumerate(zip(numbers, style.shades(len(numbers)), strict=True)):
        shift = (j - (len(numbers) - 1) / 2) * 0.5 / len(numbers)
        for y, row in enumerate(rows):
            values = given.stratum(task, row, number)[column].to_numpy()
            low, high = (LOWEST, HIGHEST) if column == "score" else (0, np.inf)
            for shape, which in (("o", (values >= low) & (values <= high)), ("<", values < low), (">", values > high)):
                x = values[which].clip(low, high)
                ax.plot(x, np.full(len(x), y + shift), shape, color=shade, ms=3.4, mew=0, alpha=0.6)
            if len(values):
                ax.plot([values.mean().clip(low, high)], [y + shift], "|", color=shade, ms=9, mew=2)
        ax.plot([], [], "o", color=shade, ms=3.4, label=f"{number} traj.")
    ax.set_ylim(len(rows) - 0.5, -0.5)
    ax.grid(visible=False, axis="y")
    methods = [given.design.variant(row).method for row in rows]
    for y in range(1, len(rows)):
        if methods[y] != methods[y - 1]:
            ax.axhline(y - 0.5, color="#CCCCCC", linewidth=0.7)


def training(given: Inputs, method: str) -> Figure:
    """What a method logs: a row per metric, a column per task (three abreast), a colour per number of trajectories.

    Of tasks on which it has results.
    """
    rows = given.training[given.training["row"] == method]
    axis = "env_steps" if (rows["env_steps"] > 0).any() else "iteration"
    metrics = list(dict.fromkeys(rows["metric"]))
    tasks = [task for task in given.design.tasks if (rows["task"] == task).any()]
    columns = min(3, len(tasks))
    places = {
        (task, metric): (i // columns * len(metrics) + j) * columns + i % columns
        for i, task in enumerate(tasks)
        for j, metric in enumerate(metrics)
    }
    figure, axes = _grid(max(places.values()) + 1, columns, height=1.75, keep=list(places.values()))
    for ax, (task, metric) in zip(axes, places, strict=True):
        _training_panel(ax, given, rows[(rows["metric"] == metric) & (rows["task"] == task)], task, axis)
        if metric == metrics[0]:
            ax.set_title(task + tables.budget_mark(given, task), pad=18)
            look = {"fontsize": 8, "handlelength": 1.0, "handletextpad": 0.4, "columnspacing": 0.9}
            ax.legend(loc="lower center", bbox_to_anchor=(0.5, 0.97), ncols=len(given.numbers(task)), **look)
        if metric == metrics[-1]:
            ax.set_xlabel("environment steps per learner" if axis == "env_steps" else "iteration")
        if places[task, metric] % columns == 0:
            ax.set_ylabel(metric.replace("_", " "))
    return figure


def _training_panel(ax: Axes, given: Inputs, rows: pd.DataFrame, task: str, axis: str) -> None:
    numbers = given.numbers(task)
    for number, shade in zip(numbers, style.shades(len(numbers)), strict=True):
        last = rows[rows["demonstrations"] == number].drop_duplicates([axis, "seed"], keep="last")
        table = last.pivot(index=axis, columns="seed", values="value")
        ax.plot(table.index, table, color=shade, linewidth=0.6, alpha=0.4)
        ax.plot(table.index, table.median(axis=1), color=shade, linewidth=1.8, label=f"{number} traj.")
    if len(rows):
        low, high = np.quantile(rows["value"], [0.01, 0.99])
        room = 0.08 * (high - low) or 0.1 * abs(high) or 0.1
        ax.set_ylim(low - room, high + room)
    if axis == "env_steps":
        ax.xaxis.set_major_formatter(style.steps_formatter())
    ax.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]))


def _coloured(given: Inputs) -> Iterator[tuple[str, str]]:
    colours = style.colours(given.design.methods)
    return ((method, colours[method]) for method in given.design.methods)


def _trajectories(number: int) -> str:
    return "trajectory" if number == 1 else "trajectories"


def _grid(
    count: int, columns: int, height: float = style.PANEL_HEIGHT, keep: Sequence[int] | None = None
) -> tuple[Figure, list[Axes]]:
    """A figure with `count` places in `columns`; only those in `keep` (all) get a panel."""
    rows = -(-count // columns)
    width = min(style.PANEL_WIDTH, style.WIDTH / columns)
    figure = Figure(figsize=(width * columns + 0.3, height * rows + 0.6))
    places = range(count) if keep is None else keep
    return figure, [figure.add_subplot(rows, columns, place + 1) for place in places]


def _score_axis(ax: Axes, given: Inputs, task: str, shown: Sequence[pd.DataFrame]) -> None:
    """Reference lines, and a range that holds every shown score of the task but for outliers."""
    scores = given.references.loc[task]
    stochastic = statistics.score(scores["expert-stochastic"], scores["random"], scores["expert"])
    ax.axhline(1, zorder=1, **style.EXPERT)
    ax.axhline(0, zorder=1, **style.RANDOM)
    ax.axhline(stochastic, zorder=1, **style.STOCHASTIC)
    values = [0.0, 1.0, *pd.concat([frame.loc[frame["task"] == task, "score"] for frame in shown]).dropna()]
    ax.set_ylim(max(min(values), LOWEST) - 0.08, min(max(values), HIGHEST) + 0.08)


def _outer_labels(axes: Sequence[Axes], columns: int, x: str, y: str, places: Sequence[int] | None = None) -> None:
    """Label the left column and the lowest panel of each column only."""
    places = range(len(axes)) if places is None else places
    for ax, place in zip(axes, places, strict=True):
        if place % columns == 0:
            ax.set_ylabel(y)
        if place + columns not in places:
            ax.set_xlabel(x)


def _legend(figure: Figure, given: Inputs, markers: bool, more: Sequence[Line2D] = ()) -> None:
    """Above the panels: methods first, then what they are held against on a row of its own."""
    shapes = style.markers(given.design.methods)
    methods = [
        Line2D([], [], color=colour, linewidth=2, marker=shapes[name] if markers else None, label=style.label(name))
        for name, colour in _coloured(given)
    ]
    others = [
        Line2D([], [], label="expert", **style.EXPERT),
        Line2D([], [], label="expert, stochastic", **style.STOCHASTIC),
        Line2D([], [], label="random", **style.RANDOM),
        *more,
    ]
    if (given.learners["status"] == "failed").any():
        others.append(Line2D([], [], color="#444444", label="failed", **FAILED))
    columns = min(max(2, int(figure.get_figwidth() / 1.5)), max(len(methods), len(others)))
    blank = Line2D([], [], linestyle="none", label=" ")
    rows = [row + [blank] * (-len(row) % columns) for row in (methods, others)]
    handles = np.array(rows[0] + rows[1], dtype=object).reshape(-1, columns)
    # a legend fills column by column
    figure.legend(handles=list(handles.T.flat), loc="outside upper center", ncols=columns)


def draw(params: Path, only: str | None) -> None:
    """Write one figure of a profile, or all of them."""
    design = load(params)
    known = studies.plots(design)
    if only not in known:  # these need the study's results alone
        known = plots(inputs.read(params)) | known
    if only and only not in known:
        raise InputError(f"--only {only}: no such figure; choose from {', '.join(known)}")
    wanted = {only: known[only]} if only else known
    write_all(wanted, design.root / "reports" / design.profile / "figures")
