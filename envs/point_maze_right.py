"""PointMazeRight-v0: a point moves to a goal beyond a barrier on the right, and so passes on the left.

The task from which Fu et al. 2018 (arXiv 1710.11248, section 7.2) transfer rewards; in PointMazeLeft-v0 the barrier is
on the other side. Facts of the task: the authors' code (justinjfu/inverse_rl). The velocity is not observed.
"""

import torch
from torch import Tensor

from envs.state import State, box

ID = "PointMazeRight-v0"
XML = "point_maze_right.xml"
FIELDS = ("qpos", "qvel", "xpos")
FRAME_SKIP = 5
DT = 0.05  # s
HORIZON = 100  # steps

PARTICLE = 1  # body
GOAL = 0.3, 0.5, 0.0  # m
RESET_NOISE = 0.01  # m/s
CONTROL_COST = 1e-3  # per squared action


def reset(uniform: Tensor, qpos0: Tensor) -> tuple[Tensor, Tensor]:
    """Before the barrier, below the goal, with uniform noise on the velocity."""
    nq = len(qpos0)
    return qpos0 + 0 * uniform[..., :nq], box(uniform[..., nq:], RESET_NOISE)


def observation(x: State) -> Tensor:
    """Where the point is: x, y, and z, which is 0."""
    return x.xpos[..., PARTICLE, :].clone()


def reward(before: State, after: State, action: Tensor) -> Tensor:
    """Closeness to the goal before the step - control."""
    squares = [(x - goal).square() for x, goal in zip(observation(before).unbind(-1), GOAL, strict=True)]
    return -torch.stack(squares).sum(0).sqrt() - CONTROL_COST * action.square().sum(-1)


def terminal(x: State) -> Tensor:
    """Never."""
    return torch.zeros_like(x.qpos[..., 0], dtype=torch.bool)
