"""What a profile costs, before it starts: cells, environment steps, and hours on this device at a measured rate.

One iteration of the first method that steps an env is timed on every task, at its full size; one of every other method
on the task where that is quickest, which gives its cost beside the first one's. On a CPU that is the iteration of one
part of a cell, in one of its processes; the others are taken to be as fast at the same time. Evaluations, the native
engine's on all cores, are counted as if every episode lasted to the task's limit. Reading and writing are left out.

A method that uses no environment step, as BC, has no iterations of a size known beforehand. Its parts take what such
parts took that were computed earlier (`threefold.cells.outlook`); where there are none, that is said.
"""

import time
from collections.abc import Sequence
from math import isfinite, nan
from pathlib import Path
from typing import Any

import pandas as pd
import torch

import algorithms
import envs
from algorithms.core.experience import Demonstrations
from envs import device as devices
from envs.monitor import Monitor
from threefold.base.workers import default_threads
from threefold.cells import memory
from threefold.cells.cell import Cell
from threefold.cells.outlook import hours, measured, untimed
from threefold.profile.design import Design, load
from threefold.profile.names import check_names
from threefold.profile.overrides import configure
from threefold.profile.rollout import on_device


def iteration_seconds(task: str, method: str, config: Any, seeds: Sequence[int], episodes: int, device: str) -> float:
    """Return what an iteration of a method takes on a task: the second one, since the first one compiles and records.

    The demonstrations are noise of the right shapes, so that a task need not have any yet.
    """
    env = Monitor(envs.make(task, seeds, episodes, devices.ENGINES[device], device, threads=1))
    training = algorithms.load(method).train(env, noise(env, len(seeds), device), seeds, config)
    next(training)
    started = _clock(device)
    next(training)
    env.take_episodes(), env.take_rewards()
    return _clock(device) - started


def evaluation_seconds(task: str, worlds: int = 64, steps: int = 30) -> float:
    """Return what a step of the native engine takes on a task, on all cores."""
    env = envs.make(task, [0], worlds)
    generator = torch.Generator().manual_seed(0)
    actions = torch.rand(2 * steps, 1, worlds, env.action_size, generator=generator) * 2 - 1
    for action in actions[:steps]:
        env.step(action)
    started = time.perf_counter()
    for action in actions[steps:]:
        env.step(action)
    return (time.perf_counter() - started) / (steps * worlds)


def noise(env: Monitor, learners: int, device: str, trajectories: int = 4, steps: int = 250) -> Demonstrations:
    """Return demonstrations that show nothing, of an env's sizes: to time with."""
    generator = torch.Generator().manual_seed(0)
    rows = trajectories * steps
    obs, next_obs = torch.randn(2, rows, env.obs_size, generator=generator).to(device)
    action = torch.randn(rows, env.action_size, generator=generator).to(device)
    never = torch.zeros(rows, dtype=torch.bool, device=device)
    trajectory = torch.arange(trajectories, device=device).repeat_interleave(steps)
    lengths = torch.full((trajectories,), steps, device=device)
    return Demonstrations(
        obs, action, next_obs, never, trajectory, lengths, never[:trajectories], [trajectories] * learners
    )


def cells(design: Design, device: str) -> pd.DataFrame:
    """Return one row per cell: task, row, learners, env_steps, steps_per_s, hours; NaN where that is not known."""
    named = [(task, row) for task in design.tasks for row in design.rows(task)]
    configs = {(task, row): configure(design, task, row) for task, row in named}
    stepping = [cell for cell in named if hasattr(configs[cell], "ppo")]

    def seconds(task: str, row: str) -> float:
        """Of one environment step of one learner, of a cell that is computed by all its processes."""
        parts = design.parts(task, row)
        together = parts[0].learners if device == "cpu" else design.learners(task, row)
        config, seeds = configs[task, row], [seed for _, seed in together]
        if device == "cuda":
            memory.refuse_too_many(design, task, len(seeds), config, torch.cuda.mem_get_info()[0])
        shaped, config = on_device(design, task, config, device)
        episodes = shaped.budget[task].parallel_episodes
        took = iteration_seconds(task, design.variant(row).method, config, seeds, episodes, device)
        return (
            took
            / (config.ppo.steps * episodes * len(seeds))
            / (min(len(parts), default_threads()) if device == "cpu" else 1)
        )

    first = {task: next(row for t, row in stepping if t == task) for task, _ in stepping}
    on_task = {task: seconds(task, row) for task, row in first.items()}
    cost: dict[str, float] = {}
    for row in dict.fromkeys(row for _, row in stepping):
        quickest = min((task for task, r in stepping if r == row), key=on_task.__getitem__)
        alike = row == first[quickest]
        cost[row] = 1.0 if alike else seconds(quickest, row) / on_task[quickest]
    looks = design.evaluation
    episodes = (looks.points - 1) * looks.episodes_during_training + looks.episodes  # of each learner
    evaluation = {task: episodes * envs.load(task).HORIZON * evaluation_seconds(task) for task in on_task}
    speeds, rows = measured(design.root, device), []
    for task, row in named:
        learners = len(design.learners(task, row))
        if (task, row) not in stepping:
            parts = [(Cell(design, task, row), part) for part in design.parts(task, row)]
            rows.append((task, row, learners, 0, nan, nan if untimed(parts, speeds) else hours(parts, speeds, device)))
            continue
        rate, env_steps = 1 / (on_task[task] * cost[row]), learners * design.budget[task].env_steps
        rows.append((task, row, learners, env_steps, rate, (env_steps / rate + learners * evaluation[task]) / 3600))
    return pd.DataFrame(rows, columns=["task", "row", "learners", "env_steps", "steps_per_s", "hours"])


def cost(params: Path) -> str:
    """Return what a profile costs on its device, as text."""
    design = load(params)
    check_names(design)
    torch.set_num_threads(1)  # as when it trains
    device = devices.choose(design.device)
    return report(cells(design, device), devices.describe(device))


def report(table: pd.DataFrame, where: str) -> str:
    """Return the estimate as text: a line per cell, and the sum."""
    lines = [
        f"{cell.task:26}{cell.row:22}{cell.learners:4} learners {cell.env_steps:13,} steps "
        f"{_number(cell.steps_per_s, 11, 0)} steps/s {_number(cell.hours, 9, 3)} h"
        for cell in table.itertuples()
    ]
    total = (
        f"{len(table)} cells, {table['env_steps'].sum():,} environment steps, {table['hours'].sum():.1f} hours on "
        f"{where}, evaluations included, at rates measured now"
    )
    still = table[table["env_steps"] == 0]
    if timed := _rows(still[still["hours"].notna()]):
        total += f"; {timed}, without environment steps, at the speed of parts computed earlier"
    if untold := _rows(still[still["hours"].isna()]):
        total += f"; {untold}, without environment steps, not counted: no part of it has been timed yet"
    return "\n".join([*lines, total])


def _number(value: float, width: int, digits: int) -> str:
    return f"{value:{width},.{digits}f}" if isfinite(value) else "-".rjust(width)


def _rows(cells: pd.DataFrame) -> str:
    return ", ".join(cells["row"].unique())


def _clock(device: str) -> float:
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()
