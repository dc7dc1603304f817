"""Whole trajectories: the expert's, and the episodes that were completed within the recent rollouts."""

from collections.abc import Callable, Iterable
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor

from algorithms.core.absorbing import Batch, extended, stepwise
from algorithms.core.experience import Demonstrations, Experience, Trajectories, Transitions
from algorithms.core.partition import log_mean_exp
from algorithms.core.policy import Policy
from algorithms.core.population import Generators

Kept = TypeVar("Kept")


@dataclass(frozen=True)
class Episodes:
    """Where whole episodes of each learner lie in a record of S steps; the first `count[p]` of M are learner p's."""

    record: Transitions  # [P, S, .]
    log_samplers: Tensor  # [K, P, S], nats: log density of each action under K policies
    start: Tensor  # [P, M]
    length: Tensor  # [P, M], steps
    ended: Tensor  # [P, M] bool: the task ended it; a time limit is no end
    count: Tensor  # [P]

    @torch.no_grad()
    def draw(
        self,
        n: int,
        generators: Generators,
        standardise: Callable[[Transitions], Batch],
        horizon: int | None,
        segment: int | None = None,
    ) -> Trajectories:
        """Draw n episodes with replacement; `standardise` makes a batch of their steps.

        With a `horizon` (steps) an episode that the task ended goes on in the absorbing state until then. Of such ones
        a `segment` of so many steps may be drawn, from a random step on.
        """
        index = (generators.uniform(n) * self.count[:, None]).long()
        start, length, ended = (x.gather(1, index)[..., None] for x in (self.start, self.length, self.ended))
        if segment is None:
            time = torch.arange(longest(length) + 1, device=start.device)
            absorbed, weight = extended(time, length, ended, horizon)
        else:
            assert horizon is not None, "only episodes that go on to the horizon have segments of one length"
            first = (generators.uniform(n, 1) * (horizon - segment + 1)).long()
            time = first + torch.arange(segment, device=start.device)
            absorbed, weight = stepwise(time, length, ended)
        inside = time < length  # [P, n, L]
        row = torch.where(inside, start + time, 0).flatten(1)
        learner = torch.arange(len(row), device=row.device)[:, None]
        steps = standardise(self.record.take(row))
        log_samplers = (self.log_samplers[:, learner, row].unflatten(2, inside.shape[1:]) * inside).sum(-1)
        return Trajectories(
            steps.into_absorbing(absorbed.flatten(1)),
            weight * (self.count > 0)[:, None, None],
            log_mean_exp(log_samplers.movedim(0, -1)),
        )


