"""Generative adversarial imitation learning (Ho & Ermon 2016, arXiv 1606.03476).

Algorithm 1. Repeat:
    sample trajectories from the policy pi;
    step the discriminator D up  E_pi[log D(s, a)] + E_expert[log(1 - D(s, a))]                      (equation 17)
    step the policy on the cost log D(s, a), with causal entropy weight lambda                        (equation 18)

Sign: the paper labels the policy 1. Here the logit l is high for the expert, D = sigmoid(-l), and so
    loss   = E_expert softplus(-l) + E_pi softplus(l) - w H(sigmoid(l))
    reward = -log D - lambda log pi = softplus(l) - lambda log pi,  since -log D = -log(1 - sigmoid(l)).
Terminal states: none. A positive reward favours survival, as in the paper; the control rows show how much that gives.
Where success ends the episode (`success_ends`) it is log(1 - D) = -softplus(-l) < 0, as in the authors' code.

Departures from the paper:
- PPO instead of TRPO, with 4,096 transitions a rollout instead of 50,000: the same learner for every method here;
  `loop.inner` chooses TRPO.
- 64-64 tanh networks instead of 100-100; discount 0.99 and GAE 0.95 instead of 0.995 and 0.97.
- The discriminator takes 10 steps an iteration at 3e-4 on 512 samples of each source, instead of one at 0.01 on all.
- A gradient penalty (Gulrajani et al. 2017) keeps the discriminator smooth on few demonstrations.
- A discrete action stands beside the state as a one-hot vector, and there is one logit; in the authors' code the state
  alone goes in, a score for each action comes out, and that of the action taken is the logit.
- lambda = 0 on every task (the paper tuned it on Reacher only: 1e-3); the value function sees its term of the reward.
"""

from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid, softplus

from algorithms.core.adversarial import LoopConfig, imitate
from algorithms.core.constants import NonNegativeFloat
from algorithms.core.discriminator import Discriminator
from algorithms.core.experience import Batch, Samples
from algorithms.core.ppo import PPOConfig


@dataclass(frozen=True)
class Config:
    """Constants of GAIL. Sources: the paper's appendix B, its authors' code, or a departure above."""

    hidden: tuple[int, ...] = (64, 64)  # departure
    batch: int = 512  # samples of each source a step; departure
    classifier_entropy_weight: NonNegativeFloat = 1e-3  # authors' code
    gradient_penalty: NonNegativeFloat = 1.0  # departure
    entropy_weight: NonNegativeFloat = 0.0  # lambda, of -log pi in the reward
    success_ends: bool = False  # reward log(1 - D) < 0; a task's preset
    log_odds: bool = False  # reward log(1 - D) - log D = l, of free sign: an ablation, with absorbing states
    loop: LoopConfig = LoopConfig()
    ppo: PPOConfig = PPOConfig()


def loss(model: Discriminator, expert: Samples, policy: Samples, config: Config) -> Tensor:
    """Return `[P]`: the negative of equation 17, less the classifier's entropy, plus the gradient penalty."""
    x, y = expert.transitions(config.batch).inputs(), policy.transitions(config.batch).inputs()
    logits = model(torch.cat([x, y], 1))
    on_expert, on_policy = logits.split(config.batch, 1)
    model.diagnostics = {"expert_logit": on_expert.detach().mean(1), "policy_logit": on_policy.detach().mean(1)}
    cross_entropy = softplus(-on_expert).mean(1) + softplus(on_policy).mean(1)
    penalty = model.gradient_penalty(x, y)
    entropy = bernoulli_entropy(logits).mean(1)
    return cross_entropy - config.classifier_entropy_weight * entropy + config.gradient_penalty * penalty


def bernoulli_entropy(logit: Tensor) -> Tensor:
    """Return the entropy (nats) of a coin of the given logit."""
    return (1 - logit.sigmoid()) * logit - logsigmoid(logit)


def reward(model: Discriminator, batch: Batch, config: Config) -> Tensor:
    """Return `[P, N]`: -log D = softplus(logit), which favours survival; log(1 - D) < 0; or the log odds."""
    logits = model(batch.inputs())
    of_one_sign = logsigmoid(logits) if config.success_ends else softplus(logits)
    value = logits if config.log_odds else of_one_sign
    return value - config.entropy_weight * batch.log_prob if config.entropy_weight else value


train = partial(imitate, Discriminator, loss, reward)
