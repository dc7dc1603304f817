"""A constant reward, which knows nothing of the expert: a control, after Kostrikov et al. 2019 (arXiv 1809.02925).

Their section 4.1 shows that a reward of one sign rewards survival, or its end, whatever its values.

Algorithm 1. Repeat:
    sample trajectories from the policy pi;
    step the policy on the reward c.

Sign: with c > 0 the longest episode is the best, with c < 0 the shortest.
Terminal states: none, so that what a task gives away by termination alone shows.
"""

from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from algorithms.core.adversarial import LoopConfig, imitate
from algorithms.core.experience import Batch, Samples
from algorithms.core.population import Generators
from algorithms.core.ppo import PPOConfig


@dataclass(frozen=True)
class Config:
    """The constant, and those of the loops."""

    value: float = 1.0  # c, of every step
    loop: LoopConfig = LoopConfig()
    ppo: PPOConfig = PPOConfig()


class Reward(nn.Module):
    """Learns nothing."""

    def __init__(self, obs_size: int, action_size: int, generators: Generators, config: Config) -> None:
        super().__init__()


def loss(model: Reward, expert: Samples, policy: Samples, config: Config) -> Tensor:
    """Return `[P]`: 0."""
    return torch.zeros_like(policy.absorbing_share)


def reward(model: Reward, batch: Batch, config: Config) -> Tensor:
    """Return `[P, N]`: c."""
    return torch.full_like(batch.terminal, config.value)


train = partial(imitate, Reward, loss, reward)
