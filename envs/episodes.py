"""Whole episodes of given policies: what evaluations and experts' cards are made of."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from envs.batch import BatchEnv, Step


@dataclass(frozen=True)
class Episodes:
    """One finished episode per world."""

    episode_return: Tensor  # [P, E], undiscounted sum of the true reward
    length: Tensor  # [P, E], environment steps
    terminated: Tensor  # [P, E] bool: ended by the task, not by the time limit alone


@torch.no_grad()
def play(env: BatchEnv, act: Callable[[Tensor], Tensor]) -> Episodes:
    """Play one episode in every world of `env`, from new start states; see `rollout`."""
    env.reset()
    total, length = torch.zeros_like(env.obs[..., 0]), torch.zeros_like(env.elapsed)
    terminated = torch.zeros_like(env.elapsed, dtype=torch.bool)
    for _, _, step, active in rollout(env, act):
        total += torch.where(active, step.reward, 0)
        length += active
        terminated |= active & step.terminal
    return Episodes(total, length, terminated)


@torch.no_grad()
def rollout(env: BatchEnv, act: Callable[[Tensor], Tensor]) -> Iterator[tuple[Tensor, Tensor, Step, Tensor]]:
    """Play one episode in every world of `env` with `act(obs [P, E, O]) -> action [P, E, A]`.

    Yields, of every step, observation (float32), action, what the env returned, and which worlds were still at it,
    `[P, E]` bool: those that are done stand still, so that short episodes cost little. Raises `InputError` like
    `BatchEnv.check`.
    """
    active = torch.ones_like(env.elapsed, dtype=torch.bool)
    while active.any():
        obs = env.obs.float()
        action = act(obs)
        step = env.step(action, active)
        yield obs, action, step, active
        active = active & ~(step.terminal | step.truncated)
    env.check()
