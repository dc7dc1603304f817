"""The partition function of an energy, estimated from samples. In log space throughout, in nats."""

import math

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

HALVINGS = 60  # of the bracket: beyond what float64 can tell apart


@torch.no_grad()
def solve_log_z(expert: Tensor, policy: Tensor) -> Tensor:
    """Return the log Z `[...]` at which mean_expert(1 - D) = mean_policy(D), D = sigmoid(u - log Z).

    `expert` and `policy` `[..., N]`, `[..., M]` are the values u = -E - log q of the samples of both sources. The root
    is unique and solves Z = E_mu[exp(-E) / mu~] (Finn et al. 2016, arXiv 1611.03852, section 3; Bennett 1976).
    """
    both = torch.cat([expert, policy], -1)
    low, high = both.amin(-1, keepdim=True), both.amax(-1, keepdim=True)
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        # Logarithms of the means: far apart sources leave both too small for their own numbers.
        missed, taken = log_mean_exp(logsigmoid(middle - expert)), log_mean_exp(logsigmoid(policy - middle))
        below = (missed < taken)[..., None]
        low, high = torch.where(below, middle, low), torch.where(below, high, middle)
    return ((low + high) / 2)[..., 0]


def log_mean_exp(x: Tensor) -> Tensor:
    """Return log mean exp over the last axis."""
    return x.logsumexp(-1) - math.log(x.shape[-1])


def effective_size(log_weight: Tensor) -> Tensor:
    """Return (sum w)^2 / sum w^2 of weights `[..., N]` (Kish 1965), `[...]`: 1 if one is all, N if all are equal."""
    return (2 * log_weight.logsumexp(-1) - (2 * log_weight).logsumexp(-1)).exp()
