"""The training of some of a cell's learners, from the last checkpoint to its outcome."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

import algorithms
import envs
from algorithms.core.experience import Demonstrations
from algorithms.core.progress import Progress
from algorithms.core.state import pack, unpack
from envs.device import ENGINES
from envs.monitor import Monitor
from threefold.base.errors import InputError
from threefold.base.progress import Step
from threefold.cells.record import Outcome, Record
from threefold.profile.design import Design
from threefold.store.entries import Checkpoints


@dataclass(frozen=True)
class Job:
    """Learners to train, together."""

    design: Design
    task: str
    row: str
    config: Any
    learners: dict[int, tuple[int, int]]  # place in the cell: number of demonstrations and seed
    demonstrations: Demonstrations
    checkpoints: Path
    threads: int  # of the native engine
    device: str


def train(job: Job, watch: Callable[[Step], None]) -> Outcome:
    """Train until the budget is used or the method ends, evaluating along the way and at the end."""
    design, variant = job.design, job.design.variant(job.row)
    budget, evaluation = design.budget[job.task], design.evaluation
    points = [budget.env_steps * k // evaluation.points for k in range(1, evaluation.points)]
    places, seeds = list(job.learners), [seed for _, seed in job.learners.values()]
    env = envs.make(job.task, seeds, budget.parallel_episodes, ENGINES[job.device], job.device, job.threads)
    method = algorithms.load(variant.method)
    monitor, record = Monitor(env), Record(job.task, job.row, list(job.learners.values()), job.threads)
    checkpoints = Checkpoints(job.checkpoints, f"{job.task}/{job.row}")
    saved, done, iterations = checkpoints.last(), 0, 0
    for progress in method.train(monitor, job.demonstrations, seeds, job.config):
        if saved is not None:  # then this iteration has only made the objects that are put back where they were
            done, iterations = restore(saved, progress, monitor, record, checkpoints.folder)
            watch(_step(len(places), progress, done, iterations, resumed=True))
            saved = None
            continue
        episodes, _ = monitor.take_episodes(), monitor.take_rewards()  # untaken rewards would pile up
        record.take(progress, episodes)
        ended = [(places[learner], total, length) for learner, total, length in episodes]
        watch(_step(len(places), progress, progress.env_steps - done, progress.iteration - iterations, ended))
        before, done, iterations = done, progress.env_steps, progress.iteration
        if done >= budget.env_steps or len(record.failed) == len(job.learners):
            break
        if any(before < point <= done for point in points):
            record.evaluate(progress, evaluation.episodes_during_training)
        if progress.state is not None:
            checkpoints.offer(iterations, partial(state, progress, monitor, record))
    record.evaluate(progress, evaluation.episodes)
    return record.outcome(progress)


def _step(
    learners: int,
    progress: Progress,
    env_steps: int,
    iterations: int,
    episodes: Sequence[tuple[int, float, int]] = (),
    resumed: bool = False,
) -> Step:
    more, unit = (env_steps, "steps") if progress.env_steps else (iterations, "iterations")
    return Step(more, episodes, unit, learners, resumed)


def state(progress: Progress, monitor: Monitor, record: Record) -> bytes:
    """Return all that the rest of a training depends on."""
    assert progress.state is not None
    counts = {"env_steps": progress.env_steps, "iteration": progress.iteration}
    parts = {"method": progress.state.state_dict(), "env": monitor.state_dict(), "record": record.state_dict()}
    return pack(counts | parts)


def restore(saved: bytes, progress: Progress, monitor: Monitor, record: Record, where: Path) -> tuple[int, int]:
    """Put a training back to where it was; return the environment steps and the iterations that it had done."""
    assert progress.state is not None
    try:
        tree = unpack(saved)
        progress.state.load_state_dict(tree["method"])
        monitor.load_state_dict(tree["env"])
        record.load_state_dict(tree["record"])
        return tree["env_steps"], tree["iteration"]
    except (AttributeError, KeyError, RuntimeError, SafetensorError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{where}: no state of this training ({reason}); move it away to begin again") from None
