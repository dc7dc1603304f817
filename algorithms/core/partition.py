"""The partition function of an energy, estimated from samples. In log space throughout, in nats."""

import math

import torch
from torch import Tensor

# Of Newton's method. 6 suffice to 1e-13 for values up to 10^5 nats apart, 10 for one value against 100.
STEPS = 10


@torch.no_grad()
def solve_log_z(expert: Tensor, policy: Tensor) -> Tensor:
    """Return the log Z `[...]` at which mean_expert(1 - D) = mean_policy(D), D = sigmoid(u - log Z).

    `expert` and `policy` `[..., N]`, `[..., M]` are the values u = -E - log q of the samples of both sources. The root
    is unique and solves Z = E_mu[exp(-E) / mu~] (Finn et al. 2016, arXiv 1611.03852, section 3; Bennett 1976).

    Of both samples together, each source with a weight of 1/2, log Z = b is where the mean of sigmoid(b - u) is 1/2: a
    smooth median. With the values in two sets, up to the median and beyond it, this reads

        excess + sum_beyond w sigmoid(b - u) = sum_upto w sigmoid(u - b),    excess = sum_upto w - 1/2 >= 0.

    The logarithms of both sides are nearly straight lines in b, however far apart the values are, and Newton's method
    finds where they meet. Whatever it does, b stays between bounds.
    """
    n, m = expert.shape[-1], policy.shape[-1]
    u, order = torch.cat([expert, policy], -1).double().sort(-1)
    count = torch.where(order < n, m, n)  # weights times 2 n m, so that sums of them are exact
    upto_count = count.cumsum(-1)
    median = (upto_count < n * m).sum(-1, keepdim=True)
    upto = torch.arange(n + m, device=u.device) <= median
    last, first = u.gather(-1, median), u.gather(-1, median + 1)  # of the one set and of the other
    log_excess = ((upto_count.gather(-1, median) - n * m).double() / (2 * n * m)).log()
    ratio = torch.where(upto, u - last, first - u).exp()  # of exponentials of u, to that of the set's own next to b
    weight = torch.stack([upto, ~upto], -1) * (count.double() / (2 * n * m))[..., None]
    margin = math.log(4 * max(n, m))  # there, one value of the set outweighs all of the other
    low, high, b = last - margin, first + margin, (last + first) / 2
    for _ in range(STEPS):
        distance = torch.cat([b - last, first - b], -1)  # [..., 2], a column a set, as below
        nearest = (-distance).exp()
        tail = ratio / (1 + ratio * torch.where(upto, nearest[..., :1], nearest[..., 1:]))
        total, squares = (torch.stack([tail, tail.square()], -2) @ weight).unbind(-2)
        log_upto, log_beyond = (total.log() - distance).split(1, -1)
        fall, rise = (1 - nearest * squares / total).split(1, -1)  # slopes of the two logarithms
        log_side = torch.logaddexp(log_excess, log_beyond)
        gap = log_side - log_upto
        low, high = torch.where(gap < 0, b, low), torch.where(gap > 0, b, high)
        step = b - gap / ((log_beyond - log_side).exp() * rise + fall)
        b = torch.where((low <= step) & (step <= high), step, (low + high) / 2)
    return b[..., 0].to(expert.dtype)


def log_mean_exp(x: Tensor) -> Tensor:
    """Return log mean exp over the last axis."""
    return x.logsumexp(-1) - math.log(x.shape[-1])


def effective_size(log_weight: Tensor) -> Tensor:
    """Return (sum w)^2 / sum w^2 of weights `[..., N]` (Kish 1965), `[...]`: 1 if one is all, N if all are equal."""
    return (2 * log_weight.logsumexp(-1) - (2 * log_weight).logsumexp(-1)).exp()
