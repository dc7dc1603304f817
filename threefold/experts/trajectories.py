"""Whole trajectories of an expert: rolled out, and the pairs of them that are used.

A set of n demonstrations is the first n trajectories; of each, every `every`-th pair is used from a random start on
(Ho & Ermon 2016, arXiv 1606.03476, appendix B). The starts are drawn once.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

import envs
from algorithms.core.population import Generators
from envs.episodes import rollout
from threefold.base.errors import InputError


@dataclass(frozen=True)
class Trajectories:
    """K whole trajectories of T_k steps, one after the other.

    The last observation of each is kept as well, so `next_obs` needs no array of its own.
    """

    obs: Tensor  # [sum(T_k) + K, O] float32, of a trajectory T_k + 1
    action: Tensor  # [sum(T_k), A] float32, the task's units, unclipped
    lengths: Tensor  # [K] int64, steps
    terminated: Tensor  # [K] bool: the task ended it; a time limit is no end
    starts: Tensor  # [K] int64: step of the first pair that subsampling uses

    def __len__(self) -> int:
        """Return K."""
        return len(self.lengths)

    def transitions(self) -> "Transitions":
        """Return all transitions, `[sum(T_k)]` of them."""
        return self._at(*used_pairs(self.lengths, torch.zeros_like(self.starts), 1))

    def used(self, every: int) -> "Transitions":
        """Return every `every`-th transition of each trajectory, from its start on."""
        return self._at(*used_pairs(self.lengths, self.starts, every))

    def select(self, which: Sequence[int]) -> "Trajectories":
        """Return some of them, in the order given."""
        ends = self.lengths.cumsum(0)
        rows = [slice(int(ends[k] - self.lengths[k]), int(ends[k])) for k in which]
        obs = torch.cat([self.obs[row.start + k : row.stop + k + 1] for k, row in zip(which, rows, strict=True)])
        chosen = torch.tensor(which)
        action = torch.cat([self.action[row] for row in rows])
        return Trajectories(obs, action, self.lengths[chosen], self.terminated[chosen], self.starts[chosen])

    def _at(self, trajectory: Tensor, time: Tensor) -> "Transitions":
        row = (self.lengths.cumsum(0) - self.lengths)[trajectory] + time
        seen = row + trajectory  # each trajectory before has one more observation than steps
        return Transitions(self.obs[seen], self.action[row], self.obs[seen + 1])


class Transitions(NamedTuple):
    """M transitions in the order of their trajectories, float32."""

    obs: Tensor  # [M, O]
    action: Tensor  # [M, A]
    next_obs: Tensor  # [M, O], the true successor


@torch.no_grad()
def roll_out(
    act: Callable[[Tensor], Tensor], task: str, seed: int, number: int, every: int
) -> tuple[Trajectories, list[float]]:
    """Return one episode of `act(obs [1, E, O])` in each of so many worlds, and their returns.

    Each is the first episode of a world of its own: the first so many to *finish* would be the short ones.
    """
    env = envs.make(task, [seed], number)
    terminated = torch.zeros(env.E, dtype=torch.bool)
    lengths, returns, rows = torch.zeros(env.E, dtype=torch.int64), torch.zeros_like(env.obs[0, :, 0]), []
    for obs, action, step, active in rollout(env, act):
        rows.append((obs[0], action[0], step.next_obs[0].float()))
        lengths += active[0]
        returns += step.reward[0] * active[0]
        terminated |= (step.terminal & active)[0]
    all_obs, all_action, all_next_obs = (torch.stack(column, 1) for column in zip(*rows, strict=True))  # [E, T, .]
    ends = lengths.tolist()
    trajectories = Trajectories(
        torch.cat([x for k, T in enumerate(ends) for x in (all_obs[k, :T], all_next_obs[k, T - 1 : T])]),
        torch.cat([all_action[k, :T] for k, T in enumerate(ends)]),
        lengths,
        terminated,
        draw_starts(lengths, every, seed),
    )
    return trajectories, returns.tolist()


def draw_starts(lengths: Tensor, every: int, seed: int) -> Tensor:
    """Draw the step `[K]` of each trajectory's first used pair, uniform on its first `every` steps (or all it has)."""
    uniform = Generators([seed], "subsampling").uniform(len(lengths))[0]
    return (uniform * lengths.clamp(max=every)).long()


def used_pairs(lengths: Tensor, starts: Tensor, every: int) -> tuple[Tensor, Tensor]:
    """Return trajectory and step, `[M]` each, of the used pairs: steps start, start + every, ... of each trajectory."""
    counts = (lengths - starts + every - 1) // every
    trajectory = torch.arange(len(lengths)).repeat_interleave(counts)
    place = torch.arange(len(trajectory)) - (counts.cumsum(0) - counts)[trajectory]
    return trajectory, starts[trajectory] + every * place


def refuse_not_finite(where: str, trajectories: Trajectories, remedy: str) -> None:
    """Raise InputError, naming array, trajectory and step, for a number that is none; `where` they come from."""
    for name, extra in (("obs", 1), ("action", 0)):  # a trajectory has one more observation than actions
        rows = trajectories.lengths + extra
        wrong = (~getattr(trajectories, name).isfinite().all(1)).nonzero().flatten()
        if len(wrong):
            k = int((rows.cumsum(0) > wrong[0]).nonzero()[0])
            step = int(wrong[0] - rows[:k].sum())
            raise InputError(f"{where}: {name} of trajectory {k}, step {step} is not finite; {remedy}")
