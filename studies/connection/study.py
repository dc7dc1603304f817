"""The three claims of Finn et al. 2016 on random neural energies, and what happens where their conditions fail.

The files are `claims` (each claim's relative error, in float64), `gradient` (the error of a gradient made with a
wrong log Z), `bias` (the estimates of Z, unbiased or not), `sign` (section 4's sign).
"""

import math
from collections.abc import Callable, Iterator
from typing import Any

import pandas as pd
import torch
from torch import Tensor
from torch.distributions import Normal

from algorithms.core.population import Generators, mlp
from studies.connection import schema
from studies.connection.schema import Size
from studies.core.discriminator import (
    Points,
    cost_loss,
    discriminator_loss,
    generator_loss,
    log_z_generator,
    log_z_mixture,
    solve_log_z,
)
from studies.core.generators import Mixture
from studies.core.gradients import gradient, relative
from studies.core.tables import Tables

SAMPLES = ("alike", "apart", "optimal")  # p near the generator, far from it, or drawn from p_theta itself
NUDGES = 2.0 ** torch.arange(-5, 2, dtype=torch.float64)
OFFSETS = torch.cat([-NUDGES.flip(0), torch.zeros(1, dtype=torch.float64), NUDGES])  # of log Z, in nats
GRADIENT_POINTS = 512

# The Gaussians of the bias and of the sign.
P, Q = Normal(0.0, 1.0), Normal(0.5, 1.5)
LOG_Z = math.log(2 * math.pi) / 2  # of exp(-(x - shift)^2 / 2), whatever the shift
QUANTILES = 50_001


