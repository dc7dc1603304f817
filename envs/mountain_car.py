"""MountainCar-v0: a car too weak for the hill swings itself up to the flag (Moore 1990)."""

import torch
from torch import Tensor

from envs.state import State

ID = "MountainCar-v0"
ACTIONS = 3  # pushes to the left, none, to the right
COORDINATES = 1  # place along the road
FIELDS = ("qpos", "qvel")
DT = 1.0  # s, chosen here: speeds are in places a step
HORIZON = 200  # steps
PRESET = {"success_ends": True}

START = -0.6, -0.4
ROAD = -1.2, 0.6
FLAG = 0.5
MAX_SPEED = 0.07  # a step
PUSH = 0.001  # speed gained in a step
GRAVITY = 0.0025


def reset(uniform: Tensor, qpos0: Tensor) -> tuple[Tensor, Tensor]:
    """At rest in the valley."""
    low, high = START
    return low + (high - low) * uniform[..., :1], torch.zeros_like(uniform[..., 1:])


def advance(x: State, action: Tensor) -> tuple[Tensor, Tensor]:
    """One step; the left end of the road is a wall."""
    push = (action[..., None] - 1) * PUSH
    speed = (x.qvel + (push + (3 * x.qpos).cos() * -GRAVITY)).clamp(-MAX_SPEED, MAX_SPEED)
    place = (x.qpos + speed).clamp(*ROAD)
    return place, torch.where((place == ROAD[0]) & (speed < 0), 0.0, speed)


def observation(x: State) -> Tensor:
    """Place and speed."""
    return torch.cat([x.qpos, x.qvel], -1)


def reward(before: State, after: State, action: Tensor) -> Tensor:
    """-1 a step."""
    return -torch.ones_like(after.qpos[..., 0])


def terminal(x: State) -> Tensor:
    """The flag is reached."""
    return (x.qpos[..., 0] >= FLAG) & (x.qvel[..., 0] >= 0)
