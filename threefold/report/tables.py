r"""Every table of the report: numbers as CSV, and the same as LaTeX (booktabs) and on the page.

A `Table` holds `data`, plain numbers for programs, and `shown`, the text that people read; LaTeX is `shown`, escaped.
"""

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from threefold.base.files import write_bytes
from threefold.report import style
from threefold.report.inputs import PUBLISHED_LIMITS, Inputs
from threefold.tables import schema, statistics

MARGIN = 0.05  # declared margin of non-inferiority to a published score, in units of score
SHORT = "short budget"
NONE = "–"
NOT_RUN = "n/a"  # a pair of task and row that the profile leaves out

PICKS: dict[str, Callable[[list[int]], list[int]]] = {
    "fewest": lambda numbers: numbers[:1],
    "most": lambda numbers: numbers[-1:],
    "all": list,
}

TEX = {
    "\\": r"\textbackslash{}",
    **{character: f"\\{character}" for character in "&%$#_{}"},
    "\u00a0": "~",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": "$<$",
    ">": "$>$",
    "±": r"$\pm$",
    "→": r"$\to$",
    "−": "$-$",
    "–": "--",
    "≥": r"$\ge$",
}


class Table(NamedTuple):
    """One table: `data` are numbers, `shown` text with the same meaning (its index, if named, is not shown).

    opens: for a column of `shown`, the cell (`task/row`) that each of its lines is about, or none; the page shows it.
    """

    title: str
    caption: str
    data: pd.DataFrame
    shown: pd.DataFrame
    opens: Mapping[str, Sequence[str]] = {}


def tables(given: Inputs) -> dict[str, Table]:
    """All tables of a report by name, in reading order; `summary` is the answer in one table."""
    return {
        "summary": summary(given),
        "aggregate": aggregate(given),
        "improvement": improvement(given),
        "returns": returns(given),
        **({"runs": runs(given)} if len(given.runs) else {}),
        "references": references(given),
        "learners": learners(given),
    }


def summary(given: Inputs) -> Table:
    """Mean score of each method on each task, from the fewest to the most trajectories; last row: aggregate."""
    data, shown = [], []
    for task in given.design.tasks:
        numbers = given.numbers(task)
        ends = list(dict.fromkeys((numbers[0], numbers[-1])))
        text = {"Task": task + budget_mark(given, task), "Trajectories": " → ".join(map(str, ends))}
        for method in given.design.methods:
            if method in given.design.left_out.get(task, {}):
                text[style.label(method)] = NOT_RUN
                continue
            scores = [float(given.stratum(task, method, number)["score"].mean()) for number in ends]
            text[style.label(method)] = " → ".join(map(score_text, scores))
            data += [(task, method, number, value) for number, value in zip(ends, scores, strict=True)]
        shown.append(text)
    last = {"Task": "All: interquartile mean", "Trajectories": "all"}
    for method in given.design.methods:
        value = statistics.aggregate(given.strata(method), np.random.default_rng(0))
        last[style.label(method)] = estimate_text(*map(float, value))
    return Table(
        "Scores at a glance",
        "Mean score over learners, from the fewest to the most expert trajectories (0 = random, 1 = deterministic "
        "expert, both measured). Last row: interquartile mean over all learners, tasks and numbers of trajectories, "
        f"with its 95 % interval.{short_note(given)}{_left_out(given)}{unlike(given)}{given.incomplete}",
        pd.DataFrame(data, columns=["task", "row", "demonstrations", "score_mean"]),
        pd.DataFrame([*shown, last]),
        {
            style.label(method): [*(f"{task}/{method}" for task in given.design.tasks), ""]
            for method in given.design.methods
        },
    )


def _left_out(given: Inputs) -> str:
    """A sentence for captions: which methods are not run where, and why; empty if there are none."""
    where: dict[tuple[str, str], list[str]] = {}
    for task, rows in given.design.left_out.items():
        for row, reason in rows.items():
            where.setdefault((row, reason), []).append(task)
    said = [f"{given.label(row)} on {', '.join(tasks)}: {reason}" for (row, reason), tasks in where.items()]
    return f" Not run ({NOT_RUN}): {'; '.join(said)}." if said else ""


