"""Physics engines, and equations of a task's own: W worlds of one model, behind a few verbs."""

from collections.abc import Mapping
from typing import Protocol

import mujoco
from torch import Tensor

from envs.physics.equations import Model


class Physics(Protocol):
    """What `BatchEnv` asks of an engine. Masks `which` are [W] bool; floats have the engine's type."""

    model: mujoco.MjModel | Model

    def state(self) -> dict[str, Tensor]:
        """The fields of all worlds, [W, ...] each: the same memory every time, overwritten by reset and step."""

    def reset(self, which: Tensor, qpos: Tensor, qvel: Tensor) -> None:
        """Put the worlds in `which` into a start state: their rows of `qpos` [W, nq] and `qvel` [W, nv]."""

    def step(self, ctrl: Tensor, which: Tensor | None = None) -> None:
        """Advance all worlds, or those in `which`, by one environment step under `ctrl` [W, nu]."""

    def check(self) -> None:
        """Raise `InputError`, with the cure, if any step so far was computed wrongly as memory ran out."""

    def state_dict(self) -> dict[str, Tensor]:
        """All that later steps depend on, [W, ...] each: what `load_state_dict` takes."""

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Put all worlds back to where they were."""
