"""What few seeds can say: how far seeds lie apart, and how many would tell two methods apart."""

from itertools import combinations

import numpy as np
import pandas as pd

from threefold.report import style
from threefold.report.cost import median
from threefold.report.inputs import Inputs
from threefold.report.tables import NONE, Table, score_text
from threefold.tables import statistics

SHARE = 0.9  # of all seeds, of the tolerance bound


def tables(given: Inputs) -> dict[str, Table]:
    """Return both tables by name."""
    return {"seeds": spread(given), "power": power(given)}


def spread(given: Inputs) -> Table:
    """Return a row per task, number of trajectories and method: every seed's score, and what to expect of another."""
    strata = [
        (task, number, method, given.stratum(task, method, number)["score"].to_numpy())
        for task in given.design.tasks
        for number in given.numbers(task)
        for method in given.design.methods
    ]
    columns = ["task", "demonstrations", "row", "learners", "score_sd", "score_min", "score_max", "tolerance"]
    data = pd.DataFrame([(*key, *_spread(scores)) for *key, scores in strata if len(scores)], columns=columns)
    shown = pd.DataFrame(
        {
            "Task": data["task"],
            "Trajectories": data["demonstrations"].astype(str),
            "Method": data["row"].map(given.label),
            "Scores of the seeds": ["  ".join(map(score_text, np.sort(s))) for *_, s in strata if len(s)],
            "Deviation": data["score_sd"].map(score_text),
            f"{10 * SHARE:.0f} of 10 above": data["tolerance"].map(score_text),
        }
    )
    return Table(
        "Seeds",
        "Every learner's final score, lowest first, their standard deviation, and the score above which, with 95 % "
        f"confidence, at least {10 * SHARE:.0f} of 10 further seeds would lie (one-sided normal tolerance bound: with "
        f"three seeds 6.2 deviations below the mean, so it says something only where seeds agree).{given.incomplete}",
        data,
        shown,
        {"Scores of the seeds": (data["task"] + "/" + data["row"]).tolist()},
    )


def _spread(scores: np.ndarray) -> tuple[float, ...]:
    sd = float(scores.std(ddof=1)) if len(scores) > 1 else np.nan
    return len(scores), sd, scores.min(), scores.max(), statistics.tolerance_bound(scores, SHARE)


def power(given: Inputs) -> Table:
    """Return the seeds that would tell two methods apart, the median over tasks and numbers of trajectories."""
    data = pd.DataFrame(
        [
            (
                task,
                number,
                a,
                b,
                statistics.seeds_needed(_scores(given, task, a, number), _scores(given, task, b, number)),
            )
            for task in given.design.tasks
            for number in given.numbers(task)
            for a, b in combinations(given.design.methods, 2)
        ],
        columns=["task", "demonstrations", "row", "other", "seeds"],
    )
    medians = {pair: median(known) for pair, known in data.dropna().groupby(["row", "other"])["seeds"]}
    shown = pd.DataFrame(
        [
            {"Method": style.label(a)} | {f"from {style.label(b)}": _text(medians, a, b) for b in given.design.methods}
            for a in given.design.methods
        ]
    )
    return Table(
        "Seeds that would tell two methods apart",
        f"Seeds of each of two methods with which a two-sided t test at 5 % finds their difference with a chance of "
        f"{100 * statistics.POWER:.0f} %, were the measured means and deviations the true ones; the median over tasks "
        f"and numbers of trajectories. {NONE}: more than {statistics.MANY_SEEDS}, so they do as well as each other on "
        f"half of the tasks or more.{given.incomplete}",
        data,
        shown,
    )


def _scores(given: Inputs, task: str, row: str, number: int) -> np.ndarray:
    return given.stratum(task, row, number)["score"].to_numpy()


def _text(medians: dict[tuple[str, str], float], a: str, b: str) -> str:
    seeds = medians.get((a, b), medians.get((b, a), np.inf))
    return f"{seeds:.0f}" if np.isfinite(seeds) else NONE
