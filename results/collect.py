"""Gather the cells of a profile into four files, or refuse and name every hole.

    python -m results.collect --params params.yaml

writes results/<profile>/evaluations.csv, training.csv, learners.csv and cells.json. Only the cells and learners that
the design asks for are taken. A learner that failed is no hole: its row in learners.csv says so. The cell `reference`
of each task (random, expert, expert-stochastic) is wanted like any method's.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from errors import InputError, one_line
from results import schema, statistics
from results.design import Design, load

REFERENCE = "reference"
RETURNS_DEPEND_ON = ("gymnasium", "mujoco")  # versions: one of each per task, or returns do not compare
CURE = "run `dvc repro`"


class Cell(NamedTuple):
    """What one folder holds; `card` is its cell.json."""

    evaluations: pd.DataFrame
    training: pd.DataFrame
    learners: pd.DataFrame
    card: dict[str, Any]


def collect(design: Design) -> None:
    """Write the four files of a profile; with any hole write nothing and raise InputError, one line per hole."""
    cells: dict[str, Cell] = {}
    holes: list[str] = []
    for task, row in _cells(design):
        try:
            cells[f"{task}/{row}"] = _read(design.cell(task, row))
        except InputError as error:
            holes.append(str(error))
    if cells:
        evaluations, training, learners = (
            pd.concat([cell[part] for cell in cells.values()], ignore_index=True) for part in range(3)
        )
        expected = _expected(design, cells, learners)
        holes.extend(_missing(expected, learners, evaluations, design.evaluation.episodes))
        holes.extend(_doubles(learners, [*schema.LEARNER], "learners.csv"))
        holes.extend(_doubles(evaluations, [*schema.LEARNER, "env_steps", "episode"], "evaluations.csv"))
        holes.extend(_mixtures({name: cell.card for name, cell in cells.items()}))
    if holes:
        raise InputError("\n".join(holes))
    statistics.reference_returns(evaluations)  # refuses an expert no better than random
    for frame, name, columns in (
        (evaluations, "evaluations.csv", schema.EVALUATIONS),
        (training, "training.csv", schema.TRAINING),
        (learners, "learners.csv", schema.LEARNERS),
    ):
        schema.write_csv(frame.merge(expected, on=list(schema.LEARNER)), design.results / name, columns)
    schema.write_json({name: cell.card for name, cell in cells.items()}, design.results / "cells.json")


def _cells(design: Design) -> Iterator[tuple[str, str]]:
    return ((task, row) for task in design.tasks for row in (REFERENCE, *design.rows(task)))


def _read(path: Path) -> Cell:
    if not path.is_dir():
        raise InputError(f"{path}: missing cell; {CURE}")
    return Cell(
        schema.read_csv(path / "evaluations.csv", schema.EVALUATIONS),
        schema.read_csv(path / "training.csv", schema.TRAINING),
        schema.read_csv(path / "learners.csv", schema.LEARNERS),
        schema.read_cell(path / "cell.json"),
    )


def _expected(design: Design, cells: dict[str, Cell], learners: pd.DataFrame) -> pd.DataFrame:
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
    measured = learners.loc[learners["algorithm"].isin(schema.REFERENCES), list(schema.LEARNER)]
    return pd.concat([pd.DataFrame(rows, columns=list(schema.LEARNER)), measured]).drop_duplicates()


def _missing(expected: pd.DataFrame, learners: pd.DataFrame, evaluations: pd.DataFrame, episodes: int) -> Iterator[str]:
    """One line for each learner that is absent or, unless it failed, not evaluated as the design asks."""
    final = statistics.final_episodes(evaluations)
    final = final[final["episode_return"].abs() < float("inf")]
    counts = final.groupby(list(schema.LEARNER)).size().rename("finite").reset_index()
    rows = expected.merge(learners, on=list(schema.LEARNER), how="left").merge(
        counts, on=list(schema.LEARNER), how="left"
    )
    rows["finite"] = rows["finite"].fillna(0)
    unknown = ~rows["status"].isin(schema.STATUSES)
    short = (rows["status"] == "ok") & (rows["finite"] < episodes)
    for row in rows[unknown].itertuples():
        yield f"{_name(row)}: not in learners.csv with status ok or failed; {CURE}"
    for row in rows[short].itertuples():
        yield f"{_name(row)}: {row.finite:.0f} finite final episodes of {episodes} in evaluations.csv; {CURE}"


def _doubles(frame: pd.DataFrame, key: list[str], file: str) -> Iterator[str]:
    doubles = frame[frame.duplicated(key)].drop_duplicates(list(schema.LEARNER))
    for row in doubles.itertuples():
        yield f"{_name(row)}: stands twice in {file} of the task's cells; {CURE}"


def _name(row: Any) -> str:
    return f"{row.task}, {row.algorithm}, {row.demonstrations} demonstrations, seed {row.seed}"


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
                    f"make both again, each with `dvc repro -f -s <its stage>`"
                )


def main() -> None:
    """Collect one profile."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--params", type=Path, default=Path("params.yaml"), help="of the profile")
    collect(load(parser.parse_args().params))


if __name__ == "__main__":
    with one_line():
        main()
