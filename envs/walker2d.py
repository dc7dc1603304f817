"""Walker2d-v5: a two-legged robot in a vertical plane walks forward."""

import torch
from torch import Tensor

from envs.state import State, box

ID = "Walker2d-v5"
XML = "walker2d_v5.xml"
FIELDS = ("qpos", "qvel")
FRAME_SKIP = 4
DT = 0.008  # s
HORIZON = 1000  # steps
PRESET = {"ppo.log_std": -1.0}

RESET_NOISE = 5e-3  # m, rad, m/s, rad/s
VELOCITY_LIMIT = 10.0  # m/s, rad/s: clipped in the observation
HEALTHY_REWARD = 1.0  # per step
CONTROL_COST = 1e-3  # per squared action
HEALTHY_HEIGHT = 0.8, 2.0  # m
HEALTHY_ANGLE = 1.0  # rad from upright, upper bound


def reset(uniform: Tensor, qpos0: Tensor) -> tuple[Tensor, Tensor]:
    """Standing and at rest, plus uniform noise."""
    noise = box(uniform, RESET_NOISE)
    return qpos0 + noise[..., : len(qpos0)], noise[..., len(qpos0) :]


def observation(x: State) -> Tensor:
    """Positions but for x, and clipped velocities."""
    return torch.cat([x.qpos[..., 1:], x.qvel.clamp(-VELOCITY_LIMIT, VELOCITY_LIMIT)], -1)


def reward(before: State, after: State, action: Tensor) -> Tensor:
    """Forward speed + healthy - control."""
    speed = (after.qpos[..., 0] - before.qpos[..., 0]) / DT
    return speed + HEALTHY_REWARD * ~terminal(after) - CONTROL_COST * action.square().sum(-1)


def terminal(x: State) -> Tensor:
    """Unhealthy: too low, too high, or too much aslant."""
    height, angle = x.qpos[..., 1], x.qpos[..., 2]
    low, high = HEALTHY_HEIGHT
    return ~((height > low) & (height < high) & (angle.abs() < HEALTHY_ANGLE))
