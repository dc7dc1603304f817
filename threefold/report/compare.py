"""Rows of a profile held against the first of them: the table that a reviewer asks for.

They are compared on the tasks and numbers of trajectories for which all of them have results; what is left out is said.
The parts of the cells are read themselves: whether the collected tables are still theirs could not be known otherwise.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import rich.table
from rich.console import Console
from rich.text import Text

from threefold.base.errors import InputError
from threefold.base.files import write_bytes
from threefold.profile.design import Design, Part
from threefold.profile.nearest import nearest
from threefold.report import style
from threefold.report.inputs import Inputs, derive, provenance
from threefold.report.tables import (
    NONE,
    Table,
    budget_mark,
    count_text,
    estimate_text,
    latex,
    number_text,
    numeric,
    short_note,
)
from threefold.tables import effort, planned, statistics
from threefold.tables.collect import gather, stage

ALL = "all"
WIDTH = 140  # characters
EXPLANATION = (
    "Score: interquartile mean over learners (0 = random, 1 = deterministic expert, both measured), with a 95 % "
    "interval from a bootstrap stratified by task and number of trajectories; a failed learner counts as 0. P: "
    "probability that a learner of the first method scores above one of the row's on the same task and number of "
    "trajectories, averaged over both; ties count half. Steps: environment steps of all learners. Hours, and "
    f"steps per second: of one core, or of one GPU, for training and evaluation. {NONE}: none, or not known."
)
Stratum = tuple[str, int]  # a task and a number of trajectories
Sidecars = dict[tuple[str, str], dict[Part, dict[str, Any]]]  # by task and row


class Comparison(NamedTuple):
    """Tables for each task and, the last, for all of them; the same as numbers; and what a reader must know."""

    tables: list[Table]
    data: pd.DataFrame
    notes: list[str]


def compare(design: Design, rows: Sequence[str]) -> Comparison:
    """Hold rows of a profile, methods or variants, against the first of them.

    Raises InputError for fewer than two, one named twice, one that the profile does not have, one without results, and
    if there is nothing that all of them have results for.
    """
    _check(design, rows)
    given, notes = _read(design, rows)
    strata = [(task, number) for task in given.design.tasks for number in given.numbers(task)]
    common = [stratum for stratum in strata if all(len(_learners(given, [stratum], row)) for row in rows)]
    notes += _left_out(given, rows, strata)
    if not common:
        raise InputError(f"{design.results}: nothing that all of {', '.join(rows)} have results for; {' '.join(notes)}")
    sidecars = sidecars_of(given, rows)
    groups = [(task, str(number), [(task, number)]) for task, number in common]
    lines = [
        {"task": task, "demonstrations": number, "row": row} | _line(given, sidecars, group, row, rows[0])
        for task, number, group in [*groups, (ALL, ALL, common)]
        for row in rows
    ]
    data = pd.DataFrame(lines)
    said = filter(None, [short_note(given).strip()])
    notes += [*_ranking(given, data[data["task"] == ALL]), *said, *_machines(sidecars)]
    tasks = {
        task + budget_mark(given, task): _shown(given, data[data["task"] == task], rows[0])
        for task in dict.fromkeys(task for task, _ in common)
    }
    over = _shown(given, data[data["task"] == ALL], rows[0])
    title = f"All: {len(common)} pair{'s' if len(common) > 1 else ''} of a task and a number of trajectories"
    tables = [
        Table(task, f"{task}; columns as in the table of all tasks.", data, shown) for task, shown in tasks.items()
    ]
    return Comparison([*tables, Table(title, " ".join([f"{title}.", EXPLANATION, *notes]), data, over)], data, notes)


def show(found: Comparison) -> None:
    """Print the tables and the notes."""
    console = Console()
    if not console.is_terminal:
        console = Console(width=WIDTH)  # of a log: lines stay whole
    for table in found.tables:
        shown = rich.table.Table(title=table.title, title_justify="left")
        for column in table.shown:
            shown.add_column(Text(column), justify="right" if numeric(table.shown[column]) else "left")
        for line in table.shown.itertuples(index=False):
            shown.add_row(*map(Text, line))
        console.print(shown)
    for note in (EXPLANATION, *found.notes):
        console.print(Text(note))


def write(found: Comparison, folder: Path) -> None:
    """Write folder/compare.csv, all numbers, and folder/compare.tex, all tables."""
    csv = found.data.to_csv(index=False, lineterminator="\n", na_rep="nan")
    write_bytes(folder / "compare.csv", csv.encode())
    write_bytes(folder / "compare.tex", "\n".join(map(latex, found.tables)).encode())


def _check(design: Design, rows: Sequence[str]) -> None:
    known = [*design.methods, *design.variants]
    for row in rows:
        if row not in known:
            near = nearest(row, known)
            cure = f"did you mean {near}?" if near else f"choose from {', '.join(known)}"
            raise InputError(f"{row}: not one of the methods and variants in {design.params}; {cure}")
        if list(rows).count(row) > 1:
            raise InputError(f"{row}: named twice; name each method once")
    if len(rows) < 2:
        raise InputError(f"{', '.join(rows)}: one row alone is no comparison; name two or more ({', '.join(known)})")


def _read(design: Design, rows: Sequence[str]) -> tuple[Inputs, list[str]]:
    """Return the results of some rows, of tasks on which all of them run, and a line for each other task."""
    found, notes, plan = {}, [], planned.read(design)
    planned.refuse_edited(_restricted(design, design.tasks, rows), plan)
    for task in design.tasks:
        if elsewhere := [row for row in rows if row not in design.rows(task)]:
            notes.append(f"{task} is left out: the profile does not run {', '.join(elsewhere)} there.")
            continue
        try:
            found[task] = gather(_restricted(design, [task], rows), plan)
        except InputError as error:
            notes.append(f"{task} is left out: {str(error).splitlines()[0]}.")
    if not found:
        more = f" (tasks left out: {len(notes)})" if len(notes) > 1 else ""
        raise InputError(f"{design.results}: nothing to compare; {notes[0].rstrip('.')}{more}")
    tables = {
        name: pd.concat([one.tables[name] for one in found.values()]) for name in next(iter(found.values())).tables
    }
    cells = {name: card for one in found.values() for name, card in one.cells.items()}
    given = derive(_restricted(design, list(found), rows), tables, cells)
    for row in rows:
        if row not in set(given.learners["row"]):
            stages = " ".join(stage(design, task, row) for task in found if row in design.rows(task))
            raise InputError(f"{row}: no results in {design.results}; make them with `dvc repro {stages}`")
    return given, notes


def _restricted(design: Design, tasks: list[str], rows: Sequence[str]) -> Design:
    """Return the design of some rows on some tasks, which takes what there is."""
    methods = [row for row in rows if row in design.methods]
    variants = {row: design.variants[row] for row in rows if row in design.variants}
    return design.model_copy(
        update={"tasks": tasks, "methods": methods, "variants": variants, "keep_going": True, "left_out": {}}
    )


def _learners(given: Inputs, strata: Sequence[Stratum], row: str) -> pd.DataFrame:
    return pd.concat([given.stratum(task, row, number) for task, number in strata])


def _left_out(given: Inputs, rows: Sequence[str], strata: Sequence[Stratum]) -> Iterator[str]:
    """One line for each row that lacks results which others may have."""
    for row in rows:
        lacking: dict[str, list[str]] = {}
        for task, number in strata:
            if given.stratum(task, row, number).empty:
                lacking.setdefault(task, []).append(str(number))
        if lacking:
            where = "; ".join(f"{task} (trajectories: {', '.join(numbers)})" for task, numbers in lacking.items())
            yield f"Left out, because {given.label(row)} has no results there: {where}."


def _line(given: Inputs, sidecars: Sidecars, strata: Sequence[Stratum], row: str, first: str) -> dict[str, Any]:
    """What is said of a row on some strata."""
    scores, theirs = (
        [given.stratum(task, name, number)["score"].to_numpy() for task, number in strata] for name in (first, row)
    )
    score = statistics.aggregate(theirs, np.random.default_rng(0))
    better: Sequence[Any] = (np.nan, np.nan, np.nan)
    if row != first:
        better = statistics.probability_of_improvement(scores, theirs, np.random.default_rng(0))
    learners = _learners(given, strata, row)
    steps = int(learners["env_steps"].sum())
    seconds = sum(seconds_of(sidecars[task, row])[number] for task, number in strata)
    return {
        **dict(zip(("score_iqm", "score_low", "score_high"), map(float, score), strict=True)),
        **dict(zip(("probability", "probability_low", "probability_high"), map(float, better), strict=True)),
        "learners": len(learners),
        "failed": int((learners["status"] == "failed").sum()),
        "missing": sum(len(given.design.seeds_of(task)) for task, _ in strata) - len(learners),
        "env_steps": steps,
        "env_steps_per_s": steps / seconds if steps and seconds else np.nan,
        "hours": seconds / 3600,
    }


def sidecars_of(given: Inputs, rows: Sequence[str]) -> Sidecars:
    """Return what is known of the making of each part that has results."""
    return {
        (task, row): {
            part: provenance(given.design, Path(task) / row / part.name)
            for part in given.design.parts(task, row)
            if given.stratum(task, row, part.demonstrations)["seed"].isin(part.seeds).any()
        }
        for task in given.design.tasks
        for row in rows
    }


def seconds_of(parts: dict[Part, dict[str, Any]]) -> dict[int, float]:
    """Return what a cell took of a core or of a GPU by the number of trajectories, NaN where a part's is not known."""
    seconds: dict[int, float] = defaultdict(float)
    for part, took in effort.seconds(parts).items():
        seconds[part.demonstrations] += took
    return seconds


