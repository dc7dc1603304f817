"""TRPO: its linear algebra against dense solves, its steps by hand, and a bandit whose best policy is known."""

import itertools
import math
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import replace

import pytest
import torch
from numpy.polynomial.hermite_e import hermegauss
from torch import Tensor, nn

from algorithms import gail
from algorithms.core.adversarial import LoopConfig
from algorithms.core.policy import CategoricalPolicy, GaussianPolicy, Policy
from algorithms.core.population import Generators, Linear
from algorithms.core.ppo import PPOConfig
from algorithms.core.progress import Progress
from algorithms.core.state import pack, unpack
from algorithms.core.trpo import TRPO, TRPOConfig, climb, conjugate_gradients, flat
from tests.test_gail import Room
from tests.toy import Kicked, Puck, demonstrations, gaussian

EXACT = TRPOConfig(damping=0.0, share=1.0, solver_steps=40)


def matrices(population: int, size: int) -> Tensor:
    g = torch.Generator().manual_seed(0)
    root = torch.randn(population, size, size, generator=g, dtype=torch.float64)
    return root @ root.mT + 0.1 * torch.eye(size)


def test_conjugate_gradients_solve_as_a_dense_solver_does():
    A, b = matrices(3, 12), torch.randn(3, 12, dtype=torch.float64)
    found = conjugate_gradients(lambda x: (A @ x[..., None])[..., 0], b, 40)
    torch.testing.assert_close(found, torch.linalg.solve(A, b), rtol=1e-4, atol=1e-4)


def test_conjugate_gradients_of_a_learner_do_not_feel_its_neighbours():
    """One whose right side is 0 is done at once, one is NaN, and the third solves as if alone."""
    A, b = matrices(3, 12), torch.randn(3, 12, dtype=torch.float64)
    b[0], b[1] = 0, math.nan
    found = conjugate_gradients(lambda x: (A @ x[..., None])[..., 0], b, 10)
    alone = conjugate_gradients(lambda x: (A[2:] @ x[..., None])[..., 0], b[2:], 10)
    assert not found[0].any()
    torch.testing.assert_close(found[2], alone[0])


class Point(nn.Module):
    """A point of each learner."""

    def __init__(self, where: Tensor) -> None:
        super().__init__()
        self.x = nn.Parameter(where.clone())


def away(point: Point, start: Tensor, A: Tensor) -> Tensor:
    move = point.x - start
    return 0.5 * (move * (A @ move[..., None])[..., 0]).sum(1)


