"""What losses and rewards are computed from: batches of transitions, rollouts of a policy, the demonstrations."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import torch
from torch import Tensor

from algorithms.core.absorbing import Batch
from algorithms.core.actions import Actions
from algorithms.core.population import Generators
from threefold.base.errors import InputError


class Transitions(NamedTuple):
    """What happened, in the environment's own numbers and the task's units."""

    obs: Tensor  # [P, N, O]
    action: Tensor  # [P, N, A]
    next_obs: Tensor  # [P, N, O], the true successor
    terminal: Tensor  # [P, N] bool

    def take(self, index: Tensor) -> "Transitions":
        """Return rows `index` `[P, n]` of each learner."""
        learner = torch.arange(index.shape[0], device=index.device)[:, None]
        return Transitions(*(column[learner, index] for column in self))


@dataclass(frozen=True)
class Trajectories:
    """n whole trajectories of each learner, or segments of them, as a loss sees them.

    With absorbing states one that terminated ends in the absorbing state, which stands for all steps to the horizon.
    A learner that has no trajectory yet has weights of zero.
    """

    steps: Batch  # [P, n L]: L to a trajectory, one after the other; a shorter trajectory is padded
    weight: Tensor  # [P, n, L], the steps in time that each stands for: 1, of padding 0
    log_mixture: Tensor  # [P, n], nats: log of the mean over the recent policies of the density of all its actions

    def sum(self, x: Tensor) -> Tensor:
        """Return the sum over time `[P, n]` of a quantity `[P, n L]` of the steps."""
        return (self.weight * x.view_as(self.weight)).sum(-1)


class Samples:
    """One source of samples, `expert` or `policy`, as a loss sees it."""

    def __init__(
        self,
        rows: Batch | Transitions,
        size: Tensor,
        absorbing_share: Tensor,
        generators: Generators,
        standardise: Callable[[Any], Batch] = lambda rows: rows,
        actions: Actions | None = None,
    ) -> None:
        """Offer the first `size[p]` of learner p's `rows` `[P, M]`, and absorbing ones in the given share `[P]`.

        `standardise` makes a batch of those that are drawn; `actions` are those of the current policies.
        """
        self.absorbing_share, self.actions = absorbing_share, actions
        self.whole: Callable[..., Trajectories] | None = None  # `Episodes.draw` of n, generators and segment
        self._rows, self._size, self._generators, self._standardise = rows, size, generators, standardise

    @cached_property
    def rows(self) -> Batch:
        """Return all rows `[P, M]`, those that are held out too."""
        return self._standardise(self._rows)

    @property
    def weight(self) -> Tensor:
        """Return `[P, M]`: 1 for the learner's own rows; the expert's others are held out."""
        own = torch.arange(self._rows.obs.shape[1], device=self._size.device) < self._size[:, None]
        return own.to(self._rows.obs.dtype)

    def transitions(self, n: int) -> Batch:
        """Draw n transitions `[P, n]` with replacement from the source's occupancy measure."""
        u = self._generators.uniform(2, n)
        index = (u[:, 0] * self._size[:, None]).long()
        return self._standardise(self._rows.take(index)).into_absorbing(u[:, 1] < self.absorbing_share[:, None])

    def mean(self, function: Callable[[Batch], Tensor]) -> Tensor:
        """Return the mean `[P, D]` of features `function(batch)` `[P, N, D]` under the source's occupancy measure.

        It is exact: over all rows, and the absorbing state in its share.
        """
        alive = average(function(self.rows), self.weight[..., None])
        end = function(self.rows.end())[:, 0]
        return torch.lerp(alive, end, self.absorbing_share[:, None])

    def varies(self) -> Tensor:
        """Return `[P, O]` (bool): which observations have a standard deviation above 1e-3, in standard units."""
        weight = self.weight[..., None]
        mean = average(self.rows.obs, weight)[:, None]
        return average((self.rows.obs - mean).square(), weight) > 1e-3**2

    def trajectories(self, n: int, segment: int | None = None) -> Trajectories:
        """Draw n whole trajectories `[P, n]` with replacement, or a `segment` of so many steps of each.

        For methods whose `LoopConfig` says `trajectories`.
        """
        assert self.whole is not None, "LoopConfig.trajectories is off"
        return self.whole(n, self._generators, segment=segment)


