"""What losses and rewards are computed from: batches of transitions, a policy's rollout, the expert's demonstrations."""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from algorithms.core.population import Generators


@dataclass(frozen=True)
class Batch:
    """Transitions `[P, N]` without their reward: a method cannot peek.

    A sample with `absorbing` 1 stands in the absorbing state after a terminal one (Kostrikov et al. 2019): its `obs`
    and `action` are zero, its `log_prob` is 0 and it leads to itself.
    """

    obs: Tensor  # [P, N, O]
    action: Tensor  # [P, N, A]
    next_obs: Tensor  # [P, N, O]
    terminal: Tensor  # [P, N], 1 where the task ended (a time limit is no end)
    log_prob: Tensor  # [P, N], nats, of `action` under the current policy
    absorbing: Tensor  # [P, N]

    def inputs(self) -> Tensor:
        """Return `[obs (1 - f), f, action (1 - f)]`, `[P, N, O + 1 + A]`, f = `absorbing`: a learnt function's input."""
        f = self.absorbing[..., None]
        return torch.cat([self.obs * (1 - f), f, self.action * (1 - f)], -1)

    def take(self, index: Tensor) -> "Batch":
        """Return rows `index` `[P, n]` of each learner."""
        learner = torch.arange(index.shape[0], device=index.device)[:, None]
        return Batch(*(getattr(self, f.name)[learner, index] for f in fields(self)))

    def into_absorbing(self, which: Tensor) -> "Batch":
        """Return the batch with the samples `which` `[P, N]` (bool) replaced by absorbing ones."""
        stay = (~which).to(self.obs.dtype)
        x = stay[..., None]
        return Batch(
            self.obs * x, self.action * x, self.next_obs * x, self.terminal * stay, self.log_prob * stay, 1 - stay
        )


def absorbing_share(transitions: Tensor, terminals: Tensor, discount: float) -> Tensor:
    """Return the absorbing state's share of the occupancy measure.

    One terminal transition is followed for ever by the absorbing state: it stands for discount / (1 - discount)
    absorbing ones.
    """
    absorbing = terminals * discount / (1 - discount)
    return absorbing / (transitions + absorbing)


class Samples:
    """One source of samples, `expert` or `policy`, as a loss sees it."""

    def __init__(self, rows: Batch, size: Tensor, absorbing_share: Tensor, generators: Generators) -> None:
        """Offer the first `size[p]` of learner p's `rows` `[P, M]`, and absorbing ones in the given share `[P]`."""
        self._rows, self._size, self._share, self._generators = rows, size, absorbing_share, generators

    def transitions(self, n: int) -> Batch:
        """Draw n transitions `[P, n]` with replacement from the source's occupancy measure."""
        u = self._generators.uniform(2, n)
        index = (u[:, 0] * self._size[:, None]).long()
        return self._rows.take(index).into_absorbing(u[:, 1] < self._share[:, None])


@dataclass(frozen=True)
class Experience:
    """One rollout of a population: T steps of E parallel episodes, cut by `terminal` and `truncated`."""

    obs: Tensor  # [P, T, E, O], as the environment gave it
    action: Tensor  # [P, T, E, A], the task's units, unclipped
    next_obs: Tensor  # [P, T, E, O], the true successor, never the first observation of the next episode
    terminal: Tensor  # [P, T, E] bool
    truncated: Tensor  # [P, T, E] bool

    @property
    def steps(self) -> int:
        """Return the number of environment steps each learner took."""
        return self.terminal[0].numel()


class Demonstrations:
    """The expert's trajectories, and how many of them each learner may use: learner p sees the first `counts[p]`.

    `obs`, `action`, `next_obs` `[M, .]`, `terminal` `[M]` are the subsampled transitions of the pool in order;
    `trajectory` `[M]` says which trajectory each is of. `lengths` and `ended` `[K]` describe the whole trajectories:
    their steps, and whether they terminated (a time limit is no end).
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
    ) -> None:
        self.obs, self.action, self.next_obs, self.terminal = obs, action, next_obs, terminal
        self.counts = torch.tensor(counts, device=obs.device)
        used = torch.arange(len(lengths), device=obs.device) < self.counts[:, None]  # [P, K]
        self.size = (trajectory < self.counts[:, None]).sum(1)  # [P]: sets are nested, so rows are a prefix
        self.steps = (used * lengths).sum(1)  # [P], of the whole trajectories
        self.terminals = (used * ended).sum(1)  # [P]

    @property
    def rows(self) -> int:
        """Return the most rows that any learner may use."""
        return int(self.size.max())