def aggregate(given: Inputs) -> Table:
    """Interquartile mean over tasks per method, at the fewest, the most, and all numbers of trajectories."""
    data, gaps, shown = [], [], []
    for method in given.design.methods:
        text: dict[str, str] = {"Method": style.label(method)}
        for which, pick in PICKS.items():
            strata = given.strata(method, pick)
            value = statistics.aggregate(strata, np.random.default_rng(0))
            text[f"{which.capitalize()} trajectories"] = estimate_text(*map(float, value))
            data.append((method, which, *map(float, value), sum(map(len, strata)), sum(map(bool, map(len, strata)))))
        gap = statistics.optimality_gap(given.strata(method), np.random.default_rng(0))
        gaps.append((method, *map(float, gap)))
        text["Optimality gap"] = estimate_text(*map(float, gap))
        mine = given.learners[given.learners["row"] == method]
        text |= {"Learners": str(len(mine)), "Failed": str((mine["status"] == "failed").sum())}
        if len(given.missing):
            text["Missing"] = str((given.missing["row"] == method).sum())
        shown.append(text)
    columns = ["row", "demonstrations", "score_iqm", "score_low", "score_high", "learners", "strata"]
    return Table(
        "Aggregate",
        "Interquartile mean of the score over tasks, with its 95 % interval from a bootstrap stratified by task and "
        "number of trajectories. Optimality gap: mean shortfall from the expert, scores above 1 counted as 1. Failed "
        f"learners count as score 0.{short_note(given)}{unlike(given)}{given.incomplete}",
        pd.DataFrame(data, columns=columns).merge(pd.DataFrame(gaps, columns=["row", "gap", "gap_low", "gap_high"])),
        pd.DataFrame(shown),
    )


def unlike(given: Inputs) -> str:
    """A sentence for captions of what is averaged over tasks; empty if the methods have results on the same ones."""
    where = {method: [bool(len(scores)) for scores in given.strata(method)] for method in given.design.methods}
    where = {method: has for method, has in where.items() if any(has)}
    if len(set(map(tuple, where.values()))) < 2:
        return ""
    counts = ", ".join(f"{style.label(method)} {sum(has)}" for method, has in where.items())
    return (
        f" Methods have results on different tasks and numbers of trajectories ({counts}): two of them compare where "
        "both have some, as in the probability of improvement."
    )


def improvement(given: Inputs) -> Table:
    """Probability that a learner of the row's method scores above one of the column's, averaged over tasks."""
    data, shown = [], []
    strata = {method: given.strata(method) for method in given.design.methods}
    for ours in strata:
        text = {"Method": style.label(ours)}
        for theirs in strata:
            if ours == theirs:
                text[f"over {style.label(theirs)}"] = NONE
                continue
            value = statistics.probability_of_improvement(strata[ours], strata[theirs], np.random.default_rng(0))
            text[f"over {style.label(theirs)}"] = estimate_text(*map(float, value))
            data.append((ours, theirs, *map(float, value)))
        shown.append(text)
    return Table(
        "Probability of improvement",
        "Probability that a learner of the row's method scores above one of the column's on the same task and number "
        f"of trajectories, averaged over both, with its 95 % interval. Ties count half.{given.incomplete}",
        pd.DataFrame(data, columns=["row", "over", "probability", "low", "high"]),
        pd.DataFrame(shown),
    )


def returns(given: Inputs) -> Table:
    """Ho & Ermon's table 3 in long form: a row per task, number of trajectories and method; published beside ours."""
    rows = [
        _returns_row(given, task, number, method)
        for task in given.design.tasks
        for number in given.numbers(task)
        for method in given.design.rows(task)
        if number in given.design.numbers(task, method)
    ]
    data = pd.DataFrame(rows)
    limited = data["score_at_limit"].notna().any()
    shown = pd.DataFrame(
        {
            "Task": data["task"] + [budget_mark(given, task) for task in data["task"]],
            "Trajectories": data["demonstrations"].astype(str),
            "Method": data["row"].map(given.label),
            "Return": [_spread(a, b) for a, b in zip(data["return_mean"], data["return_sd"], strict=True)],
            "Score [95 %]": [estimate_text(row.score_mean, row.score_low, row.score_high) for row in data.itertuples()],
            "Length": data["length_mean"].map(number_text),
            "n": [count_text(row.learners, row.failed, row.missing) for row in data.itertuples()],
            **({"At limit": data["score_at_limit"].map(score_text)} if limited else {}),
            "Published score": [
                _published(row.published_score, row.published_score_sd, row.published_runs) for row in data.itertuples()
            ],
            "Against it": data["verdict"].replace("", NONE),
        }
    )
    return Table(
        "Returns and scores",
        "In the shape of table 3 of Ho & Ermon (2016). Return: mean ± standard deviation over learners of each "
        "learner's mean over its final deterministic episodes. Score: its mean, with a 95 % bootstrap interval. "
        "Length: steps per episode. n: learners; a failed one counts as random (score 0, no length). Published score: "
        "that table's mean ± spread, scored by the paper's own random and expert policies; runs in brackets: where it "
        "is 1, the spread is over episodes of one policy. Against it: non-inferiority at a declared margin of "
        f"{MARGIN} (one-sided 95 % Student's t bound of our mean, the published mean taken as exact)."
        + (
            f" At limit: our mean score where the paper's time limit is shorter ({_limits(given)}), which is what its "
            "score is held against; episodes, the random and expert policies' too, count up to there."
            if limited
            else ""
        )
        + given.incomplete
        + short_note(given),
        data,
        shown,
        {"Score [95 %]": (data["task"] + "/" + data["row"]).tolist()},
    )


