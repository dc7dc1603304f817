"""Whole episodes of given policies: what evaluations and experts' cards are made of."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from envs.batch import BatchEnv


@dataclass(frozen=True)
class Episodes:
    """One finished episode per world."""

    episode_return: Tensor  # [P, E], undiscounted sum of the true reward
    length: Tensor  # [P, E], environment steps
    terminated: Tensor  # [P, E] bool: ended by the task, not by the time limit alone


@torch.no_grad()
def play(env: BatchEnv, act: Callable[[Tensor], Tensor]) -> Episodes:
    """Play one episode in every world of `env` with `act(obs [P, E, O]) -> action [P, E, A]`.

    Worlds that are done stand still, so that short episodes cost little. Raises `InputError` like `BatchEnv.check`.
    """
    env.reset()
    total, length = torch.zeros_like(env.obs[..., 0]), torch.zeros_like(env.elapsed)
    terminated = torch.zeros_like(env.elapsed, dtype=torch.bool)
    active = ~terminated
    while active.any():
        step = env.step(act(env.obs.float()), active)
        total += torch.where(active, step.reward, 0)
        length += active
        terminated |= active & step.terminal
        active &= ~(step.terminal | step.truncated)
    env.check()
    return Episodes(total, length, terminated)
