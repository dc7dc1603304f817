"""What learners in the plane are worth: divergences by quadrature, and estimates of log Z from samples."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from algorithms.core.partition import effective_size
from algorithms.core.population import Generators
from studies.core.discriminator import Points, log_z_generator, log_z_mixture, solve_log_z
from studies.core.energies import Grid
from studies.core.training import Learners, log_densities

GRID = Grid(161)
PIECE = 4096  # points at a time: what a cache holds


class Measures:
    """Every metric that the learners have, of points `[P, N, 2]` of the data; a call returns `[P]` of each.

    Of the energy: log_z, kl_energy = KL(p || p_theta), held_out_energy = E_p[log p_theta], left_energy = the mass of
    p_theta left of 0. Of the generator: kl_generator, held_out_generator, left_generator. Of both: the estimates of
    log Z, and ess, the sampler's effective sample size as a share of its points.
    """

    def __init__(self, learners: Learners, held_out: Tensor) -> None:
        self.learners, self.held_out = learners, held_out
        self.noise = Generators(learners.data.generators.seeds, "measures")  # so that looking changes nothing
        self.log_p = log_densities(learners.targets, GRID.points)

    @torch.no_grad()
    def __call__(self) -> dict[str, Tensor]:
        """Measure the learners as they are."""
        found: dict[str, Tensor] = {}
        if self.learners.has_energy:
            found |= self.of_energy()
        if self.learners.has_generator:
            found |= self.of_generator()
        if self.learners.has_energy and self.learners.has_generator:
            found |= self.of_both()
        return found

    def of_energy(self) -> dict[str, Tensor]:
        """Return the energy's metrics."""
        log_theta, log_z = energy_log_densities(self.learners, GRID.points)
        return {
            "log_z": log_z,
            "kl_energy": GRID.mean(self.log_p, self.log_p - log_theta),
            "held_out_energy": -self.learners.energy(self.held_out).double().mean(-1) - log_z,
            "left_energy": left(log_theta),
        }

    def of_generator(self) -> dict[str, Tensor]:
        """Return the generator's metrics."""
        log_q = generator_log_densities(self.learners, GRID.points)
        return {
            "kl_generator": GRID.mean(self.log_p, self.log_p - log_q),
            "held_out_generator": self.learners.generator.log_density(self.held_out).double().mean(-1),
            "left_generator": left(log_q),
        }

    def of_both(self) -> dict[str, Tensor]:
        """Return the estimates of log Z, and the effective sample size."""
        energy, sampler, x_p = self.learners.energy, self.learners.sampler, self.held_out
        x_q, log_q = sampler.draw(x_p.shape[1], self.noise)
        p = Points(energy(x_p).double(), sampler.log_density(x_p).double())
        q = Points(energy(x_q).double(), log_q.double())
        log_p = log_densities(self.learners.targets, torch.cat([x_p, x_q], 1).double())
        log_weight = -q.energy - q.log_q
        ess = effective_size(log_weight) / log_weight.shape[-1]
        return estimates(p, q, *log_p.chunk(2, -1)) | {"ess": ess}


def estimates(p: Points, q: Points, log_p_p: Tensor, log_p_q: Tensor) -> dict[str, Tensor]:
    """Return estimates of log Z, `[...]`; the mixture's needs the data's log density, which no method has."""
    mixture = (torch.logaddexp(log_p, x.log_q) - math.log(2) for log_p, x in ((log_p_p, p), (log_p_q, q)))
    return {
        "b": solve_log_z(p, q),
        "log_z_generator": log_z_generator(q),
        "log_z_mixture": log_z_mixture(p, q, *mixture),
        "log_z_bound": -(q.energy + q.log_q).mean(-1),  # from below: all that is left without weights
    }


def energy_log_densities(learners: Learners, x: Tensor) -> tuple[Tensor, Tensor]:
    """Return log p_theta, `[P, N]` in float64, of points `[N, 2]`, and log Z `[P]` by quadrature."""
    log_z = GRID.log_integral(-_piecewise(learners, learners.energy, GRID.points))
    return -_piecewise(learners, learners.energy, x) - log_z[:, None], log_z


def generator_log_densities(learners: Learners, x: Tensor) -> Tensor:
    """Return log q, `[P, N]` in float64, of points `[N, 2]`."""
    return _piecewise(learners, learners.generator.log_density, x)


def left(log_density: Tensor) -> Tensor:
    """Return the mass left of 0, `[P]`, of a density on the grid, `[P, N]`."""
    return GRID.mean(log_density, 0.5 - GRID.points[:, 0].sign() / 2)


def _piecewise(learners: Learners, f: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    pieces = x.float().expand(len(learners.targets), -1, -1).split(PIECE, 1)
    return torch.cat([f(piece).double() for piece in pieces], 1)
