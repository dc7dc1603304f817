"""The absorbing state, in which an episode that the task has ended stays forever; a time limit is no end.

A reward of free sign would teach a policy to end its episodes, or never to, if nothing came after their end. With this
state (Kostrikov et al. 2019, arXiv 1809.02925, here in the form of occupancy measures) all episodes last forever, and
the learnt reward decides what the end is worth. All that concerns it is here: samples in it, their share of an
occupancy measure, the return of a terminal step, and trajectories that are extended by it.
"""

from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor

DISCOUNTED = "discounted"
MEASURES = DISCOUNTED, "counted"  # how steps weigh in the absorbing state's share


@dataclass(frozen=True)
class Batch:
    """Transitions `[P, N]` without their reward: no method can use the true one.

    A sample with `absorbing` 1 is in the absorbing state: its `obs` and `action` are zero, its `log_prob` is 0 and
    it leads to itself.
    """

    obs: Tensor  # [P, N, O]
    action: Tensor  # [P, N, A]
    next_obs: Tensor  # [P, N, O]
    terminal: Tensor  # [P, N], 1 where the task ended (a time limit is no end)
    log_prob: Tensor  # [P, N], nats, of `action` under the current policy
    absorbing: Tensor  # [P, N]
    discrete: bool = False  # whether an action is a one-hot vector

    def inputs(self) -> Tensor:
        """Return `[obs (1 - f), f, action (1 - f)]`, `[P, N, O + 1 + A]`, f = `absorbing`: to learn from."""
        f = self.absorbing[..., None]
        return torch.cat([self.obs * (1 - f), f, self.action * (1 - f)], -1)

    def take(self, index: Tensor) -> "Batch":
        """Return rows `index` `[P, n]` of each learner."""
        learner = torch.arange(index.shape[0], device=index.device)[:, None]
        columns: dict[str, Any] = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "discrete"}
        return replace(self, **{name: x[learner, index] for name, x in columns.items()})

    def into_absorbing(self, which: Tensor) -> "Batch":
        """Return the batch with the samples `which` `[P, N]` (bool) replaced by absorbing ones."""
        stay = (~which).to(self.obs.dtype)
        x = stay[..., None]
        columns = (self.obs * x, self.action * x, self.next_obs * x, self.terminal * stay, self.log_prob * stay)
        return Batch(*columns, 1 - stay, self.discrete)

    def end(self) -> "Batch":
        """Return one sample of each learner, `[P, 1]`, in the absorbing state."""
        first = self.take(torch.zeros_like(self.terminal[:, :1], dtype=torch.long))
        return first.into_absorbing(torch.ones_like(first.terminal, dtype=torch.bool))


def share_of_steps(time: Tensor, terminal: Tensor, discount: float, measure: str) -> Tensor:
    """Return the absorbing state's share `[P]` of the occupancy measure that a policy's steps `[P, N]` are drawn from.

    `time` is a step's place in its episode, 0 for the first, wherever the record begins; `terminal` (bool) says where
    the task ended. With `measure` "discounted" a step weighs discount^time, "counted" (an ablation) 1.
    """
    weight = discount**time if measure == DISCOUNTED else torch.ones_like(time)
    return _share(weight.sum(1), (weight * terminal).sum(1), discount)


def share_of_episodes(length: Tensor, terminated: Tensor, used: Tensor, discount: float, measure: str) -> Tensor:
    """Return the same share `[P]` for whole episodes of `length` steps `[K]`, of which learner p has the `used[p]`.

    `terminated` `[K]` and `used` `[P, K]` are bool.
    """
    if measure == DISCOUNTED:
        steps, last = (1 - discount**length) / (1 - discount), discount ** (length - 1)
    else:
        steps, last = length, torch.ones_like(length)
    return _share((used * steps).sum(1), (used * terminated * last).sum(1), discount)


def _share(steps: Tensor, terminal: Tensor, discount: float) -> Tensor:
    """Return the share, of the weights `[P]` of all steps and of terminal ones.

    The absorbing state after a terminal step lasts forever: it weighs discount / (1 - discount) as much as that step.
    """
    absorbing = terminal * discount / (1 - discount)
    return absorbing / (steps + absorbing)


def with_end(reward: Tensor, terminal: Tensor, absorbed: Tensor, discount: float) -> Tensor:
    """Return rewards `[P, N]` of which a `terminal` one is r + gamma r_abs / (1 - gamma), `absorbed` `[P, 1]` is r_abs.

    The second part is what the absorbing state pays after the step, one reward a step, forever.
    """
    return reward + terminal * absorbed * discount / (1 - discount)


def extended(time: Tensor, length: Tensor, terminated: Tensor, horizon: int | None) -> tuple[Tensor, Tensor]:
    """Extend trajectories of `length` `[P, n, 1]` steps, if they `terminated`, by the absorbing state to the `horizon`.

    Without a horizon none is extended. Returns, of every place `time` `[L]` of a trajectory, `[P, n, L]`, whether it is
    the absorbing state (bool), and how many steps it stands for: 1, the absorbing state all steps to the horizon, and
    padding none.
    """
    absorbed = (time == length) & terminated & (horizon is not None)
    return absorbed, (time < length) + absorbed * ((horizon or 0) - length)


def stepwise(time: Tensor, length: Tensor, terminated: Tensor) -> tuple[Tensor, Tensor]:
    """Return the same of the places `time` `[P, n, L]` below the horizon, of which each stands for itself alone."""
    absorbed = (time >= length) & terminated
    return absorbed, (time < length) + absorbed * torch.ones_like(length)
