"""Gather the parts of a profile's cells into four files, or refuse and name whatever is missing.

They are evaluations.csv, training.csv, learners.csv and cells.json of results/<profile>/. Only the parts that the plan
has are taken, and only if they are made from what it says and their files have the checksums of their part.json. With
`keep_going` what is missing is marked instead. A learner that failed is not missing: its row in learners.csv says so.
The cell `reference` of each task (random, expert, expert-stochastic) is wanted like any method's.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from threefold.base.errors import InputError
from threefold.base.files import write_json
from threefold.profile.design import Design
from threefold.store import code
from threefold.store.inputs import fingerprint
from threefold.tables import delivered, planned, schema, statistics

REFERENCE = "reference"
RETURNS_DEPEND_ON = ("gymnasium", "mujoco")  # versions: one of each per task, or returns do not compare


class Missing(NamedTuple):
    """What has no result, and why: some learners of a cell."""

    task: str
    row: str
    reason: str
    line: str  # what the user is told
    learners: list[tuple[int, int]]  # number of demonstrations, and seed


class Found(NamedTuple):
    """A part of a cell that has a result."""

    task: str
    row: str
    folder: Path
    card: dict[str, Any]


class Collected(NamedTuple):
    """What a profile's cells hold, in memory."""

    tables: dict[str, pd.DataFrame]  # evaluations, training, learners: as in `schema.TABLES`
    cells: dict[str, dict[str, Any]]  # what each cell's numbers rest on, by task/row
    missing: list[str]  # what has no result, a line each
    parts: int  # how many have a result


def collect(design: Design) -> list[str]:
    """Write the four files of a profile; return what has no result, a line each.

    Raises InputError as `gather`, and for settings that were edited since the plan was made.
    """
    plan = planned.read(design)
    planned.refuse_edited(design, plan)
    found = gather(design, plan)
    write(found, design.results)
    return found.missing


def write(found: Collected, folder: Path) -> None:
    """Write the four files."""
    for name, frame in found.tables.items():
        schema.write_csv(frame, folder / f"{name}.csv", schema.TABLES[name])
    write_json(found.cells, folder / "cells.json")


def gather(design: Design, plan: dict[str, Any]) -> Collected:
    """Return what the cells of a profile hold, of what a plan says.

    If anything is missing raise InputError, unless the design says `keep_going`: then learners without a result are in
    learners alone, with status missing. Contradictions are refused in either case.
    """
    parts, missing = _find(design, plan)
    tables = {name: _table(name, parts) for name in schema.TABLES}
    evaluations, training, learners = tables.values()
    expected = _expected(design, parts, learners)
    missing += _unfinished(design, expected, learners, evaluations)
    faults = [
        *_doubles(design, learners, [*schema.LEARNER], "learners.csv"),
        *_doubles(design, evaluations, [*schema.LEARNER, "env_steps", "episode"], "evaluations.csv"),
        *_mixtures(design, parts),
    ]
    if not any(part.row != REFERENCE for part in parts):
        missing.append(Missing("", REFERENCE, "", f"{design.results}: no cell has a result; run {_repro(design)}", []))
    fatal = list(
        dict.fromkeys(m.line for m in missing if not design.keep_going or m.row in (REFERENCE, *schema.REFERENCES))
    )
    if fatal or faults:
        raise InputError("\n".join(fatal + faults))
    statistics.reference_returns(evaluations)  # refuses an expert no better than random
    absent = _absent(missing)
    learners = pd.concat([_without(learners, absent), absent])
    expected = pd.concat([expected, absent[[*schema.LEARNER]]]).drop_duplicates()
    wanted = {
        "evaluations": _without(evaluations, absent),
        "training": _without(training, absent),
        "learners": learners,
    }
    kept = {name: frame.merge(expected, on=list(schema.LEARNER)) for name, frame in wanted.items()}
    count = sum(part.row != REFERENCE for part in parts)
    return Collected(kept, _cards(parts), list(dict.fromkeys(m.line for m in missing)), count)


