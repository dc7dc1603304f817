"""Ant-v5: a four-legged robot walks forward; it feels the contact forces on its bodies."""

import torch
from torch import Tensor

from envs.state import State, box, normal

ID = "Ant-v5"
XML = "ant.xml"
FIELDS = ("qpos", "qvel", "xpos", "cfrc_ext")
FRAME_SKIP = 5
DT = 0.05  # s
HORIZON = 1000  # steps
PRESET = {"ppo.discount": 0.98, "ppo.log_std": -1.0}

TORSO = 1  # body
RESET_NOISE = 0.1  # m, rad, quaternion; standard deviation in m/s, rad/s
CONTACT_LIMIT = 1.0  # N, N m: forces are clipped, in the observation and in their cost
HEALTHY_REWARD = 1.0  # per step
CONTROL_COST = 0.5  # per squared action
CONTACT_COST = 5e-4  # per squared clipped force
HEALTHY_HEIGHT = 0.2, 1.0  # m


def reset(uniform: Tensor, qpos0: Tensor) -> tuple[Tensor, Tensor]:
    """Uniform noise on positions, normal noise on velocities."""
    nq = len(qpos0)
    return qpos0 + box(uniform[..., :nq], RESET_NOISE), normal(uniform[..., nq:], RESET_NOISE)


def observation(x: State) -> Tensor:
    """Positions but for x and y, velocities, and contact forces on all bodies but the world."""
    return torch.cat([x.qpos[..., 2:], x.qvel, _forces(x)[..., 1:, :].flatten(-2)], -1)


def reward(before: State, after: State, action: Tensor) -> Tensor:
    """Forward speed of the torso + healthy - control - contact."""
    speed = (after.xpos[..., TORSO, 0] - before.xpos[..., TORSO, 0]) / DT
    control = CONTROL_COST * action.square().sum(-1)
    contact = CONTACT_COST * _forces(after).square().sum((-2, -1))
    return speed + HEALTHY_REWARD * ~terminal(after) - control - contact


def terminal(x: State) -> Tensor:
    """Unhealthy: torso too low or too high, or a state that is not finite."""
    height, (low, high) = x.qpos[..., 2], HEALTHY_HEIGHT
    finite = torch.cat([x.qpos, x.qvel], -1).isfinite().all(-1)
    return ~(finite & (height >= low) & (height <= high))


def _forces(x: State) -> Tensor:
    return x.cfrc_ext.clamp(-CONTACT_LIMIT, CONTACT_LIMIT)
