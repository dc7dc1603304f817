"""Guided cost learning: its objective where all trajectories can be listed, and the point mass of its appendix B."""

import itertools
import math
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from scipy.optimize import brentq
from torch import Tensor
from torch.distributions import Normal
from torch.nn.functional import softplus

from algorithms import gcl
from algorithms.core.experience import Batch, Trajectories
from algorithms.core.population import Generators
from tests.fixed import Fixed, searcher
from threefold.base.errors import InputError

SEEDS = [3, 8]
CONFIG = gcl.Config(hidden=(5,), trajectories=3)


# Two steps of three actions each, dynamics deterministic: nine trajectories, and a cost for each state and action.


def nine(theta: Tensor) -> Tensor:
    """Costs `[P, 9]` of the trajectories, of step costs `[P, 12]`: of the first state, then of each that follows."""
    return torch.stack([theta[:, a] + theta[:, 3 + 3 * a + b] for a, b in itertools.product(range(3), range(3))], 1)


@pytest.fixture
def case() -> SimpleNamespace:
    """Twelve demonstrations and as many samples of two learners, and what two earlier policies think of the nine."""
    g = torch.Generator().manual_seed(0)
    policies = torch.randn(2, 2, 12, generator=g).double()  # [K, P, .]
    steps = torch.cat([x.log_softmax(-1) for x in policies.split(3, -1)], -1)
    log_q = torch.stack([nine(x) for x in steps]).logsumexp(0) - math.log(2)
    torch.testing.assert_close(log_q.exp().sum(1), torch.ones(2).double())
    theta = torch.randn(2, 12, generator=g).double().requires_grad_()
    expert, policy = (torch.randint(9, (2, 12), generator=g) for _ in range(2))
    return SimpleNamespace(theta=theta, log_q=log_q, expert=expert, policy=policy)


def value(case: SimpleNamespace) -> tuple[Tensor, Tensor]:
    cost = nine(case.theta)
    c, q = ([x.gather(1, which) for which in (case.expert, case.policy)] for x in (cost, case.log_q))
    return gcl.objective(c[0], q[0], c[1], q[1])


def test_the_gradient_is_that_of_an_explicit_log_sum_exp(case):
    """One learner at a time, its weights worked out in probabilities: Z by root finding, mu by its definition."""
    loss, log_z = value(case)
    (ours,) = torch.autograd.grad(loss.sum(), case.theta)
    for p in range(2):
        theta = case.theta[p].detach().clone().requires_grad_()
        cost, q = nine(theta[None])[0], case.log_q[p].exp()
        both = torch.cat([case.expert[p], case.policy[p]])
        c, mass = cost.detach(), lambda z, c, q: (-c).exp() / z / 2 + q / 2

        def miss(z: float, c=c, q=q, both=both, mass=mass) -> float:
            return float(((-c).exp() / mass(z, c, q))[both].mean()) - z

        z = brentq(miss, 1e-6, 1e6, xtol=1e-14, rtol=1e-14)
        weight = 1 / mass(z, c, q)
        explicit = cost[case.expert[p]].mean() + (weight[both] * (-cost[both]).exp()).mean().log()
        (gradient,) = torch.autograd.grad(explicit, theta)
        torch.testing.assert_close(ours[p], gradient, rtol=1e-8, atol=1e-10)
        torch.testing.assert_close(loss[p], explicit, rtol=1e-8, atol=0)
        assert log_z[p].item() == pytest.approx(math.log(z), abs=1e-9)
        assert gradient.abs().max() > 0.01


def test_the_gradient_is_the_discriminators(case):
    """Claim 2 of Finn et al. 2016: D = sigmoid(-c - log Z - log q), logistic loss, at the solved Z."""
    loss, log_z = value(case)
    logit = -nine(case.theta) - log_z[:, None] - case.log_q
    cross_entropy = softplus(-logit.gather(1, case.expert)).mean(1) + softplus(logit.gather(1, case.policy)).mean(1)
    ours, theirs = (torch.autograd.grad(x.sum(), case.theta)[0] for x in (loss, cross_entropy))
    torch.testing.assert_close(ours, theirs, rtol=1e-8, atol=1e-10)


def test_at_its_optimum_the_likelihood_of_maximum_entropy_is_at_its_own():
    """Demonstrations in known shares, samples in those of q: exp(-c) / Z becomes the demonstrations' distribution,
    log Z the log-sum-exp over all nine, and the exact gradient mean_demo dc - E_p_theta[dc] vanishes."""
    expert = torch.arange(9).repeat_interleave(torch.tensor([1, 8, 3, 2, 12, 5, 6, 4, 4]))[None]
    policy = torch.arange(9).repeat_interleave(torch.tensor([5, 5, 9, 1, 2, 8, 5, 5, 5]))[None]
    share = {name: x[0].bincount().double() / 45 for name, x in (("p", expert), ("q", policy))}
    theta = torch.zeros(1, 12).double().requires_grad_()
    case = SimpleNamespace(theta=theta, log_q=share["q"].log()[None], expert=expert, policy=policy)
    optimizer = searcher([theta])

    def closure() -> Tensor:
        optimizer.zero_grad()
        # The gradient alone takes the weights as constants: search along the logistic loss, whose gradient is the same.
        logit = -nine(theta) - value(case)[1][:, None] - case.log_q
        loss = softplus(-logit.gather(1, expert)).mean() + softplus(logit.gather(1, policy)).mean()
        theta.grad = torch.autograd.grad(value(case)[0].sum(), theta)[0]
        return loss.detach()

    optimizer.step(closure)
    cost = nine(theta)[0]
    torch.testing.assert_close((-cost).softmax(0), share["p"], rtol=0, atol=1e-6)
    exact = cost[expert[0]].mean() + (-cost).logsumexp(0)
    assert torch.autograd.grad(exact, theta)[0].abs().max() < 1e-6
    torch.testing.assert_close(value(case)[1][0], (-cost).logsumexp(0), rtol=0, atol=1e-6)


