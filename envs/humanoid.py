"""Humanoid-v5: a two-legged robot with arms walks forward; it feels inertias, velocities and forces of its bodies."""

import torch
from torch import Tensor

from envs.state import State, box

ID = "Humanoid-v5"
XML = "humanoid.xml"
FIELDS = ("qpos", "qvel", "cinert", "cvel", "qfrc_actuator", "cfrc_ext", "subtree_com")
FRAME_SKIP = 5
DT = 0.015  # s
HORIZON = 1000  # steps
PRESET = {"ppo.discount": 0.98, "ppo.hidden": [128, 128], "ppo.log_std": -1.0}

WORLD = 0  # body, whose subtree is everything
RESET_NOISE = 0.01  # m, rad, quaternion, m/s, rad/s
FORWARD_REWARD = 1.25  # per m/s
HEALTHY_REWARD = 5.0  # per step
CONTROL_COST = 0.1  # per squared action
CONTACT_COST = 5e-7  # per squared force
CONTACT_COST_LIMIT = 10.0  # per step
HEALTHY_HEIGHT = 1.0, 2.0  # m


def reset(uniform: Tensor, qpos0: Tensor) -> tuple[Tensor, Tensor]:
    """Standing and at rest, plus uniform noise."""
    noise = box(uniform, RESET_NOISE)
    return qpos0 + noise[..., : len(qpos0)], noise[..., len(qpos0) :]


def observation(x: State) -> Tensor:
    """Positions but for x and y, velocities; inertia and velocity of all bodies; joint torques; contact forces."""
    inertia, velocity, contact = (field[..., 1:, :].flatten(-2) for field in (x.cinert, x.cvel, x.cfrc_ext))
    return torch.cat([x.qpos[..., 2:], x.qvel, inertia, velocity, x.qfrc_actuator[..., 6:], contact], -1)


def reward(before: State, after: State, action: Tensor) -> Tensor:
    """Forward speed of the centre of mass + healthy - control - contact."""
    speed = (after.subtree_com[..., WORLD, 0] - before.subtree_com[..., WORLD, 0]) / DT
    control = CONTROL_COST * action.square().sum(-1)
    contact = (CONTACT_COST * after.cfrc_ext.square().sum((-2, -1))).clamp(max=CONTACT_COST_LIMIT)
    return FORWARD_REWARD * speed + HEALTHY_REWARD * ~terminal(after) - control - contact


def terminal(x: State) -> Tensor:
    """Unhealthy: torso too low or too high."""
    height, (low, high) = x.qpos[..., 2], HEALTHY_HEIGHT
    return ~((height > low) & (height < high))
