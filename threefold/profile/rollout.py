"""The shape of a learner's rollout on each device: the one place where it differs from what params.yaml says.

A GPU steps thousands of worlds in the time of one, and the steps of a rollout are taken one after the other: more
worlds for fewer steps are the same number of transitions in less time. All that learning reads stays as large: the
rollout, its minibatches and the window of trajectories. `benchmarks/rollouts.csv` holds returns of GAIL on Hopper in
such shapes, measured on a CPU at equal numbers of samples: after 300,000 steps those of 64 worlds of 64 steps lay among
those of 16 of 256, and those of rollouts four times as large far below.
"""

import math
from dataclasses import replace
from typing import Any

from threefold.profile.design import Design

WORLDS = {"cuda": 4}  # times as many as params.yaml says, each for as many times fewer steps


def on_device(design: Design, task: str, config: Any, device: str) -> tuple[Design, Any]:
    """Return a design and a method's Config as a cell of `task` uses them on a device, and as part.json records them.

    The steps of a rollout are divided by a divisor of theirs, so that its transitions stay as many. A method that draws
    whole trajectories keeps as many more rollouts, so that its window stays as long.
    """
    if not hasattr(config, "ppo"):
        return design, config
    times = math.gcd(WORLDS.get(device, 1), config.ppo.steps)
    config = replace(config, ppo=replace(config.ppo, steps=config.ppo.steps // times))
    if hasattr(config, "loop") and config.loop.trajectories:
        config = replace(config, loop=replace(config.loop, recent=config.loop.recent * times))
    budget = design.budget[task]
    more = budget.model_copy(update={"parallel_episodes": budget.parallel_episodes * times})
    return design.model_copy(update={"budget": design.budget | {task: more}}), config
