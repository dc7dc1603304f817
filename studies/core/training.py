"""Learning a density in the plane: an energy, a generator or both, P = targets x seeds learners at once.

| method        | the energy's loss                                    | the generator's loss |
| exact         | E_p[E] + log Z by quadrature: an upper bound         |                      |
| likelihood    |                                                      | E_p[-log q]          |
| ebm_gan       | the discriminator's, with log Z solved               | E_q[E + log q]       |
| ebm_gan_fused | the same, against q and a wide Gaussian in one       | E_q[E + log q]       |
| kim_bengio    | E_p[E] - E_q[E]: the generator stands for p_theta    | E_q[E + log q]       |
| fixed         | none: E = -log p - log Z is known                    | E_q[E + log q]       |

Departures: no noise is added to the points, which have densities already. Kim & Bengio (2016, arXiv 1606.03439) have no
generator density and approximate its entropy; here it is exact, so that only the missing weights of the energy's
gradient tell their method from ebm_gan.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from algorithms.core.population import Generators, adam, descend
from studies.core.discriminator import Points
from studies.core.energies import Energy, Grid
from studies.core.generators import Flow, Fused, Mixture
from studies.core.losses import ebm_gan, kim_bengio
from studies.core.targets import Target

SPREAD = 1.5  # of a generator at the start: as wide as the widest target
FUSED_STD = 2.0  # of the wide Gaussian, as the energies' base
FIXED_LOG_Z = 1.0
QUADRATURE = 54  # points a side; a grid is shifted at random in every step, so that its spacing leaves no trace


@dataclass(frozen=True)
class Rates:
    """Adam's rates at the start; they fall to zero in a straight line."""

    energy: float = 1e-2
    generator: float = 1e-2
    max_norm: float = 1.0  # of a learner's gradient: without it, generators lose modes in the first steps


class Trial(NamedTuple):
    """What learns, and with which generator: a key of GENERATORS."""

    method: str
    generator: str


RATES = {
    # Without weights, a fast energy runs away from its generator: of 3e-3, 1e-3, 3e-4 and 1e-4 this was the steadiest.
    Trial("kim_bengio", "flow"): Rates(energy=3e-4),
    # Of 1e-2, 3e-3 and 1e-3: faster, a flow leaves modes before the energy has learnt them, and the energy keeps mass
    # where it once was (after 1,200 steps, worst of three seeds on the ring: KL 0.072, 0.077 and 0.023).
    Trial("ebm_gan", "flow"): Rates(generator=1e-3),
    Trial("ebm_gan_fused", "flow"): Rates(generator=1e-3),
}


class KnownEnergy(nn.Module):
    """E = -log p - log Z of each learner's target."""

    def __init__(self, targets: Sequence[Target]) -> None:
        super().__init__()
        self.targets = targets

    def forward(self, x: Tensor) -> Tensor:
        """Return energies `[P, N]` of `[P, N, 2]`."""
        return -log_densities(self.targets, x.double()).to(x) - FIXED_LOG_Z


def log_densities(targets: Sequence[Target], x: Tensor) -> Tensor:
    """Return each learner's log p, `[P, N]`, of `[P, N, 2]`, or of `[N, 2]` that all share."""
    each = x.expand(len(targets), -1, -1)
    return torch.stack([target.log_density(own) for target, own in zip(targets, each, strict=True)])


class Data:
    """An endless sample of each learner's target: what is measured is the method, not a finite sample."""

    def __init__(self, targets: Sequence[Target], seeds: Sequence[int], stream: str) -> None:
        self.targets, self.generators = targets, Generators(seeds, stream)

    def draw(self, n: int) -> Tensor:
        """Return `[P, n, 2]`."""
        pairs = zip(self.targets, self.generators, strict=True)
        return torch.stack([target.sample(n, generator) for target, generator in pairs]).float()