def test_a_step_goes_along_the_natural_gradient_to_the_bound():
    """Up b . x within x' A x / 2 <= d the best step is A^-1 b sqrt(2 d / (b' A^-1 b))."""
    A, b, start = matrices(2, 5), torch.randn(2, 5, dtype=torch.float64), torch.randn(2, 5, dtype=torch.float64)
    point = Point(start)
    accepted = climb(point, lambda: (b * point.x).sum(1), lambda _: away(point, start, A), start, start, 0.01, EXACT)
    natural = torch.linalg.solve(A, b)
    expected = natural * (0.02 / (b * natural).sum(1, keepdim=True)).sqrt()
    torch.testing.assert_close(point.x.detach() - start, expected, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(away(point, start, A).detach(), torch.full((2,), 0.01).double(), rtol=1e-4, atol=0)
    assert accepted.tolist() == [1, 1]


def test_each_learner_halves_its_own_step():
    """With A = 1, b = 1 and d = 0.5 the step is 1 long and promises 1. Learner 0 gains it. Learner 1 loses beyond 0.3,
    so that a quarter is taken. Learner 2 never gains: the last halving is taken. Learner 3's gradient is 0."""
    start, bend = torch.zeros(4, 1, dtype=torch.float64), torch.tensor([0.0, 100.0, 0.0, 0.0])
    point, slope = Point(start), torch.tensor([1.0, 1.0, 1.0, 0.0])

    def gain() -> Tensor:
        x = point.x[:, 0]
        lost = torch.tensor([0.0, 0.0, 1e9, 0.0]) * x.square()
        return slope * x - bend * (x - 0.3).clamp(min=0) - lost

    accepted = climb(point, gain, lambda _: 0.5 * point.x[:, 0].square(), start, start, 0.5, EXACT)
    assert point.x[:, 0].tolist() == pytest.approx([1.0, 0.25, 2**-10, 0.0])
    assert accepted.tolist() == [1, 1, 0, 1]


def test_a_step_beyond_twice_the_bound_is_halved():
    """The Hessian is seen on `few` observations alone; on all of them the distance is 16 times as large."""
    start = torch.zeros(1, 1, dtype=torch.float64)
    point = Point(start)
    few, every = torch.ones(1, 1), torch.full((1, 1), 16.0)
    climb(point, lambda: point.x.sum(1), lambda at: 0.5 * at[:, 0] * point.x[:, 0].square(), few, every, 0.5, EXACT)
    assert point.x.item() == pytest.approx(0.25)  # 1, 1/2 and 1/4 are 8, 2 and 1/2 away, where 1 is allowed


@pytest.mark.parametrize("discrete", [False, True])
def test_the_hessian_of_kl_is_the_fisher_information(discrete):
    """Double backpropagation through the networks against E[grad log pi grad log pi'], enumerated or by quadrature."""
    env = (Kicked if discrete else Puck)([3], 2)
    trpo = TRPO(env, [3], PPOConfig(hidden=(3,)), EXACT)
    policy, obs = trpo.policy, torch.randn(1, 7, 2)
    parameters = list(policy.parameters())
    old = deepcopy(policy).requires_grad_(False)
    slope = flat(torch.autograd.grad(policy.kl(old, obs).sum(), parameters, create_graph=True))[0]
    assert slope.abs().max() < 1e-6
    hessian = torch.cat([flat(torch.autograd.grad(s, parameters, retain_graph=True)) for s in slope])
    if discrete:
        actions, weights = torch.eye(3), policy.head(obs).softmax(-1).detach()
    else:  # Gauss and Hermite's points are exact for the squares of second-order polynomials
        z, w = map(torch.from_numpy, hermegauss(9))
        actions, weights = z.float()[:, None], (w / w.sum()).float().expand(1, 7, -1)
    fisher = torch.zeros_like(hessian)
    for i, k in itertools.product(range(7), range(len(actions))):
        head = policy.head(obs[:, i : i + 1])
        action = actions[k] if discrete else (head + gaussian(policy).log_std.exp() * actions[k]).detach()
        log_density = policy.log_density(head, action.expand_as(head)).sum()
        score = flat(torch.autograd.grad(log_density, parameters))[0]
        fisher += weights[0, i, k] / 7 * score.outer(score)
    torch.testing.assert_close(hessian, fisher, rtol=1e-3, atol=1e-5)


def test_kl_is_that_of_torch():
    policy, old = (GaussianPolicy(2, torch.ones(2), (4,), Generators([seed, 9], "weights")) for seed in (0, 1))
    for seed, p in enumerate((policy, old)):
        g = torch.Generator().manual_seed(seed)
        p.log_std.data = torch.randn(2, 1, 2, generator=g)
        p.mean[2].bias.data = torch.randn(2, 1, 2, generator=g)
    obs = torch.randn(2, 6, 2)
    before, now = (torch.distributions.Normal(p.mean(obs), p.log_std.exp().expand(-1, 6, -1)) for p in (old, policy))
    expected = torch.distributions.kl_divergence(before, now).sum(-1).mean(1)
    torch.testing.assert_close(policy.kl(old, obs), expected)
    assert not policy.kl(policy, obs).any()


def categorical(*probabilities: list[float]) -> CategoricalPolicy:
    """A population that draws actions with given probabilities in every state."""
    policy = CategoricalPolicy(2, len(probabilities[0]), (), Generators(range(len(probabilities)), "weights"))
    layer = policy.logits[0]
    assert isinstance(layer, Linear)
    with torch.no_grad():
        layer.weight.zero_()
        layer.bias.copy_(torch.tensor(probabilities).log()[:, None])
    return policy


def test_categorical_kl_is_of_the_old_policy_from_the_new_one():
    """KL(1/2, 1/2 || 1/4, 3/4) = log(4/3) / 2 = 0.144; the other way round it is 3/4 log 3 - log 2 = 0.131."""
    old, new = categorical([0.5, 0.5], [0.25, 0.75]), categorical([0.25, 0.75], [0.5, 0.5])
    expected = [math.log(4 / 3) / 2, 0.75 * math.log(3) - math.log(2)]
    assert new.kl(old, torch.randn(2, 6, 2)).tolist() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("kind", [Puck, Kicked])
def test_the_trust_region_is_around_the_old_policy(kind):
    """By torch: what is held to the bound, and logged, is KL(old || new), here far from its reverse."""
    trpo = TRPO(kind([5, 2], 3), [5, 2], PPOConfig(hidden=(8,), steps=40), TRPOConfig(kl=0.5))
    experience, old = trpo.collect(), deepcopy(trpo.policy)
    found = trpo.improve(lambda e: e.action[..., 0] + e.obs[..., 0], experience)["policy_kl"]
    obs = old.normalizer(experience.obs.flatten(1, 2))
    before, now = (distribution(policy, obs) for policy in (old, trpo.policy))
    forward, backward = (
        torch.distributions.kl_divergence(*pair).view(*obs.shape[:2], -1).sum(-1).mean(1)
        for pair in ((before, now), (now, before))
    )
    torch.testing.assert_close(found, forward, rtol=1e-4, atol=1e-6)
    assert ((forward - backward).abs() > 0.02 * forward).all()


def distribution(policy: Policy, obs: Tensor) -> torch.distributions.Distribution:
    """Torch's distribution of scaled actions."""
    head = policy.head(obs).detach()
    if policy.discrete:
        return torch.distributions.Categorical(logits=head)
    return torch.distributions.Normal(head, gaussian(policy).log_std.detach().exp().expand_as(head))


def test_a_gaussian_bandit_is_climbed_within_the_trust_region():
    """Reward -(a - 1.5)^2, whose expectation is -(mean - 1.5)^2 - std^2: it rises with every step."""
    env = Room()
    trpo = TRPO(env, [4, 9], PPOConfig(hidden=(), steps=512), TRPOConfig())
    worth = []
    for _ in range(40):
        mean, std = trpo.policy(env.obs)[:, 0, 0], gaussian(trpo.policy).log_std.exp()[:, 0, 0] * 2
        worth.append((-(mean - 1.5).square() - std.square()).detach())
        found = trpo.improve(lambda e: -(e.action[..., 0] - 1.5).square(), trpo.collect())
        assert (found["policy_kl"] >= 0).all()
        assert (found["policy_kl"] <= 0.02).all()
    rises = torch.stack(worth).diff(dim=0)
    assert (rises[:25] > 0).all()
    assert (torch.stack(worth)[-1] > 0.1 * worth[0]).all()


CONFIG = gail.Config(
    hidden=(8,), batch=32, loop=LoopConfig(reward_steps=3, inner="trpo"), ppo=PPOConfig(hidden=(8,), steps=24)
)
SEEDS, COUNTS = [5, 2, 11], [4, 1, 6]


def trained(kind: type[Puck], learners: list[int], iterations: int = 4) -> tuple[dict[str, Tensor], Tensor]:
    seeds, counts = [SEEDS[p] for p in learners], [COUNTS[p] for p in learners]
    shown = demonstrations(counts, kind.discrete)
    *_, last = itertools.islice(gail.train(kind(seeds, 3), shown, seeds, CONFIG), iterations)
    return {k: v for k, v in last.policy.state_dict().items() if k != "action_scale"}, last.metrics["accepted"]


@pytest.mark.parametrize("kind", [Puck, Kicked])
def test_a_learner_trains_as_if_alone(kind):
    together, accepted = trained(kind, [0, 1, 2])
    assert accepted.shape == (3,)
    for p in range(3):
        alone, _ = trained(kind, [p])
        for name, tensor in alone.items():
            torch.testing.assert_close(together[name][p], tensor[0], rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("kind", [Puck, Kicked])
def test_a_run_resumed_gives_the_same_bits(kind):
    def start() -> tuple[Puck, Iterator[Progress]]:
        env = kind(SEEDS, 3)
        return env, gail.train(env, demonstrations(COUNTS, kind.discrete), SEEDS, CONFIG)

    whole, _ = trained(kind, [0, 1, 2])
    env, training = start()
    (*_, last) = itertools.islice(training, 2)
    assert last.state is not None
    saved = pack({"state": last.state.state_dict(), "env": env.state_dict()})
    env, training = start()
    fresh, saved = next(training), unpack(saved)
    assert fresh.state is not None
    fresh.state.load_state_dict(saved["state"])
    env.load_state_dict(saved["env"])
    (*_, last) = itertools.islice(training, 2)
    for name, tensor in whole.items():
        assert torch.equal(last.policy.state_dict()[name], tensor), name


def test_the_inner_loops_start_alike():
    """The first rollout is the same: networks and noise are drawn from the same streams."""
    ppo = replace(CONFIG, loop=replace(CONFIG.loop, inner="ppo"))
    first = [next(gail.train(Puck(SEEDS, 3), demonstrations(COUNTS), SEEDS, c)) for c in (CONFIG, ppo)]
    torch.testing.assert_close(first[0].metrics["reward_loss"], first[1].metrics["reward_loss"])
    assert "policy_kl" in first[0].metrics
    assert "policy_kl" not in first[1].metrics