def _returns_row(given: Inputs, task: str, number: int, method: str) -> dict[str, Any]:
    rows = given.stratum(task, method, number)
    value = statistics.mean([rows["score"].to_numpy()], np.random.default_rng(0))
    budget = given.design.budget[task]
    paper = given.published
    paper = paper[(paper["task"] == task) & (paper["row"] == method) & (paper["demonstrations"] == number)]
    published = paper.iloc[0] if len(paper) else pd.Series(np.nan, index=paper.columns)
    verdict, at_limit = "", np.nan
    if len(paper) and len(rows):
        scores = given.as_published.stratum(task, method, number)["score"].to_numpy()
        verdict = statistics.non_inferiority(scores, published["score"], MARGIN).verdict
        at_limit = float(scores.mean()) if task in PUBLISHED_LIMITS else np.nan
    return {
        "task": task,
        "demonstrations": number,
        "row": method,
        "return_mean": rows["episode_return"].mean(),
        "return_sd": rows["episode_return"].std(),
        "score_mean": float(value.value),
        "score_low": float(value.low),
        "score_high": float(value.high),
        "length_mean": rows.loc[rows["status"] == "ok", "episode_length"].mean(),
        "learners": len(rows),
        "failed": int((rows["status"] == "failed").sum()),
        "missing": len(given.design.seeds_of(task)) - len(rows),
        "env_steps": int(rows["env_steps"].max()) if len(rows) else 0,
        "short_budget": bool(budget.short_budget),
        "score_at_limit": at_limit,
        "published_return": published["episode_return"],
        "published_sd": published["sd"],
        "published_runs": published["runs"],
        "published_score": published["score"],
        "published_score_sd": published["score_sd"],
        "verdict": verdict,
    }


def runs(given: Inputs) -> Table:
    """Every learner beside every published run, where a row of table 3 has several: a mean hides two kinds of runs."""
    data, shown, cells = [], [], []
    for task in given.design.tasks:
        for number, row in itertools.product(given.numbers(task), given.design.rows(task)):
            paper = given.runs.query("task == @task and demonstrations == @number and row == @row")
            if paper.empty:
                continue
            ours = given.as_published.stratum(task, row, number)
            scores, episode_returns = {}, {}
            for source, rows in (("ours", ours.rename(columns={"seed": "run"})), ("published", paper)):
                rows = rows.sort_values("episode_return", ascending=False)
                scores[f"Scores, {source}"] = ", ".join(map(score_text, rows["score"])) or NONE
                episode_returns[f"Returns, {source}"] = ", ".join(map(number_text, rows["episode_return"])) or NONE
                data += [(task, number, row, source, x.run, x.episode_return, x.score) for x in rows.itertuples()]
            about = {"Task": task + limit_mark(task), "Trajectories": str(number), "Method": given.label(row)}
            verdict = {"Our mean": _against_spread(ours["score"], paper["score"])}
            shown.append(about | verdict | scores | episode_returns)
            cells.append(f"{task}/{row}")
    columns = ["task", "demonstrations", "row", "source", "run", "episode_return", "score"]
    return Table(
        "Run by run",
        "Rows of table 3 of Ho & Ermon (2016) with several training runs, from the logs that its authors published: "
        "the mean of each run beside each of our learners, the best first. Scores are by random and expert policies of "
        f"either.{time_limits(given)} In some rows runs are of two kinds, at the expert's level and stuck at random's, "
        "and a mean says little. Our mean: of our scores here, within the range of the published runs, or above or "
        f"below it.{given.incomplete}",
        pd.DataFrame(data, columns=columns),
        pd.DataFrame(shown),
        {"Scores, ours": cells},
    )


def time_limits(given: Inputs) -> str:
    """A sentence for captions: on which tasks our returns are counted up to the paper's time limit; or nothing."""
    if not (limits := _limits(given)):
        return ""
    return (
        f" The time limit was shorter there, {limits}: our returns and scores, our random and expert policies' "
        "included, are as they count at that limit, episode by episode."
    )


