"""The three claims of Finn et al. 2016 (arXiv 1611.03852) on sequences, and log Z by three routes.

Every mean is a sum over all sequences with weights. Of a sample they are shares of what was drawn, and log Z is solved
by the solver that trains; on the tree they are p and q themselves, and as that solver's points all weigh the same,
scipy finds the root.
"""

from collections.abc import Iterator
from functools import partial
from typing import Any, NamedTuple

import torch
from scipy.optimize import brentq
from torch import Tensor
from torch.nn.functional import softplus

from algorithms.core.population import Generators
from studies.core.discriminator import Points, solve_log_z
from studies.core.gradients import gradient, relative
from studies.sequences import tree
from studies.sequences.networks import GRU, LSTM

POINTS = 1000  # of each source in a sample
HIDDEN = 16
GAIN = 10.0  # of the last layers, so that energies and densities are far from even


class Case:
    """Random energies and generators of sequences, `[P, S]` in float64."""

    def __init__(self, seeds: list[int], kinds: int, length: int) -> None:
        self.noise, self.length = Generators(seeds, "claims"), length
        self.energy_net, self.generator = (kind(kinds, HIDDEN, self.noise).double() for kind in (GRU, LSTM))
        with torch.no_grad():
            self.energy_net.head.weight.mul_(GAIN)
            self.generator.head.weight.mul_(GAIN)
        self.levels = self.energy_net.levels(length)
        self.energy = tree.total(self.levels)
        self.log_q = tree.total([level.log_softmax(-1) for level in self.generator.levels(length)])
        self.points = Points(self.energy, self.log_q.detach())
        self.any_log_z = self.noise.normal(1)[:, 0].double()
        self.first, self.between = (self.noise.normal(*shape).double() for shape in ((kinds,), (kinds, kinds)))


class Weights(NamedTuple):
    """What each sequence weighs in both means, `[P, S]`, and the log Z, `[P]`, where the loss is flat."""

    p: Tensor
    q: Tensor
    log_z: Tensor


def sample(case: Case, log_p: Tensor) -> Weights:
    """Return the weights of drawn sequences; log Z by the solver that trains."""
    index = [tree.draw(log_density, POINTS, case.noise) for log_density in (log_p, case.log_q)]
    p, q = (torch.stack([i.bincount(minlength=log_p.shape[1]) for i in each]).double() / POINTS for each in index)
    return Weights(p, q, solve_log_z(*(Points(*(x.detach().gather(1, i) for x in case.points)) for i in index)))


def everything(case: Case, log_p: Tensor) -> Weights:
    """Return the weights of all sequences; log Z by scipy."""
    p, q, u = log_p.exp(), case.log_q.detach().exp(), -case.points.energy.detach() - case.points.log_q
    each = zip(p, q, u, strict=True)
    found = [brentq(partial(excess, *one), u.min() - 50, u.max() + 50, xtol=1e-15, rtol=1e-15) for one in each]
    return Weights(p, q, torch.tensor(found, dtype=torch.float64))


def excess(p: Tensor, q: Tensor, u: Tensor, log_z: float) -> float:
    """Return sum p (1 - D) - sum q D of D = sigmoid(u - log Z), all `[S]`."""
    return (p * torch.sigmoid(log_z - u) - q * torch.sigmoid(u - log_z)).sum().item()


def losses(points: Points, weights: Weights, log_z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return L_D, L_cost and log E_mu[exp(-E) / mu~], `[P]` each; mu~ is held constant."""
    logit, (p, q) = points.logit(log_z), weights[:2]
    discriminator = (p * softplus(-logit) + q * softplus(logit)).sum(-1)
    log_mean = ((p / 2 + q / 2).log() - points.energy - points.log_mixture(log_z).detach()).logsumexp(-1)
    return discriminator, (p * points.energy).sum(-1) + log_mean, log_mean


def claims(case: Case, weights: Weights) -> dict[str, Tensor]:
    """Return each claim's relative error, `[P]`."""
    discriminator, cost, log_mean = losses(case.points, weights, weights.log_z)
    log_z = case.any_log_z.clone().requires_grad_()
    loss, _, elsewhere = losses(case.points, weights, log_z)
    (slope,) = torch.autograd.grad(loss.sum(), log_z, retain_graph=True)
    expected = -(elsewhere - log_z).detach().expm1()
    of_q = (weights.q * case.points.logit(case.any_log_z)).sum(-1)
    entropic = (weights.q * (case.points.energy + case.points.log_q)).sum(-1) + case.any_log_z
    return {
        "1": (log_mean - weights.log_z).expm1().abs(),
        "1 at any Z": relative(slope[:, None], expected[:, None]),
        "2": relative(*(gradient(x, case.energy_net) for x in (discriminator, cost))),
        "3": relative(-of_q[:, None], entropic[:, None]),
    }


def claim_3_gradient(case: Case) -> Tensor:
    """Return the relative error, `[P]`, of the generator's gradient, where its weights q change with it."""
    q, energy = case.log_q.exp(), case.energy.detach()
    as_gan = -(q * Points(energy, case.log_q).logit(case.any_log_z)).sum(-1)
    return relative(*(gradient(x, case.generator) for x in (as_gan, (q * (energy + case.log_q)).sum(-1))))


def routes(case: Case) -> dict[str, Tensor]:
    """Return how far apart two routes to log Z are, relative, `[P]`."""
    steps, pairs = [-level for level in case.levels], tree.pairs(case.first, case.between, case.length)
    by_steps, by_pairs = (tree.total(levels).logsumexp(-1, keepdim=True) for levels in (steps, pairs))
    matrix = tree.transfer(case.first, case.between, case.length)
    return {
        "steps, backward": relative(tree.soft_value(steps)[:, None], by_steps),
        "pairs, backward": relative(tree.soft_value(pairs)[:, None], by_pairs),
        "pairs, transfer matrix": relative(matrix[:, None], by_pairs),
    }


def rows(log_p: Tensor, seeds: list[int], kinds: int, length: int) -> Iterator[dict[str, Any]]:
    """Yield lines of claims.csv."""
    case = Case(seeds, kinds, length)
    found = [(claim, "sample", error) for claim, error in claims(case, sample(case, log_p)).items()]
    found += [(claim, "tree", error) for claim, error in claims(case, everything(case, log_p)).items()]
    found += [("3 gradient", "tree", claim_3_gradient(case))]
    found += [("log Z", route, error) for route, error in routes(case).items()]
    for claim, where, errors in found:
        for seed, error in zip(seeds, errors.tolist(), strict=True):
            yield {"claim": claim, "where": where, "seed": seed, "relative_error": error}
