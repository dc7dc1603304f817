"""GAIL in grid worlds (Ho & Ermon 2016, arXiv 1606.03476), by PPO.

An iteration walks in some of its worlds, takes steps on the discriminator's loss

    E_expert softplus(-l) + E_pi softplus(l),      l the logit of the action that was taken, high for the expert,

then PPO's on the reward log D = log sigmoid(l) <= 0. Success ends a walk, so a reward must not pay for staying. Pairs
of both sides are of the same worlds, each world counting the same, or the discriminator would tell worlds apart.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid, softplus

from algorithms.core.population import descend
from algorithms.core.ppo import generalized_advantages
from studies.visual.exact import DISCOUNT, HORIZON
from studies.visual.rollouts import WAYS, Walks, walk, weights
from studies.visual.training import Config, Learners
from studies.visual.views import Views
from studies.visual.worlds import Worlds, take

REWARDS: dict[str, Callable[[Tensor], Tensor]] = {
    "log_d": logsigmoid,
    "positive": softplus,  # -log(1 - D), as on the tasks
    "minus_one": lambda logit: -torch.ones_like(logit),
    "plus_one": torch.ones_like,
}


class Batch(NamedTuple):
    """What PPO learns from, `[P, B, S, A]`: for each pair means over all steps in its world, 0 where it is not met.

    Such sums are enough: which gain is clipped depends on a pair's probability and the sign of the advantage alone.
    """

    often: Tensor  # 1
    better: Tensor  # advantage, where it is positive
    worse: Tensor  # where it is negative
    old: Tensor  # log probabilities, not means
    target: Tensor  # value target, `[P, B, S]`


def iterate(learners: Learners) -> None:
    """Walk, take steps on the discriminator, then on the policy."""
    index, worlds = learners.pick()
    seen = learners.see(worlds)
    with torch.no_grad():
        logits, value = learners.policy(seen)
    log_policy = logits.log_softmax(-1)
    way, walks = WAYS[learners.row.walks], learners.config.walks // index.shape[1]
    walked = walk(worlds, log_policy.exp(), way, walks, HORIZON, learners.noise)
    discriminate(learners, worlds, take(learners.counts, index), walked.counts(torch.ones_like(walked.arrived)))
    with torch.no_grad():
        reward = REWARDS[learners.row.reward](learners.logits(seen))
    improve(learners, seen, batch(learners, walked, reward, value[..., 0], log_policy))


def discriminate(learners: Learners, worlds: Worlds, expert: Tensor, policy: Tensor) -> None:
    """Take steps on the discriminator, given each source's counts `[P, B, S, A]`."""
    for _ in range(learners.config.reward_steps):
        index, seen = learners.glance(worlds)
        on_expert, on_policy = (weights(take(counts, index)) for counts in (expert, policy))
        logit = learners.logits(seen)
        mistaken = on_expert * softplus(-logit) + on_policy * softplus(logit)
        descend(learners.reward_optimizer, mistaken.sum((1, 2, 3)), learners.config.max_norm)


def batch(learners: Learners, walked: Walks, reward: Tensor, value: Tensor, log_policy: Tensor) -> Batch:
    """Return what PPO learns from, given tables: rewards, log probabilities `[P, B, S, A]` and values `[P, B, S]`."""
    pair, state, after = walked.pair(), walked.state.flatten(2), walked.after.flatten(2)
    tables = (reward.flatten(2).gather(-1, pair), value.gather(-1, state), value.gather(-1, after))
    earned, here, beyond = (x.view_as(walked.state).flatten(1, 2).mT for x in tables)  # [P, T, B K]
    arrived = walked.arrived.flatten(1, 2).mT
    cut = torch.zeros_like(arrived)
    cut[:, -1] = True
    earned = learners.scale(earned, arrived | cut)
    advantage = generalized_advantages(earned, here, beyond, arrived, cut, DISCOUNT, learners.config.gae)
    target, advantage = (x.mT.reshape(walked.state.shape) for x in (advantage + here, advantage))
    centred = advantage - advantage.mean((1, 2, 3), keepdim=True)
    advantage = centred / (advantage.std((1, 2, 3), keepdim=True) + 1e-8)
    parts = (torch.ones_like(advantage), advantage.clamp(min=0), advantage.clamp(max=0), target)
    often, better, worse, target = (walked.counts(part) / pair.shape[-1] for part in parts)
    return Batch(often, better, worse, log_policy, target.sum(-1))


def improve(learners: Learners, seen: Views, known: Batch) -> None:
    """Take PPO's steps, each on some of the worlds."""
    config, maps = learners.config, known.often.shape[1]
    epochs = min(config.epochs, config.steps * config.minibatch // maps)
    for order in learners.noise.permutations(epochs, maps).unbind(1):
        for part in order.split(config.minibatch, 1):
            logits, value = learners.policy(seen.take(part))
            some = Batch(*(take(x, part) for x in known))
            descend(learners.optimizer, loss(logits, value[..., 0], some, config), config.max_norm)


def loss(logits: Tensor, value: Tensor, known: Batch, config: Config) -> Tensor:
    """Return PPO's loss `[P]` of logits `[P, B, S, A]` and values `[P, B, S]`, less what none of them changes."""
    log_policy = logits.log_softmax(-1)
    ratio = (log_policy - known.old).exp()
    better, worse = ratio.clamp(max=1 + config.clip), ratio.clamp(min=1 - config.clip)
    gain = (known.better * better + known.worse * worse).sum(-1)
    met = known.often.sum(-1)
    error = met * value.square() - 2 * value * known.target
    entropy = -met * (log_policy.exp() * log_policy).sum(-1)
    return (0.5 * error - gain - config.entropy_weight * entropy).mean(1).sum(-1)