def _shown(given: Inputs, lines: pd.DataFrame, first: str) -> pd.DataFrame:
    """The text of a table."""
    improved = f"P({given.label(first)} is better) [95 %]"
    return pd.DataFrame(
        {
            "Trajectories": lines["demonstrations"],
            "Method": lines["row"].map(given.label),
            "Score (IQM) [95 %]": [estimate_text(x.score_iqm, x.score_low, x.score_high) for x in lines.itertuples()],
            improved: [estimate_text(x.probability, x.probability_low, x.probability_high) for x in lines.itertuples()],
            "Learners": [count_text(x.learners, x.failed, x.missing) for x in lines.itertuples()],
            "Steps": lines["env_steps"].map(lambda steps: style.steps(steps) if steps else NONE),
            "Steps per second": lines["env_steps_per_s"].map(number_text),
            "Hours": lines["hours"].map(number_text),
        }
    )


def _ranking(given: Inputs, lines: pd.DataFrame) -> Iterator[str]:
    """What the intervals over all strata say of the order of the rows, and of which they say nothing."""
    above, alike, unknown = [], [], []
    for one, other in combinations(lines.itertuples(), 2):
        high, low = (one, other) if one.score_iqm >= other.score_iqm else (other, one)
        names = f"{given.label(high.row)} and {given.label(low.row)}"
        if not np.isfinite([high.score_low, low.score_low]).all():
            unknown.append(names)
        elif high.score_low > low.score_high:
            above.append(f"{given.label(high.row)} above {given.label(low.row)}")
        else:
            alike.append(names)
    if above:
        yield f"Overall, with intervals apart: {'; '.join(above)}."
    if alike:
        yield f"Overall, intervals overlap, so these are not ranked: {'; '.join(alike)}."
    if unknown:
        yield f"No overall interval (fewer than two learners somewhere), so these are not ranked: {'; '.join(unknown)}."


def _machines(sidecars: Sidecars) -> Iterator[str]:
    """A line if hours and speed were measured on processors that differ."""
    every = [facts for parts in sidecars.values() for facts in parts.values() if facts]
    found = {effort.processor(facts) for facts in every}
    if len(found) > 1:
        yield f"Hours and speed are of processors that differ: {'; '.join(sorted(found))}."
