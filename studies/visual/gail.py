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
from studies.visual.rollouts import WAYS, Walks, sample, walk
from studies.visual.training import Learners
from studies.visual.worlds import STATES, Worlds

REWARDS: dict[str, Callable[[Tensor], Tensor]] = {
    "log_d": logsigmoid,
    "positive": softplus,  # -log(1 - D), as on the tasks
    "minus_one": lambda logit: -torch.ones_like(logit),
    "plus_one": torch.ones_like,
}


class Steps(NamedTuple):
    """What PPO learns from, `[P, B, N]` each: pairs, states, their old log probabilities, advantages, value targets."""

    pair: Tensor
    state: Tensor
    old: Tensor
    advantage: Tensor
    target: Tensor


def iterate(learners: Learners) -> None:
    """Walk, take steps on the discriminator, then on the policy."""
    index, worlds = learners.pick()
    shape = (index.shape[1], STATES)
    seen = learners.everywhere(worlds)
    with torch.no_grad():
        logits, value = (x.unflatten(1, shape) for x in learners.policy(seen))
    log_policy = logits.log_softmax(-1)
    way, walks = WAYS[learners.row.walks], learners.config.walks // len(index[0])
    walked = walk(worlds, log_policy.exp(), way, walks, HORIZON, learners.noise)
    expert = learners.counts[torch.arange(len(index))[:, None], index]
    discriminate(learners, worlds, expert, walked.counts(torch.ones_like(walked.arrived)))
    with torch.no_grad():
        reward = REWARDS[learners.row.reward](learners.logits(seen)).unflatten(1, shape)
    improve(learners, seen.unflatten(1, shape), steps(learners, walked, reward, value[..., 0], log_policy))


def discriminate(learners: Learners, worlds: Worlds, expert: Tensor, policy: Tensor) -> None:
    """Take steps on the discriminator, given each source's counts `[P, B, S, A]`."""
    for _ in range(learners.config.reward_steps):
        on_expert, on_policy = (judged(learners, worlds, counts) for counts in (expert, policy))
        loss = softplus(-on_expert).mean(1) + softplus(on_policy).mean(1)
        descend(learners.reward_optimizer, loss, learners.config.max_norm)


def judged(learners: Learners, worlds: Worlds, counts: Tensor) -> Tensor:
    """Return the logits `[P, N]` of pairs drawn from counts, seen with a random shift."""
    world, state, action = sample(counts, learners.config.batch, learners.noise)
    seen = learners.see(worlds.take(world), state, shifted=True)
    return learners.logits(seen).gather(-1, action[..., None])[..., 0]


def steps(learners: Learners, walked: Walks, reward: Tensor, value: Tensor, log_policy: Tensor) -> Steps:
    """Return what PPO learns from, given tables: rewards, log probabilities `[P, B, S, A]` and values `[P, B, S]`."""
    pair, state, after = walked.pair(), walked.state.flatten(2), walked.after.flatten(2)
    tables = (reward.flatten(2).gather(-1, pair), value.gather(-1, state), value.gather(-1, after))
    earned, here, beyond = (x.view_as(walked.state).flatten(1, 2).mT for x in tables)  # [P, T, B K]
    arrived = walked.arrived.flatten(1, 2).mT
    cut = torch.zeros_like(arrived)
    cut[:, -1] = True
    earned = learners.scale(earned, arrived | cut)
    advantage = generalized_advantages(earned, here, beyond, arrived, cut, DISCOUNT, learners.config.gae)
    target, advantage = (x.mT.reshape_as(pair) for x in (advantage + here, advantage))
    centred = advantage - advantage.mean((1, 2), keepdim=True)
    advantage = centred / (advantage.std((1, 2), keepdim=True) + 1e-8)
    return Steps(pair, state, log_policy.flatten(2).gather(-1, pair), advantage, target)


def improve(learners: Learners, seen: Tensor, known: Steps) -> None:
    """Take PPO's steps, each on some of the worlds `[P, B, S, ...]`."""
    config, learner = learners.config, torch.arange(len(seen))[:, None]
    for order in learners.noise.permutations(config.epochs, seen.shape[1]).unbind(1):
        for part in order.split(config.minibatch, 1):
            pair, state, old, advantage, target = (x[learner, part] for x in known)
            outputs = learners.policy(seen[learner, part].flatten(1, 2))
            logits, value = (x.unflatten(1, (part.shape[1], STATES)) for x in outputs)
            log_policy = logits.log_softmax(-1)
            ratio = (log_policy.flatten(2).gather(-1, pair) - old).exp()
            clipped = ratio.clamp(1 - config.clip, 1 + config.clip)
            gain = torch.minimum(ratio * advantage, clipped * advantage).mean((1, 2))
            error = (value[..., 0].gather(-1, state) - target).square().mean((1, 2))
            entropy = -(log_policy.exp() * log_policy).sum(-1).gather(-1, state).mean((1, 2))
            descend(learners.optimizer, 0.5 * error - gain - config.entropy_weight * entropy, config.max_norm)
