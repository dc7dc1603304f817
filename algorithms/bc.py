"""Behavioural cloning, the baseline of Ho & Ermon 2016 (arXiv 1606.03476, section 6).

Split the expert's pairs 70/30; fit the policy to the larger part by maximum likelihood; keep the parameters with the
best validation likelihood:
    loss = -E_train[log pi(a | s)].
No environment step is used. Terminal states play no part.

Departures from the paper:
- 64-64 tanh networks instead of 100-100, as every method here.
- The mean of the policy and its log std are fitted together.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from algorithms.core.constants import PositiveFloat, Share
from algorithms.core.experience import Demonstrations
from algorithms.core.policy import Policy, policy_for
from algorithms.core.population import Generators, adam, descend, finite
from algorithms.core.ppo import Env
from algorithms.core.progress import Progress
from algorithms.core.state import State


@dataclass(frozen=True)
class Config:
    """Constants of BC. Sources: the paper's section 6 and its authors' code."""

    hidden: tuple[int, ...] = (64, 64)  # departure
    train_share: Share = 0.7  # paper
    batch: int = 128  # authors' code
    rate: PositiveFloat = 1e-3  # of Adam; authors' code
    steps: int = 20_001  # authors' code
    validate_every: int = 100  # steps between evaluations of the validation likelihood


def train(env: Env, demonstrations: Demonstrations, seeds: Sequence[int], config: Config) -> Iterator[Progress]:
    """Fit a population of policies; the last one yielded is the best on validation."""
    demonstrations.require(2)  # one to learn from, one to choose by
    device = demonstrations.obs.device
    policy = policy_for(env, config.hidden, Generators(seeds, "weights", device))
    draws = Generators(seeds, "minibatches", device)
    training, validation = split(demonstrations, draws, config.train_share)
    obs, action = demonstrations.obs, demonstrations.action / policy.action_scale
    policy.normalizer.update(obs[training.index], training.weight)
    optimizer = adam(policy.parameters(), config.rate)
    worst = torch.full((len(seeds),), -torch.inf, device=device)
    state = State(policy=policy, optimizer=optimizer, draws=draws, best=worst, kept=copies(policy), step=0)
    while state.step < config.steps:
        if state.step % config.validate_every == 0:
            with torch.no_grad():
                score = validation.mean(log_likelihood(policy, obs[validation.index], action[validation.index]))
            better = score > state.best  # false for NaN
            state.best = torch.where(better, score, state.best)
            for kept, p in zip(state.kept, copies(policy), strict=True):
                kept.copy_(torch.where(better.view(-1, *[1] * (p.dim() - 1)), p, kept))
            metrics, healthy = {"validation_log_likelihood": score}, {"policy": finite(policy)}
            yield Progress(state.step, 0, policy, metrics, healthy, state=state)
        index = training.draw(draws, config.batch)
        descend(optimizer, -log_likelihood(policy, obs[index], action[index]).mean(1))
        state.step += 1
    healthy = {"policy": finite(policy)}
    for p, kept in zip(policy.parameters(), state.kept, strict=True):
        p.data.copy_(kept)
    yield Progress(config.steps, 0, policy, {"best_validation_log_likelihood": state.best}, healthy)


def copies(policy: Policy) -> list[Tensor]:
    """Return copies of the parameters."""
    return [p.detach().clone() for p in policy.parameters()]


def log_likelihood(policy: Policy, obs: Tensor, action: Tensor) -> Tensor:
    """Return `[P, N]` log densities of scaled actions."""
    return policy.log_density(policy.head(policy.normalizer(obs)), action)


@dataclass(frozen=True)
class Rows:
    """Row numbers of the demonstrations, `index` `[P, M]`; the first `size[p]` of them are learner p's."""

    index: Tensor
    size: Tensor

    @property
    def weight(self) -> Tensor:
        """Return `[P, M]`: 1 for a learner's own rows."""
        return (torch.arange(self.index.shape[1], device=self.index.device) < self.size[:, None]).float()

    def mean(self, x: Tensor) -> Tensor:
        """Return the mean `[P]` of `x` `[P, M]` over each learner's own rows."""
        return (x * self.weight).sum(1) / self.size

    def draw(self, generators: Generators, n: int) -> Tensor:
        """Draw n row numbers `[P, n]` with replacement."""
        return self.index.gather(1, (generators.uniform(n) * self.size[:, None]).long())


def split(demonstrations: Demonstrations, generators: Generators, share: float) -> tuple[Rows, Rows]:
    """Shuffle each learner's rows and cut them into a training and a validation part, at least a row each."""
    size, place = demonstrations.size, torch.arange(len(demonstrations.obs), device=demonstrations.obs.device)
    # The numbers drawn depend on the pool, never on a neighbour's share of it; rows not the learner's come last.
    order = (generators.uniform(len(place)) + (place >= size[:, None])).argsort(1)
    cut = torch.minimum((share * size).round().long().clamp(min=1), size - 1)
    rest = order.gather(1, (cut[:, None] + place) % len(place))
    return Rows(order, cut), Rows(rest, size - cut)
