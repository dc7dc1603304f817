"""CartPole-v1: keep a pole upright on a cart that is pushed to the left or to the right.

Gymnasium's environment of that name (Barto, Sutton & Anderson 1983), which Ho & Ermon 2016 ran as CartPole-v0: the same
task with a time limit of 200 steps instead of 500.
"""

from math import tau

import torch
from torch import Tensor

from envs.state import State, box

ID = "CartPole-v1"
ACTIONS = 2  # pushes to the left and to the right
COORDINATES = 2  # x of the cart in m, angle of the pole in rad
FIELDS = ("qpos", "qvel")
DT = 0.02  # s
HORIZON = 500  # steps

RESET_NOISE = 0.05  # m, rad, m/s, rad/s
GRAVITY = 9.8  # m/s^2
POLE_MASS = 0.1  # kg
TOTAL_MASS = 1.1  # kg
HALF_LENGTH = 0.5  # m, of the pole
FORCE = 10.0  # N
TRACK = 2.4  # m from the middle
FALLEN_ANGLE = 12 * tau / 360  # rad from upright


def reset(uniform: Tensor, qpos0: Tensor) -> tuple[Tensor, Tensor]:
    """Upright and at rest, plus uniform noise."""
    noise = box(uniform, RESET_NOISE)
    return qpos0 + noise[..., :2], noise[..., 2:]


def advance(x: State, action: Tensor) -> tuple[Tensor, Tensor]:
    """One step of Euler's method."""
    angle, spin = x.qpos[..., 1], x.qvel[..., 1]
    sin, cos, moment = angle.sin(), angle.cos(), POLE_MASS * HALF_LENGTH
    force = FORCE * (2 * action - 1)
    pushed = (force + moment * spin.square() * sin) / TOTAL_MASS
    of_pole = (GRAVITY * sin - cos * pushed) / (HALF_LENGTH * (4.0 / 3.0 - POLE_MASS * cos.square() / TOTAL_MASS))
    of_cart = pushed - moment * of_pole * cos / TOTAL_MASS
    return x.qpos + DT * x.qvel, x.qvel + DT * torch.stack([of_cart, of_pole], -1)


def observation(x: State) -> Tensor:
    """Position and speed of the cart, angle and speed of the pole."""
    return torch.stack([x.qpos[..., 0], x.qvel[..., 0], x.qpos[..., 1], x.qvel[..., 1]], -1)


def reward(before: State, after: State, action: Tensor) -> Tensor:
    """1 a step."""
    return torch.ones_like(after.qpos[..., 0])


def terminal(x: State) -> Tensor:
    """The pole has fallen, or the cart has left the track."""
    return (x.qpos[..., 0].abs() > TRACK) | (x.qpos[..., 1].abs() > FALLEN_ANGLE)
