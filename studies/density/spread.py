"""How far estimates of log Z are off, by the number of points they see: no learning, everything known."""

from collections.abc import Iterator
from typing import Any

import torch

from studies.core.discriminator import Points
from studies.core.measures import estimates
from studies.core.targets import gaussians, on_ring, ring
from studies.density.schema import Size

LOG_Z = 1.0
EVEN = torch.full((8,), 1 / 8, dtype=torch.float64)
HALF = torch.tensor(4 * [0.2475] + 4 * [0.0025], dtype=torch.float64)  # of the ring: what seeks modes and misses some

# exp(-E) / Z is the data's density, or that of a ring of wider modes.
ENERGIES = {"right": ring(), "wrong": gaussians(on_ring(), 0.35, EVEN)}
GENERATORS = {
    "wide": gaussians(torch.zeros(1, 2, dtype=torch.float64), 1.5, torch.ones(1, dtype=torch.float64)),
    "half the modes": gaussians(on_ring(), 0.25, HALF),
}


def spread(size: Size) -> Iterator[dict[str, Any]]:
    """Yield the rows of spread.csv."""
    data, generator = ring(), torch.Generator().manual_seed(0)
    for points in size.points:
        shape = (size.repeats, points, 2)
        x_p = data.sample(size.repeats * points, generator).view(shape)
        for q_name, q in GENERATORS.items():
            x_q = q.sample(size.repeats * points, generator).view(shape)
            for e_name, p_theta in ENERGIES.items():
                p, on_q = (Points(-p_theta.log_density(x) - LOG_Z, q.log_density(x)) for x in (x_p, x_q))
                found = estimates(p, on_q, data.log_density(x_p), data.log_density(x_q))
                for estimator, log_z in found.items():
                    error = log_z - LOG_Z
                    yield {
                        "energy": e_name,
                        "generator": q_name,
                        "estimator": estimator,
                        "points": points,
                        "mean": error.mean().item(),
                        "std": error.std().item(),
                    }
