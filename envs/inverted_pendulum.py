"""InvertedPendulum-v5: balance a pole on a cart."""

import torch
from torch import Tensor

from envs.state import State, box

ID = "InvertedPendulum-v5"
XML = "inverted_pendulum.xml"
FIELDS = ("qpos", "qvel")
FRAME_SKIP = 2
DT = 0.04  # s
HORIZON = 1000  # steps

RESET_NOISE = 0.01  # m, rad, m/s, rad/s
FALLEN_ANGLE = 0.2  # rad from upright


def reset(uniform: Tensor, qpos0: Tensor) -> tuple[Tensor, Tensor]:
    """Upright and at rest, plus uniform noise."""
    noise = box(uniform, RESET_NOISE)
    return qpos0 + noise[..., : len(qpos0)], noise[..., len(qpos0) :]


def observation(x: State) -> Tensor:
    """Cart position, pole angle, and their velocities."""
    return torch.cat([x.qpos, x.qvel], -1)


def reward(before: State, after: State, action: Tensor) -> Tensor:
    """1 while the pole stands."""
    return (~terminal(after)).to(action.dtype)


def terminal(x: State) -> Tensor:
    """The pole has fallen."""
    return ~observation(x).isfinite().all(-1) | (x.qpos[..., 1].abs() > FALLEN_ANGLE)
