"""Tasks that bring their own equations of motion: batched torch in 64 bit, on any device, without an engine."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import ModuleType

import numpy as np
import torch
from torch import Tensor

from envs.state import State


@dataclass(frozen=True)
class Model:
    """What `BatchEnv` reads of a task's physics, by MuJoCo's names; an action is a one-hot vector."""

    nv: int
    qpos0: np.ndarray  # [nq]
    actuator_ctrlrange: np.ndarray  # [A, 2]


class Equations:
    """`worlds` copies of a task, moved by its function `advance`; the largest number of an action is the one taken."""

    def __init__(self, task: ModuleType, worlds: int, device: torch.device) -> None:
        n = task.COORDINATES
        self.model = Model(n, np.zeros(n), np.tile([0.0, 1.0], (task.ACTIONS, 1)))
        self._task = task
        self._state = {name: torch.zeros(worlds, n, dtype=torch.float64, device=device) for name in ("qpos", "qvel")}

    def state(self) -> dict[str, Tensor]:
        """See `Physics`."""
        return self._state

    def reset(self, which: Tensor, qpos: Tensor, qvel: Tensor) -> None:
        """See `Physics`."""
        self._move(which, qpos, qvel)

    def step(self, ctrl: Tensor, which: Tensor | None = None) -> None:
        """See `Physics`."""
        chosen = ctrl.argmax(-1).to(ctrl.dtype)
        moved = torch.ones_like(chosen, dtype=torch.bool) if which is None else which
        self._move(moved, *self._task.advance(State(**self._state), chosen))

    def check(self) -> None:
        """See `Physics`. Nothing can be wanting."""

    def state_dict(self) -> dict[str, Tensor]:
        """See `Physics`."""
        return {name: values.clone() for name, values in self._state.items()}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """See `Physics`. Raises ValueError for a state of another number of worlds or another task."""
        for name, values in self._state.items():
            if state[name].shape != values.shape:
                raise ValueError(f"{name}: {list(state[name].shape)} where {list(values.shape)} belongs")
            values.copy_(state[name])

    def _move(self, which: Tensor, qpos: Tensor, qvel: Tensor) -> None:
        for values, new in zip(self._state.values(), (qpos, qvel), strict=True):
            values.copy_(torch.where(which[:, None], new, values))
