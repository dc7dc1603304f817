"""What EB-SeqGAN's margin does, exactly: the clip law.

Energies are free numbers in [0, inf), one a sequence; the energy descends the hinge E_p[E] + E_q[max(0, m - E)], and
the generator is at its optimum with entropy, q = exp(-E) / Z. Where both rest,

    0 < E < m: p = q;   E = 0: p >= q, the largest q can be;   E = m: p <= q, the smallest;   E > m: nowhere,

so that q = clip(p, f, f e^m), with f such that q sums to 1. The margin is a range in nats: q is p if and only if m is
at least log p_max - log p_min. Below m the gradient is that of the likelihood: the law is maximum likelihood among
energies within [0, m]. With m endless the hinge is E_p[E] - E_q[E] + m, the gradient of Kim & Bengio.
"""

import torch
from scipy.optimize import brentq
from torch import Tensor

STEPS = 10_000
ROUNDING = 1e-9  # by which even densities may miss the sum 1


def law(log_p: Tensor, margin: float) -> Tensor:
    """Return log q, `[P, S]`, of the fixed point for densities `[P, S]`."""
    found = []
    for each in log_p:
        ends = each.min() - margin - ROUNDING, each.max() + ROUNDING
        floor = brentq(lambda f, x=each: x.clamp(f, f + margin).logsumexp(0).item(), *ends)
        found.append(each.clamp(floor, floor + margin))
    return torch.stack(found)


def descend(log_p: Tensor, margin: float) -> Tensor:
    """Return log q, `[P, S]`, by descent on the hinge from E = 0, q at its optimum in every step.

    Every slope is divided by the sum of its two parts, or rare sequences would take for ever; the rate falls to 1e-7.
    """
    p, energy = log_p.exp(), torch.zeros_like(log_p)
    for rate in torch.logspace(0, -7, STEPS).tolist():
        q = (-energy).softmax(-1)
        pushed = q * (energy < margin)
        energy = (energy - rate * (p - pushed) / (p + pushed)).clamp(min=0)
    return (-energy).log_softmax(-1)
