"""Hopper-v5: a one-legged robot in a vertical plane hops forward."""

import torch
from torch import Tensor

from envs.state import State, box

ID = "Hopper-v5"
XML = "hopper.xml"
FIELDS = ("qpos", "qvel")
FRAME_SKIP = 4
DT = 0.008  # s
HORIZON = 1000  # steps

RESET_NOISE = 5e-3  # m, rad, m/s, rad/s
VELOCITY_LIMIT = 10.0  # m/s, rad/s: clipped in the observation
HEALTHY_REWARD = 1.0  # per step
CONTROL_COST = 1e-3  # per squared action
HEALTHY_HEIGHT = 0.7  # m, lower bound
HEALTHY_ANGLE = 0.2  # rad from upright, upper bound
HEALTHY_STATE = 100.0  # upper bound of every angle and velocity


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
    """Unhealthy: too low, too much aslant, or out of all bounds."""
    height, angle = x.qpos[..., 1], x.qpos[..., 2]
    bounded = (torch.cat([x.qpos[..., 2:], x.qvel], -1).abs() < HEALTHY_STATE).all(-1)
    return ~(bounded & (height > HEALTHY_HEIGHT) & (angle.abs() < HEALTHY_ANGLE))
