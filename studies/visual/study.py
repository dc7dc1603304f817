"""Visual GAIL on random grid worlds with optimal experts: what a representation learnt inside GAIL is worth.

The setting is that of Ivanovic, Zhu, Garg & Savarese, "Learning a visual state representation for generative
adversarial imitation learning" (a course report of about 2017): a convolutional network before policy and
discriminator, trained inside GAIL, on random grid worlds; they find that GAIL suffers from the "DAgger problem", states
off the expert's path without a demonstration. Of their report only the abstract was at hand: sizes, networks and
remedies are this study's own, no number of theirs is known here, and none is claimed to be replicated.

A world has 8 x 8 cells of 4 x 4 pixels (worlds.py): walls black, free cells white, the goal green, the agent red. The
expert takes shortest paths. A world is small enough to be solved: occupancies, divergences and successes are exact
(exact.py), for every policy in every map, and training alone samples.

Rows, on one map, then on pools of training maps, with held-out maps that nobody trains on:

- table: GAIL whose policy and discriminator are tables; pixels: the same from pictures.
- table_minus_one, table_plus_one: constant rewards in the place of log D; table_positive: -log(1 - D), which pays for
  staying; table_no_action: a discriminator that sees states alone.
- gail, bc, dagger: GAIL, behavioural cloning, and DAgger, from pictures.
- *_anywhere: demonstrations, as many pairs, from random free cells; GAIL's own walks start there too.
- *_slippery: demonstrations, as many pairs, in worlds that replace a fifth of the actions by random ones, each labelled
  by the optimal action; GAIL's own walks slip too.
- gail_minus_one, gail_minus_one_anywhere, gail_no_action: the controls from pictures.
- gail_anywhere_demonstrations, gail_anywhere_walks, gail_slippery_demonstrations: one half of a cure.
- gail_shared: one representation for policy and discriminator.

A row that was interrupted goes on from its last checkpoint, and a finished one is not computed again.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import torch
from torch import Tensor

from algorithms.core.population import Generators
from algorithms.core.state import State
from envs import device as devices
from studies.core.parts import Frames, compute
from studies.core.tables import Tables
from studies.visual import exact, gail, schema, worlds
from studies.visual.rollouts import SLIPS
from studies.visual.schema import Pool, Size
from studies.visual.training import ROUNDS, Learners, Row
from studies.visual.worlds import ACTIONS, Worlds
from threefold.store.checkpoints import Checkpoints

ONE_MAP = {
    "table": Row(sight="table"),
    "table_minus_one": Row(sight="table", reward="minus_one"),
    "table_plus_one": Row(sight="table", reward="plus_one"),
    "table_positive": Row(sight="table", reward="positive"),
    "table_no_action": Row(sight="table", sees_action=False),
    "pixels": Row(),
}
POOLS = {"gail": Row(), "bc": Row(method="bc"), "dagger": Row(method="dagger")}
ANY_POOL = {"gail_minus_one": Row(reward="minus_one")}  # demonstrations have no say
SMALLEST_POOL = {
    "gail_minus_one_anywhere": Row(reward="minus_one", walks="anywhere"),
    "gail_anywhere": Row(demonstrations="anywhere", walks="anywhere"),
    "gail_slippery": Row(demonstrations="slippery", walks="slippery"),
    "bc_anywhere": Row(method="bc", demonstrations="anywhere"),
    "bc_slippery": Row(method="bc", demonstrations="slippery"),
}
TAKEN_APART = {
    "gail_anywhere_demonstrations": Row(demonstrations="anywhere"),
    "gail_anywhere_walks": Row(walks="anywhere"),
    "gail_slippery_demonstrations": Row(demonstrations="slippery"),
    "gail_no_action": Row(sees_action=False),
    "gail_shared": Row(shared=True),
}
SHOWN = ("table", "table_positive", "pixels", "gail", "gail_anywhere")  # in `cells`
DIGITS = 6


class Job(NamedTuple):
    """A row in one pool."""

    name: str
    row: Row
    maps: int
    demonstrations: int
    iterations: int

    def key(self) -> dict[str, object]:
        """Return the columns that name it."""
        return {"row": self.name, "maps": self.maps, "demonstrations": self.demonstrations}


def jobs(size: Size) -> list[Job]:
    """Return all jobs, the longest first."""
    most = max(size.demonstrations)
    found = []

    def add(rows: Mapping[str, Row], pool: Pool, demonstrations: int) -> None:
        for name, row in rows.items():
            iterations = pool.iterations if row.method == "gail" else pool.cloning_iterations
            found.append(Job(name, row, pool.maps, demonstrations, iterations))

    pools = sorted(size.pools, key=lambda pool: pool.maps, reverse=True)
    for pool in pools:
        for demonstrations in sorted(size.demonstrations, reverse=True):
            if demonstrations % pool.maps == 0:  # the others are not spread evenly
                add(POOLS, pool, demonstrations)
        add(ANY_POOL, pool, most)
    add(SMALLEST_POOL | TAKEN_APART if size.taken_apart else SMALLEST_POOL, pools[-1], most)
    found += [Job(name, row, 1, most, size.one_map_iterations) for name, row in ONE_MAP.items()]
    return found


def learn(job: Job, size: Size, device: str, checkpoints: Checkpoints) -> dict[str, pd.DataFrame]:
    """Train one learner per seed, from where it was interrupted; return lines of `learnt` and of `cells`."""
    training = worlds.draw(job.maps, Generators(size.seeds, "maps")).to(device)
    splits = {"training": training.first(size.held_out)}
    if job.row.sight == "pixels":  # a table says nothing of another map
        splits["held-out"] = worlds.draw(size.held_out, Generators(size.seeds, "held-out maps")).to(device)
    references = [reference(maps) for maps in splits.values()]
    learners = Learners(job.row, size.seeds, training, job.demonstrations // job.maps, job.iterations)
    due = [job.iterations * k // size.records for k in range(size.records + 1)]
    shape = (len(due), len(splits), len(size.seeds), len(METRICS))
    progress = State(done=0, values=torch.zeros(shape, dtype=torch.float64))
    parts: dict[str, Any] = {"learners": learners, "progress": progress}
    checkpoints.restore(parts)
    while True:
        if progress.done in due:
            record = torch.stack([measure(learners, each) for each in references])
            progress.values[[k for k, iteration in enumerate(due) if iteration == progress.done]] = record.cpu()
        if progress.done == job.iterations:
            break
        iterate(learners, progress.done)
        progress.done += 1
        checkpoints.offer(progress.done, lambda: {name: part.state_dict() for name, part in parts.items()})
    return {
        "learnt": pd.DataFrame(lines(job, size, due, list(splits), progress.values)),
        "cells": pd.concat(cells(job, learners, name, each.first(1)) for name, each in splits.items()),
    }


def iterate(learners: Learners, iteration: int) -> None:
    """Do one iteration of a row's method."""
    learners.cool(iteration)
    if learners.row.method == "gail":
        gail.iterate(learners)
        return
    if learners.row.method == "dagger" and iteration in (learners.iterations * k // ROUNDS for k in range(1, ROUNDS)):
        learners.ask()
    learners.clone()


METRICS = tuple(schema.LEARNT)[6:]


class Reference(NamedTuple):
    """What a policy is compared with in some maps, whatever it is."""

    maps: Worlds
    occupancy: Tensor  # [P, M, S, A] the expert's
    on: Tensor  # [P, M, S] states that the expert meets
    off: Tensor  # and that it never meets
    slipped: Tensor  # how often it meets the latter where it slips


def reference(maps: Worlds) -> Reference:
    """Return what policies in these maps are compared with."""
    expert, start, off = maps.expert(), maps.at_start(), exact.off_path(maps)
    slipping = exact.occupancy(maps, slippery(expert), start).sum(-1)
    return Reference(maps, exact.occupancy(maps, expert, start), exact.on_path(maps), off, slipping * off)


def measure(learners: Learners, known: Reference) -> Tensor:
    """Return the metrics `[P, metrics]`, float64: exact in each map, mean over maps."""
    maps, start = known.maps, known.maps.at_start()
    policy, logits = learners.tables(maps)
    agreement, liked = exact.agreement(maps, policy), exact.preferred(maps, logits)
    found = {
        "success": exact.success(maps, policy, start),
        "success_off": exact.success(maps, policy, known.off / known.off.sum(-1, keepdim=True)),
        "success_slips": exact.success(maps, slippery(policy), start),
        "js": exact.divergence(known.occupancy, exact.occupancy(maps, policy, start)),
        "on": exact.average(agreement, known.on),
        "off": exact.average(agreement, known.off),
        "slipped": exact.average(agreement, known.slipped),
        "logit_on": exact.average(liked, known.on),
        "logit_off": exact.average(liked, known.off),
        "pairs": learners.counts.sum((-2, -1)),
    }
    return torch.stack([found[metric].double().mean(1) for metric in METRICS], -1)


def slippery(policy: Tensor) -> Tensor:
    """Return the probabilities of what is done in a slippery world, of those of what is intended."""
    return (1 - SLIPS) * policy + SLIPS / ACTIONS


def lines(job: Job, size: Size, due: list[int], splits: list[str], values: Tensor) -> Iterator[dict[str, object]]:
    """Yield lines of `learnt`, of values `[records, splits, P, metrics]`."""
    for iteration, of_iteration in zip(due, values.tolist(), strict=True):
        for split, of_split in zip(splits, of_iteration, strict=True):
            for seed, metrics in zip(size.seeds, of_split, strict=True):
                rounded = {name: round(value, DIGITS) for name, value in zip(METRICS, metrics, strict=True)}
                yield job.key() | {"seed": seed, "iteration": iteration, "split": split} | rounded


def cells(job: Job, learners: Learners, split: str, one: Worlds) -> pd.DataFrame:
    """Return lines of `cells`, of the first learner in its only map of `one`."""
    policy, logits = learners.tables(one)
    expert, start = one.expert(), one.at_start()
    cell = one.cells[0, 0].cpu()
    kind = ["start" if s == one.start[0, 0] else "goal" if s == one.goal[0, 0] else "free" for s in range(len(cell))]
    values = {
        "expert": expert,
        "policy": policy,
        "expert_visits": exact.occupancy(one, expert, start),
        "visits": exact.occupancy(one, policy, start),
        "logit": logits,
        "best_logit": exact.best_logit(one, policy, start),
    }
    columns: dict[str, object] = {
        "split": split,
        "cell": cell.repeat_interleave(ACTIONS),
        "kind": pd.Series(kind).repeat(ACTIONS).array,
        "action": torch.arange(ACTIONS).repeat(len(cell)),
    }
    exact_values = {name: value[0, 0].flatten().double().cpu() for name, value in values.items()}
    return pd.DataFrame(job.key() | columns | exact_values).round(DIGITS)


FILES = {"learnt": schema.LEARNT, "cells": schema.CELLS}


def parts(size: Size) -> dict[str, Job]:
    """Return the jobs by the names of the study's parts."""
    return {f"{job.name}-{job.maps}-{job.demonstrations}": job for job in jobs(size)}


def part(name: str, size: Size, checkpoints: Path) -> Frames:
    """Return the rows of a part of the study, computed from where it was interrupted."""
    job, device = parts(size)[name], devices.choose(size.device)
    found = learn(job, size, device, Checkpoints(checkpoints / device, name))
    return found if in_cells(job, size) else {"learnt": found["learnt"]}


def study(size: Size) -> Tables:
    """Return every file's rows and columns; rows are learnt side by side, each on one core, or in turn on a GPU."""
    workers = None if devices.choose(size.device) == "cpu" else 1
    found = compute("visual", dict.fromkeys(parts(size), size), FILES, part, workers=workers)
    # rounded again: a number read is not always the one nearest to its digits
    return {name: (rows.round(DIGITS), FILES[name]) for name, rows in found.items()}


def in_cells(job: Job, size: Size) -> bool:
    """Return whether a job's map is drawn: those of the smallest pools, with most demonstrations."""
    return job.name in SHOWN and job.maps <= min(size.maps) and job.demonstrations == max(size.demonstrations)
