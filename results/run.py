"""Run one cell: one method, or variant of one, on one task, all seeds and numbers of demonstrations at once.

`python -m results.run --params params.yaml --task Hopper-v5 --algorithm gail`; without `--task`, on each of its tasks.
"""

import argparse
import dataclasses
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

import algorithms
import envs
from algorithms.core.experience import Demonstrations
from algorithms.core.progress import Progress
from data import demonstrations as data
from envs.monitor import Monitor
from errors import one_line
from files import check_writable
from progress import Ticker
from results import provenance, schema
from results.cell import Cell
from results.design import Design, load
from results.names import check_names
from results.overrides import configure

# Of the networks while they learn, on every machine: the last bits of a result depend on it. The networks are small:
# a second thread gains a fifth of a cell's time, many more would wait for each other.
LEARNING_THREADS = 2


def train(cell: Cell, method: ModuleType, config: Any, demonstrations: Demonstrations, env: envs.BatchEnv) -> Progress:
    """Train until the budget is used or the method ends; evaluate on the way and at the end."""
    design, budget = cell.design, cell.design.budget[cell.task]
    points = design.evaluation.points
    due = [budget.env_steps * k // points for k in range(1, points)]
    monitor = Monitor(env)
    learners = [f"{n}/{seed}" for n, seed in cell.learners]
    with Ticker(f"{cell.algorithm} {cell.task}", budget.env_steps, learners) as ticker:
        done = iterations = 0
        for progress in method.train(monitor, demonstrations, [seed for _, seed in cell.learners], config):
            episodes, _ = monitor.take_episodes(), monitor.take_rewards()  # untaken rewards would pile up
            cell.record(progress, episodes)
            if progress.env_steps:
                ticker.advance(progress.env_steps - done, episodes)
            else:
                ticker.advance(progress.iteration - iterations, unit="iterations")
            done, iterations = progress.env_steps, progress.iteration
            if done >= budget.env_steps or len(cell.failed) == len(cell.learners):
                break
            if due and done >= due[0]:
                due = [point for point in due if point > done]
                cell.evaluate(progress, design.evaluation.episodes_during_training)
    cell.evaluate(progress, design.evaluation.episodes)
    return progress


def run(design: Design, params: Path, task: str, row: str) -> None:
    """Train, evaluate and write one cell."""
    variant, cell = design.variant(row), Cell(design, task, row)
    # Every task's and row's, so that a mistake shows in the first cell already.
    configs = {(name, r): configure(design, params, name, r) for name in design.tasks for r in design.rows(name)}
    config = configs[task, row]
    env = envs.make(task, [seed for _, seed in cell.learners], design.budget[task].episodes)
    demonstrations, sha256 = demonstrations_of(cell, variant.expert, env, params)
    check_writable(design.cell(task, row).parent)
    started, clock = datetime.now(UTC), time.perf_counter()
    progress = train(cell, algorithms.load(variant.algorithm), config, demonstrations, env)
    seconds = time.perf_counter() - clock
    description = provenance.describe(design, task, row, dataclasses.asdict(config), sha256)
    cell.save(progress, description)
    schema.write_json(
        provenance.sidecar(started, seconds, progress.env_steps * len(cell.learners)),
        design.results / "provenance" / task / f"{row}.json",
    )
    for line in cell.failures():
        print(line, file=sys.stderr)


def demonstrations_of(cell: Cell, expert: str, env: envs.BatchEnv, params: Path) -> tuple[Demonstrations, str | None]:
    """Return what a cell's learners imitate, and its checksum if it is a file's."""
    folder = cell.design.root / "data" / "demonstrations" / cell.task
    counts = [n for n, _ in cell.learners]
    if expert == "idle":
        return data.idle(folder, cell.task, counts), None
    card, demonstrations = data.read_card(folder), data.load(folder, cell.task, counts, env=env)
    if expert == "survivors":
        demonstrations = data.survivors(folder, counts)
    if "expert" in card and not cell.design.allow_weak_expert:  # whose returns an imported dataset does not tell
        data.refuse_weak(folder / data.CARD, card["expert"], f"set allow_weak_expert: true in {params}")
    return demonstrations, card["sha256"]


def main() -> None:
    """Run what the command line names."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--params", type=Path, default=Path("params.yaml"))
    parser.add_argument("--task", help="default: each task of the algorithm")
    parser.add_argument("--algorithm", required=True, help="or a variant")
    arguments = parser.parse_args()
    design = load(arguments.params)
    check_names(design, arguments.params, arguments.task, arguments.algorithm)
    torch.set_num_threads(LEARNING_THREADS)
    for task in [arguments.task] if arguments.task else design.variant(arguments.algorithm).tasks:
        run(design, arguments.params, task, arguments.algorithm)


if __name__ == "__main__":
    with one_line():
        main()
