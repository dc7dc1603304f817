"""Feature expectation matching (Ho, Gupta & Ermon 2016, arXiv 1605.08478), a baseline of Ho & Ermon 2016.

Algorithm 1. Repeat:
    sample trajectories from the policy pi;
    solve for the cost that tells the two apart best,  max_c  E_pi[c(s, a)] - E_expert[c(s, a)]
        over c = w . f(s, a), |w|_2 <= 1, which is  w = gap / |gap|,  gap = E_pi[f] - E_expert[f];
    step the policy on the cost c.

Sign: the weights here are those of the reward, -w; the loss is minus the worst case, -|gap|.
Terminal states: a linear reward has free sign, so an episode that terminates goes on in an absorbing state, whose flag
is a feature.

Departures from the papers:
- PPO instead of TRPO, and 4,096 transitions a rollout: the same learner for every method here.
- The authors' code shifts the reward by its running minimum, which favours survival, instead of an absorbing state.
- Actions are in units of half their range; the authors' code standardises them like observations.
"""

from dataclasses import dataclass
from functools import partial

from torch import Tensor

from algorithms.core.adversarial import LoopConfig, imitate
from algorithms.core.experience import Samples
from algorithms.core.linear import LinearReward, feature_gap, linear_reward
from algorithms.core.ppo import PPOConfig


@dataclass(frozen=True)
class Config:
    """Constants of the loops; FEM has none of its own beside its features."""

    loop: LoopConfig = LoopConfig(absorbing=True)
    ppo: PPOConfig = PPOConfig()


def loss(model: LinearReward, expert: Samples, policy: Samples, config: Config) -> Tensor:
    """Solve for the weights; return `[P]`: minus the largest difference of expected costs."""
    gap = feature_gap(expert, policy)
    size = gap.norm(dim=1, keepdim=True)
    model.weight = -gap / (size + 1e-8)
    return -size[:, 0]


train = partial(imitate, LinearReward, loss, linear_reward)
