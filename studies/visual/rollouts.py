"""Walks through grid worlds by tables of probabilities: a policy's roll-outs, and what an expert demonstrates.

Pairs are kept as counts `[P, M, S, A]`: how often each state and action was met in each world.
Shapes: K walks in each world at once, T steps.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from algorithms.core.population import Generators
from studies.visual.exact import HORIZON
from studies.visual.worlds import ACTIONS, STATES, Worlds

SLIPS = 0.2  # share of actions that a slippery world replaces by random ones


class Walks(NamedTuple):
    """Steps `[P, M, K, T]`: states, intended actions, and whether the goal was reached, where the next walk starts."""

    state: Tensor
    action: Tensor
    after: Tensor  # the true next state
    arrived: Tensor

    def pair(self) -> Tensor:
        """Return the numbers A state + action, `[P, M, K T]`."""
        return (self.state * ACTIONS + self.action).flatten(2)

    def counts(self, which: Tensor) -> Tensor:
        """Return the counts of the steps that `which` selects, which broadcasts to `[P, M, K, T]`."""
        weight = which.expand_as(self.state).flatten(2).float()
        counts = weight.new_zeros(*weight.shape[:2], STATES * ACTIONS)
        return counts.scatter_add_(-1, self.pair(), weight).unflatten(-1, (STATES, ACTIONS))

    def first(self) -> Tensor:
        """Return which steps `[P, M, K, T]` are those of the first walk."""
        return self.arrived.cumsum(-1) - self.arrived.long() == 0


class Way(NamedTuple):
    """How a walk goes: where it starts, and whether the world is slippery."""

    anywhere: bool = False  # from a random free cell, and not from the world's start
    slips: float = 0.0

    def starts(self, worlds: Worlds) -> Tensor:
        """Return the distribution of starts `[P, M, S]`."""
        return worlds.anywhere() if self.anywhere else worlds.at_start()


WAYS = {"start": Way(), "anywhere": Way(anywhere=True), "slippery": Way(slips=SLIPS)}


def walk(worlds: Worlds, policy: Tensor, way: Way, walks: int, steps: int, noise: Generators) -> Walks:
    """Walk by `policy` `[P, M, S, A]`; at the goal the next walk starts."""
    shape = (worlds.start.shape[1], walks)
    of_start = cumulated(way.starts(worlds))[..., None, :].expand(-1, -1, walks, -1)
    of_action, uniform = cumulated(policy), noise.uniform(steps, 4, *shape)
    state = invert(of_start, noise.uniform(*shape))
    rows = []
    for for_action, for_slip, for_other, for_start in (uniform[:, t].unbind(1) for t in range(steps)):
        action = invert(chosen(of_action, state), for_action)
        done = torch.where(for_slip < way.slips, (for_other * ACTIONS).long(), action)
        after = chosen(worlds.moves, state).gather(-1, done[..., None])[..., 0]
        arrived = after == worlds.goal[..., None]
        rows.append((state, action, after, arrived))
        state = torch.where(arrived, invert(of_start, for_start), after)
    return Walks(*(torch.stack(column, -1) for column in zip(*rows, strict=True)))


def chosen(table: Tensor, state: Tensor) -> Tensor:
    """Return the rows `[P, M, N, A]` of a table `[P, M, S, A]` at states `[P, M, N]`."""
    return torch.take_along_dim(table, state[..., None], 2)


def cumulated(weight: Tensor) -> Tensor:
    """Return the distribution function of weights over the last axis: 1 from the last one on that is not 0."""
    total = weight.cumsum(-1)
    return total / total[..., -1:]


def invert(distribution: Tensor, uniform: Tensor) -> Tensor:
    """Return where a distribution function `[..., n]` passes numbers `[...]` that are uniform in [0, 1)."""
    return (uniform[..., None] >= distribution[..., :-1]).sum(-1)


def weights(counts: Tensor) -> Tensor:
    """Return the weights `[P, M, S, A]` of pairs that were counted, each world having the same, 1 in all."""
    return counts / counts.sum((-2, -1), keepdim=True) / counts.shape[1]


def demonstrate(worlds: Worlds, way: str, walks: int, noise: Generators) -> Tensor:
    """Return counts of an expert's walks in each world, or of as many pairs gone another way (the last walk is cut).

    The action of a pair is what the expert intends, whether it slips or not: the optimal one.
    """
    expert = acting_expert(worlds)
    whole = walk(worlds, expert, WAYS["start"], walks, HORIZON, noise)
    counts = whole.counts(whole.first())
    if way == "start":
        return counts
    pairs = counts.sum((-2, -1))
    steps = int(pairs.max())
    walked = walk(worlds, expert, WAYS[way], 1, steps, noise)
    return walked.counts((torch.arange(steps, device=pairs.device) < pairs[..., None])[..., None, :])


def label(worlds: Worlds, walked: Walks, noise: Generators) -> Walks:
    """Return the walks with what the expert would do in each state in the place of what was done."""
    of_action = chosen(cumulated(acting_expert(worlds)), walked.state.flatten(2))
    action = invert(of_action, noise.uniform(*of_action.shape[1:3]))
    return walked._replace(action=action.view_as(walked.state))


def acting_expert(worlds: Worlds) -> Tensor:
    """Return the expert's probabilities, and the uniform ones at the goal, where nobody acts."""
    return torch.where(worlds.alive()[..., None], worlds.expert(), 1 / ACTIONS)
