"""All sequences of T tokens out of V, in lexicographic order, and sums over them without an error.

A function of sequences is given by levels: what each prefix of t tokens says of each next token, `[P, V^t, V]` for t
from 0 to T - 1. Sequence i begins with prefix i // V^(T - t) of t tokens. As a Markov decision process: a prefix is a
state, a token an action, and what follows is certain.

Axis letters: P learners, S = V^T sequences, N drawn ones, T tokens of a sequence, V kinds of token.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from algorithms.core.population import Generators

Levels = Sequence[Tensor]


def total(levels: Levels) -> Tensor:
    """Return the sum of a sequence's values along its prefixes, `[P, S]`."""
    found = levels[0][:, 0]
    for level in levels[1:]:
        found = (found[..., None] + level).flatten(1)
    return found


def soft_value(levels: Levels) -> Tensor:
    """Return log sum exp of the totals, `[P]`, from the last token back: the soft value of the empty prefix."""
    value = levels[-1].logsumexp(-1)
    for level in reversed(levels[:-1]):
        value = (level + value.unflatten(1, level.shape[1:])).logsumexp(-1)
    return value[:, 0]


def conditionals(log_p: Tensor, kinds: int, length: int) -> list[Tensor]:
    """Return the levels log p(token | prefix) of a density's log p `[P, S]`."""
    mass = [log_p.unflatten(1, (kinds**t, -1)).logsumexp(-1) for t in range(length + 1)]
    return [mass[t + 1].unflatten(1, (-1, kinds)) - mass[t][..., None] for t in range(length)]


def steps(levels: Levels, index: Tensor) -> Tensor:
    """Return the values along the prefixes of sequences' numbers `[P, N]`, `[P, N, T]`."""
    kinds, last = levels[0].shape[-1], len(levels) - 1
    return torch.stack([level.flatten(1).gather(1, index // kinds ** (last - t)) for t, level in enumerate(levels)], -1)


def transfer(first: Tensor, between: Tensor, length: int) -> Tensor:
    """Return log sum exp, `[P]`, of first[x_1] + sum_t between[x_t-1, x_t]: by a matrix, in O(T V^2).

    `first` is `[P, V]`, `between` `[P, V, V]`.
    """
    ending = first  # log sum exp of all that end with a token
    for _ in range(length - 1):
        ending = (ending[..., None] + between).logsumexp(1)
    return ending.logsumexp(-1)


def pairs(first: Tensor, between: Tensor, length: int) -> list[Tensor]:
    """Return the levels of first[x_1] + sum_t between[x_t-1, x_t]."""
    kinds = first.shape[-1]
    return [first[:, None], *(between.repeat(1, kinds ** (t - 1), 1) for t in range(1, length))]


def draw(log_p: Tensor, n: int, noise: Generators) -> Tensor:
    """Return n sequences' numbers, `[P, n]`, each learner's drawn from its own p `[P, S]`."""
    edges = log_p.detach().double().softmax(-1).cumsum(-1)
    return torch.searchsorted(edges, noise.uniform(n).double() * edges[:, -1:], right=True).clamp(
        max=log_p.shape[1] - 1
    )
