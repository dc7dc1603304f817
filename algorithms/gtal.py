"""Game-theoretic apprenticeship learning (Ho, Gupta & Ermon 2016, arXiv 1605.08478), a baseline of Ho & Ermon 2016.

The game is Syed & Schapire's (2007).

Algorithm 1. Repeat:
    sample trajectories from the policy pi;
    solve for the cost that tells the two apart best,  max_c  E_pi[c(s, a)] - E_expert[c(s, a)]
        over c = w . g(s, a), w >= 0, sum w = 1, g = [f, -f], which is the coordinate of g with the largest gap;
    step the policy on the cost c.

Sign: the weight here is that of the reward: -1 or 1 for one feature of f; the loss is minus the worst case, -max |gap|.
Terminal states: a linear reward has free sign, so an episode that terminates goes on in an absorbing state, whose flag
is a feature.

Departures from the papers:
- PPO instead of TRPO, and 4,096 transitions a rollout: the same learner for every method here.
- The authors' code shifts the reward by its running minimum, which favours survival, instead of an absorbing state.
- Actions are in units of half their range; the authors' code standardises them like observations.
"""

from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from algorithms.core.adversarial import LoopConfig, imitate
from algorithms.core.experience import Samples
from algorithms.core.linear import LinearReward, feature_gap, linear_reward
from algorithms.core.ppo import PPOConfig


@dataclass(frozen=True)
class Config:
    """Constants of the loops; GTAL has none of its own beside its features."""

    loop: LoopConfig = LoopConfig(absorbing=True)
    ppo: PPOConfig = PPOConfig()


def loss(model: LinearReward, expert: Samples, policy: Samples, config: Config) -> Tensor:
    """Solve for the weights; return `[P]`: minus the largest difference of expected costs."""
    gap = feature_gap(expert, policy)
    worst, feature = gap.abs().max(1, keepdim=True)
    model.weight = torch.zeros_like(gap).scatter(1, feature, -gap.gather(1, feature).sign())
    return -worst[:, 0]


train = partial(imitate, LinearReward, loss, linear_reward)
