"""Actions of the current policies as an energy sees them: with instance noise on them, and beside wide ones.

The parameters of the policies are held constant. Everything is in standard units, and noise of every kind is made of
standard normal numbers. The two kinds offer the same, and `density` of the wide actions is under Lebesgue's measure for
Gaussian actions, the counting measure for categorical ones.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torch.distributions import Normal

from algorithms.core.population import Generators


class Actions(Protocol):
    """What a generator asks of the policies' actions."""

    @property
    def dimensions(self) -> int:
        """Return how many dimensions the wide actions' density has: A, or 0 of discrete ones."""

    @property
    def log_number(self) -> float:
        """Return the log of how many discrete actions there are, or 0."""

    def log_prob(self, obs: Tensor, action: Tensor, noise: float) -> Tensor:
        """Return the log density `[P, N]` of actions `[P, N, A]` with instance noise of that std."""

    def draw(self, obs: Tensor, normal: Tensor, noise: float) -> Tensor:
        """Return actions `[P, N, A]` with instance noise, made of standard normal numbers `[P, N, A]`."""

    def noise(self, normal: Tensor) -> Tensor:
        """Return instance noise `[P, N, A]` of the numbers `[P, N, A]`."""

    def wide(self, normal: Tensor) -> Tensor:
        """Return wide actions `[P, N, A]` of wide normal numbers."""

    def squares(self, action: Tensor) -> Tensor:
        """Return the wide actions' energy `[...]` times twice their variance."""

    def proposals(self, obs: Tensor, number: int, noise: float, draws: Generators) -> tuple[Tensor, Tensor]:
        """Return K actions `[P, N, K, A]` at each observation, and their log densities `[P, N, K]`.

        The mean of f / density over them estimates the sum, or the integral, of f over all actions.
        """


@dataclass(frozen=True)
class GaussianActions:
    """Those of Gaussian policies."""

    mean: Callable[[Tensor], Tensor]  # [P, N, O] -> [P, N, A]
    log_std: Tensor  # [P, 1, A]
    log_number = 0.0

    @property
    def dimensions(self) -> int:
        """Return A."""
        return self.log_std.shape[2]

    def pi(self, obs: Tensor, noise: float) -> Normal:
        """Return the distribution of each number of an action."""
        std = ((2 * self.log_std).exp() + noise**2).sqrt()
        return Normal(self.mean(obs), std, validate_args=False)  # which would raise if one learner is NaN

    def log_prob(self, obs: Tensor, action: Tensor, noise: float) -> Tensor:
        """See `Actions`."""
        return self.pi(obs, noise).log_prob(action).sum(-1)

    def draw(self, obs: Tensor, normal: Tensor, noise: float) -> Tensor:
        """See `Actions`."""
        pi = self.pi(obs, noise)
        return pi.mean + pi.stddev * normal

    def noise(self, normal: Tensor) -> Tensor:
        """See `Actions`."""
        return normal

    def wide(self, normal: Tensor) -> Tensor:
        """See `Actions`."""
        return normal

    def squares(self, action: Tensor) -> Tensor:
        """See `Actions`."""
        return action.square().sum(-1)

    def proposals(self, obs: Tensor, number: int, noise: float, draws: Generators) -> tuple[Tensor, Tensor]:
        """See `Actions`: drawn from the policies."""
        pi, normal = self.pi(obs, noise), draws.normal(obs.shape[1], number, self.dimensions)
        action = pi.mean[:, :, None] + pi.stddev[:, :, None] * normal
        return action, Normal(0, 1).log_prob(normal).sum(-1) - pi.stddev.log().sum(-1, keepdim=True)


@dataclass(frozen=True)
class CategoricalActions:
    """Those of categorical policies, one-hot: there is no noise on them, and wide ones are uniform."""

    logits: Callable[[Tensor], Tensor]  # [P, N, O] -> [P, N, A]
    number: int  # A
    dimensions = 0

    @property
    def log_number(self) -> float:
        """Return log A."""
        return math.log(self.number)

    def log_prob(self, obs: Tensor, action: Tensor, noise: float) -> Tensor:
        """See `Actions`; exact."""
        return (action * self.logits(obs).log_softmax(-1)).sum(-1)

    def draw(self, obs: Tensor, normal: Tensor, noise: float) -> Tensor:
        """See `Actions`."""
        return one_hot(self.logits(obs) + gumbel(normal))

    def noise(self, normal: Tensor) -> Tensor:
        """See `Actions`."""
        return torch.zeros_like(normal)

    def wide(self, normal: Tensor) -> Tensor:
        """See `Actions`."""
        return one_hot(normal)

    def squares(self, action: Tensor) -> Tensor:
        """See `Actions`."""
        return torch.zeros_like(action[..., 0])

    def proposals(self, obs: Tensor, number: int, noise: float, draws: Generators) -> tuple[Tensor, Tensor]:
        """See `Actions`: each action once, so that the sum is exact."""
        action = torch.eye(self.number, device=obs.device).expand(*obs.shape[:2], -1, -1)
        return action, torch.full_like(action[..., 0], -self.log_number)


def one_hot(x: Tensor) -> Tensor:
    """Return 1 in the place of the largest number `[..., A]`, 0 elsewhere."""
    return torch.zeros_like(x).scatter(-1, x.argmax(-1, keepdim=True), 1.0)


def gumbel(normal: Tensor) -> Tensor:
    """Return standard Gumbel numbers made of standard normal ones: the largest of logits plus these is a draw."""
    return -(-torch.special.log_ndtr(normal)).log()
