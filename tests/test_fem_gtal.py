"""Costs linear in features: the worst case, solved for, against a search through the class of costs."""

import itertools

import pytest
import torch
from torch import Tensor

from algorithms import fem, gtal
from algorithms.core.adversarial import imitate
from algorithms.core.experience import Batch, Samples
from algorithms.core.linear import LinearReward, features, linear_reward
from algorithms.core.population import Generators
from algorithms.core.ppo import PPOConfig
from tests.toy import Puck, demonstrations

SEEDS = [3, 8]


def source(seed: int, share: float, shift: float = 0.0) -> Samples:
    """Nine rows of two observations and an action, of which the learners may use 6 and 9."""
    g = torch.Generator().manual_seed(seed)
    obs, action = torch.randn(2, 9, 2, generator=g) + shift, torch.randn(2, 9, 1, generator=g)
    zero = torch.zeros(2, 9)
    rows = Batch(obs, action, obs, zero, zero, zero)
    return Samples(rows, torch.tensor([6, 9]), torch.full((2,), share), Generators(SEEDS, "samples"))


def feature_means(samples: Samples) -> Tensor:
    """The same expectation, one number at a time: rows in equal shares, the absorbing state in its own."""
    means = []
    for p, size in enumerate((6, 9)):
        share, total = float(samples.absorbing_share[p]), torch.zeros(9, dtype=torch.float64)
        points = [
            ([*samples.rows.obs[p, i].tolist(), 0.0, *samples.rows.action[p, i].tolist()], (1 - share) / size)
            for i in range(size)
        ]
        for x, weight in [*points, ([0.0, 0.0, 1.0, 0.0], share)]:
            total += weight * torch.tensor([*x, *((0.01 * v) ** 2 for v in x), 1.0], dtype=torch.float64)
        means.append(total)
    return torch.stack(means).float()


def expected(model: LinearReward, samples: Samples) -> Tensor:
    return samples.mean(lambda batch: model(batch)[..., None])[:, 0]


def solved(method, expert: Samples, policy: Samples):
    model = LinearReward(2, 1, Generators(SEEDS, "weights"), method.Config())
    return model, method.loss(model, expert, policy, method.Config())


def test_features_by_hand():
    one = torch.tensor([[[2.0, -3.0]]])
    zero = torch.zeros(1, 1)
    batch = Batch(one, torch.tensor([[[0.5]]]), one, zero, zero, zero)
    assert features(batch)[0, 0].tolist() == pytest.approx([2, -3, 0, 0.5, 4e-4, 9e-4, 0, 2.5e-5, 1])
    end = features(batch.into_absorbing(torch.ones(1, 1, dtype=torch.bool)))
    assert end[0, 0].tolist() == pytest.approx([0, 0, 1, 0, 0, 0, 1e-4, 0, 1])


def test_features_of_discrete_actions_by_hand():
    """A block of the observation for each action, the flag, and 1."""
    obs, zero = torch.tensor([[[2.0, -3.0]]]), torch.zeros(1, 1)
    batch = Batch(obs, torch.tensor([[[0.0, 1.0, 0.0]]]), obs, zero, zero, zero, True)
    block = [2, -3, 4e-4, 9e-4]
    assert features(batch)[0, 0].tolist() == pytest.approx([*[0] * 4, *block, *[0] * 4, 0, 1])
    end = features(batch.into_absorbing(torch.ones(1, 1, dtype=torch.bool)))
    assert end[0, 0].tolist() == pytest.approx([*[0] * 12, 1, 1])


@pytest.mark.parametrize("share", [0.0, 0.3])
def test_feature_expectations_are_exact(share):
    torch.testing.assert_close(source(0, share).mean(features), feature_means(source(0, share)))


def test_fem_solves_the_worst_case_in_the_ball():
    """No cost in 20,000 of norm 1 tells the two apart better; those that do nearly as well are nearly the one found."""
    expert, policy = source(0, 0.1), source(1, 0.3, shift=0.5)
    gap = feature_means(policy) - feature_means(expert)
    model, value = solved(fem, expert, policy)
    w = torch.randn(20_000, 9, generator=torch.Generator().manual_seed(2))
    w = w / w.norm(dim=1, keepdim=True)
    for p in range(2):
        w[0] = -model.weight[p]  # the cost's
        worth = w @ gap[p]
        assert worth.argmax() == 0
        torch.testing.assert_close(worth[0], -value[p])
        assert w[0].norm() == pytest.approx(1)
        assert (w[worth > 0.9 * worth[0]] @ w[0]).min() > 0.85


def test_gtal_solves_the_worst_case_on_the_simplex():
    """All corners of the simplex over the features and their negatives; a linear cost has its maximum in a corner."""
    expert, policy = source(0, 0.1), source(1, 0.3, shift=0.5)
    gap = feature_means(policy) - feature_means(expert)
    model, value = solved(gtal, expert, policy)
    for p in range(2):
        corners = [sign * gap[p, i] for i, sign in itertools.product(range(9), (1, -1))]
        torch.testing.assert_close(-value[p], max(corners))
        assert sorted(model.weight[p].abs().tolist()) == [0] * 8 + [1]
        inside = torch.rand(1000, 18, generator=torch.Generator().manual_seed(3))
        inside = inside / inside.sum(1, keepdim=True)
        assert (inside @ torch.cat([gap[p], -gap[p]]) <= -value[p]).all()


@pytest.mark.parametrize("method", [fem, gtal])
def test_the_expert_earns_more_than_the_policy_by_the_worst_case(method):
    expert, policy = source(0, 0.1), source(1, 0.3, shift=0.5)
    model, value = solved(method, expert, policy)
    torch.testing.assert_close(expected(model, expert) - expected(model, policy), -value, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("method", [fem, gtal])
@pytest.mark.parametrize(("expert_ends", "policy_ends"), [(0.0, 0.5), (0.5, 0.0)])
def test_who_ends_more_often_than_the_expert_loses_by_ending(method, expert_ends, policy_ends):
    """Two sources that differ in nothing but how often they end."""
    model, _ = solved(method, source(0, expert_ends), source(0, policy_ends))
    here, end = (expected(model, source(0, share)) for share in (0.0, 1.0))
    assert ((end < here) == (policy_ends > expert_ends)).all()
    assert ((model.weight[:, 2] < 0) == (policy_ends > expert_ends)).all()  # the flag's


@pytest.mark.parametrize("method", [fem, gtal])
def test_training_solves_once_an_iteration_and_descends_nothing(method, monkeypatch):
    calls = []
    config = method.Config(ppo=PPOConfig(hidden=(8,), steps=24, epochs=2, minibatches=2))

    def loss(*args) -> Tensor:
        assert not torch.is_grad_enabled()
        calls.append(method.loss(*args))
        return calls[-1]

    env, expert = Puck(SEEDS, 3), demonstrations([1, 4])
    seen = list(itertools.islice(imitate(LinearReward, loss, linear_reward, env, expert, SEEDS, config), 3))
    assert len(calls) == 3
    assert [p.metrics["reward_loss"].tolist() for p in seen] == [value.tolist() for value in calls]
    model = seen[-1].models["reward"]
    assert not list(model.parameters())
    assert model.state_dict()["weight"].abs().sum() > 0
