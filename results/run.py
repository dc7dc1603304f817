"""Run one cell: one method, or variant of one, on one task, all seeds and numbers of demonstrations at once.

`python -m results.run --params params.yaml --task Hopper-v5 --algorithm gail`; without `--task`, on each of its tasks.
"""

import argparse
import dataclasses
import traceback
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from safetensors import SafetensorError

import algorithms
import envs
from algorithms.core.experience import Demonstrations
from algorithms.core.progress import Progress
from algorithms.core.state import pack, unpack
from data import demonstrations as data
from envs.monitor import Monitor
from errors import InputError, one_line
from files import check_writable, replacing
from progress import Ticker
from results import provenance, schema
from results.cell import Cell
from results.design import Design, load
from results.entry import Checkpoints, Entry, location, say
from results.inputs import Sources, differences, inputs, refuse_edits_since_start
from results.names import check_names
from results.overrides import configure

# Of the networks while they learn, on every machine: the last bits of a result depend on it. The networks are small:
# a second thread gains a fifth of a cell's time, many more would wait for each other.
LEARNING_THREADS = 2


def train(
    cell: Cell,
    method: ModuleType,
    config: Any,
    demonstrations: Demonstrations,
    env: envs.BatchEnv,
    checkpoints: Checkpoints,
) -> Progress:
    """Train from the last checkpoint on until the budget is used or the method ends, evaluating along the way."""
    design, budget = cell.design, cell.design.budget[cell.task]
    points = [budget.env_steps * k // design.evaluation.points for k in range(1, design.evaluation.points)]
    monitor, saved = Monitor(env), checkpoints.last()
    learners = [f"{n}/{seed}" for n, seed in cell.learners]
    with Ticker(f"{cell.algorithm} {cell.task}", budget.env_steps, learners) as ticker:
        done = iterations = 0
        for progress in method.train(monitor, demonstrations, [seed for _, seed in cell.learners], config):
            if saved is not None:  # then this iteration has only made the objects that are put back where they were
                done, iterations = restore(saved, progress, monitor, cell, checkpoints.folder)
                ticker.resume(done or iterations)
                saved = None
                continue
            episodes, _ = monitor.take_episodes(), monitor.take_rewards()  # untaken rewards would pile up
            cell.record(progress, episodes)
            if progress.env_steps:
                ticker.advance(progress.env_steps - done, episodes)
            else:
                ticker.advance(progress.iteration - iterations, unit="iterations")
            before, done, iterations = done, progress.env_steps, progress.iteration
            if done >= budget.env_steps or len(cell.failed) == len(cell.learners):
                break
            if any(before < point <= done for point in points):
                cell.evaluate(progress, design.evaluation.episodes_during_training)
            if progress.state is not None:
                checkpoints.offer(iterations, partial(state, progress, monitor, cell))
    cell.evaluate(progress, design.evaluation.episodes)
    return progress


def state(progress: Progress, monitor: Monitor, cell: Cell) -> bytes:
    """Return all that the rest of a training depends on."""
    assert progress.state is not None
    counts = {"env_steps": progress.env_steps, "iteration": progress.iteration}
    parts = {"method": progress.state.state_dict(), "env": monitor.state_dict(), "cell": cell.state_dict()}
    return pack(counts | parts)


def restore(saved: bytes, progress: Progress, monitor: Monitor, cell: Cell, where: Path) -> tuple[int, int]:
    """Put a training back to where it was; return the environment steps and the iterations that it had done."""
    assert progress.state is not None
    try:
        tree = unpack(saved)
        progress.state.load_state_dict(tree["method"])
        monitor.load_state_dict(tree["env"])
        cell.load_state_dict(tree["cell"])
        return tree["env_steps"], tree["iteration"]
    except (AttributeError, KeyError, RuntimeError, SafetensorError, TypeError, ValueError) as error:
        raise InputError(f"{where}: no state of this training ({' '.join(str(error).split())}); remove it") from None


def run(design: Design, params: Path, task: str, row: str) -> None:
    """Compute one cell, unless the store has it, and put it where DVC wants it."""
    # Every task's and row's, so that a mistake shows in the first cell already.
    configs = {(name, r): configure(design, params, name, r) for name in design.tasks for r in design.rows(name)}
    config = configs[task, row]
    check_writable(design.cell(task, row).parent)
    made_from = inputs(design, task, row, config, Sources(design.root))
    refuse_edits_since_start(made_from["files"])
    entry = Entry(location(design.root), task, row, made_from)
    with entry.locked():
        if entry.finished():
            say(f"{entry.name}: taken from {entry.folder}")
        else:
            compute(entry, Cell(design, task, row), config, params)
        edited = differences(made_from, inputs(design, task, row, config, Sources(design.root)))
        if edited:
            raise InputError(
                f"{edited[0]}: changed while {entry.name} was computed; the result stays in the store, as the old "
                "file's; start it again"
            )
        entry.copy(design.cell(task, row), design.results / "provenance" / task / f"{row}.json")


def compute(entry: Entry, cell: Cell, config: Any, params: Path) -> None:
    """Train, evaluate and write one cell into the store."""
    design, task, row = cell.design, cell.task, cell.algorithm
    variant = design.variant(row)
    env = envs.make(task, [seed for _, seed in cell.learners], design.budget[task].episodes)
    demonstrations, sha256 = demonstrations_of(cell, variant.expert, env, params)
    progress = train(cell, algorithms.load(variant.algorithm), config, demonstrations, env, entry.checkpoints)
    sidecar = provenance.sidecar(cell.started, cell.resumed, cell.seconds, progress.env_steps * len(cell.learners))
    cell.save(entry.result, progress, provenance.describe(design, task, row, dataclasses.asdict(config), sha256))
    entry.finish(sidecar)
    for line in cell.failures():
        say(line)


def crashed(folder: Path, error: Exception) -> None:
    """Put the error where the cell would be, for collect to name; what the store has stays for another try."""
    traceback.print_exception(error)
    with replacing(folder) as fresh:
        schema.write_json({"reason": f"{type(error).__name__}: {' '.join(str(error).split())}"}, fresh / schema.CRASH)


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
        try:
            run(design, arguments.params, task, arguments.algorithm)
        except (InputError, OSError):  # the user's or the machine's fault, which stops the next cell as well
            raise
        except Exception as error:
            if not design.keep_going:
                raise
            crashed(design.cell(task, arguments.algorithm), error)


if __name__ == "__main__":
    with one_line():
        main()
