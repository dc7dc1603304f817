"""Densities in the plane, normalised exactly (two moons: by Gauss-Legendre quadrature), each with a sampler.

All lie around 0 with a scale near 1, so that no method needs to standardise them.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.special import ndtr


@dataclass(frozen=True)
class Target:
    """`log_density`: `[..., 2] -> [...]` in float64, nats. `sample(n, generator)`: `[n, 2]` in float64."""

    log_density: Callable[[Tensor], Tensor]
    sample: Callable[[int, torch.Generator], Tensor]


def gaussians(means: Tensor, std: float, weights: Tensor) -> Target:
    """Return a mixture of round Gaussians: means `[K, 2]`, weights `[K]`."""

    def log_density(x: Tensor) -> Tensor:
        squares = (x[..., None, :] - means).square().sum(-1) / std**2
        return (weights.log() - squares / 2).logsumexp(-1) - math.log(2 * math.pi * std**2)

    def sample(n: int, generator: torch.Generator) -> Tensor:
        component = torch.multinomial(weights, n, replacement=True, generator=generator)
        return means[component] + std * _normal(n, generator)

    return Target(log_density, sample)


def on_ring() -> Tensor:
    """Return eight points on a circle of radius 2, `[8, 2]`."""
    angle = 2 * math.pi * torch.arange(8, dtype=torch.float64) / 8
    return 2 * torch.stack([angle.cos(), angle.sin()], -1)


def ring() -> Target:
    """Eight Gaussians on a circle, six standard deviations apart."""
    return gaussians(on_ring(), 0.25, torch.full((8,), 1 / 8, dtype=torch.float64))


def two_modes() -> Target:
    """Two modes of unequal mass, for the study of covering and seeking: 60 % on the left, 40 % on the right."""
    return gaussians(
        torch.tensor([[-1.75, 0.0], [1.75, 0.0]], dtype=torch.float64), 0.5, torch.tensor([0.6, 0.4]).double()
    )


def moons() -> Target:
    """Two interlocking half circles, blurred."""
    std, nodes = 0.15, 40
    place, weight = np.polynomial.legendre.leggauss(nodes)
    arc = _moon(torch.from_numpy((place + 1) / 2))  # [2, nodes, 2]
    smooth = gaussians(arc.reshape(-1, 2), std, torch.from_numpy(weight / 4).repeat(2))

    def sample(n: int, generator: torch.Generator) -> Tensor:
        both = _moon(torch.rand(n, generator=generator, dtype=torch.float64))
        which = torch.randint(2, (n,), generator=generator)
        return both[which, torch.arange(n)] + std * _normal(n, generator)

    return Target(smooth.log_density, sample)


def _moon(share: Tensor) -> Tensor:
    """Return the points `[2, N, 2]` of both half circles at a share `[N]` of their length."""
    angle = math.pi * share
    upper = torch.stack([angle.cos() - 0.5, angle.sin() - 0.25], -1)
    return 1.25 * torch.stack([upper, -upper])


def banana() -> Target:
    """A normal x, and y normal around a parabola in x."""
    std, bend = 0.4, 0.6

    def log_density(x: Tensor) -> Tensor:
        return _log_normal(x[..., 0], 1.0) + _log_normal(x[..., 1] - bend * (x[..., 0].square() - 1), std)

    def sample(n: int, generator: torch.Generator) -> Tensor:
        x, noise = _normal(n, generator).unbind(-1)
        return torch.stack([x, bend * (x.square() - 1) + std * noise], -1)

    return Target(log_density, sample)


def checkerboard() -> Target:
    """The dark squares of a board of 4 x 4, blurred: every square is a product of differences of normal integrals."""
    std, side = 0.1, 1.0
    row, column = torch.meshgrid(torch.arange(4), torch.arange(4), indexing="ij")
    corner = torch.stack([column, row], -1)[(row + column) % 2 == 0].double() * side - 2 * side  # [8, 2], lower left

    def log_density(x: Tensor) -> Tensor:
        from_left = (x[..., None, :] - corner) / std
        inside = ndtr(from_left) - ndtr(from_left - side / std)
        # far from every square the difference is zero; a floor keeps the logarithm finite
        return (inside.prod(-1).sum(-1) / (8 * side**2)).clamp(min=1e-300).log()

    def sample(n: int, generator: torch.Generator) -> Tensor:
        which = torch.randint(8, (n,), generator=generator)
        inside = torch.rand(n, 2, generator=generator, dtype=torch.float64) * side
        return corner[which] + inside + std * _normal(n, generator)

    return Target(log_density, sample)


def funnel() -> Target:
    """Neal's funnel (2003), tamed: a normal x, and y normal with std exp(x)/2."""
    std = 0.7

    def log_density(x: Tensor) -> Tensor:
        spread = x[..., 0].exp() / 2
        return _log_normal(x[..., 0], std) + _log_normal(x[..., 1] / spread, 1.0) - spread.log()

    def sample(n: int, generator: torch.Generator) -> Tensor:
        x, noise = _normal(n, generator).unbind(-1)
        return torch.stack([std * x, (std * x).exp() / 2 * noise], -1)

    return Target(log_density, sample)


def _normal(n: int, generator: torch.Generator) -> Tensor:
    return torch.randn(n, 2, generator=generator, dtype=torch.float64)


def _log_normal(x: Tensor, std: float) -> Tensor:
    return -(x / std).square() / 2 - math.log(std * math.sqrt(2 * math.pi))


TARGETS = {make.__name__: make() for make in (ring, moons, banana, checkerboard, funnel, two_modes)}
