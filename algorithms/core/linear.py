"""Rewards that are linear in features of (s, a), whose weights are solved for: apprenticeship learning's."""

from typing import Any

import torch
from torch import Tensor, nn

from algorithms.core.experience import Batch, Samples
from algorithms.core.population import Generators

SQUARE_SCALE = 0.01  # Ho & Ermon 2016, the authors' code (`sqscale`)


def features(batch: Batch) -> Tensor:
    """Return `[x, (0.01 x)^2, 1]`, `[P, N, 2 (O + 1 + A) + 1]`, of the inputs x: observation, absorbing flag, action.

    Of discrete actions each has a block `[s, (0.01 s)^2]` of the observation s, zero where another action was taken:
    `[P, N, 2 O A + 2]` with the flag and 1. These are Ho & Ermon's (arXiv 1606.03476, the authors' code) plus the flag,
    which says how often the task ended.
    """
    if batch.discrete:
        s, flag = batch.obs * (1 - batch.absorbing[..., None]), batch.absorbing[..., None]
        block = torch.cat([s, (SQUARE_SCALE * s).square()], -1)
        return torch.cat([(batch.action[..., None] * block[..., None, :]).flatten(-2), flag, torch.ones_like(flag)], -1)
    x = batch.inputs()
    return torch.cat([x, (SQUARE_SCALE * x).square(), torch.ones_like(x[..., :1])], -1)


def feature_gap(expert: Samples, policy: Samples) -> Tensor:
    """Return E_policy[f] - E_expert[f] `[P, D]`, exact over all rows of both sources."""
    return policy.mean(features) - expert.mean(features)


class LinearReward(nn.Module):
    """A reward `weight . features`; a loss puts the weights there."""

    weight: Tensor

    def __init__(self, obs_size: int, action_size: int, generators: Generators, config: Any) -> None:
        """Start without weights: the first loss solves for them."""
        super().__init__()
        self.register_buffer("weight", torch.zeros(len(generators), 0, device=generators.device))  # [P, D]

    def forward(self, batch: Batch) -> Tensor:
        """Return rewards `[P, N]`."""
        return (features(batch) @ self.weight[..., None])[..., 0]


def linear_reward(model: LinearReward, batch: Batch, config: Any) -> Tensor:
    """Return `[P, N]`: what reinforcement learning maximises."""
    return model(batch)
