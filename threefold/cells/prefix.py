"""Truncated parts of cells, computed by the code of the tree that it lies in: what `threefold store adopt` compares.

    python -m threefold.cells.prefix --params FILE --out DIR [--iterations N|all] [--part TASK/ROW/PART]...

The command line is a contract between commits, because a later one runs it in this one's tree: options and files may be
added, but these stay.

* It is run in the root of the tree, where `FILE` is the profile's params.yaml. It writes nothing but below `DIR`.
* `DIR/made_from.json` holds what every part of the profile is made from, by the part's name.
* Each part named is computed on the CPU, whichever device the profile has, on as many cores as THREEFOLD_THREADS says.
  `DIR/TASK/ROW/PART/` then holds the files of a result.
* It ends with 0, or else with a line on stderr that says why.

A truncated part has its own learners, demonstrations, configuration and parallel episodes. Its budget is N iterations,
all of them logged, with one evaluation on the way and one at the end, of few episodes. With `all` it is the whole part.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import torch
import typer

from threefold.base.errors import InputError, one_line
from threefold.base.files import write_json
from threefold.base.messages import inform
from threefold.base.steps import Step
from threefold.base.workers import Team, default_threads
from threefold.cells.cell import LEARNT
from threefold.cells.grid import Place, grid
from threefold.cells.provenance import card
from threefold.cells.record import save
from threefold.cells.training import Evaluation, Job, train
from threefold.profile.design import load
from threefold.profile.names import check_names

MADE_FROM = "made_from.json"
EVALUATION = Evaluation(episodes=2, points=2, episodes_during_training=1)


class Unsaved:
    """Checkpoints of a training so short that it is not saved."""

    def offer(self, iteration: int, state: Callable[[], dict[str, Any]]) -> None:
        """Save nothing."""

    def restore(self, parts: dict[str, Any]) -> None:
        """Return that there is nothing to restore."""

    def found(self) -> bool:
        """Return that there is nothing to restore."""
        return False


@dataclass(frozen=True)
class Work:
    """A part to compute."""

    place: Place
    iterations: int | None
    out: Path
    threads: int


def whole(place: Place, threads: int = 1) -> Job:
    """Return the training of a part, all of it, on the CPU."""
    learners = place.part.learners
    demonstrations = place.cell.demonstrations(learners, "cpu")
    return place.cell.job(dict(enumerate(learners)), demonstrations, Unsaved(), threads, "cpu")


def truncated(job: Job, iterations: int) -> Job:
    """Return the first iterations of a training."""
    env_steps = job.env_steps
    if hasattr(job.config, "ppo"):  # the others step no env
        env_steps = min(env_steps, iterations * job.config.ppo.steps * job.parallel_episodes)
    return replace(job, env_steps=env_steps, evaluation=EVALUATION, iterations=iterations)


def compute(work: Work, watch: Callable[[Step], None]) -> str:
    """Compute a part and write its files; return its name."""
    job, entry = whole(work.place, work.threads), work.place.entry
    outcome = train(job if work.iterations is None else truncated(job, work.iterations), watch)
    save(work.out / entry.name, outcome, card(entry.inputs, job), LEARNT)
    inform(f"{entry.name}: computed")
    return entry.name


def prefix(params: Path, out: Path, iterations: int | None, parts: Sequence[str]) -> None:
    """Write what the parts of a profile are made from, and compute the named ones, some at a time."""
    design = load(params)
    check_names(design)
    places = {place.entry.name: place for place in grid(design)}
    if unknown := [name for name in parts if name not in places]:
        raise InputError(f"--part {unknown[0]}: not a part of {params}; name one of its own")
    write_json({name: place.entry.inputs for name, place in places.items()}, out / MADE_FROM)
    if not parts:
        return
    torch.set_num_threads(1)  # see threefold.base.workers
    cores = default_threads()
    workers = min(len(parts), cores)
    work = [Work(places[name], iterations, out, cores // workers) for name in parts]
    with Team(compute, work, workers) as team:
        team.outcomes(lambda step: None)


def number(iterations: str) -> int | None:
    """Read a number of iterations; None for `all`."""
    if iterations == "all":
        return None
    if not iterations.isdecimal() or int(iterations) < 1:
        raise InputError(f"--iterations {iterations}: no number of iterations; write 1 or more, or all")
    return int(iterations)


def command(
    params: Annotated[Path, typer.Option()],
    out: Annotated[Path, typer.Option()],
    iterations: Annotated[str, typer.Option()] = "3",
    part: Annotated[list[str] | None, typer.Option()] = None,
) -> None:
    """Compute truncated parts of a profile."""
    prefix(params, out, number(iterations), part or [])


if __name__ == "__main__":
    with one_line():
        typer.run(command)
