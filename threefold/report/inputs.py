"""What a report is made from: the collected results of one profile, and the published numbers to hold them against."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from threefold.base.errors import InputError
from threefold.profile.design import Design, load
from threefold.report import style
from threefold.tables import planned, schema, statistics
from threefold.tables.collect import REFERENCE, chain, stage

PUBLISHED = Path(__file__).parent / "published"
PUBLISHED_ROWS = {  # which of our rows trains as a published one does, where it is not called so
    "GAIL (entropy 0)": "gail",
    "GAIL (entropy 0.001)": "gail_entropy_1e-3",
    "GAIL (entropy 0.01)": "gail_entropy_1e-2",
    "GAIL (entropy 0.1)": "gail_entropy_1e-1",
    "GAN-GCL": "gcl",
    "AIRL state-only": "airl_state_only",
    "others.csv: GCL": "gcl_single_steps",  # DI-engine's, which weighs single steps
}
# Time limits (steps) of Ho & Ermon (2016) that are shorter than ours. A step of these tasks gives 1 or -1, or 0 at the
# end, so that a return counts there up to the limit, either way.
PUBLISHED_LIMITS = {"CartPole-v1": 200.0, "Acrobot-v1": 200.0}


@dataclass(frozen=True)
class Inputs:
    """Collected results and what every figure and table derives from them.

    params: the profile's params.yaml as given. training: what is finite of it. curves: one row per learner and
    evaluation, the methods' own. learners: one row per learner, variants' too, with its final evaluation; a failed
    learner delivers no policy and counts as the random one (score 0): leaving it out would flatter its method.
    missing: one row per learner without a result, which counts for nothing. references: mean returns per task of
    random, expert, expert-stochastic. published: GAIL's table 3 under our names, with scores by its own random and
    expert policies. runs: the same of each training run, where there were several (task, row, demonstrations, run,
    episode_return, score).
    """

    params: Path
    design: Design
    episodes: pd.DataFrame
    training: pd.DataFrame
    curves: pd.DataFrame
    learners: pd.DataFrame
    missing: pd.DataFrame
    references: pd.DataFrame
    published: pd.DataFrame
    runs: pd.DataFrame
    cells: dict[str, dict[str, Any]]

    @cached_property
    def _strata(self) -> dict[tuple[str, str, int], pd.DataFrame]:
        return dict(iter(self.learners.groupby(["task", "row", "demonstrations"])))

    def stratum(self, task: str, row: str, demonstrations: int) -> pd.DataFrame:
        """The learners of one task, method and number of demonstrations: one row per seed."""
        return self._strata.get((task, row, demonstrations), self.learners.iloc[:0])

    def strata(self, row: str, pick: Callable[[list[int]], list[int]] = list) -> list[np.ndarray]:
        """Scores of one method [seeds], for every task and each of its numbers of demonstrations that `pick` keeps."""
        return [
            self.stratum(task, row, number)["score"].to_numpy()
            for task in self.design.tasks
            for number in pick(self.numbers(task))
        ]

    @cached_property
    def as_published(self) -> "Inputs":
        """The same to hold against published numbers: episodes count up to the time limits of the paper.

        Those of the random and expert policies too. Where a limit leaves no difference between the two, there is no
        score: NaN.
        """
        if PUBLISHED_LIMITS.keys().isdisjoint(self.design.tasks):
            return self
        limits = self.episodes["task"].map(PUBLISHED_LIMITS)
        episodes = self.episodes.assign(episode_return=self.episodes["episode_return"].clip(-limits, limits))
        references = statistics.reference_means(episodes)
        references["expert"] = references["expert"].where(references["expert"] > references["random"])
        curves = with_score(statistics.learner_means(episodes), references)
        return replace(
            self,
            episodes=episodes,
            curves=curves[curves["row"].isin(self.design.methods)],
            learners=_final(self.learners[list(schema.LEARNERS)], curves, references),
            references=references,
        )

    @cached_property
    def methods(self) -> pd.DataFrame:
        """The rows of `learners` that are the methods' own."""
        return self.learners[self.learners["row"].isin(self.design.methods)]

    @property
    def incomplete(self) -> str:
        """A sentence for captions of what is averaged over learners; empty if none is missing."""
        if self.missing.empty:
            return ""
        return (
            f" Incomplete: {len(self.missing)} of {len(self.missing) + len(self.learners)} learners have no result and "
            "are left out."
        )

    @property
    def sources(self) -> str:
        """Tasks whose demonstrations are imported, not their expert's, and their sources; empty for none."""
        return ", ".join(
            f"{task}: {name} ({_source(self.design, task)})" for task, name in self.design.demonstrations_from.items()
        )

    def label(self, row: str) -> str:
        """How a row is written: `airl_state_only`, a variant of `airl`, is AIRL, state only."""
        variant = self.design.variants.get(row)
        if variant is None:
            return style.label(row)
        return f"{style.label(variant.method)}, {row.removeprefix(variant.method + '_').replace('_', ' ')}"

    def numbers(self, task: str) -> list[int]:
        """Numbers of demonstrations of a task, rising."""
        return sorted(self.design.budget[task].demonstrations)


def _source(design: Design, task: str) -> str:
    """Return where a set of demonstrations is from, as its card has it: `minari: mujoco/hopper/expert-v0`."""
    path = design.demonstrations(task) / "card.json"
    try:
        return str(json.loads(path.read_text())["source"])
    except (OSError, ValueError, TypeError, KeyError):
        raise InputError(f"{path}: names no source; import the demonstrations again") from None


