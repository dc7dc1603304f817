"""Rewards that are linear in features of (s, a), whose weights are solved for: apprenticeship learning's."""

from typing import Any

import torch
from torch import Tensor, nn

from algorithms.core.experience import Batch, Samples
from algorithms.core.population import Generators

SQUARE_SCALE = 0.01  # Ho & Ermon 2016, the authors' code (`sqscale`)


def features(batch: Batch) -> Tensor:
    """Return `[x, (0.01 x)^2, 1]`, `[P, N, 2 (O + 1 + A) + 1]`, of the inputs x: observation, absorbing flag, action.

    These are Ho & Ermon's (arXiv 1606.03476, the authors' code) plus the flag, which says how often the task ended.
    """
    x = batch.inputs()
    return torch.cat([x, (SQUARE_SCALE * x).square(), torch.ones_like(x[..., :1])], -1)


def feature_gap(expert: Samples, policy: Samples) -> Tensor:
    """Return E_policy[f] - E_expert[f] `[P, D]`, exact over all rows of both sources."""
    return policy.mean(features) - expert.mean(features)


class LinearReward(nn.Module):
    """A reward `weight . features`; a loss puts the weights there."""

    weight: Tensor

    def __init__(self, obs_size: int, action_size: int, generators: Generators, config: Any) -> None:
        """Start from weights of 0."""
        super().__init__()
        shape = (len(generators), 2 * (obs_size + 1 + action_size) + 1)
        self.register_buffer("weight", torch.zeros(shape, device=generators.device))  # [P, D]

    def forward(self, batch: Batch) -> Tensor:
        """Return rewards `[P, N]`."""
        return (features(batch) @ self.weight[..., None])[..., 0]


def linear_reward(model: LinearReward, batch: Batch, config: Any) -> Tensor:
    """Return `[P, N]`: what reinforcement learning maximises."""
    return model(batch)
