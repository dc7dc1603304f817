"""The training of a cell's learners, from the last checkpoint to its outcome.

With `record` this is all of the project, beside a method and a task, that decides the bytes of a result: what it
imports, those depend on.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Any, Protocol

import algorithms
import envs
from algorithms.core.experience import Demonstrations
from algorithms.core.progress import Progress
from envs.device import ENGINES
from envs.monitor import Monitor
from threefold.base.steps import Step
from threefold.cells.record import Outcome, Record


class Checkpoints(Protocol):
    """Where a training is saved: see `threefold.store.checkpoints`."""

    def offer(self, iteration: int, state: Callable[[], dict[str, Any]]) -> None: ...

    def restore(self, parts: dict[str, Any]) -> dict[str, Any] | None: ...

    def found(self) -> bool: ...


@dataclass(frozen=True)
class Evaluation:
    """When learners are evaluated, and on how many episodes."""

    episodes: int  # of the final evaluation, per learner
    points: int  # evaluations during training, the final one included
    episodes_during_training: int  # at each of the others


@dataclass(frozen=True)
class Job:
    """Learners to train, together."""

    task: str
    row: str
    method: str
    config: Any
    learners: dict[int, tuple[int, int]]  # place in the cell: number of demonstrations and seed
    demonstrations: Demonstrations
    env_steps: int  # per learner
    parallel_episodes: int  # per learner
    evaluation: Evaluation
    checkpoints: Checkpoints
    threads: int  # of the native engine
    device: str
    iterations: int | None = None  # after which a truncated training ends


def train(job: Job, watch: Callable[[Step], None]) -> Outcome:
    """Train until the budget is used or the method ends, evaluating along the way and at the end."""
    evaluation = job.evaluation
    points = [job.env_steps * k // evaluation.points for k in range(1, evaluation.points)]
    places, seeds = list(job.learners), [seed for _, seed in job.learners.values()]
    env = envs.make(job.task, seeds, job.parallel_episodes, ENGINES[job.device], job.device, job.threads)
    monitor = Monitor(env)
    record = Record(job.task, job.row, list(job.learners.values()), job.env_steps, job.threads)
    saved, done, iterations = job.checkpoints.found(), 0, 0
    training = algorithms.load(job.method).train(monitor, job.demonstrations, seeds, job.config)
    for progress in islice(training, job.iterations):
        if saved:  # then this iteration has only made the objects that are put back where they were
            state = job.checkpoints.restore({"method": progress.state, "env": monitor, "record": record})
            assert state is not None
            done, iterations, saved = state["env_steps"], state["iteration"], False
            watch(_step(len(places), progress, done, iterations, resumed=True))
            continue
        episodes, _ = monitor.take_episodes(), monitor.take_rewards()  # untaken rewards would pile up
        record.take(progress, episodes)
        ended = [(places[learner], total, length) for learner, total, length in episodes]
        watch(_step(len(places), progress, progress.env_steps - done, progress.iteration - iterations, ended))
        before, done, iterations = done, progress.env_steps, progress.iteration
        if done >= job.env_steps or len(record.failed) == len(job.learners):
            break
        if any(before < point <= done for point in points):
            record.evaluate(progress, evaluation.episodes_during_training)
        if progress.state is not None:
            job.checkpoints.offer(iterations, partial(_state, progress, monitor, record))
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


def _state(progress: Progress, monitor: Monitor, record: Record) -> dict[str, Any]:
    """Return all that the rest of a training depends on."""
    assert progress.state is not None
    counts = {"env_steps": progress.env_steps, "iteration": progress.iteration}
    parts = {"method": progress.state.state_dict(), "env": monitor.state_dict(), "record": record.state_dict()}
    return counts | parts