GENERATORS: dict[str, Callable[[Generators], Mixture | Flow]] = {
    "gaussian": lambda weights: Mixture(1, SPREAD, weights),
    "narrow": lambda weights: Mixture(1, 0.5, weights, middle=1.0),  # a Gaussian that starts on one side
    "mixture": lambda weights: Mixture(10, SPREAD, weights),
    "flow": lambda weights: Flow(8, 32, SPREAD, weights),
    "none": lambda weights: Mixture(1, SPREAD, weights),  # stands idle
}


class Learners:
    """P learners of one trial. Both parts are there; one that the method does not have is never used."""

    def __init__(self, trial: Trial, targets: Sequence[Target], seeds: Sequence[int]) -> None:
        weights = Generators(seeds, "weights")
        self.trial, self.targets = trial, targets
        self.data = Data(targets, seeds, "data")
        self.noise = Generators(seeds, "noise")
        self.generator = GENERATORS[trial.generator](weights)
        self.energy = KnownEnergy(targets) if trial.method == "fixed" else Energy(weights)
        # what the discriminator tells from the data
        self.sampler = Fused(self.generator, FUSED_STD) if trial.method == "ebm_gan_fused" else self.generator
        self.has_generator, self.has_energy = trial.generator != "none", trial.method != "likelihood"

    def sides(self, n: int) -> tuple[Points, Points]:
        """Return n points of the data and of the sampler, differentiable in the energy alone."""
        x_p, (x_q, log_q) = self.data.draw(n), self.sampler.draw(n, self.noise)
        with torch.no_grad():
            log_q_p = self.sampler.log_density(x_p)
        on_p, on_q = self.energy(torch.cat([x_p, x_q], 1)).split(n, 1)
        return Points(on_p, log_q_p), Points(on_q, log_q)


def exact(learners: Learners, n: int) -> Tensor:
    """Return E_p[E] + log Z, `[P]`: minus the log likelihood."""
    grid = Grid(QUADRATURE)
    shift = (learners.noise.uniform(1, 2) - 0.5) * grid.spacing
    log_z = grid.log_integral(-learners.energy(grid.points.float() + shift))
    return learners.energy(learners.data.draw(n)).mean(-1) + log_z


def likelihood(learners: Learners, n: int) -> Tensor:
    """Return E_p[-log q], `[P]`."""
    return -learners.generator.log_density(learners.data.draw(n)).mean(-1)


def reverse_kl(learners: Learners, n: int) -> Tensor:
    """Return E_q[E + log q] = KL(q || p_theta) - log Z, `[P]`."""
    return learners.generator.reverse_kl(learners.energy, n, learners.noise)


Loss = Callable[[Learners, int], Tensor]
ENERGY_LOSSES: dict[str, Loss] = {
    "exact": exact,
    "ebm_gan": ebm_gan,
    "ebm_gan_fused": ebm_gan,
    "kim_bengio": kim_bengio,
}
GENERATOR_LOSSES: dict[str, Loss] = {
    "likelihood": likelihood,
    "ebm_gan": reverse_kl,
    "ebm_gan_fused": reverse_kl,
    "kim_bengio": reverse_kl,
    "fixed": reverse_kl,
}


def train(learners: Learners, steps: int, batch: int) -> Iterator[int]:
    """Yield the number of steps done, 0 and `steps` included; a step is the energy's, then the generator's."""
    method, rates = learners.trial.method, RATES.get(learners.trial, Rates())
    parts = []
    if method in ENERGY_LOSSES:
        parts.append((ENERGY_LOSSES[method], rates.energy, adam(learners.energy.parameters(), rates.energy)))
    if method in GENERATOR_LOSSES:
        parts.append(
            (GENERATOR_LOSSES[method], rates.generator, adam(learners.generator.parameters(), rates.generator))
        )
    for step in range(steps):
        yield step
        for loss, rate, optimizer in parts:
            optimizer.param_groups[0]["lr"] = rate * (1 - step / steps)
            descend(optimizer, loss(learners, batch), rates.max_norm)
    yield steps
