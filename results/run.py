"""Run one cell: one method, or variant of one, on one task, all seeds and numbers of demonstrations at once.

`python -m results.run --params params.yaml --task Hopper-v5 --algorithm gail`; without `--task`, on each of its tasks.
`python -m results.run --params paper/params.yaml --dry` runs nothing and says what the profile would cost.
"""

import argparse
import dataclasses
import json
import traceback
from pathlib import Path
from typing import Any

import torch

import envs
from algorithms.core.experience import Demonstrations
from data import demonstrations as data
from envs import device as devices
from envs.physics.native import default_threads
from errors import InputError, one_line
from files import check_writable, replacing, write_bytes, write_json
from progress import Ticker
from results import estimate, memory, schema
from results.cell import save
from results.design import Design, load
from results.inputs import Sources, inputs, refuse_other_inputs
from results.names import check_names
from results.overrides import configure
from results.provenance import describe, sidecar
from results.training import Job, train
from store.entry import Entry, location, say
from store.sources import refuse_edits_since_start
from team import Team, split


def run(design: Design, params: Path, task: str, row: str, expected: dict[str, Any] | None = None) -> None:
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
        memory.refuse_too_many(task, len(learners), budget.episodes, config, torch.cuda.mem_get_info()[0])
    jobs = jobs_of(entry, design, config, params, device)
    with (
        memory.explained(task, len(learners), budget.episodes),
        Team(train, jobs, min(len(jobs), default_threads()), apart=design.keep_going and device == "cpu") as team,
        Ticker(f"{row} {task} on {devices.describe(device)}", budget.env_steps, learners) as ticker,
    ):
        outcomes = team.outcomes(ticker.advance)
    idle = design.variant(row).expert == "idle"
    sha256 = None if idle else data.read_card(design.root / "data" / "demonstrations" / task)["sha256"]
    save(entry.result, outcomes, describe(design, task, row, dataclasses.asdict(config), sha256, device))
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


def crashed(folder: Path, error: Exception) -> None:
    """Put the error where the cell would be, for collect to name; what the store has stays for another try."""
    traceback.print_exception(error)
    with replacing(folder) as fresh:
        write_json({"reason": f"{type(error).__name__}: {' '.join(str(error).split())}"}, fresh / schema.CRASH)


def main() -> None:
    """Run what the command line names."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--params", type=Path, default=Path("params.yaml"))
    parser.add_argument("--task", help="default: each task of the algorithm")
    parser.add_argument("--algorithm", help="or a variant")
    parser.add_argument("--dry", action="store_true", help="print cells, steps and hours of the profile on this device")
    parser.add_argument("--expect", type=Path, help="refuse to compute unless it is made from this (results.launch)")
    arguments = parser.parse_args()
    if not arguments.dry and not arguments.algorithm:
        parser.error("--algorithm: missing; name a method or a variant (or ask with --dry what all of them cost)")
    design = load(arguments.params)
    check_names(design, arguments.params, arguments.task, arguments.algorithm)
    expected = json.loads(arguments.expect.read_text()) if arguments.expect else None
    torch.set_num_threads(1)  # see team.py
    if arguments.dry:
        device = devices.choose(design.device)
        print(estimate.report(estimate.cells(design, arguments.params, device), devices.describe(device)))
        return
    for task in [arguments.task] if arguments.task else design.variant(arguments.algorithm).tasks:
        try:
            run(design, arguments.params, task, arguments.algorithm, expected)
        except (InputError, OSError):  # the user's or the machine's fault, which stops the next cell as well
            raise
        except Exception as error:
            if not design.keep_going:
                raise
            crashed(design.cell(task, arguments.algorithm), error)


if __name__ == "__main__":
    with one_line():
        main()
