"""Estimates of a generator's gradient from sequences that it draws, beside the exact one.

J = E_q[R] of a sequence's reward R = log p - log q, the entropy included; each estimate is a mean over drawn sequences
of sum_t A_t grad log q(x_t | prefix_t), with

| sequence       | A = R                                                                            |
| less mean      | A = R - the mean R of the others                                                 |
| to go          | A = the rewards of the steps from t on - the mean of the others'                 |
| roll-outs      | A = the mean R of 16 completions of the prefix of t tokens, as SeqGAN's           |
| roll-outs less mean | the same - the mean of the others'                                           |
| exact value    | A = E[R | prefix of t tokens] - E[R | prefix of t - 1 tokens]                     |

Rewards of steps exist where the reward is a sum over them, which a discriminator of whole sequences does not give.
Departure: SeqGAN completes with a slowly updated copy of the generator; here with the generator, so nothing is biased.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from algorithms.core.population import Generators, adam, descend
from studies.core.gradients import gradient
from studies.sequences import tree
from studies.sequences.networks import LSTM

DRAWN = 64  # SeqGAN's batch
ROLLOUTS = 16
WARM = {"first": 0, "after likelihood": 100}  # steps of likelihood, exact, before gradients are estimated
RATE = 1e-2
HIDDEN = 32


def values(reward: Tensor, log_q: Tensor, kinds: int, length: int) -> list[Tensor]:
    """Return E[R | prefix] of the prefixes of t tokens, `[P, V^t]` for t from 0 to T, of R `[P, S]` and log q."""
    found = []
    for t in range(length + 1):
        weight = log_q.unflatten(1, (kinds**t, -1)).softmax(-1)
        found.append((weight * reward.unflatten(1, (kinds**t, -1))).sum(-1))
    return found


def completed(log_q: Tensor, reward: Tensor, index: Tensor, kinds: int, length: int, noise: Generators) -> Tensor:
    """Return the mean R of roll-outs from every prefix of drawn sequences, `[P, N, T]`; the whole is its own."""
    edges = pad(log_q.double().exp().cumsum(-1), (1, 0))
    found = []
    for t in range(1, length):
        block = kinds ** (length - t)  # sequences that begin with a prefix of t tokens lie side by side
        first = index // block * block
        low, high = edges.gather(1, first), edges.gather(1, first + block)
        where = low[..., None] + noise.uniform(*index.shape[1:], ROLLOUTS).double() * (high - low)[..., None]
        drawn = torch.searchsorted(edges[:, 1:].contiguous(), where.flatten(1), right=True).view(where.shape)
        drawn = drawn.clamp(min=first[..., None], max=first[..., None] + block - 1)
        found.append(reward.gather(1, drawn.flatten(1)).view(where.shape).mean(-1))
    return torch.stack([*found, reward.gather(1, index)], -1)


def less_mean(advantage: Tensor) -> Tensor:
    """Return advantages `[P, N, T]` less the mean of the other sequences' at each step, which biases nothing."""
    n = advantage.shape[1]
    return (advantage - advantage.mean(1, keepdim=True)) * n / (n - 1)


class Estimates:
    """Advantages of every estimator, for generators `net` and oracles `log_p` `[P, S]`."""

    def __init__(self, net: LSTM, log_p: Tensor, length: int, noise: Generators) -> None:
        self.levels = [level.log_softmax(-1) for level in net.levels(length)]
        self.log_q = tree.total(self.levels)
        self.kinds, self.length, self.noise = net.kinds, length, noise
        with torch.no_grad():
            self.reward = log_p - self.log_q
            self.log_p_levels = tree.conditionals(log_p, net.kinds, length)
            self.value = values(self.reward, self.log_q, net.kinds, length)

    def exact(self, net: nn.Module) -> Tensor:
        """Return the gradient of E_q[R], `[P, D]`."""
        return gradient((self.log_q.exp() * self.reward).sum(-1), net)

    def draw(self) -> dict[str, tuple[Tensor, int]]:
        """Return surrogate objectives `[P]`, whose gradients are the estimates, and how many tokens each draws."""
        index = tree.draw(self.log_q, DRAWN, self.noise)
        log_steps = tree.steps(self.levels, index)
        with torch.no_grad():
            whole = self.reward.gather(1, index)[..., None].expand_as(log_steps)
            step_rewards = tree.steps(self.log_p_levels, index) - log_steps
            to_go = step_rewards.flip(-1).cumsum(-1).flip(-1)
            rolled = completed(self.log_q, self.reward, index, self.kinds, self.length, self.noise)
            parts = [index // self.kinds ** (self.length - t) for t in range(self.length + 1)]
            at = torch.stack([value.gather(1, part) for value, part in zip(self.value, parts, strict=True)], -1)
        own = DRAWN * self.length
        completions = own + DRAWN * ROLLOUTS * sum(range(self.length))
        advantages = {
            "sequence": (whole, own),
            "less mean": (less_mean(whole), own),
            "to go": (less_mean(to_go), own),
            "roll-outs": (rolled, completions),
            "roll-outs less mean": (less_mean(rolled), completions),
            "exact value": (at.diff(dim=-1), own),
        }
        return {name: ((a * log_steps).sum(-1).mean(-1), count) for name, (a, count) in advantages.items()}


def rows(log_p: Tensor, seeds: list[int], kinds: int, length: int, repeats: int) -> Iterator[dict[str, Any]]:
    """Yield lines of gradients.csv."""
    for name, warm in WARM.items():
        net = LSTM(kinds, HIDDEN, Generators(seeds, "weights")).double()
        optimizer = adam(net.parameters(), RATE)
        for _ in range(warm):
            log_q = tree.total([level.log_softmax(-1) for level in net.levels(length)])
            descend(optimizer, -(log_p.exp() * log_q).sum(-1))
        estimates = Estimates(net, log_p, length, Generators(seeds, "gradients"))
        exact = estimates.exact(net)
        squares: dict[str, list[Tensor]] = {}
        tokens = {}
        for _ in range(repeats):
            for estimator, (objective, count) in estimates.draw().items():
                error = (gradient(objective, net) - exact).square().sum(-1)
                squares.setdefault(estimator, []).append(error)
                tokens[estimator] = count
        for estimator, errors in squares.items():
            relative = torch.stack(errors).mean(0).sqrt() / exact.norm(dim=-1)
            for seed, value in zip(seeds, relative.tolist(), strict=True):
                keys = {"generator": name, "estimator": estimator, "seed": seed, "tokens": tokens[estimator]}
                yield keys | {"relative_error": value}
