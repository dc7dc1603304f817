"""Gather the cells of a profile into four files, or refuse and name every hole (with `keep_going`: mark them).

They are evaluations.csv, training.csv, learners.csv and cells.json of results/<profile>/. Only the cells and learners
that the design asks for are taken. A learner that failed is no hole: its row in learners.csv says so. The cell
`reference` of each task (random, expert, expert-stochastic) is wanted like any method's.
"""

from collections.abc import Container, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from threefold.base.errors import InputError
from threefold.base.files import write_json
from threefold.profile.design import Design
from threefold.tables import schema, statistics

REFERENCE = "reference"
RETURNS_DEPEND_ON = ("gymnasium", "mujoco")  # versions: one of each per task, or returns do not compare
CURE = "run `dvc repro`"
AGAIN = "for another try: `dvc repro -f -s <its stage>`"


TABLES = {"evaluations": schema.EVALUATIONS, "training": schema.TRAINING, "learners": schema.LEARNERS}


class Hole(NamedTuple):
    """What has no result, and why: a learner, or all of a cell's."""

    task: str
    row: str
    reason: str
    line: str  # what the user is told
    learner: tuple[int, int] | None = None  # number of demonstrations, and seed


def collect(design: Design) -> list[str]:
    """Write the four files of a profile; return what has no result, a line each.

    With any hole write nothing and raise InputError, unless the design says `keep_going`: then learners without a
    result are in learners.csv alone, with status missing. Contradictions are refused in either case.
    """
    tables, cards, holes = _read({(task, row): design.cell(task, row) for task, row in _cells(design)})
    evaluations, training, learners = tables.values()
    expected = _expected(design, cards, learners)
    holes += _missing(expected, learners, evaluations, design.evaluation.episodes)
    faults = [
        *_doubles(learners, [*schema.LEARNER], "learners.csv"),
        *_doubles(evaluations, [*schema.LEARNER, "env_steps", "episode"], "evaluations.csv"),
        *_mixtures(cards),
    ]
    if not set(cards) - {f"{task}/{REFERENCE}" for task in design.tasks}:
        holes.append(Hole("", REFERENCE, "", f"{design.results}: no cell has a result; {CURE}"))
    fatal = [hole.line for hole in holes if not design.keep_going or hole.row in (REFERENCE, *schema.REFERENCES)]
    if fatal or faults:
        raise InputError("\n".join(fatal + faults))
    statistics.reference_returns(evaluations)  # refuses an expert no better than random
    absent = _absent(design, holes)
    learners = pd.concat([_without(learners, absent), absent])
    expected = pd.concat([expected, absent[[*schema.LEARNER]]]).drop_duplicates()
    for name, frame in (
        ("evaluations", _without(evaluations, absent)),
        ("training", _without(training, absent)),
        ("learners", learners),
    ):
        frame = frame.merge(expected, on=list(schema.LEARNER))
        schema.write_csv(frame, design.results / f"{name}.csv", TABLES[name])
    write_json(cards, design.results / "cells.json")
    return [hole.line for hole in holes]


def _cells(design: Design) -> Iterator[tuple[str, str]]:
    return ((task, row) for task in design.tasks for row in (REFERENCE, *design.rows(task)))


def _read(
    folders: dict[tuple[str, str], Path],
) -> tuple[dict[str, pd.DataFrame], dict[str, dict[str, Any]], list[Hole]]:
    """Return the tables of all cells that can be read, the cells' cards by task/row, and the other cells."""
    cards, holes = {}, []
    try:  # all at once, which takes a tenth of the time
        cards = {key: _card(folder) for key, folder in folders.items()}
        tables = {name: _table(name, list(folders.values())) for name in TABLES}
    except InputError:
        cards = {}
        for key, folder in folders.items():
            try:
                card = _card(folder)
                for name in TABLES:
                    _table(name, [folder])
                cards[key] = card
            except InputError as error:
                reason = str(error).removeprefix(str(folder)).lstrip("/: ").partition("; ")[0]
                holes.append(Hole(*key, reason, str(error)))
        tables = {name: _table(name, [folders[key] for key in cards]) for name in TABLES}
    return tables, {"/".join(key): card for key, card in cards.items()}, holes


def _table(name: str, folders: list[Path]) -> pd.DataFrame:
    return schema.read_csvs([folder / f"{name}.csv" for folder in folders], TABLES[name])


