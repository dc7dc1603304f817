"""The discriminator of Finn, Christiano, Abbeel & Levine 2016 (arXiv 1611.03852, section 3), and what it is equal to.

p data, q a generator with a density, E an energy (the paper's cost c), p_theta = exp(-E) / Z. Section 3.1:

    D = (exp(-E)/Z) / (exp(-E)/Z + q) = sigmoid(l),      l = -E - log Z - log q,
    L_D = E_p[-log D] + E_q[-log(1 - D)].

The logit l is high for data. (Section 4 of the paper prints sigmoid(E - log q): by section 3.1 the sign is -E.)

With mu = p/2 + q/2 and mu~ = exp(-E)/(2Z) + q/2 (section 3.2), on any finite sample of p and of q:

    Claim 1:  dL_D/dZ = 0 exactly where Z = E_mu[exp(-E) / mu~];
    Claim 2:  there, dL_D/dtheta = E_p[dE] - E_mu[exp(-E) dE / (Z mu~)], the gradient of guided cost learning's loss
              L_cost = E_p[E] + log E_mu[exp(-E) / mu~], its weights 1/mu~ held constant;
    Claim 3:  the generator's loss E_q[log(1 - D) - log D] = E_q[E] + E_q[log q] + log Z.

A point enters through its energy and its log q alone. Shapes: `[..., N]` points of p, `[..., M]` points of q.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from algorithms.core import partition
from algorithms.core.partition import log_mean_exp


class Points(NamedTuple):
    """Energies and log densities under the generator, `[..., N]` each, of a sample."""

    energy: Tensor
    log_q: Tensor

    def logit(self, log_z: Tensor) -> Tensor:
        """Return l, `[..., N]`, of `log_z` `[...]`."""
        return -self.energy - log_z[..., None] - self.log_q

    def log_mixture(self, log_z: Tensor) -> Tensor:
        """Return log mu~, `[..., N]`, of `log_z` `[...]`."""
        return torch.logaddexp(-self.energy - log_z[..., None], self.log_q) - math.log(2)


def discriminator_loss(p: Points, q: Points, log_z: Tensor) -> Tensor:
    """Return L_D, `[...]`."""
    return -logsigmoid(p.logit(log_z)).mean(-1) - logsigmoid(-q.logit(log_z)).mean(-1)


def generator_loss(q: Points, log_z: Tensor) -> Tensor:
    """Return E_q[log(1 - D) - log D], `[...]`."""
    logit = q.logit(log_z)
    return (logsigmoid(-logit) - logsigmoid(logit)).mean(-1)


def cost_loss(p: Points, q: Points, log_z: Tensor) -> Tensor:
    """Return L_cost, `[...]`; the weights are made with `log_z`."""
    weights = p.log_mixture(log_z).detach(), q.log_mixture(log_z).detach()
    return p.energy.mean(-1) + log_z_mixture(p, q, *weights)


def solve_log_z(p: Points, q: Points) -> Tensor:
    """Return the log Z, `[...]`, where dL_D/dZ = 0: the estimator b of Bennett (1976), by the solver that trains."""
    return partition.solve_log_z(*(-points.energy - points.log_q for points in (p, q)))


def log_z_generator(q: Points) -> Tensor:
    """Return log E_q[exp(-E) / q], `[...]`: importance sampling from the generator alone; unbiased before the log."""
    return log_mean_exp(-q.energy - q.log_q)


def log_z_mixture(p: Points, q: Points, log_mu_p: Tensor, log_mu_q: Tensor) -> Tensor:
    """Return log E_mu[exp(-E) / mu~], `[...]`, of log mu~ at both samples; unbiased before the log if mu~ = mu."""
    return torch.logaddexp(log_mean_exp(-p.energy - log_mu_p), log_mean_exp(-q.energy - log_mu_q)) - math.log(2)
