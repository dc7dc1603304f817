"""Swimmer-v5: a three-link worm in a viscous fluid swims forward."""

import torch
from torch import Tensor

from envs.state import State, box

ID = "Swimmer-v5"
XML = "swimmer.xml"
FIELDS = ("qpos", "qvel")
FRAME_SKIP = 4
DT = 0.04  # s
HORIZON = 1000  # steps; nothing else ends an episode
PRESET = {"ppo.discount": 0.9999, "ppo.gae": 0.98, "ppo.steps": 1024}  # swimming pays late

RESET_NOISE = 0.1  # m, rad, m/s, rad/s
CONTROL_COST = 1e-4  # per squared action


def reset(uniform: Tensor, qpos0: Tensor) -> tuple[Tensor, Tensor]:
    """Straight and at rest, plus uniform noise."""
    noise = box(uniform, RESET_NOISE)
    return qpos0 + noise[..., : len(qpos0)], noise[..., len(qpos0) :]


def observation(x: State) -> Tensor:
    """Positions but for x and y, and velocities."""
    return torch.cat([x.qpos[..., 2:], x.qvel], -1)


def reward(before: State, after: State, action: Tensor) -> Tensor:
    """Forward speed - control."""
    speed = (after.qpos[..., 0] - before.qpos[..., 0]) / DT
    return speed - CONTROL_COST * action.square().sum(-1)


def terminal(x: State) -> Tensor:
    """Never."""
    return torch.zeros_like(x.qpos[..., 0], dtype=torch.bool)