def without_references(design: Design, plan: dict[str, Any]) -> list[str]:
    """Return the tasks whose reference policies have no sound result that is made from what a plan says."""
    only = design.model_copy(update={"methods": [], "variants": {}})
    return [missing.task for missing in _find(only, plan)[1]]


def _find(design: Design, plan: dict[str, Any]) -> tuple[list[Found], list[Missing]]:
    """Return the parts that are there and made from what the plan says, and the others."""
    found, missing = [], []
    for task in design.tasks:
        for row in (REFERENCE, *design.rows(task)):
            folder, prints = design.cell(task, row), planned.parts(plan, design, task, row)
            names = {part.name: part.learners for part in design.parts(task, row)} if row != REFERENCE else {"all": []}
            for name, learners in names.items():
                try:
                    card = _card(design, folder, name, prints.get(name), stage(design, task, row))
                    found.append(Found(task, row, folder / name, card))
                except InputError as error:
                    line = str(error)
                    reason = line.removeprefix(str(folder)).removeprefix(f"/{name}").lstrip("/: ").partition("; ")[0]
                    missing.append(Missing(task, row, reason, line, learners))
    return found, missing


def stage(design: Design, task: str, row: str) -> str:
    """Return what DVC calls the stage that computes a cell, in the project's folder."""
    if row in design.variants:
        return f"{chain(design)}variant@{row}"
    return chain(design) + (f"{REFERENCE}@{task}" if row == REFERENCE else f"run@{task}-{row}")


def chain(design: Design) -> str:
    """Return what stands before the names of a profile's stages in the project's folder; nothing in its own."""
    folder, root = design.folder.resolve(), design.root.resolve()
    return "" if folder == root or root not in folder.parents else f"{folder.relative_to(root) / 'dvc.yaml'}:"


def _repro(design: Design) -> str:
    """Return the command that makes a profile's results, in the project's folder; the root's need no name."""
    command = f"dvc repro {chain(design)}".rstrip(" :")
    return f"`{command}`"


def _card(design: Design, folder: Path, name: str, planned_as: str | None, makes_it: str) -> dict[str, Any]:
    if (folder / schema.CRASH).exists():
        reason = schema.read_reason(folder / schema.CRASH)
        raise InputError(f"{folder}: crashed: {reason}; for another try: `dvc repro -f -s {makes_it}`")
    if not (folder / name).is_dir():
        cure = f"run {_repro(design)}, or for it alone `dvc repro {makes_it}`"
        raise InputError(f"{folder / name}: not computed yet; {cure}")
    card = schema.read_part(folder / name / schema.PART)
    if fingerprint(card["made_from"]) != planned_as:
        cure = f"run {_repro(design)} (or `threefold plan --params {design.params}`)"
        raise InputError(f"{folder / name}: made from other code, settings or data than planned; {cure}")
    if edited := code.changed(card["made_from"].get("code", {})):
        cure = f"run {_repro(design)} (or first `threefold plan --params {design.params}`, which says what is left)"
        raise InputError(f"{folder / name}: made before the last change of {edited[0]}; {cure}")
    if damages := delivered.damages(folder / name, card):
        cure = f"put it back with `git restore` or `threefold store deliver`, or make it again with {_repro(design)}"
        raise InputError(f"{damages[0]}; {cure}")
    return card


def _table(name: str, parts: list[Found]) -> pd.DataFrame:
    return schema.read_csvs([part.folder / schema.FILES[name] for part in parts], schema.TABLES[name])


