"""What others published of the same methods and tasks, beside ours: no protocol is the same, so no verdict is given."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from threefold.report.inputs import PUBLISHED, Inputs, published_row
from threefold.report.tables import NONE, Table, estimate_text, number_text, score_text, steps_text
from threefold.tables import statistics

SOURCES = {
    "airl_table2.csv": "Fu et al. (2018), table 2",
    "imitation_benchmark_ratio.csv": "`imitation`'s benchmark",
    "iq_learn_table3.csv": "Garg et al. (2021), table 3",
}
COLUMNS = ["source", "task", "method", "row", "trajectories", "demonstrations", "env_steps"]
ENDS = ("random", "expert")


def published() -> pd.DataFrame:
    """Return COLUMNS and mean, random, expert, runs: a row per published mean return; what is not known is NaN.

    The rows of a table's own random and expert policies are its ends. A ratio stands as a return of an expert at 1.
    """
    return pd.concat([_read(name) for name in (*SOURCES, "others.csv")], ignore_index=True)


def _read(name: str) -> pd.DataFrame:
    frame = pd.read_csv(PUBLISHED / name).rename(columns={"return_over_expert": "mean", "seeds": "runs"})
    if "source" not in frame:
        frame["source"] = SOURCES[name]
    if "expert" not in frame:
        frame["expert"] = frame["task"].map(_of(frame, "expert")) if name != "imitation_benchmark_ratio.csv" else 1.0
    frame["random"] = frame["task"].map(_of(frame, "random"))
    frame["row"] = [published_row(name, method) for method in frame["method"]]
    return frame[~frame["method"].isin(ENDS)].reindex(columns=[*COLUMNS, "mean", "random", "expert", "runs"])


def _of(frame: pd.DataFrame, policy: str) -> pd.Series:
    return frame[frame["method"] == policy].drop_duplicates("task").set_index("task")["mean"]


def cells(given: Inputs) -> pd.DataFrame:
    """Return `published` on the profile's tasks with ours beside it, from the number of trajectories nearest theirs.

    share: (mean - random) / (expert - random), random taken as 0 where the source has none; ours alike, with its 95 %
    interval; NaN where the source gives no expert, or where we have no such row.
    """
    ids = {task.rsplit("-v", 1)[0]: task for task in given.design.tasks}
    theirs = published()
    theirs = theirs[theirs["task"].isin(ids)]
    theirs = theirs.assign(task=theirs["task"].map(ids))
    order = {task: i for i, task in enumerate(given.design.tasks)}
    theirs = theirs.sort_values("task", key=lambda task: task.map(order), kind="stable", ignore_index=True)
    low = theirs["random"].fillna(0.0)
    theirs["share"] = (theirs["mean"] - low) / (theirs["expert"] - low)
    ours = pd.DataFrame([_ours(given, paper) for paper in theirs.itertuples()], index=theirs.index)
    return theirs.join(ours)


def _ours(given: Inputs, paper: Any) -> dict[str, Any]:
    numbers = [n for n in given.numbers(paper.task) if len(given.stratum(paper.task, paper.row, n))]
    if not numbers:
        return {"our_trajectories": np.nan, "our_env_steps": np.nan, "ours": np.nan, "low": np.nan, "high": np.nan}
    # a number that is not known was never small: most give thousands of transitions
    number = min(numbers, key=lambda n: abs(n - paper.trajectories)) if paper.trajectories > 0 else numbers[0]
    rows = given.stratum(paper.task, paper.row, number)
    low = given.references["random"][paper.task] if np.isfinite(paper.random) else 0.0
    shares = (rows["episode_return"] - low) / (given.references["expert"][paper.task] - low)
    value = statistics.mean([shares.to_numpy()], np.random.default_rng(0))
    return {
        "our_trajectories": number,
        "our_env_steps": rows["env_steps"].max(),
        **dict(zip(("ours", "low", "high"), map(float, value), strict=True)),
    }


def table(given: Inputs) -> dict[str, Table]:
    """Return the table under its name; nothing if there are no published numbers of our tasks."""
    data = cells(given)
    if data.empty or not data["ours"].notna().any():
        return {}
    shown = pd.DataFrame(list(_lines(given, data)))
    told = Table(
        "What others published",
        "Other published means on these tasks, as a share of the source's own expert (random actions are 0 where the "
        "source gives them, else a return of 0 is), beside our row's as a share of ours, with its 95 % interval, from "
        "the number of trajectories nearest theirs, or the fewest where theirs is not known. Versions of the tasks, "
        "experts, demonstrations and budgets differ, so there is no verdict. "
        f"{NONE}: not given, or no such row here.{given.incomplete}",
        data,
        shown,
        {"Ours [95 %]": [f"{x.task}/{x.row}" if x.ours == x.ours else "" for x in data.itertuples()]},
    )
    return {"elsewhere": told}


def _lines(given: Inputs, data: pd.DataFrame) -> Iterator[dict[str, str]]:
    for x in data.itertuples():
        yield {
            "Task": x.task,
            "Method": x.method,
            "Source (runs)": x.source + (f" ({x.runs:.0f})" if x.runs > 0 else ""),
            "Return": number_text(x.mean) if x.expert != 1 else NONE,
            "Of its expert": score_text(x.share),
            "Steps": steps_text(x.env_steps),
            "Our row": given.label(x.row) if x.ours == x.ours else NONE,
            "Ours [95 %]": estimate_text(x.ours, x.low, x.high),
            "Ours from": f"{x.our_trajectories:.0f}" if x.our_trajectories > 0 else NONE,
            "Our steps": steps_text(x.our_env_steps),
        }
