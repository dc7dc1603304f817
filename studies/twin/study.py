"""Guided cost learning's exact twin: a point mass with a quadratic cost, where every density is known.

Finn, Levine & Abbeel 2016 (arXiv 1603.00448), appendix B: 40 demonstrations of a point mass in the plane, from 4 known
distributions of trajectories, 100 steps each. Here a distribution is that of a quadratic cost from one of 4 starts, so
that the right cost exists; the policy's step is a Riccati pass, exact; and the cost is learnt by the objective that
trains guided cost learning on the tasks (`algorithms.gcl.objective`), each start with a log Z of its own. The cost of a
step is |A z|^2 / 2 + |D u|^2 / 2 with free matrices A, which starts as the identity with a random target, and D.

Rows: how trajectories are weighed, and the entropy's weight in the sampler.

- weights: as on the tasks, the demonstrations' unknown density replaced by the model's.
- known: their true density in its place; gaussian: that of one normal distribution per start, fitted to the
  demonstrations' actions (the paper fits one to all of its trajectories).
- unweighted: every weight is 1.
- no_entropy: as weights, of a sampler whose entropy counts a hundredth.
- exact: the gradient in closed form: what the demonstrations allow.
- cooled: the policy of the cost that was learnt with weights, its entropy taken away afterwards.

A cost is identified up to potentials alone, so distributions of trajectories are compared. The files are `learnt` and
`paths` (the rows), `horizons` (costs learnt at several horizons, with samplers that are optimal for them or for a
larger cost), and `weights` (effective sizes of weights against the horizon, nothing learnt).
"""

import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import torch
from torch import Tensor
from torch.distributions import Normal

from algorithms import gcl
from algorithms.core.partition import effective_size
from algorithms.core.population import Generators
from studies.core.discriminator import Points, log_z_mixture
from studies.core.parts import Frames, compute
from studies.core.tables import Tables
from studies.twin import schema
from studies.twin.lqr import ACTIONS, STEP, Cost, Moments, Policy, divergence, expected, sample, second_moments, solve
from studies.twin.schema import Size

EXPERT = Cost(
    torch.diag(torch.tensor([1.0, 1.0, 0.1, 0.1, 0.0], dtype=torch.float64)),
    0.1 * torch.eye(ACTIONS, dtype=torch.float64),
)
STARTS = torch.tensor(
    [[1.5, 0.0, 0, 0, 1], [0.0, 1.5, 0, 0, 1], [-1.5, 0.5, 0, 0, 1], [-0.5, -1.5, 0, 0, 1]], dtype=torch.float64
)
RATE, BETAS = 0.1, (0.9, 0.99)  # of Adam; the rate falls to 0 as half a cosine
TARGET = 0.5  # std of the first cost's target, m
NO_ENTROPY = 0.01
WRONG = (0.03, 0.1, 0.3)  # by these shares a sampler's cost is too large


class Sample(NamedTuple):
    """Trajectories of one source under one row: costs and log densities `[seeds x starts, n]`."""

    cost: Tensor
    log_q: Tensor  # of the sampler
    log_p: Tensor  # the expert's
    log_normal: Tensor  # of the normal distribution fitted to the demonstrations


Loss = Callable[[Sample, Sample], Tensor]  # of demonstrations and samples, [seeds x starts]


def weighted(demonstrations: Sample, samples: Sample) -> Tensor:
    """Return the objective that trains guided cost learning."""
    return gcl.objective(demonstrations.cost, demonstrations.log_q, samples.cost, samples.log_q)[0]


def unweighted(demonstrations: Sample, samples: Sample) -> Tensor:
    """Return the same with every density 1."""
    one = torch.zeros_like(samples.cost)
    return gcl.objective(demonstrations.cost, one, samples.cost, one, fused=False)[0]


def with_density(log_density: Callable[[Sample], Tensor]) -> Loss:
    """Return the loss whose background is half the sampler and half a given density of the demonstrations."""

    def loss(demonstrations: Sample, samples: Sample) -> Tensor:
        p, q = (Points(x.cost, x.log_q) for x in (demonstrations, samples))
        log_mu = [torch.logaddexp(log_density(x), x.log_q) - math.log(2) for x in (demonstrations, samples)]
        return p.energy.mean(-1) + log_z_mixture(p, q, *log_mu)

    return loss


class Row(NamedTuple):
    """A way to learn; without a loss, by the gradient in closed form."""

    loss: Loss | None = weighted
    entropy: float = 1.0  # its weight in the sampler, which is optimal for the cost divided by it


ROWS = {
    "weights": Row(),
    "known": Row(with_density(lambda x: x.log_p)),
    "gaussian": Row(with_density(lambda x: x.log_normal)),
    "unweighted": Row(unweighted),
    "no_entropy": Row(entropy=NO_ENTROPY),
    "exact": Row(None),
}
SAMPLERS = {"weights": Row(), "narrow": Row(entropy=1 / (1 + WRONG[1]))}