class Case:
    """A population of random energies and generators, with a sample of each side."""

    def __init__(self, seeds: int, points: int, sample: str) -> None:
        generators = Generators(range(seeds), "connection")
        self.energy_net = mlp(2, (32, 32), 1, generators, last_gain=3.0).double()
        self.generator = Mixture(3, 1.0, generators).double()
        self.x_p = self.optimal(points, generators) if sample == "optimal" else self.blob(points, sample, generators)
        self.x_q = self.generator.components(-(-2 * points // 3), generators).flatten(
            1, 2
        )  # differentiable in the generator
        self.log_z = generators.normal(1)[:, 0].double()  # any

    @staticmethod
    def blob(n: int, sample: str, generators: Generators) -> Tensor:
        """Return `[P, n, 2]` that no energy here has anything to do with."""
        return generators.normal(n, 2).double() * 0.7 + (3.0 if sample == "apart" else 0.5)

    @torch.no_grad()
    def optimal(self, n: int, generators: Generators) -> Tensor:
        """Return `[P, n, 2]` of about p_theta on a square, by resampling: the sample of an energy that is learnt."""
        x = generators.uniform(64 * n, 2).double() * 6 - 3
        weight = self.energy_net(x)[..., 0].neg().softmax(-1)
        index = [w.multinomial(n, replacement=True, generator=g) for w, g in zip(weight, generators, strict=True)]
        return x.gather(1, torch.stack(index)[..., None].expand(-1, -1, 2))

    def points(self, x: Tensor) -> Points:
        """Return the energies and log q of `[P, N, 2]`."""
        return Points(self.energy_net(x)[..., 0], self.generator.log_density(x))

    def fixed(self) -> tuple[Points, Points]:
        """Return both sides as what they are to the discriminator: samples that nothing moves."""
        return self.points(self.x_p), self.points(self.x_q.detach())


def claim_1(case: Case) -> Tensor:
    """At the root of dL_D/dlog Z, Z is E_mu[exp(-E)/mu~]."""
    p, q = case.fixed()
    log_z = solve_log_z(p, q)
    return (log_z_mixture(p, q, p.log_mixture(log_z), q.log_mixture(log_z)) - log_z).expm1().abs()


def claim_1_elsewhere(case: Case) -> Tensor:
    """At any Z, dL_D/dlog Z = 1 - E_mu[exp(-E)/mu~] / Z: the root is unique, and the sign of the error known."""
    p, q = case.fixed()
    log_z = case.log_z.clone().requires_grad_()
    (slope,) = torch.autograd.grad(discriminator_loss(p, q, log_z).sum(), log_z)
    expected = -(log_z_mixture(p, q, p.log_mixture(log_z), q.log_mixture(log_z)) - log_z).expm1()
    return relative(slope[:, None], expected[:, None])


def claim_2(case: Case) -> Tensor:
    """At the root, the discriminator's gradient is guided cost learning's."""
    p, q = case.fixed()
    log_z = solve_log_z(p, q)
    both = (gradient(loss(p, q, log_z), case.energy_net) for loss in (discriminator_loss, cost_loss))
    return relative(*both)


def claim_3(case: Case) -> Tensor:
    """At any Z, the generator's loss is E_q[E] + E_q[log q] + log Z."""
    q = case.points(case.x_q)
    expected = q.energy.mean(-1) + q.log_q.mean(-1) + case.log_z
    return relative(generator_loss(q, case.log_z)[:, None], expected[:, None])


def claim_3_gradient(case: Case) -> Tensor:
    """So are the gradients by the generator's parameters, along the paths of its samples."""
    q = case.points(case.x_q)
    both = (generator_loss(q, case.log_z), (q.energy + q.log_q).mean(-1))
    return relative(*(gradient(loss, case.generator) for loss in both))


CLAIMS: dict[str, Callable[[Case], Tensor]] = {
    "1": claim_1,
    "1 at any Z": claim_1_elsewhere,
    "2": claim_2,
    "3": claim_3,
    "3 gradient": claim_3_gradient,
}


def claims(size: Size) -> Iterator[dict[str, Any]]:
    """Every claim on every sample."""
    for sample in SAMPLES:
        for points in size.points:
            case = Case(size.energies, points, sample)
            for claim, error in CLAIMS.items():
                for seed, value in enumerate(error(case).tolist()):
                    yield {
                        "claim": claim,
                        "sample": sample,
                        "points": points,
                        "seed": seed,
                        "relative_error": value,
                    }


def wrong_log_z(size: Size) -> Iterator[dict[str, Any]]:
    """What claim 2 costs when log Z is off: each loss's gradient against its gradient at the root."""
    for sample in SAMPLES:
        case = Case(size.energies, GRADIENT_POINTS, sample)
        p, q = case.fixed()
        log_z = solve_log_z(p, q)
        expected = gradient(cost_loss(p, q, log_z), case.energy_net)
        for name, loss in {"discriminator": discriminator_loss, "cost": cost_loss}.items():
            for offset in OFFSETS:
                found = gradient(loss(p, q, log_z + offset), case.energy_net)
                cosine = torch.cosine_similarity(found, expected, dim=-1)
                for seed, values in enumerate(zip(relative(found, expected).tolist(), cosine.tolist(), strict=True)):
                    row = {"loss": name, "sample": sample, "seed": seed, "offset": offset.item()}
                    yield row | dict(zip(("relative_error", "cosine"), values, strict=True))


def gaussian_points(x: Tensor, shift: float) -> Points:
    """Points `[..., N]` of a line under E = (x - shift)^2 / 2 and q."""
    return Points((x - shift).square() / 2, Q.log_prob(x))


def estimates(x_p: Tensor, x_q: Tensor, shift: float) -> dict[str, Tensor]:
    """Every estimate of Z over Z, `[...]`, from samples `[..., N]` of each side."""
    p, q = gaussian_points(x_p, shift), gaussian_points(x_q, shift)
    log_z = torch.full(x_p.shape[:-1], LOG_Z, dtype=x_p.dtype)
    known = (torch.logaddexp(P.log_prob(x), Q.log_prob(x)) - math.log(2) for x in (x_p, x_q))
    return {
        "generator": (log_z_generator(q) - LOG_Z).exp(),
        "mixture, p known": (log_z_mixture(p, q, *known) - LOG_Z).exp(),
        "mixture, p_theta for p": (log_z_mixture(p, q, p.log_mixture(log_z), q.log_mixture(log_z)) - LOG_Z).exp(),
        "b": (solve_log_z(p, q) - LOG_Z).exp(),
    }


def quantiles(n: int) -> Tensor:
    """The middles of n equal shares of [0, 1]: a sample without noise, through an inverse distribution function."""
    return (torch.arange(n, dtype=torch.float64) + 0.5) / n


def bias(size: Size) -> Iterator[dict[str, Any]]:
    """Whether the mean of many estimates of Z is Z, for energies that are right (gap 0) and wrong."""
    generator = torch.Generator().manual_seed(0)
    for shift in (0.0, 0.5, 1.0, 1.5):
        exact = quantiles(QUANTILES)
        limits = estimates(P.icdf(exact), Q.icdf(exact), shift)
        for points in size.points:
            x_p, x_q = torch.randn(2, size.repeats, points, generator=generator, dtype=torch.float64)
            for estimator, found in estimates(x_p, Q.loc + Q.scale * x_q, shift).items():
                yield {
                    "estimator": estimator,
                    "gap": shift**2 / 2,
                    "points": points,
                    "relative_bias": found.mean().item() - 1,
                    "standard_error": found.std().item() / math.sqrt(size.repeats),
                    "limit": limits[estimator].item() - 1,
                }


# The sign of E, and whether the logit has a log Z.
LOGITS = {"-E - log Z - log q": (-1, True), "-E - log q": (-1, False), "E - log q": (1, False)}


def sign() -> Iterator[dict[str, Any]]:
    """Learn E = k x^2/2 - h x of p = N(0, 1) by each reading of the discriminator; right: k = 1, h = 0."""
    for name, (direction, has_log_z) in LOGITS.items():
        k, h, log_z = learn_gaussian(direction, has_log_z)
        yield {"logit": name, "precision": k, "log_z": log_z, "kl": kl(k, h)}


def learn_gaussian(direction: int, has_log_z: bool) -> list[float]:
    """Return the k, h and log Z that minimise L_D with `direction` E in the logit."""
    parameters = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    x_p, x_q = P.icdf(quantiles(QUANTILES)), Q.icdf(quantiles(QUANTILES))
    optimizer = torch.optim.LBFGS([parameters], max_iter=200, tolerance_grad=1e-10, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimizer.zero_grad()
        k, h, log_z = parameters * torch.tensor([1, 1, int(has_log_z)])
        p, q = (Points(-direction * (k * x.square() / 2 - h * x), Q.log_prob(x)) for x in (x_p, x_q))
        value = discriminator_loss(p, q, log_z)
        value.backward()
        return value

    optimizer.step(loss)
    return parameters.tolist()


def kl(k: float, h: float) -> float:
    """KL(N(0, 1) || N(h/k, 1/k)): infinite where exp(-E) has no integral."""
    return (k + h**2 / k - 1 - math.log(k)) / 2 if k > 0 else math.inf


def study(size: Size) -> Tables:
    """Return every file's rows and columns."""
    return {
        "claims": (pd.DataFrame(claims(size)), schema.CLAIMS),
        "gradient": (pd.DataFrame(wrong_log_z(size)), schema.GRADIENT),
        "bias": (pd.DataFrame(bias(size)), schema.BIAS),
        "sign": (pd.DataFrame(sign()), schema.SIGN),
    }
