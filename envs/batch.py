"""P x E copies of one task, stepped together, with autoreset."""

from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from envs.graph import Recorded
from envs.physics import Physics
from envs.state import State

BLOCK = 64  # steps whose start states are drawn at once
STREAM = 0x5E5E7  # keeps reset noise apart from whatever else is drawn from the same seed


class Step(NamedTuple):
    """What one step returned. P learners, E parallel episodes, O observation."""

    next_obs: Tensor  # [P, E, O] the true successor, also where the episode ended
    reward: Tensor  # [P, E]
    terminal: Tensor  # [P, E] bool: the task ended the episode; nothing comes after
    truncated: Tensor  # [P, E] bool: the time limit did; may coincide with terminal, as in Gymnasium


class BatchEnv:
    """Equal to P x E Gymnasium environments of the task, each inside `ClipAction`, that reset themselves when they end.

    An action of a task with discrete ones is a one-hot vector; of another vector, clipped to [0, 1], the largest number
    counts, the first of equals.

    Without `ClipAction`, Gymnasium charges the control cost for the action as given while MuJoCo clips it: for actions
    outside the action space the rewards differ. Non-finite actions act as 0. Floats are 64 bit on the native engine and
    with a task's own equations, 32 on Warp; for equal rewards give Gymnasium 64-bit actions too, or it computes the
    control cost in 32 bit.

    A step reads nothing back from the device and branches on no value, so on a GPU it is recorded and replayed, with
    the task's functions and `horizon` as they are at the second step.

    Attributes: `task` (module), `P`, `E`, `obs_size`, `action_size`, `discrete` (one-hot actions), `action_low` and
    `action_high` [A], `horizon`, `obs` [P, E, O] to act from next, `elapsed` [P, E] steps since the episode began.
    Nothing returned is changed later.
    """

    def __init__(self, task: ModuleType, physics: Physics, seeds: Sequence[int], episodes: int) -> None:
        self.task = task
        self.P, self.E = len(seeds), episodes
        self._physics = physics
        self._state = State(**{k: v.view(self.P, self.E, *v.shape[1:]) for k, v in physics.state().items()})
        like = self._state.qpos
        # Rounded to 32 bits like Gymnasium's action space, or Humanoid's +-0.4 would be clipped at another place.
        limits = torch.from_numpy(physics.model.actuator_ctrlrange.astype(np.float32)).to(like)
        self.action_low, self.action_high = limits.unbind(-1)
        self.action_size, self.discrete = len(limits), hasattr(task, "ACTIONS")
        self.horizon: int = task.HORIZON
        qpos0 = torch.from_numpy(physics.model.qpos0.copy()).to(like)
        self._starts = _StartStates(task, qpos0, physics.model.nv, seeds, episodes)
        self._recorded = Recorded() if like.is_cuda else None
        self.reset()
        self.obs_size = self.obs.shape[-1]

    def reset(self) -> Tensor:
        """Begin new episodes everywhere; returns `obs`."""
        return self.set_state(*next(self._starts))

    def set_state(self, qpos: Tensor, qvel: Tensor) -> Tensor:
        """Begin new episodes from these states, [P, E, nq] and [P, E, nv]; returns `obs`."""
        self.elapsed = torch.zeros(self.P, self.E, dtype=torch.int64, device=self._state.qpos.device)
        self.obs = self._restart(torch.ones_like(self.elapsed, dtype=torch.bool), qpos, qvel)
        return self.obs

    def step(self, action: Tensor, active: Tensor | None = None) -> Step:
        """Apply `action` [P, E, A] for one environment step.

        Worlds where `active` [P, E] is False stand still and cost no physics: their rows are finite, mean nothing,
        and never say that an episode ended.
        """
        inputs = action, self.elapsed, *next(self._starts)
        if self._recorded and active is None:
            *step, self.elapsed, self.obs = self._recorded(self._advance, *inputs)
        else:
            *step, self.elapsed, self.obs = self._advance(*inputs, active)
        return Step(*step)

    def check(self) -> None:
        """Raise `InputError`, with the cure, if the engine could not compute a step so far; waits for the device."""
        self._physics.check()

    def _advance(
        self, action: Tensor, elapsed: Tensor, qpos: Tensor, qvel: Tensor, active: Tensor | None = None
    ) -> tuple[Tensor, ...]:
        """Return a `Step`'s fields, `elapsed` and `obs`; `qpos` and `qvel` are where worlds that end go on."""
        action = action.to(self.action_low).nan_to_num(0.0, 0.0, 0.0).clamp(self.action_low, self.action_high)
        before, after = self._state.clone(), self._state
        self._physics.step(action.flatten(0, 1), None if active is None else active.flatten())
        terminal = self.task.terminal(after)
        elapsed = elapsed + (1 if active is None else active)
        truncated = elapsed >= self.horizon
        if active is not None:
            terminal, truncated = terminal & active, truncated & active
        next_obs, reward = self.task.observation(after), self.task.reward(before, after, action)
        ended = terminal | truncated
        return next_obs, reward, terminal, truncated, elapsed * ~ended, self._restart(ended, qpos, qvel)

    def state_dict(self) -> dict[str, Any]:
        """Everything that the next step depends on."""
        return {"physics": self._physics.state_dict(), "elapsed": self.elapsed, "starts": self._starts.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from there, in an env made with the same arguments; see `algorithms.core.state`."""
        self._physics.load_state_dict(state["physics"])
        self._starts.load_state_dict(state["starts"])
        self.elapsed = state["elapsed"].to(self.elapsed)
        self.obs = self.task.observation(self._state)

    def _restart(self, which: Tensor, qpos: Tensor, qvel: Tensor) -> Tensor:
        self._physics.reset(which.flatten(), qpos.flatten(0, 1), qvel.flatten(0, 1))
        return self.task.observation(self._state)


class _StartStates:
    """For each coming step a start state for every world, [P, E, nq] and [P, E, nv], used where an episode ends.

    Most are never used; in return a learner's draws depend on its seed and the step alone (and on the kind of device,
    where they are drawn).
    """

    def __init__(self, task: ModuleType, qpos0: Tensor, nv: int, seeds: Sequence[int], episodes: int) -> None:
        self._task, self._qpos0, self._dtype = task, qpos0.double(), qpos0.dtype
        self._shape = (BLOCK, episodes, len(qpos0) + nv)
        self._generators = [
            torch.Generator(qpos0.device).manual_seed(
                int(np.random.SeedSequence([STREAM, seed]).generate_state(1, np.uint64)[0] >> 1)
            )
            for seed in seeds
        ]
        self._draw()

    def _draw(self) -> None:
        self._before = torch.stack([g.get_state() for g in self._generators])
        device = self._qpos0.device
        draws = [torch.rand(self._shape, generator=g, dtype=torch.float64, device=device) for g in self._generators]
        qpos, qvel = self._task.reset(torch.stack(draws, 1), self._qpos0)
        self._block, self._next = (qpos.to(self._dtype), qvel.to(self._dtype)), 0

    def __next__(self) -> tuple[Tensor, Tensor]:
        if self._next == BLOCK:
            self._draw()
        self._next += 1
        qpos, qvel = self._block
        return qpos[self._next - 1], qvel[self._next - 1]

    def state_dict(self) -> dict[str, Any]:
        return {"generators": self._before, "next": self._next}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        for generator, where in zip(self._generators, state["generators"], strict=True):
            generator.set_state(where.clone())  # given a view, torch 2.13 reads beyond it
        self._draw()
        self._next = state["next"]
