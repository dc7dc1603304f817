"""CustomAnt-v0: an ant with weak motors crawls forward; nothing is paid for being alive, and nothing ends an episode.

The task from which Fu et al. 2018 (arXiv 1710.11248, section 7.2) transfer rewards; DisabledAnt-v0 has two weak, short
legs. Facts of the task: the authors' code (justinjfu/inverse_rl), whose scripts stop after 500 steps. Legs and order of
motors are those of Gymnasium's Ant-v5.
"""

import torch
from torch import Tensor

from envs.state import State, box, normal

ID = "CustomAnt-v0"
XML = "custom_ant.xml"
FIELDS = ("qpos", "qvel", "cfrc_ext")
FRAME_SKIP = 5
DT = 0.05  # s
HORIZON = 500  # steps
PRESET = {"ppo.discount": 0.98, "ppo.log_std": -1.0}

RESET_NOISE = 0.1  # m, rad, quaternion; standard deviation in m/s, rad/s
CONTACT_LIMIT = 1.0  # N, N m: forces are clipped, in the observation and in their cost
CONTROL_COST = 1e-2  # per squared action
CONTACT_COST = 5e-4  # per squared clipped force
LYING_HEIGHT = 0.2  # m, of the torso
LYING_COST = 1.0  # per step below it


def reset(uniform: Tensor, qpos0: Tensor) -> tuple[Tensor, Tensor]:
    """Uniform noise on positions, normal noise on velocities."""
    nq = len(qpos0)
    return qpos0 + box(uniform[..., :nq], RESET_NOISE), normal(uniform[..., nq:], RESET_NOISE)


def observation(x: State) -> Tensor:
    """Positions but for x and y, velocities, and contact forces on all bodies."""
    return torch.cat([x.qpos[..., 2:], x.qvel, _forces(x).flatten(-2)], -1)


def reward(before: State, after: State, action: Tensor) -> Tensor:
    """Forward speed before the step - control - contact - lying."""
    control = CONTROL_COST * action.square().sum(-1)
    contact = CONTACT_COST * _forces(after).square().sum((-2, -1))
    return before.qvel[..., 0] - control - contact - LYING_COST * (after.qpos[..., 2] < LYING_HEIGHT)


def terminal(x: State) -> Tensor:
    """Never."""
    return torch.zeros_like(x.qpos[..., 0], dtype=torch.bool)


def _forces(x: State) -> Tensor:
    return x.cfrc_ext.clamp(-CONTACT_LIMIT, CONTACT_LIMIT)