def _cards(parts: list[Found]) -> dict[str, dict[str, Any]]:
    """Return what each cell's numbers rest on, by task/row: what its parts share, their fingerprints and devices."""
    cards: dict[str, dict[str, Any]] = {}
    for part in parts:
        made_from = {key: part.card["made_from"].get(key) for key in SHARED}
        card = cards.setdefault(
            f"{part.task}/{part.row}",
            made_from | {"versions": part.card["versions"], "engine": set(), "device": set(), "parts": {}},
        )
        card["parts"][part.folder.name] = fingerprint(part.card["made_from"])
        for key in ("engine", "device"):
            card[key].add(part.card[key])
    return {
        name: card | {key: ", ".join(sorted(card[key])) for key in ("engine", "device")} for name, card in cards.items()
    }


SHARED = ("task", "row", "method", "expert", "config", "env_steps", "parallel_episodes", "data")


def _expected(design: Design, parts: list[Found], learners: pd.DataFrame) -> pd.DataFrame:
    """The learners that the parts must hold; of a reference policy seed 0 and whatever other seeds were measured."""
    rows: list[tuple[str, str, int, int]] = []
    for part in parts:
        if part.row == REFERENCE:
            rows += [(part.task, name, 0, 0) for name in schema.REFERENCES]
        else:
            made_from = part.card["made_from"]
            rows += [(part.task, part.row, made_from["demonstrations"], seed) for seed in made_from["seeds"]]
    measured = learners.loc[learners["row"].isin(schema.REFERENCES), list(schema.LEARNER)]
    return pd.concat([_frame(rows, schema.LEARNER), measured]).drop_duplicates()


def _unfinished(
    design: Design, expected: pd.DataFrame, learners: pd.DataFrame, evaluations: pd.DataFrame
) -> Iterator[Missing]:
    """Each learner that is absent or, unless it failed, not evaluated as the design asks."""
    final, episodes = statistics.final_episodes(evaluations), design.evaluation.episodes
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
        line = f"{_name(row)}: {reason}; run {_repro(design)}"
        yield Missing(row.task, row.row, reason, line, [(row.demonstrations, row.seed)])


def _absent(missing: list[Missing]) -> pd.DataFrame:
    """Rows of learners.csv for what has no result."""
    rows = [(m.task, m.row, *learner, "missing", 0, 0, m.reason) for m in missing for learner in m.learners]
    return _frame(rows, schema.LEARNERS)


def _without(frame: pd.DataFrame, absent: pd.DataFrame) -> pd.DataFrame:
    if absent.empty:
        return frame
    keys = pd.MultiIndex.from_frame(absent[[*schema.LEARNER]])
    return frame[~pd.MultiIndex.from_frame(frame[[*schema.LEARNER]]).isin(keys)]


def _frame(rows: list[tuple[Any, ...]], columns: schema.Schema) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=list(columns)).astype(columns)


def _doubles(design: Design, frame: pd.DataFrame, key: list[str], file: str) -> Iterator[str]:
    doubles = frame[frame.duplicated(key)].drop_duplicates(list(schema.LEARNER))
    for row in doubles.itertuples():
        yield f"{_name(row)}: stands twice in {file} of the task's cells; run {_repro(design)}"


def _name(row: Any) -> str:
    return f"{row.task}, {row.row}, {row.demonstrations} demonstrations, seed {row.seed}"


def _mixtures(design: Design, parts: list[Found]) -> Iterator[str]:
    """One line for each fact on which a part differs from the first part of its task."""
    first: dict[tuple[str, str], tuple[Found, Any]] = {}
    for part in parts:
        for program in RETURNS_DEPEND_ON:
            value = part.card["versions"].get(program)
            other, expected = first.setdefault((part.task, program), (part, value))
            if value != expected:
                both = dict.fromkeys(f"--task {one.task} --row {one.row}" for one in (part, other))
                runs = " and ".join(f"`threefold run --again --params {design.params} {cell}`" for cell in both)
                yield (
                    f"cell {_called(part)}: {program} {value}, but {expected} in {_called(other)}; "
                    f"make them again with one version: {runs}"
                )


def _called(part: Found) -> str:
    return f"{part.task}/{part.row}/{part.folder.name}"