def test_weights_live_in_log_space():
    cost, log_q = torch.tensor([[2e4, -3e4, 1e4]], requires_grad=True), torch.tensor([[-4e4, 2e4, 0.0]])
    loss, log_z = gcl.objective(cost, log_q, cost - 5e3, log_q)
    (slope,) = torch.autograd.grad(loss.sum(), cost)
    assert loss.isfinite().all()
    assert log_z.isfinite().all()
    assert slope.isfinite().all()


# The loss, of trajectories of different lengths


def trajectories(seed: int) -> Trajectories:
    """Three of each learner, of 4, 2 and 3 steps; the second ended and stands 5 more steps in the absorbing state."""
    g = torch.Generator().manual_seed(seed)
    obs, action = torch.randn(2, 12, 2, generator=g), torch.randn(2, 12, 1, generator=g)
    zero = torch.zeros(2, 12)
    steps = Batch(obs, action, obs, zero, torch.randn(2, 12, generator=g), zero)
    absorbing = torch.zeros(2, 12, dtype=torch.bool)
    absorbing[:, 4 + 2] = True
    weight = torch.tensor([[1.0, 1, 1, 1], [1, 1, 5, 0], [1, 1, 1, 0]]).expand(2, -1, -1)
    return Trajectories(steps.into_absorbing(absorbing), weight, torch.randn(2, 3, generator=g) - 3)


def test_the_loss_step_by_step():
    model = gcl.Reward(2, 1, Generators(SEEDS, "weights"), CONFIG)
    for parameter in model.parameters():
        parameter.data += 0.3 * torch.randn_like(parameter)
    expert, policy = trajectories(1), trajectories(2)
    loss = gcl.loss(model, Fixed(trajectories=expert), Fixed(trajectories=policy), CONFIG)
    for p in range(2):
        sums, bends = [], []
        for tau in (expert, policy):
            x = tau.steps.inputs().view(2, 3, 4, 4)
            step = [
                [model.cost(x[:, i, t, None])[p, 0, 0].item() + 0.5 * x[p, i, t, 3].item() ** 2 for t in range(4)]
                for i in range(3)
            ]
            sums.append([sum(step[0]), step[1][0] + step[1][1] + 5 * step[1][2], sum(step[2][:3])])
            triples = [step[0][:3], step[0][1:], step[1][:3], step[2][:3]]
            bends.append(sum((c - 2 * b + a) ** 2 for a, b, c in triples) / 4)
        c = [torch.tensor([x]).double() for x in sums]
        main, _ = gcl.objective(c[0], expert.log_mixture[p, None].double(), c[1], policy.log_mixture[p, None].double())
        assert loss[p].item() == pytest.approx(main.item() + CONFIG.lcr * sum(bends) / 2, rel=1e-5)
    assert all(x.shape == (2,) and not x.requires_grad for x in model.diagnostics.values())


def test_effective_samples_are_those_of_the_papers_weights():
    """z_j exp(-c_j) of the policy's samples alone: the demonstrations would hide how few are left."""
    model = gcl.Reward(2, 1, Generators(SEEDS, "weights"), CONFIG)
    policy = trajectories(2)
    gcl.loss(model, Fixed(trajectories=trajectories(1)), Fixed(trajectories=policy), CONFIG)
    w = (-policy.sum(model(policy.steps)) - policy.log_mixture).exp()
    torch.testing.assert_close(model.diagnostics["effective_samples"], (w.sum(1) ** 2 / (w**2).sum(1)).detach())


def test_a_learner_without_episodes_learns_nothing_yet():
    model = gcl.Reward(2, 1, Generators(SEEDS, "weights"), CONFIG)
    policy = trajectories(2)
    policy = Trajectories(policy.steps, policy.weight * torch.tensor([0.0, 1.0])[:, None, None], policy.log_mixture)
    loss = gcl.loss(model, Fixed(trajectories=trajectories(1)), Fixed(trajectories=policy), CONFIG)
    assert loss[0] == 0
    assert loss[1] != 0
    for slope in torch.autograd.grad(loss.sum(), [p for p in model.parameters() if p.requires_grad]):
        assert not slope[0].any()
        assert slope[1].any()