def _limits(given: Inputs) -> str:
    """The paper's shorter time limits on the profile's tasks: `200 steps on CartPole-v1`; empty for none."""
    limits = [f"{limit:.0f} steps on {task}" for task, limit in PUBLISHED_LIMITS.items() if task in given.design.tasks]
    return " and ".join(limits)


def _against_spread(ours: pd.Series, published: pd.Series) -> str:
    """Say where our mean lies, to the digits shown, among published runs; nothing where there is no score."""
    if ours.empty or ours.hasnans:
        return NONE
    mean, low, high = (round(float(x), 2) for x in (ours.mean(), published.min(), published.max()))
    return "below" if mean < low else "above" if mean > high else "within"


def references(given: Inputs) -> Table:
    """What scores are measured against: random, deterministic expert, stochastic expert."""
    rows = given.episodes[given.episodes["row"].isin(schema.REFERENCES)]
    data = rows.groupby(["task", "row"], as_index=False).agg(
        return_mean=("episode_return", "mean"),
        return_sd=("episode_return", "std"),
        return_min=("episode_return", "min"),
        return_max=("episode_return", "max"),
        length_mean=("episode_length", "mean"),
        terminated=("terminated", "mean"),
        episodes=("episode", "size"),
    )
    order = {name: i for i, name in enumerate([*given.design.tasks, *schema.REFERENCES])}
    data = data.sort_values(["task", "row"], key=lambda column: column.map(order), ignore_index=True)
    names = {"expert": "expert, deterministic", "expert-stochastic": "expert, stochastic"}
    shown = pd.DataFrame(
        {
            "Task": data["task"],
            "Policy": data["row"].replace(names),
            "Return": [_spread(a, b) for a, b in zip(data["return_mean"], data["return_sd"], strict=True)],
            "Range": [
                f"{number_text(a)} to {number_text(b)}"
                for a, b in zip(data["return_min"], data["return_max"], strict=True)
            ],
            "Length": data["length_mean"].map(number_text),
            "Terminated": [f"{100 * share:.0f} %" for share in data["terminated"]],
            "Episodes": data["episodes"].astype(str),
        }
    )
    others = f" (but for {given.sources})" if given.sources else ""
    return Table(
        "Reference policies",
        "Measured, not quoted: the random policy is score 0, the deterministic expert score 1; the stochastic expert "
        f"gave the demonstrations{others}. Return: mean ± standard deviation over episodes, and its range. Length: "
        "steps per episode. Terminated: share of episodes that ended before the time limit.",
        data,
        shown,
    )


def learners(given: Inputs) -> Table:
    """Who was trained, for how long, and how many failed."""
    data = pd.DataFrame([_learners_row(given, *key) for key in _cells(given)])
    shown = pd.DataFrame(
        {
            "Task": data["task"],
            "Method": data["row"].map(given.label),
            "Seeds": data["seeds"].astype(str),
            "Learners": [count_text(row.learners, 0, row.missing) for row in data.itertuples()],
            "Failed": data["failed"].astype(str),
            "Steps per learner": data["env_steps"].map(lambda steps: style.steps(steps) if steps else NONE),
            "Budget": data["budget"].map(style.steps) + data["short_budget"].map({True: f" ({SHORT})", False: ""}),
            "Engine": data["engine"] + ", " + data["device"],
        }
    )
    return Table(
        "Learners",
        "One learner per seed and number of trajectories. Steps per learner: true environment steps used for training "
        f"({NONE}: none, it learns from the demonstrations alone); budget: what the profile allows.",
        data,
        shown,
    )


def _learners_row(given: Inputs, task: str, method: str) -> dict[str, Any]:
    rows = given.learners[(given.learners["task"] == task) & (given.learners["row"] == method)]
    cell = given.cells.get(f"{task}/{method}", {"engine": "missing", "device": "missing"})
    return {
        "task": task,
        "row": method,
        "seeds": rows["seed"].nunique(),
        "learners": len(rows),
        "failed": int((rows["status"] == "failed").sum()),
        "missing": len(given.design.learners(task, method)) - len(rows),
        "env_steps": int(rows["env_steps"].max()) if len(rows) else 0,
        "budget": given.design.budget[task].env_steps,
        "short_budget": bool(given.design.budget[task].short_budget),
        "engine": cell["engine"],
        "device": cell["device"],
    }


def count_text(learners: int, failed: int, missing: int) -> str:
    """How many learners a row stands for, of how many if some are missing, and how many of them failed."""
    of = f" of {learners + missing}" if missing else ""
    return f"{learners}{of}" + (f" ({failed} failed)" if failed else "")


