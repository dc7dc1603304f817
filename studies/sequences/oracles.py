"""Oracles: LSTMs with standard normal weights, whose density of every sequence is known (Yu et al. 2017, SeqGAN).

Such a network may put half of its mass on one sequence, or little structure anywhere, so the oracle of a seed is not
its first draw but the first whose entropy is at least half of a uniform one's.
"""

import math
from itertools import count
from typing import NamedTuple

import torch
from torch import Tensor

from algorithms.core.population import Generators
from studies.sequences import tree
from studies.sequences.networks import LSTM

HIDDEN = 8
LEAST = 0.5  # of the uniform density's entropy


class Oracle(NamedTuple):
    """Which draw it is, and log p of every sequence, `[S]`."""

    draw: int
    log_p: Tensor


def oracle(seed: int, kinds: int, length: int) -> Oracle:
    """Return the oracle of a seed."""
    for attempt in count():
        log_p = density(seed, attempt, kinds, length)
        if entropy(log_p) >= LEAST * length * math.log(kinds):
            return Oracle(attempt, log_p)
    raise AssertionError


@torch.no_grad()
def density(seed: int, attempt: int, kinds: int, length: int) -> Tensor:
    """Return log p, `[S]`, of an LSTM whose embeddings, weights and biases are standard normal."""
    normal = Generators([seed], f"oracle {attempt}").normal
    net = LSTM(kinds, HIDDEN, Generators([seed], "overwritten")).double()
    embedding, heard, bias = normal(kinds + 1, HIDDEN), normal(HIDDEN, 4 * HIDDEN), normal(1, 4 * HIDDEN)
    net.token.copy_(embedding @ heard + bias)
    for parameter in (net.recurrent.weight, net.head.weight, net.head.bias):
        parameter.copy_(normal(*parameter.shape[1:]))
    return tree.total([level.log_softmax(-1) for level in net.levels(length)])[0]


def sharpened(log_p: Tensor) -> Tensor:
    """Return log q, `[..., S]`, of q = p^2 / sum p^2, which NLL_oracle prefers to p itself."""
    return (2 * log_p).log_softmax(-1)


def entropy(log_p: Tensor) -> Tensor:
    """Return the entropy of densities `[..., S]`, `[...]`."""
    return -(log_p.exp() * log_p).sum(-1)