class Learners:
    """Costs of several rows and seeds `[rows, seeds, 1]`, which learn from the same demonstrations of each seed."""

    def __init__(self, rows: Sequence[Row], seeds: Sequence[int], horizon: int, n: int) -> None:
        self.rows, self.horizon, self.n = rows, horizon, n
        self.noise = Generators(seeds, f"twin {horizon} {n}")
        self.expert = solve(EXPERT, horizon)
        self.demonstrations, actions = sample(self.expert, STARTS, self.draw())
        self.fitted = Normal(actions.mean(-3, keepdim=True), actions.std(-3, keepdim=True).clamp(min=1e-3))
        self.expert_actions = actions
        target = TARGET * self.noise.normal(1, 4, 1).double()
        first = torch.cat([torch.eye(4).double().expand(len(seeds), 1, 4, 4), target], -1)
        self.on_state = first.expand(len(rows), -1, -1, -1, -1).clone().requires_grad_()
        self.on_action = torch.eye(ACTIONS, dtype=torch.float64).repeat(len(rows), len(seeds), 1, 1, 1).requires_grad_()
        self.entropy = torch.tensor([row.entropy for row in rows], dtype=torch.float64).view(-1, 1, 1, 1, 1)

    def draw(self) -> Tensor:
        """Return noise of n trajectories from each start, `[seeds, starts, n, T, 2]`."""
        return self.noise.normal(len(STARTS), self.n, self.horizon, ACTIONS).double()

    def cost(self) -> Cost:
        """Return the costs as they are."""
        return Cost(self.on_state.mT @ self.on_state, self.on_action.mT @ self.on_action)

    @torch.no_grad()
    def sampled(self) -> Cost:
        """Return the costs that the samplers are optimal for with all of their entropy."""
        return self.cost().times(1 / self.entropy)

    def losses(self) -> tuple[Tensor, Tensor]:
        """Return `[rows, seeds]`: losses on new samples, and the effective size of their weights."""
        cost, sampler = self.cost(), solve(self.sampled(), self.horizon)
        demonstrations = self.seen(cost, sampler, self.demonstrations, self.expert_actions)
        samples = self.seen(cost, sampler, *sample(sampler, STARTS, self.draw()))
        found = []
        for i, row in enumerate(self.rows):
            each = [Sample(*(x[i].flatten(0, 1) for x in source)) for source in (demonstrations, samples)]
            if row.loss:
                found.append(row.loss(*each))
            else:
                mean = Cost(*(x[i] for x in cost))(expected(sampler.of(i), STARTS))
                found.append(each[0].cost.mean(-1) - mean.flatten())
        effective = effective_size(-samples.cost.detach() - samples.log_q).mean(-1)
        return torch.stack(found).unflatten(1, effective.shape[1:2] + (-1,)).mean(-1), effective

    def seen(self, cost: Cost, sampler: Policy, tau: Moments, actions: Tensor) -> Sample:
        """Return trajectories as all rows see them, `[rows, seeds, starts, n]`."""
        log_q = -self.sampled()(tau) - sampler.log_z(STARTS)[..., None]
        log_p = -EXPERT(tau) - self.expert.log_z(STARTS)[..., None]
        normal = self.fitted.log_prob(actions).sum((-2, -1))
        return Sample(cost(tau), log_q, log_p.expand_as(log_q), normal.expand_as(log_q))

    @torch.no_grad()
    def measures(self, sampled: Cost) -> dict[str, Tensor]:
        """Return what policies are worth that are optimal for `sampled`, and what the costs are, `[rows, seeds]`."""
        policy, model = (solve(cost, self.horizon) for cost in (sampled, self.cost()))
        (mean, variance), (true, spread) = (positions(each) for each in (policy, self.expert))
        return {
            "kl": divergence(self.expert, policy, STARTS).mean(-1),
            "kl_cost": divergence(self.expert, model, STARTS).mean(-1),
            "variance": variance.sum((-3, -2, -1)) / spread.sum(),
            "mean_error": (mean - true).square().sum(-1).mean((-2, -1)).sqrt(),
        }


def positions(policy: Policy) -> tuple[Tensor, Tensor]:
    """Return mean and variance of positions from every start, `[..., starts, T + 1, 2]`."""
    seen = second_moments(policy, STARTS)
    mean = seen[..., :2, -1]
    return mean, seen.diagonal(dim1=-2, dim2=-1)[..., :2] - mean**2


