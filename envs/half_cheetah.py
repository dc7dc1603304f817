"""HalfCheetah-v5: a two-legged cheetah in a vertical plane runs forward."""

import torch
from torch import Tensor

from envs.state import State, box, normal

ID = "HalfCheetah-v5"
XML = "half_cheetah.xml"
FIELDS = ("qpos", "qvel")
FRAME_SKIP = 5
DT = 0.05  # s
HORIZON = 1000  # steps; nothing else ends an episode
PRESET = {"ppo.log_std": -1.0}  # with a first std of 1 learners stay at 2,000

RESET_NOISE = 0.1  # m, rad; standard deviation in m/s, rad/s
CONTROL_COST = 0.1  # per squared action


def reset(uniform: Tensor, qpos0: Tensor) -> tuple[Tensor, Tensor]:
    """Uniform noise on positions, normal noise on velocities."""
    nq = len(qpos0)
    return qpos0 + box(uniform[..., :nq], RESET_NOISE), normal(uniform[..., nq:], RESET_NOISE)


def observation(x: State) -> Tensor:
    """Positions but for x, and velocities."""
    return torch.cat([x.qpos[..., 1:], x.qvel], -1)


def reward(before: State, after: State, action: Tensor) -> Tensor:
    """Forward speed - control."""
    speed = (after.qpos[..., 0] - before.qpos[..., 0]) / DT
    return speed - CONTROL_COST * action.square().sum(-1)


def terminal(x: State) -> Tensor:
    """Never."""
    return torch.zeros_like(x.qpos[..., 0], dtype=torch.bool)