def test_equally_long_trajectories_leave_a_constant_free():
    """So the cost has none to learn: it would drift on rounding alone."""
    model = gcl.Reward(2, 1, Generators(SEEDS, "weights"), CONFIG)
    expert, policy = (
        Trajectories(tau.steps, tau.weight * (8 / tau.weight.sum(-1, keepdim=True)), tau.log_mixture)
        for tau in (trajectories(1), trajectories(2))
    )
    sources = Fixed(trajectories=expert), Fixed(trajectories=policy)
    before = gcl.loss(model, *sources, CONFIG)
    frozen = [p for p in model.parameters() if not p.requires_grad]
    assert [p.shape for p in frozen] == [(2, 1, 1)]
    frozen[0].data += 7
    torch.testing.assert_close(gcl.loss(model, *sources, CONFIG), before, rtol=1e-4, atol=1e-4)


def test_reward_is_minus_cost_minus_log_pi():
    model = gcl.Reward(2, 1, Generators(SEEDS, "weights"), CONFIG)
    batch = trajectories(1).steps
    paid = gcl.reward(model, batch, CONFIG)
    torch.testing.assert_close(
        paid, -model.cost(batch.inputs())[..., 0] - 0.5 * batch.action[..., 0] ** 2 - batch.log_prob
    )
    end = torch.tensor([0.0, 0, 1, 0]).expand(2, 1, 4)
    torch.testing.assert_close(paid[:, 6:7], -model.cost(end)[..., 0])  # in the absorbing state log pi = 0


# Appendix B in small: demonstrations of a point mass, N(0, 1); the cost theta a^2; Gaussian policies that move half way
# to the best one under the current cost, five of them remembered.


def quantiles(std: float, n: int) -> Tensor:
    """A sample as even as can be."""
    return Normal(0.0, std).icdf((torch.arange(n).double() + 0.5) / n)


def point_mass(weighted: bool = True, entropy: bool = True) -> tuple[float, float]:
    """Return the variance of the cost's distribution, and of the policy, in the end."""
    n, keep = 300, 5
    demonstrations = quantiles(1.0, n * keep)
    theta, log_std, stds = torch.tensor(0.05).double(), math.log(3.0), [3.0]
    for _ in range(80):
        samples = torch.cat([quantiles(std, n) for std in stds] * keep)[: n * keep]
        log_q = [
            torch.stack([Normal(0.0, std).log_prob(x) for std in stds]).logsumexp(0) - math.log(len(stds))
            for x in (demonstrations, samples)
        ]
        for _ in range(10):
            theta.requires_grad_()
            c = [theta * x.square() for x in (demonstrations, samples)]
            if weighted:
                loss, _ = gcl.objective(c[0][None], log_q[0][None], c[1][None], log_q[1][None])
            else:
                loss = c[0].mean() + (-torch.cat(c)).exp().mean().log()
            (slope,) = torch.autograd.grad(loss.sum(), theta)
            theta = (theta.detach() - 0.05 * slope).clamp(min=1e-3)
        best = -0.5 * math.log(2 * theta) if entropy else -math.inf
        log_std = (log_std + best) / 2 if entropy else log_std - 0.1
        stds = [*stds, math.exp(log_std)][-keep:]
    return 1 / (2 * theta.item()), math.exp(2 * log_std)


def test_the_point_mass_is_recovered():
    cost, policy = point_mass()
    assert cost == pytest.approx(1, abs=0.03)
    assert policy == pytest.approx(1, abs=0.03)


def test_without_weights_the_variance_is_overestimated():
    cost, policy = point_mass(weighted=False)
    assert cost > 1.5
    assert policy > 1.5


def test_without_entropy_the_policy_collapses():
    _, policy = point_mass(entropy=False)
    assert policy < 0.01


def test_with_a_density_of_one_a_demonstration_weighs_its_exponential_alone():
    """DI-engine's weights: exp(-c) of a demonstration, exp(-c) / q of a sample; and the policy is paid -c."""
    config = replace(CONFIG, demonstration_density="one", lcr=0.0, entropy_weight=0.0)
    model = gcl.Reward(2, 1, Generators(SEEDS, "weights"), config)
    expert, policy = trajectories(1), trajectories(2)
    loss = gcl.loss(model, Fixed(trajectories=expert), Fixed(trajectories=policy), config)
    costs = [tau.sum(model(tau.steps)).double() for tau in (expert, policy)]
    for p in range(2):
        demos, samples = (c[p].tolist() for c in costs)
        weights = [math.exp(-c) for c in demos]
        weights += [math.exp(-c - q) for c, q in zip(samples, policy.log_mixture[p].tolist(), strict=True)]
        expected = sum(demos) / 3 + math.log(sum(weights) / 6)
        assert loss[p].item() == pytest.approx(expected, rel=1e-5)
    paid = gcl.reward(model, expert.steps, config)
    torch.testing.assert_close(paid, -model(expert.steps))


def test_segments_need_the_absorbing_state():
    with pytest.raises(InputError, match=r"segment: .* loop\.absorbing"):
        replace(CONFIG, segment=5, loop=replace(CONFIG.loop, absorbing=False))