def _card(folder: Path) -> dict[str, Any]:
    if not folder.is_dir():
        raise InputError(f"{folder}: missing cell; {CURE}")
    if (folder / schema.CRASH).exists():
        raise InputError(f"{folder}: {schema.read_crash(folder / schema.CRASH)}; {AGAIN}")
    return schema.read_cell(folder / "cell.json")


def _expected(design: Design, cells: Container[str], learners: pd.DataFrame) -> pd.DataFrame:
    """The learners that the cells must hold; of a reference policy seed 0 and whatever other seeds were measured."""
    rows = [
        (task, row, demonstrations, seed)
        for task, row in _cells(design)
        if row != REFERENCE and f"{task}/{row}" in cells
        for demonstrations, seed in design.learners(task)
    ]
    rows += [
        (task, name, 0, 0) for task in design.tasks if f"{task}/{REFERENCE}" in cells for name in schema.REFERENCES
    ]
    measured = learners.loc[learners["row"].isin(schema.REFERENCES), list(schema.LEARNER)]
    return pd.concat([_frame(rows, schema.LEARNER), measured]).drop_duplicates()


def _missing(
    expected: pd.DataFrame, learners: pd.DataFrame, evaluations: pd.DataFrame, episodes: int
) -> Iterator[Hole]:
    """Each learner that is absent or, unless it failed, not evaluated as the design asks."""
    final = statistics.final_episodes(evaluations)
    final = final[final["episode_return"].abs() < float("inf")]
    counts = final.groupby(list(schema.LEARNER)).size().rename("finite").reset_index()
    rows = expected.merge(learners, on=list(schema.LEARNER), how="left").merge(
        counts, on=list(schema.LEARNER), how="left"
    )
    rows["finite"] = rows["finite"].fillna(0)
    unknown = ~rows["status"].isin(("ok", "failed"))
    short = (rows["status"] == "ok") & (rows["finite"] < episodes)
    for row in rows[unknown | short].itertuples():
        reason = f"{row.finite:.0f} finite final episodes of {episodes} in evaluations.csv"
        if row.status != "ok":
            reason = "not in learners.csv with status ok or failed"
        yield Hole(row.task, row.row, reason, f"{_name(row)}: {reason}; {CURE}", (row.demonstrations, row.seed))


def _absent(design: Design, holes: list[Hole]) -> pd.DataFrame:
    """Rows of learners.csv for what has no result."""
    rows = [
        (hole.task, hole.row, demonstrations, seed, "missing", 0, 0, hole.reason)
        for hole in holes
        for demonstrations, seed in ([hole.learner] if hole.learner else design.learners(hole.task))
    ]
    return _frame(rows, schema.LEARNERS)


def _without(frame: pd.DataFrame, absent: pd.DataFrame) -> pd.DataFrame:
    if absent.empty:
        return frame
    keys = pd.MultiIndex.from_frame(absent[[*schema.LEARNER]])
    return frame[~pd.MultiIndex.from_frame(frame[[*schema.LEARNER]]).isin(keys)]


def _frame(rows: list[tuple[Any, ...]], columns: schema.Schema) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=list(columns)).astype(columns)


def _doubles(frame: pd.DataFrame, key: list[str], file: str) -> Iterator[str]:
    doubles = frame[frame.duplicated(key)].drop_duplicates(list(schema.LEARNER))
    for row in doubles.itertuples():
        yield f"{_name(row)}: stands twice in {file} of the task's cells; {CURE}"


def _name(row: Any) -> str:
    return f"{row.task}, {row.row}, {row.demonstrations} demonstrations, seed {row.seed}"


def _mixtures(cards: dict[str, dict[str, Any]]) -> Iterator[str]:
    """One line for each fact on which a cell differs from the first cell of its task (or from its folder's name)."""
    first: dict[tuple[str, str], tuple[str, Any]] = {}
    for name, card in cards.items():
        task = name.split("/")[0]
        first.setdefault((task, "task"), ("its folder's name", task))
        facts = {"task": card["task"]} | {program: card["versions"].get(program) for program in RETURNS_DEPEND_ON}
        if card["demonstrations_sha256"]:
            facts["demonstrations_sha256"] = card["demonstrations_sha256"]
        for key, value in facts.items():
            other, expected = first.setdefault((task, key), (name, value))
            if value != expected:
                yield (
                    f"cell {name}: {key} {value}, but {expected} in {other}; "
                    "make both again, each with `threefold store prune <task>/<row>` and "
                    "`dvc repro -f -s <its stage>`"
                )
