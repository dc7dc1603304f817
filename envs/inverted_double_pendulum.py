"""InvertedDoublePendulum-v5: balance two poles, one on the other, on a cart."""

import torch
from torch import Tensor

from envs.state import State, box, normal

ID = "InvertedDoublePendulum-v5"
XML = "inverted_double_pendulum.xml"
FIELDS = ("qpos", "qvel", "site_xpos", "qfrc_constraint")
FRAME_SKIP = 5
DT = 0.05  # s
HORIZON = 1000  # steps

RESET_NOISE = 0.1  # m, rad; standard deviation in m/s, rad/s
LIMIT = 10.0  # m/s, rad/s, N: clipped in the observation
FALLEN_HEIGHT = 1.0  # m, of the tip
UPRIGHT_HEIGHT = 2.0  # m, of the tip: the penalty's origin
HEALTHY_REWARD = 10.0  # per step
OFFSET_COST = 0.01  # per m^2 of the tip, sideways
SPEED_COSTS = 1e-3, 5e-3  # per (rad/s)^2 of the lower and upper joint


def reset(uniform: Tensor, qpos0: Tensor) -> tuple[Tensor, Tensor]:
    """Uniform noise on positions, normal noise on velocities."""
    nq = len(qpos0)
    return qpos0 + box(uniform[..., :nq], RESET_NOISE), normal(uniform[..., nq:], RESET_NOISE)


def observation(x: State) -> Tensor:
    """Cart position, sines and cosines of the joints, velocities, and the force that keeps the cart on its rail."""
    joints = x.qpos[..., 1:]
    clipped = torch.cat([x.qvel, x.qfrc_constraint[..., :1]], -1).clamp(-LIMIT, LIMIT)
    return torch.cat([x.qpos[..., :1], joints.sin(), joints.cos(), clipped], -1)


def reward(before: State, after: State, action: Tensor) -> Tensor:
    """Alive - distance of the tip from upright - joint speeds."""
    offset, height = after.site_xpos[..., 0, 0], after.site_xpos[..., 0, 2]
    lower, upper = after.qvel[..., 1], after.qvel[..., 2]
    distance = OFFSET_COST * offset**2 + (height - UPRIGHT_HEIGHT) ** 2
    speed = SPEED_COSTS[0] * lower**2 + SPEED_COSTS[1] * upper**2
    return HEALTHY_REWARD * ~terminal(after) - distance - speed


def terminal(x: State) -> Tensor:
    """The tip is too low."""
    return x.site_xpos[..., 0, 2] <= FALLEN_HEIGHT
