"""Measure what every score of a task is relative to: random actions and the expert, as ordinary rows of a table.

It imports no more than it runs, so that a change elsewhere makes no measurement stale.
"""

import envs
from algorithms.core.policy import Policy
from envs.episodes import play
from threefold.cells.record import EVALUATION_SEEDS, rows
from threefold.experts.policies import deterministic, stochastic, uniform

SEED = 0  # one population of one: its episodes start where the first learner's do


def measure(task: str, policy: Policy, episodes: int) -> list[dict[str, object]]:
    """Return one row per episode of random actions and of the expert, its mean actions and drawn ones."""
    env = envs.make(task, [EVALUATION_SEEDS + SEED], episodes)
    behaviours = {
        "random": uniform(env, EVALUATION_SEEDS),
        "expert": deterministic(policy),
        "expert-stochastic": stochastic(policy, EVALUATION_SEEDS),
    }
    key = {"task": task, "demonstrations": 0, "seed": SEED}
    return [
        {"task": task, "row": name} | row
        for name, act in behaviours.items()
        for row in rows(key | {"row": name}, 0, play(env, act), 0)
    ]
