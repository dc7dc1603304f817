"""Learning cost: how many environment steps a learner takes to reach a share of its expert, and how long that took."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from threefold.report import style
from threefold.report.compare import seconds_of, sidecars_of
from threefold.report.inputs import Inputs
from threefold.report.tables import NONE, NOT_RUN, Table, budget_mark, number_text
from threefold.tables import schema

BAR = 0.9  # of the expert, in score
NOT_REACHED = "not reached"


def costs(given: Inputs) -> pd.DataFrame:
    """A row per task, number of trajectories and method with results.

    env_steps: median over learners of the steps at their first evaluation with a score of at least BAR; infinite where
    half of them never have one. A learner that failed has not reached it, whatever it was before.
    """
    reached = given.curves[given.curves["score"] >= BAR].groupby(list(schema.LEARNER))["env_steps"].min()
    return pd.DataFrame(
        _costs(given, reached), columns=["task", "demonstrations", "row", "env_steps", "reached", "learners", "budget"]
    )


def _costs(given: Inputs, reached: pd.Series) -> Iterator[tuple]:
    for task in given.design.tasks:
        for number in given.numbers(task):
            for method in given.design.methods:
                rows = given.stratum(task, method, number)
                if len(rows):
                    keys = pd.MultiIndex.from_frame(rows[list(schema.LEARNER)])
                    steps = reached.reindex(keys).to_numpy(float)
                    steps = np.where(np.isnan(steps) | (rows["status"] == "failed").to_numpy(), np.inf, steps)
                    count = int(np.isfinite(steps).sum())
                    yield task, number, method, median(steps), count, len(rows), given.design.budget[task].env_steps


def median(steps: Any) -> float:
    """Of an even number, the greater of the two in the middle: between a number and infinity lies nothing."""
    return float(np.sort(steps)[len(steps) // 2])


def table(given: Inputs) -> Table:
    """Return a row per task and number of trajectories, a column per method."""
    data = costs(given)
    shown, opens = [], []
    by_key = data.set_index(["task", "demonstrations", "row"])
    for task in given.design.tasks:
        for number in given.numbers(task):
            text = {"Task": task + budget_mark(given, task), "Trajectories": str(number)}
            for method in given.design.methods:
                here = (task, number, method) in by_key.index
                lacking = NOT_RUN if method in given.design.left_out.get(task, {}) else NONE
                text[style.label(method)] = _text(by_key.loc[(task, number, method)]) if here else lacking
            shown.append(text)
            opens.append(task)
    return Table(
        f"Environment steps to {BAR} of the expert",
        f"Median over learners of the environment steps at the first evaluation with a score of at least {BAR}, with "
        "how many of them ever had one, if only some did. It is known to within the distance of two evaluations "
        f"({given.design.evaluation.points} a run). 0: from the demonstrations alone. {NOT_REACHED.capitalize()}: half "
        "of the learners, or more, never had one. How long that took depends on the machine: it stands in "
        f"provenance.html.{given.incomplete}",
        data,
        pd.DataFrame(shown),
        {style.label(method): [f"{task}/{method}" for task in opens] for method in given.design.methods},
    )


def _text(cost: pd.Series) -> str:
    steps = style.steps(cost["env_steps"]) if np.isfinite(cost["env_steps"]) else NOT_REACHED
    reached, learners = int(cost["reached"]), int(cost["learners"])
    return steps + (f" ({reached}/{learners})" if 0 < reached < learners else "")


def times(given: Inputs) -> pd.DataFrame:
    """What it took in time, as text for provenance.html: rows of strata that reached the bar and whose sidecar is here.

    Time of a core, or of a GPU, for training and evaluation, by the share of the budget that the steps are.
    """
    data = costs(given)
    data = data[np.isfinite(data["env_steps"]) & (data["env_steps"] > 0)]
    known = {cell: seconds_of(parts) for cell, parts in sidecars_of(given, given.design.methods).items()}
    took = [known[x.task, x.row].get(x.demonstrations, np.nan) * x.env_steps / x.budget for x in data.itertuples()]
    data = data.assign(seconds=took).dropna(subset="seconds")
    return pd.DataFrame(
        {
            "Task": data["task"],
            "Trajectories": data["demonstrations"].astype(str),
            "Method": data["row"].map(given.label),
            "Steps": data["env_steps"].map(style.steps),
            "Seconds": data["seconds"].map(number_text),
        }
    )