def read(params: Path) -> Inputs:
    """Read the collected results of a profile; InputError if they are missing or not those of this params.yaml."""
    design = load(params)
    plan = planned.read(design)
    planned.refuse_edited(design, plan)
    tables = {name: schema.read_csv(design.results / f"{name}.csv", columns) for name, columns in schema.TABLES.items()}
    _check(design, tables["learners"], design.results)
    return derive(design, tables, _cells(design, plan))


def derive(design: Design, tables: dict[str, pd.DataFrame], cells: dict[str, dict[str, Any]]) -> Inputs:
    """Return the inputs of a report that follow from the tables of a design's results (`schema.TABLES`)."""
    evaluations, training, learners = (tables[name] for name in ("evaluations", "training", "learners"))
    references = statistics.reference_returns(evaluations)
    curves = with_score(statistics.learner_means(evaluations), references)
    trained = learners[~learners["row"].isin(schema.REFERENCES)]
    return Inputs(
        params=design.params,
        design=design,
        episodes=evaluations,
        training=training[np.isfinite(training["value"])],
        curves=curves[curves["row"].isin(design.methods)],
        learners=_final(trained[trained["status"] != "missing"], curves, references),
        missing=trained[trained["status"] == "missing"],
        references=references,
        published=_published(design, "gail_table3.csv", design.methods),
        runs=_published(design, "gail_runs.csv", [*design.methods, *design.variants]),
        cells=cells,
    )


def provenance(design: Design, place: Path) -> dict[str, Any]:
    """Return what the sidecar of a part, or of a study, says; nothing if it has none."""
    path = design.results / "provenance" / f"{place}.json"
    if not path.exists():
        return {}
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        first, second, *_ = place.parts
        makes_it = f"{chain(design)}study@{second}" if first == "studies" else stage(design, first, second)
        raise InputError(f"{path}: truncated or altered; make it again with `dvc repro -f -s {makes_it}`") from None


def _check(design: Design, learners: pd.DataFrame, folder: Path) -> None:
    found = set(learners[list(schema.LEARNER)].itertuples(index=False, name=None))
    for task in design.tasks:
        for row in design.rows(task):
            for demonstrations, seed in design.learners(task, row):
                if (task, row, demonstrations, seed) not in found:
                    raise InputError(
                        f"{folder / 'learners.csv'}: lacks {task}, {row}, {demonstrations} demonstrations, "
                        f"seed {seed}; run `threefold collect` with the same params.yaml"
                    )


def _cells(design: Design, plan: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return what each cell's numbers rest on; InputError where it is not what the plan says."""
    path, cure = design.results / "cells.json", f"run `threefold collect --params {design.params}`"
    try:
        cells = json.loads(path.read_text(encoding="utf-8"))
        made = {name: dict(card["parts"]) for name, card in cells.items()}
    except FileNotFoundError:
        raise InputError(f"{path}: missing; {cure}") from None
    except (ValueError, KeyError, TypeError, AttributeError):
        raise InputError(f"{path}: truncated or altered; {cure}") from None
    for task in design.tasks:
        for row in (REFERENCE, *design.rows(task)):
            if not made.get(f"{task}/{row}", {}).items() <= planned.parts(plan, design, task, row).items():
                raise InputError(f"{path}: {task}/{row}: collected before the plan's last change; {cure}")
    return cells


def with_score(frame: pd.DataFrame, references: pd.DataFrame) -> pd.DataFrame:
    """Return rows with their score, by the returns of their task's reference policies."""
    random, expert = (frame["task"].map(references[name]) for name in ("random", "expert"))
    return frame.assign(score=statistics.score(frame["episode_return"], random, expert))


def _final(learners: pd.DataFrame, curves: pd.DataFrame, references: pd.DataFrame) -> pd.DataFrame:
    last = curves.sort_values("env_steps").drop_duplicates(list(schema.LEARNER), keep="last")
    last = last[[*schema.LEARNER, "episode_return", "episode_length", "episodes", "score"]]
    rows = learners.merge(last, on=list(schema.LEARNER), how="left")
    failed = rows["status"] == "failed"
    return rows.assign(
        episode_return=rows["episode_return"].mask(failed, rows["task"].map(references["random"])),
        score=rows["score"].mask(failed, 0.0),
    )


def published_row(file: str, method: str) -> str:
    """Return which of our rows trains as a method of a file of published numbers does."""
    own = PUBLISHED_ROWS.get(method, method.lower().replace("-", "_"))
    return PUBLISHED_ROWS.get(f"{file}: {method}", own)


def _published(design: Design, file: str, rows: Sequence[str]) -> pd.DataFrame:
    """GAIL's table 3, or its runs, as task, row, demonstrations, episode_return, sd, runs or run, score, score_sd.

    Of the `rows` of ours. The runs are recomputed from the logs that the paper's authors published (openai/imitation,
    results/*.h5).
    """
    table = pd.read_csv(PUBLISHED / file)
    number = "runs" if "runs" in table else "run"
    ends = pd.read_csv(PUBLISHED / "gail_table1.csv").pivot_table(index="task", columns="reference", values="mean")
    random, expert = table["task"].map(ends["random"]), table["task"].map(ends["expert"])
    table = pd.DataFrame(
        {
            "task": table["task"].map({task.rsplit("-v", 1)[0]: task for task in design.tasks}),
            "row": [published_row(file, method) for method in table["method"]],
            "demonstrations": table["trajectories"],
            "episode_return": table["mean"],
            "sd": table["std"],
            number: table[number],
            "score": statistics.score(table["mean"], random, expert),
            "score_sd": table["std"] / (expert - random),
        }
    )
    return table[table["task"].notna() & table["row"].isin(rows)].reset_index(drop=True)