class Recent:
    """The recent rollouts of a population."""

    def __init__(self, recent: int, demonstrations: Demonstrations) -> None:
        """Keep the last `recent`."""
        self._recent, self._demonstrations = recent, demonstrations
        self._number = 0  # of rollouts so far
        self._rollouts: dict[int, Experience] = {}

    @property
    def rollouts(self) -> list[Experience]:
        """Return them, the oldest first."""
        return list(self._rollouts.values())

    def append(self, rollout: Experience, policy: Policy) -> None:
        """Add a rollout and the policy that made it."""
        self._rollouts.pop(self._number - self._recent, None)
        self._rollouts[self._number] = rollout
        self._number += 1

    def state_dict(self) -> dict[str, Any]:
        """Return the rollouts and their numbers."""
        return {"number": self._number, "rollouts": [vars(rollout) for rollout in self.rollouts]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore a saved state."""
        self._number = state["number"]
        self._rollouts = self._numbered(Experience(**self._on_device(columns)) for columns in state["rollouts"])

    def _on_device(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return saved tensors on the device of the training."""
        return {name: tensor.to(self._demonstrations.obs.device) for name, tensor in tensors.items()}

    def _numbered(self, kept: Iterable[Kept]) -> dict[int, Kept]:
        """Give the last of the rollouts, or of what belongs to them, their numbers."""
        items = list(kept)
        return dict(enumerate(items, self._number - len(items)))


class Window(Recent):
    """The recent rollouts of a population, and the policies that made them."""

    def __init__(self, recent: int, demonstrations: Demonstrations) -> None:
        """Keep the last `recent` of both. Raises `InputError` for demonstrations without whole trajectories."""
        super().__init__(recent, demonstrations)
        self._expert = demonstrations.whole()
        self._samplers: dict[int, Policy] = {}
        self._log_prob: dict[tuple[int, int], Tensor] = {}  # [P, .] of actions of a rollout, or of the expert's (-1)
        self._new: Tensor | None = None  # [P, E]: whether the oldest rollout begins with a new episode; None: all do

    @torch.no_grad()
    def append(self, rollout: Experience, policy: Policy) -> None:
        """Add a rollout and the policy that made it."""
        self._samplers[self._number] = deepcopy(policy)
        if len(self._rollouts) == self._recent:
            oldest = self._number - self._recent
            self._new = self._rollouts[oldest].ended[:, -1]
            del self._samplers[oldest]
        super().append(rollout, policy)
        records = {-1: self._expert} | {number: kept.transitions() for number, kept in self._rollouts.items()}
        self._log_prob = {
            (k, r): self._log_prob[k, r] if (k, r) in self._log_prob else sampler.log_prob(record.obs, record.action)
            for k, sampler in self._samplers.items()
            for r, record in records.items()
        }

    def state_dict(self) -> dict[str, Any]:
        """Return everything but the log densities, which follow from it."""
        samplers = [sampler.state_dict() for sampler in self._samplers.values()]
        return super().state_dict() | {"samplers": samplers, "new": self._new}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore a saved state."""
        super().load_state_dict(state)
        self._samplers = self._numbered(Policy.from_tensors(self._on_device(kept)) for kept in state["samplers"])
        self._new = None if state["new"] is None else self._on_device({"new": state["new"]})["new"]
        self._log_prob = {}

    def expert(self) -> Episodes:
        """Return the demonstrations that each learner may use."""
        d = self._demonstrations
        log_samplers = torch.stack([self._log_prob[k, -1] for k in self._samplers])
        start, length, ended = (
            x.expand(len(d.counts), -1) for x in (d.lengths.cumsum(0) - d.lengths, d.lengths, d.ended)
        )
        return Episodes(self._expert, log_samplers, start, length, ended, d.counts)

    def policy(self) -> Episodes:
        """Return the episodes that begin and end within the window."""
        rollouts = self._rollouts
        P, T, E = next(iter(rollouts.values())).ended.shape

        def join(parts: Iterable[Tensor]) -> Tensor:
            """Join parts `[P, T E, ...]` in time and put one parallel episode after the other."""
            return torch.cat([x.unflatten(1, (T, E)) for x in parts], 1).transpose(1, 2).flatten(1, 2)

        columns = zip(*(e.transitions() for e in rollouts.values()), strict=True)
        record = Transitions(*(join(column) for column in columns))
        log_samplers = torch.stack([join(self._log_prob[k, r] for r in rollouts) for k in self._samplers])
        ended = join(e.ended.flatten(1) for e in rollouts.values())
        new = torch.ones_like(ended[:, :E]) if self._new is None else self._new
        start, length, count = complete(ended.unflatten(1, (E, -1)), new)
        terminated = record.terminal.gather(1, (start + length - 1).clamp(min=0))
        return Episodes(record, log_samplers, start, length, terminated, count)


def complete(ended: Tensor, new: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Find the episodes that lie whole in E streams of T steps.

    `ended` `[P, E, T]` says where one ends, `new` `[P, E]` which streams begin with a new one. Returns the starts, in
    the record of streams one after the other, and the lengths, `[P, E T]`, and how many each learner has, `[P]`: the
    first so many are its own, the others zero.
    """
    T = ended.shape[2]
    ended, new = ended.flatten(1), new[..., None].expand_as(ended).flatten(1)
    step = torch.arange(ended.shape[1], device=ended.device)
    first = step - step % T  # of the step's stream
    last_end = torch.where(ended, step, -1).cummax(1).values.roll(1, 1)  # before the step
    last_end[:, 0] = -1
    start = torch.where(last_end >= first, last_end + 1, first)
    whole = ended & (new | (last_end >= first))
    count = whole.sum(1)
    place = torch.where(whole, whole.cumsum(1) - 1, ended.shape[1])  # the others share the last place, cut off below
    empty = start.new_zeros(len(start), len(step) + 1)
    starts, lengths = (empty.scatter(1, place, value)[:, :-1] for value in (start, step + 1 - start))
    return starts, lengths, count


def longest(length: Tensor) -> int:
    """Return the largest length: the one number of a training loop that the host waits for, to know a shape by it."""
    return int(length.max())