def average(x: Tensor, weight: Tensor) -> Tensor:
    """Return the weighted mean over the second axis; NaN where all weights are 0."""
    return (x * weight).sum(1) / weight.sum(1)


@dataclass(frozen=True)
class Experience:
    """One rollout of a population: T steps of E parallel episodes, cut by `terminal` and `truncated`."""

    obs: Tensor  # [P, T, E, O], as the environment gave it
    action: Tensor  # [P, T, E, A], the task's units, unclipped
    next_obs: Tensor  # [P, T, E, O], the true successor, never the first observation of the next episode
    terminal: Tensor  # [P, T, E] bool
    truncated: Tensor  # [P, T, E] bool
    elapsed: Tensor  # [P, T, E], steps of the episode before this one, those of earlier rollouts included

    @property
    def steps(self) -> int:
        """Return the number of environment steps each learner took."""
        return self.terminal[0].numel()

    @property
    def ended(self) -> Tensor:
        """Return where an episode ended, for either reason, `[P, T, E]`."""
        return self.terminal | self.truncated

    def transitions(self) -> Transitions:
        """Return all of them, `[P, T E, .]`."""
        return Transitions(*(x.flatten(1, 2) for x in (self.obs, self.action, self.next_obs, self.terminal)))


class Demonstrations:
    """The expert's trajectories, and how many of them each learner may use: learner p uses the first `counts[p]`.

    `obs`, `action`, `next_obs` `[M, .]`, `terminal` `[M]` are the subsampled transitions of the pool in order;
    `trajectory` `[M]` says which trajectory each is of. `lengths` and `ended` `[K]` describe the whole trajectories:
    their steps, and whether they terminated (a time limit is no end). `whole` are all transitions of those, `[S, .]`;
    if every one is kept, they need not be given.
    """

    def __init__(
        self,
        obs: Tensor,
        action: Tensor,
        next_obs: Tensor,
        terminal: Tensor,
        trajectory: Tensor,
        lengths: Tensor,
        ended: Tensor,
        counts: Sequence[int],
        whole: Transitions | None = None,
    ) -> None:
        self.obs, self.action, self.next_obs, self.terminal = obs, action, next_obs, terminal
        self.lengths, self.ended = lengths, ended
        self._whole = Transitions(obs, action, next_obs, terminal) if len(obs) == lengths.sum() else whole
        self.counts = torch.tensor(counts, device=obs.device)
        self.used = torch.arange(len(lengths), device=obs.device) < self.counts[:, None]  # [P, K] bool
        self.size = (trajectory < self.counts[:, None]).sum(1)  # [P]: sets are nested, so rows are a prefix

    @property
    def rows(self) -> int:
        """Return the most rows that any learner may use."""
        return int(self.size.max())

    def require(self, pairs: int) -> None:
        """Raise `InputError` if a learner has fewer than so many pairs."""
        least = int(self.size.argmin())
        if self.size[least] < pairs:
            raise InputError(
                f"demonstrations: {int(self.counts[least])} of these trajectories hold {int(self.size[least])} pair(s) "
                f"after subsampling, {pairs} are needed; ask for more trajectories"
            )

    def whole(self) -> Transitions:
        """Return all transitions of the whole trajectories in use, one after the other, for each learner `[P, S, .]`.

        Raises `InputError` if only single pairs are there.
        """
        if self._whole is None:
            raise InputError("demonstrations: only single pairs are there; make them again with whole: true")
        steps = int(self.lengths[: int(self.counts.max())].sum())
        return Transitions(*(x[:steps].expand(len(self.counts), *x[:steps].shape) for x in self._whole))