def learn(rows: Sequence[Row], seeds: Sequence[int], horizon: int, n: int, steps: int) -> tuple[Learners, Tensor]:
    """Return learners after `steps` on their costs, and the effective sizes of their weights, `[rows, seeds]`."""
    learners = Learners(rows, seeds, horizon, n)
    optimizer = torch.optim.Adam([learners.on_state, learners.on_action], RATE, BETAS)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    sizes = []
    for _ in range(steps):
        loss, effective = learners.losses()
        optimizer.zero_grad()
        loss.sum().backward()
        optimizer.step()
        schedule.step()
        sizes.append(effective)
    return learners, torch.stack(sizes[steps // 2 :]).mean(0)


def learnt(rows: dict[str, Row], horizon: int, n: int, size: Size) -> tuple[list[dict[str, Any]], Learners]:
    """Return lines of `learnt`, and the learners."""
    learners, effective = learn(list(rows.values()), size.seeds, horizon, n, size.steps)
    measured = [(name, i, learners.measures(learners.sampled())) for i, name in enumerate(rows)]
    if rows is ROWS:
        measured.append(
            ("cooled", list(ROWS).index("weights"), learners.measures(learners.cost().times(1 / NO_ENTROPY)))
        )
    keys = {"horizon": horizon, "trajectories": n}
    return [
        {"row": name} | keys | {"seed": seed} | {metric: value[i, j].item() for metric, value in found.items()}
        for name, i, found in ((name, i, found | {"effective": effective}) for name, i, found in measured)
        for j, seed in enumerate(size.seeds)
    ], learners


def paths(learners: Learners) -> Iterator[pd.DataFrame]:
    """Yield lines of `paths`: of the expert, then of each row's first seed."""
    policy = solve(learners.sampled(), learners.horizon)
    named = {"expert": learners.expert} | {name: policy.of(i).of(0) for i, name in enumerate(ROWS)}
    for name, each in named.items():
        mean, variance = (x[0, :, 0] for x in positions(each))  # along x, from the first start
        yield pd.DataFrame(
            {"row": name, "time": torch.arange(len(mean)).double() * STEP, "mean": mean, "std": variance.sqrt()}
        )


def weights(size: Size) -> Iterator[dict[str, Any]]:
    """Yield lines of `weights`: how many trajectories count where the sampler's cost is too large by a factor."""
    start, n = STARTS[0], gcl.Config().trajectories
    generator = torch.Generator().manual_seed(0)
    for horizon in size.horizons:
        noise = torch.randn(size.repeats * n, horizon, ACTIONS, generator=generator, dtype=torch.float64)
        for wrong in WRONG:
            cost = EXPERT.times(1 + wrong)
            sampler = solve(cost, horizon)
            tau, _ = sample(sampler, start, noise)
            log_weight = -EXPERT(tau) + cost(tau) + sampler.log_z(start)
            measured = effective_size(log_weight.view(size.repeats, n))
            yield {
                "wrong": wrong,
                "horizon": horizon,
                "trajectories": n,
                "measured": measured.mean().item(),
                "standard_error": measured.std().item() / math.sqrt(size.repeats),
                "limit": n * share(EXPERT, cost, horizon, start),
            }


def share(cost: Cost, sampled: Cost, horizon: int, start: Tensor) -> float:
    """Return (E w)^2 / E w^2 of weights w = exp(-c) / q, of which E w = Z and E w^2 is Z of 2 c - c_q times Z_q."""
    between = Cost(*(2 * a - b for a, b in zip(cost, sampled, strict=True)))
    log_z, log_z_q, log_z_between = (solve(each, horizon).log_z(start) for each in (cost, sampled, between))
    return (2 * log_z - log_z_q - log_z_between).exp().item()


def parts(size: Size) -> list[str]:
    """Return the names of the study's parts, the longest first."""
    horizons = (f"horizons-{horizon}" for horizon in sorted(size.learnt_horizons, reverse=True))
    return [*horizons, *(f"learnt-{n}" for n in sorted(size.trajectories, reverse=True)), "weights"]


def part(name: str, size: Size, _: Path) -> Frames:
    """Return the rows of a part of the study."""
    kind, *number = name.split("-")
    if kind == "weights":
        return {"weights": pd.DataFrame(weights(size))}
    if kind == "horizons":
        return {"horizons": pd.DataFrame(learnt(SAMPLERS, int(*number), size.trajectories[0], size)[0])}
    lines, learners = learnt(ROWS, size.horizon, int(*number), size)
    drawn = {"paths": pd.concat(paths(learners))} if int(*number) == max(size.trajectories) else {}
    return {"learnt": pd.DataFrame(lines)} | drawn


def study(size: Size) -> Tables:
    """Return every file's rows and columns; parts run side by side, and those that are done are kept."""
    found = compute("twin", dict.fromkeys(parts(size), size), schema.FILES, part)
    order = {"learnt": ["trajectories"], "horizons": ["horizon"]}
    return {
        name: (rows.sort_values(order[name], kind="stable") if name in order else rows, schema.FILES[name])
        for name, rows in found.items()
    }