def missing(given: Inputs) -> pd.DataFrame:
    """One row of text per cell, or part of one, without a result: how many learners, and why."""
    rows = given.missing.groupby(["task", "row", "reason"], as_index=False, sort=False).size()
    return pd.DataFrame(
        {
            "Task": rows["task"],
            "Method": rows["row"].map(given.label),
            "Learners": rows["size"].astype(str),
            "Reason": rows["reason"],
        }
    )


def failures(given: Inputs) -> pd.DataFrame:
    """One row of text per failed learner."""
    rows = given.learners[given.learners["status"] == "failed"]
    return pd.DataFrame(
        {
            "Task": rows["task"],
            "Method": rows["row"].map(given.label),
            "Trajectories": rows["demonstrations"].astype(str),
            "Seed": rows["seed"].astype(str),
            "Iteration": rows["iteration"].astype(str),
            "Steps": rows["env_steps"].map(style.steps),
            "Reason": rows["reason"],
        }
    )


def write(table: Table, folder: Path, name: str) -> None:
    """Write folder/<name>.csv and .tex."""
    csv = table.data.to_csv(index=False, lineterminator="\n", na_rep="nan")
    write_bytes(folder / f"{name}.csv", csv.encode())
    write_bytes(folder / f"{name}.tex", latex(table).encode())


def latex(table: Table) -> str:
    r"""A booktabs table environment; needs \usepackage{booktabs} only."""
    rows = [" & ".join(map(escape, row)) + r" \\" for row in table.shown.itertuples(index=False)]
    return "\n".join(
        [
            r"\begin{table}",
            r"\centering\small",
            rf"\caption{{{escape(table.caption)}}}",
            rf"\begin{{tabular}}{{{_alignment(table.shown)}}}",
            r"\toprule",
            " & ".join(map(escape, table.shown.columns)) + r" \\",
            r"\midrule",
            *rows,
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
            "",
        ]
    )


def escape(text: str) -> str:
    """Text for LaTeX: nothing in it is a command."""
    return "".join(TEX.get(character, character) for character in text)


def numeric(column: pd.Series) -> bool:
    """Whether a column of text holds numbers, beside what is not run: such a column is aligned to the right."""
    run = column[column != NOT_RUN]
    return column.empty if run.empty else bool(run.str.match(r"^[−–\d]").all())


def _alignment(frame: pd.DataFrame) -> str:
    return "".join("r" if numeric(frame[column]) else "l" for column in frame)


def _cells(given: Inputs) -> Iterator[tuple[str, str]]:
    return ((task, row) for task in given.design.tasks for row in given.design.rows(task))


def short_note(given: Inputs) -> str:
    """A sentence for captions on the tasks whose budget is too short to rank methods; empty if there are none."""
    short = [task for task in given.design.tasks if given.design.budget[task].short_budget]
    said = "too few environment steps to rank methods, a check of the chain"
    return f" {SHORT.capitalize()} on {', '.join(short)}: {said}." if short else ""


def budget_mark(given: Inputs, task: str) -> str:
    """What follows the name of a task whose budget is too short to rank methods."""
    return f" ({SHORT})" if given.design.budget[task].short_budget else ""


def limit_mark(task: str) -> str:
    """What follows the name of a task whose episodes count up to a published time limit."""
    return f" ({PUBLISHED_LIMITS[task]:.0f} steps)" if task in PUBLISHED_LIMITS else ""


def steps_text(count: float) -> str:
    """A number of environment steps; a dash for none, or one that is not known."""
    return style.steps(count) if count > 0 else NONE


def score_text(value: float) -> str:
    """A score: 0.95, −0.13."""
    return f"{value:z.2f}".replace("-", "−") if np.isfinite(value) else NONE


def estimate_text(value: float, low: float, high: float) -> str:
    """A value and its interval: 0.95 [0.91, 0.98]; a single seed has no interval."""
    return score_text(value) + (f" [{score_text(low)},\u00a0{score_text(high)}]" if np.isfinite(low) else "")


def number_text(value: float) -> str:
    """Four significant figures or whole numbers: −4.213, 43.1, 3,160."""
    if not np.isfinite(value):
        return NONE
    digits = 0 if abs(value) >= 1000 else 1 if abs(value) >= 10 else 2
    return f"{value:,.{digits}f}".replace("-", "−")


def _spread(mean: float, sd: float) -> str:
    return number_text(mean) + (f" ± {number_text(sd)}" if np.isfinite(sd) else "")


def _published(score: float, sd: float, runs: float) -> str:
    return f"{score_text(score)} ± {score_text(sd)} ({runs:.0f})" if np.isfinite(score) else NONE
