"""Compute cells: one row on one task each, all seeds and numbers of demonstrations at once."""

import dataclasses
import json
import traceback
from pathlib import Path
from typing import Any

import torch

import envs
from algorithms.core.experience import Demonstrations
from envs import device as devices
from envs.physics.native import default_threads
from threefold.base.errors import InputError
from threefold.base.files import check_writable, replacing, write_bytes, write_json
from threefold.base.progress import Ticker
from threefold.base.workers import Team, split
from threefold.cells import memory
from threefold.cells.inputs import Sources, inputs, refuse_other_inputs
from threefold.cells.provenance import describe, sidecar
from threefold.cells.record import save
from threefold.cells.training import Job, train
from threefold.experts import demonstrations as data
from threefold.profile.design import Design, load
from threefold.profile.names import check_names
from threefold.profile.overrides import configure
from threefold.profile.rollout import on_device
from threefold.store.entries import Entry, location, say
from threefold.store.sources import refuse_edits_since_start
from threefold.tables import schema


def run(params: Path, row: str, task: str | None = None, expect: Path | None = None) -> None:
    """Compute a row of a profile on a task, or on each of its tasks.

    `expect` is a file with what the cell must be made from: see `threefold.launch`.
    """
    design = load(params)
    check_names(design, params, task, row)
    expected = json.loads(expect.read_text()) if expect else None
    torch.set_num_threads(1)  # see threefold.base.workers
    for each in [task] if task else design.variant(row).tasks:
        try:
            run_cell(design, params, each, row, expected)
        except (InputError, OSError):  # the user's or the machine's fault, which stops the next cell as well
            raise
        except Exception as error:
            if not design.keep_going:
                raise
            record_crash(design.cell(each, row), error)


def run_cell(design: Design, params: Path, task: str, row: str, expected: dict[str, Any] | None = None) -> None:
    """Compute one cell, unless the store has it, and put it where DVC wants it.

    Raises InputError if it is not made from what is `expected`, naming the difference.
    """
    # Every task's and row's, so that a mistake shows in the first cell already.
    configs = {(name, r): configure(design, params, name, r) for name in design.tasks for r in design.rows(name)}
    config = configs[task, row]
    check_writable(design.cell(task, row).parent)
    made_from = inputs(design, task, row, config, Sources(design.root))
    refuse_edits_since_start(made_from["files"])
    if expected is not None:
        refuse_other_inputs(expected, made_from)
    entry = Entry(location(design.root), task, row, made_from)
    entry.obtain(
        lambda: compute(entry, design, config, params),
        lambda: inputs(design, task, row, config, Sources(design.root)),
        design.cell(task, row),
    )
    write_bytes(design.results / "provenance" / task / f"{row}.json", entry.provenance())


def compute(entry: Entry, design: Design, config: Any, params: Path) -> None:
    """Train, evaluate and write one cell into the store."""
    task, row, device = entry.task, entry.row, devices.choose(design.device)
    learners, budget = design.learners(task), design.budget[task]
    if device == "cuda":
        memory.refuse_too_many(task, len(learners), budget.parallel_episodes, config, torch.cuda.mem_get_info()[0])
    shaped, config = on_device(design, task, config, device)
    jobs = jobs_of(entry, shaped, config, params, device)
    with (
        memory.explained(task, len(learners), budget.parallel_episodes),
        Team(train, jobs, min(len(jobs), default_threads()), apart=design.keep_going and device == "cpu") as team,
        Ticker(f"{row} {task} on {devices.describe(device)}", budget.env_steps, learners) as ticker,
    ):
        outcomes = team.outcomes(ticker.advance)
    idle = design.variant(row).expert == "idle"
    sha256 = None if idle else data.read_card(design.root / "data" / "demonstrations" / task)["sha256"]
    save(entry.result, outcomes, describe(shaped, task, row, dataclasses.asdict(config), sha256, device))
    entry.finish(sidecar(outcomes, device))
    for line in (line for outcome in outcomes for line in outcome.failures):
        say(line)


def jobs_of(entry: Entry, design: Design, config: Any, params: Path, device: str) -> list[Job]:
    """Share a cell's learners out, with their demonstrations: what is wrong with those shows before anybody trains."""
    task, row = entry.task, entry.row
    parts = split(list(enumerate(design.learners(task))), device)
    threads = default_threads() // min(len(parts), default_threads())
    experts = [demonstrations_of(design, params, task, row, dict(part), device) for part in parts]
    saved = [entry.checkpoints / f"{device}-{k}" for k in range(len(parts))]
    return [
        Job(design, task, row, config, dict(part), expert, checkpoints, threads, device)
        for part, expert, checkpoints in zip(parts, experts, saved, strict=True)
    ]


def demonstrations_of(
    design: Design, params: Path, task: str, row: str, learners: dict[int, tuple[int, int]], device: str
) -> Demonstrations:
    """Return what learners of a row imitate."""
    folder, expert = design.root / "data" / "demonstrations" / task, design.variant(row).expert
    counts = [n for n, _ in learners.values()]
    if expert == "idle":
        return data.idle(folder, task, counts, device)
    card, demonstrations = data.read_card(folder), data.load(folder, task, counts, device, envs.make(task, [0], 1))
    if "expert" in card and not design.allow_weak_expert:  # whose returns an imported dataset does not tell
        data.refuse_weak(folder / data.CARD, card["expert"], f"set allow_weak_expert: true in {params}")
    return data.survivors(folder, counts, device) if expert == "survivors" else demonstrations


def record_crash(folder: Path, error: Exception) -> None:
    """Put the error where the cell would be, for collect to name; what the store has stays for another try."""
    traceback.print_exception(error)
    with replacing(folder) as fresh:
        write_json({"reason": f"{type(error).__name__}: {' '.join(str(error).split())}"}, fresh / schema.CRASH)
