"""A point mass with a quadratic cost: what guided cost learning estimates, in closed form.

Dynamics are linear and deterministic, z' = A z + B u, of z = (position, velocity, 1) in the plane; a trajectory has a
known start, so it is its actions. Its cost is c = sum_t (z' S z + u' R u) / 2. Then p = exp(-c) / Z is a policy,
u ~ N(-K z, Q_uu^-1), whose gains and precisions one backward Riccati recursion finds, and log Z with them: the
maximum-entropy LQR. exp(-c) is a Gaussian of 2 T actions, so multiplying c by a number leaves the mean alone and
divides the covariance by it.

Shapes: `[...]` costs or starts, T steps, n trajectories; z has 5 numbers, u has 2. In float64.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

STEP = 0.05  # s: the paper's 20 Hz
STATES, ACTIONS = 5, 2

_plane = torch.eye(2, dtype=torch.float64)
DYNAMICS = torch.eye(STATES, dtype=torch.float64)
DYNAMICS[:2, 2:4] = STEP * _plane
INPUT = torch.cat([STEP**2 / 2 * _plane, STEP * _plane, torch.zeros(1, 2, dtype=torch.float64)])


class Moments(NamedTuple):
    """What a quadratic cost sees of trajectories: sum_t z z' `[..., n, 5, 5]` and sum_t u u' `[..., n, 2, 2]`."""

    state: Tensor
    action: Tensor


class Cost(NamedTuple):
    """S `[..., 5, 5]` and R `[..., 2, 2]`, symmetric."""

    state: Tensor
    action: Tensor

    def __call__(self, tau: Moments) -> Tensor:
        """Return c `[..., n]`."""
        on_state = torch.einsum("...ij,...nij->...n", self.state, tau.state)
        return (on_state + torch.einsum("...ij,...nij->...n", self.action, tau.action)) / 2

    def times(self, factor: Tensor | float) -> "Cost":
        """Return the cost times a number, or numbers that broadcast to matrices."""
        return Cost(factor * self.state, factor * self.action)


class Policy(NamedTuple):
    """K `[..., T, 2, 5]`, Q_uu `[..., T, 2, 2]`, and the soft cost-to-go z' V z / 2 + v of the first step."""

    gain: Tensor
    precision: Tensor
    value: Tensor  # V [..., 5, 5]
    constant: Tensor  # v [...]

    def log_z(self, start: Tensor) -> Tensor:
        """Return log Z `[...]` of trajectories from `start` `[..., 5]`."""
        return -torch.einsum("...i,...ij,...j->...", start, self.value, start) / 2 - self.constant

    def of(self, index: int) -> "Policy":
        """Return the policies of one cost, along the first axis of `[...]`."""
        return Policy(*(each[index] for each in self))


def solve(cost: Cost, horizon: int) -> Policy:
    """Return the policy whose trajectories have the density exp(-c) / Z."""
    value = torch.zeros_like(cost.state)
    gains, precisions = [], []
    for _ in range(horizon):
        ahead = value @ DYNAMICS
        cross, precision = INPUT.mT @ ahead, cost.action + INPUT.mT @ value @ INPUT
        gain = torch.linalg.solve(precision, cross)
        value = cost.state + DYNAMICS.mT @ ahead - cross.mT @ gain
        value = (value + value.mT) / 2
        gains.append(gain)
        precisions.append(precision)
    gain, precision = torch.stack(gains[::-1], -3), torch.stack(precisions[::-1], -3)
    constant = torch.logdet(precision).sum(-1) / 2 - horizon * ACTIONS / 2 * math.log(2 * math.pi)
    return Policy(gain, precision, value, constant)


def sample(policy: Policy, start: Tensor, noise: Tensor) -> tuple[Moments, Tensor]:
    """Return trajectories from `start` `[..., 5]` by `noise` `[..., n, T, 2]`: moments, and actions like `noise`."""
    spread = torch.linalg.inv(torch.linalg.cholesky(policy.precision))  # spread' spread = Q_uu^-1
    batch = torch.broadcast_shapes(policy.constant.shape, start.shape[:-1], noise.shape[:-3])
    z = start[..., None, :].expand(*batch, noise.shape[-3], STATES)
    states, actions = [], []
    for t in range(noise.shape[-2]):
        u = noise[..., t, :] @ spread[..., t, :, :] - z @ policy.gain[..., t, :, :].mT
        states.append(z)
        actions.append(u)
        z = z @ DYNAMICS.mT + u @ INPUT.mT
    z, u = torch.stack(states, -2), torch.stack(actions, -2)
    return Moments(z.mT @ z, u.mT @ u), u


def second_moments(policy: Policy, start: Tensor) -> Tensor:
    """Return E[z z'] `[..., T + 1, 5, 5]` of every step and the one after it."""
    closed = DYNAMICS - INPUT @ policy.gain
    push = INPUT @ torch.linalg.inv(policy.precision) @ INPUT.mT
    found = [start[..., :, None] * start[..., None, :] + torch.zeros_like(policy.value)]
    for step, noise in zip(closed.unbind(-3), push.unbind(-3), strict=True):
        found.append(step @ found[-1] @ step.mT + noise)
    return torch.stack(found, -3)


def expected(policy: Policy, start: Tensor) -> Moments:
    """Return the expected moments of a trajectory, n = 1."""
    state = second_moments(policy, start)[..., :-1, :, :]
    action = policy.gain @ state @ policy.gain.mT + torch.linalg.inv(policy.precision)
    return Moments(state.sum(-3)[..., None, :, :], action.sum(-3)[..., None, :, :])


def divergence(p: Policy, q: Policy, start: Tensor) -> Tensor:
    """Return KL(p || q) of trajectories from `start`, `[...]`, nats: the sum of every step's expected KL."""
    seen = second_moments(p, start)[..., :-1, :, :]
    ratio, apart = torch.linalg.solve(p.precision, q.precision), q.gain - p.gain
    spread = ratio.diagonal(dim1=-2, dim2=-1).sum(-1) - ACTIONS - torch.logdet(ratio)
    miss = (apart @ seen @ apart.mT * q.precision).sum((-2, -1))
    return (spread + miss).sum(-1) / 2
