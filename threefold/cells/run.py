"""Compute cells: each of their parts in the store, by a process of its own, and then in their place."""

import json
import shutil
import traceback
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import torch

from algorithms.core.experience import Demonstrations
from envs import device as devices
from threefold.base.errors import InputError
from threefold.base.files import check_writable, replacing, write_bytes, write_json
from threefold.base.messages import inform
from threefold.base.progress import Ticker
from threefold.base.steps import Step
from threefold.base.workers import Team, default_threads
from threefold.cells import memory
from threefold.cells.cell import LEARNT, Cell, cells
from threefold.cells.plan import refuse_other_inputs, refuse_other_plan
from threefold.cells.provenance import card, sidecar
from threefold.cells.record import save
from threefold.cells.training import train
from threefold.profile.design import Part, load
from threefold.profile.names import check_names
from threefold.store import code
from threefold.store.checkpoints import Checkpoints
from threefold.store.entries import alone, location
from threefold.store.inputs import fingerprint
from threefold.tables import delivered, schema


def run(params: Path, row: str, task: str | None = None, again: bool = False) -> None:
    """Compute a row of a profile on a task, or on each of its tasks, and deliver it; `again`: what is there as well."""
    design = load(params)
    check_names(design, task, row)
    for cell in cells(design):
        _ = cell.config  # a mistake in any cell's constants shows in the first one already
    torch.set_num_threads(1)  # see threefold.base.workers
    for each in [task] if task else design.variant(row).tasks:
        if reason := design.left_out.get(each, {}).get(row):
            leave_out(design.cell(each, row), reason)
            continue
        cell = Cell(design, each, row)
        try:
            run_cell(cell, again)
        except (InputError, OSError):  # the user's or the machine's fault, which stops the next cell as well
            raise
        except Exception as error:
            if not design.keep_going:
                raise
            record_crash(cell.folder, error)


def run_cell(cell: Cell, again: bool) -> None:
    """Compute what the store lacks of a cell, and put all of it where it is wanted."""
    check_writable(cell.folder.parent)
    entries = [cell.entry(part) for part in cell.parts]
    refuse_other_plan(cell, entries)
    for entry in entries:
        code.refuse_edits_since_start(entry.inputs["code"])
    if again:
        for entry in entries:
            entry.reopen()
    compute(cell, cell.parts, again)
    cell.refuse_edits(entries)
    deliver(cell, again)


def run_part(params: Path, row: str, task: str, part: str, expect: Path) -> None:
    """Compute one part in the store, unless it would not be made from what `expect`, a file, holds."""
    design = load(params)
    check_names(design, task, row)
    cell, expected = Cell(design, task, row), json.loads(expect.read_text())
    torch.set_num_threads(1)
    found = [one for one in cell.parts if one.name == part]
    if not found:
        raise InputError(f"{params}: {cell.name} has no part {part}; make this machine's checkout the same")
    refuse_other_inputs(expected, cell.made_from(found[0]))
    compute(cell, found)


def compute(cell: Cell, parts: Sequence[Part], again: bool = False) -> None:
    """Train, evaluate and write the given parts into the store: those that it lacks, or `again` those delivered too."""
    device = devices.choose(cell.design.device)
    there = [] if again else [part for part in parts if is_delivered(cell, part)]
    missing = [part for part in parts if not (part in there or cell.entry(part).finished())]
    learners = [learner for part in missing for learner in part.learners]
    if not missing:
        inform(f"{cell.name}: nothing to compute")
        return
    if device == "cuda":
        memory.refuse_too_many(cell.design, cell.task, len(learners), cell.config, torch.cuda.mem_get_info()[0])
    groups = [[part] for part in missing] if device == "cpu" else [missing]  # all at once on a GPU
    workers = min(len(groups), default_threads())
    # Read before anyone trains: what is wrong with the demonstrations shows at once.
    work = [
        Work(cell, group, learners, cell.demonstrations(_learners(group), device), default_threads() // workers, device)
        for group in groups
    ]
    from torch import _dynamo  # noqa: F401 - any optimiser does: once here, or for seconds in each of the processes

    with (
        memory.explained(cell.design, cell.task, len(learners)),
        Team(compute_group, work, workers, apart=cell.design.keep_going and device == "cpu") as team,
        Ticker(f"{cell.row} {cell.task} on {devices.describe(device)}", cell.budget.env_steps, learners) as ticker,
    ):
        failures = team.outcomes(ticker.advance)
    for line in (line for lines in failures for line in lines):
        inform(line)


@dataclass(frozen=True)
class Work:
    """Parts of a cell to compute together."""

    cell: Cell
    parts: list[Part]
    shown: list[tuple[int, int]]  # all learners whose progress is shown, of other work as well
    demonstrations: Demonstrations
    threads: int
    device: str


def compute_group(work: Work, watch: Callable[[Step], None]) -> list[str]:
    """Compute parts together, each under its lock; return a line for each learner that failed."""
    cell, learners = work.cell, _learners(work.parts)
    entries = [cell.entry(part) for part in work.parts]
    with ExitStack() as locks:
        for entry in entries:
            locks.enter_context(entry.locked())
        if all(entry.finished() for entry in entries):  # by another process, while this one waited
            return []
        # Of just these parts: a state of others that trained with the first one is none of ours.
        together = fingerprint({"parts": [part.name for part in work.parts]})
        folder = entries[0].checkpoints / f"{work.device}-{together}"
        places = {work.shown.index(learner): learner for learner in learners}
        checkpoints = Checkpoints(folder, entries[0].name)
        job = cell.job(places, work.demonstrations, checkpoints, work.threads, work.device)
        outcome = train(job, watch)
        for part, entry in zip(work.parts, entries, strict=True):
            own = outcome.of(part.learners)
            save(entry.result, own, card(entry.inputs, job), LEARNT)
            entry.finish(sidecar(own, work.device))
    return outcome.failures


def deliver(cell: Cell, again: bool = False) -> list[Part]:
    """Put the finished parts of a cell where they are wanted, and remove other parts there; return what is missing."""
    wanted, missing = {part.name for part in cell.parts}, []
    with alone(location(cell.design.root), cell.name):
        for part in cell.parts:
            entry = cell.entry(part)
            if is_delivered(cell, part) and not again:
                continue
            if entry.finished():
                # First: a part in its place is taken to have both.
                write_bytes(cell.provenance(part), entry.provenance())
                entry.deliver(cell.folder / part.name, [LEARNT])
            else:
                missing.append(part)
        for other in cell.folder.iterdir() if cell.folder.is_dir() else ():
            if other.name not in wanted:
                shutil.rmtree(other) if other.is_dir() and not other.is_symlink() else other.unlink()
    return missing


def is_delivered(cell: Cell, part: Part) -> bool:
    """Return whether a part's result, made from what it would be made from now, is in its place and undamaged."""
    return delivered.is_there(cell.folder / part.name, cell.made_from(part))


def leave_out(folder: Path, reason: str) -> None:
    """Say in the cell's folder why there is no result."""
    with replacing(folder) as fresh:
        write_json({"reason": reason}, fresh / schema.LEFT_OUT)


def record_crash(folder: Path, error: Exception) -> None:
    """Put the error where the cell would be, for collect to name; what the store has stays for another try."""
    traceback.print_exception(error)
    with replacing(folder) as fresh:
        write_json({"reason": f"{type(error).__name__}: {' '.join(str(error).split())}"}, fresh / schema.CRASH)


def _learners(parts: Sequence[Part]) -> list[tuple[int, int]]:
    return [learner for part in parts for learner in part.learners]
