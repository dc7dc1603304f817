"""Acrobot-v1: two links hang from a pivot; a motor between them swings the free end up (Sutton 1996).

Ho & Ermon 2016 ran Acrobot-v0: the same motion, seen as two angles instead of their cosines and sines, with a time
limit of 200 steps instead of 500.
"""

from math import pi

import torch
from torch import Tensor

from envs.state import State, box

ID = "Acrobot-v1"
ACTIONS = 3  # torques of -1, 0 and 1 N m
COORDINATES = 2  # rad: the first link from hanging down, the second from the first
FIELDS = ("qpos", "qvel")
DT = 0.2  # s
HORIZON = 500  # steps
PRESET = {"success_ends": True}

RESET_NOISE = 0.1  # rad, rad/s
MAX_SPIN = 4 * pi, 9 * pi  # rad/s
GRAVITY = 9.8  # m/s^2
HEIGHT = 1.0  # m above the pivot, to reach
# Both links: 1 m and 1 kg, with the centre of mass in the middle and a moment of inertia of 1 kg m^2.
CENTRE = 0.5  # m
INERTIA = 1.0  # kg m^2


def reset(uniform: Tensor, qpos0: Tensor) -> tuple[Tensor, Tensor]:
    """Hanging and at rest, plus uniform noise."""
    noise = box(uniform, RESET_NOISE)
    return qpos0 + noise[..., :2], noise[..., 2:]


def advance(x: State, action: Tensor) -> tuple[Tensor, Tensor]:
    """One step of the fourth-order Runge-Kutta method; angles are wrapped to [-pi, pi], speeds are clipped."""
    torque, y = action - 1, torch.cat([x.qpos, x.qvel], -1)
    k1 = _slope(y, torque)
    k2 = _slope(y + DT / 2 * k1, torque)
    k3 = _slope(y + DT / 2 * k2, torque)
    k4 = _slope(y + DT * k3, torque)
    y = y + DT / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
    angles, spin = y[..., :2], y[..., 2:]
    above, below = (((s * angles - pi) / (2 * pi)).ceil().clamp(min=0) for s in (1, -1))  # turns beyond
    clipped = [w.clamp(-limit, limit) for w, limit in zip(spin.unbind(-1), MAX_SPIN, strict=True)]
    return angles - 2 * pi * above + 2 * pi * below, torch.stack(clipped, -1)


def _slope(y: Tensor, torque: Tensor) -> Tensor:
    """Time derivative of angles and speeds, by Sutton & Barto's book."""
    first, second, spin1, spin2 = y.unbind(-1)
    cos, sin = second.cos(), second.sin()
    d1 = CENTRE**2 + (1 + CENTRE**2 + 2 * CENTRE * cos) + INERTIA + INERTIA
    d2 = (CENTRE**2 + CENTRE * cos) + INERTIA
    phi2 = CENTRE * GRAVITY * (first + second - pi / 2).cos()
    phi1 = -CENTRE * spin2**2 * sin - 2 * CENTRE * spin2 * spin1 * sin
    phi1 = phi1 + (CENTRE + 1) * GRAVITY * (first - pi / 2).cos() + phi2
    of_second = torque + d2 / d1 * phi1 - CENTRE * spin1**2 * sin - phi2
    of_second = of_second / (CENTRE**2 + INERTIA - d2**2 / d1)
    of_first = -(d2 * of_second + phi1) / d1
    return torch.stack([spin1, spin2, of_first, of_second], -1)


def observation(x: State) -> Tensor:
    """Cosine and sine of each angle, and both speeds."""
    first, second = x.qpos.unbind(-1)
    return torch.cat([torch.stack([first.cos(), first.sin(), second.cos(), second.sin()], -1), x.qvel], -1)


def reward(before: State, after: State, action: Tensor) -> Tensor:
    """-1 a step but the last."""
    return -(~terminal(after)).to(after.qpos.dtype)


def terminal(x: State) -> Tensor:
    """The free end is a metre above the pivot."""
    first, second = x.qpos.unbind(-1)
    return -first.cos() - (second + first).cos() > HEIGHT
