"""Reacher-v5: a two-jointed arm in a plane moves its fingertip to a target."""

from math import tau

import torch
from torch import Tensor

from envs.state import State, box

ID = "Reacher-v5"
XML = "reacher.xml"
FIELDS = ("qpos", "qvel", "xpos")
FRAME_SKIP = 2
DT = 0.02  # s
HORIZON = 50  # steps; nothing else ends an episode

FINGERTIP, TARGET = 3, 4  # bodies
RESET_ANGLE = 0.1  # rad
RESET_SPEED = 0.005  # rad/s
TARGET_RADIUS = 0.2  # m


def reset(uniform: Tensor, qpos0: Tensor) -> tuple[Tensor, Tensor]:
    """Arm nearly straight and at rest; target uniform on a disc (Gymnasium draws it by rejection)."""
    radius, angle = TARGET_RADIUS * uniform[..., 2].sqrt(), tau * uniform[..., 3]
    target = torch.stack([radius * angle.cos(), radius * angle.sin()], -1)
    speed = box(uniform[..., 4:6], RESET_SPEED)
    qpos = torch.cat([qpos0[:2] + box(uniform[..., :2], RESET_ANGLE), target], -1)
    return qpos, torch.cat([speed, torch.zeros_like(speed)], -1)


def observation(x: State) -> Tensor:
    """Cosines and sines of the joints, target, joint velocities, and the way left to go."""
    joints, target = x.qpos[..., :2], x.qpos[..., 2:]
    return torch.cat([joints.cos(), joints.sin(), target, x.qvel[..., :2], _gap(x)[..., :2]], -1)


def reward(before: State, after: State, action: Tensor) -> Tensor:
    """- distance - control."""
    return -_gap(after).norm(dim=-1) - action.square().sum(-1)


def terminal(x: State) -> Tensor:
    """Never."""
    return torch.zeros_like(x.qpos[..., 0], dtype=torch.bool)


def _gap(x: State) -> Tensor:
    return x.xpos[..., FINGERTIP, :] - x.xpos[..., TARGET, :]
