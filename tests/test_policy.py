"""Both kinds of policy against torch's own distributions, and their way through a file."""

import pytest
import safetensors.torch
import torch
from scipy.stats import chisquare
from torch.distributions import Independent, Normal, OneHotCategorical

from algorithms.core.policy import CategoricalPolicy, GaussianPolicy, Policy
from algorithms.core.population import Generators
from tests.toy import linears

SCALE = torch.tensor([0.4, 3.0])
SEEDS = [0, 5, 9]


def made(hidden: tuple[int, ...] = (8, 6), seeds: list[int] = SEEDS) -> GaussianPolicy:
    """Policies that are no longer near their start."""
    policy, g = GaussianPolicy(4, SCALE, hidden, Generators(seeds, "weights")), Generators(seeds, "test")
    linears(policy.mean)[-1].weight.data *= 100
    linears(policy.mean)[-1].bias.data = g.normal(1, 2)
    policy.log_std.data = g.normal(1, 2)
    policy.normalizer.update(g.normal(50, 4) * 3 + 1)
    return policy


def distribution(policy: GaussianPolicy, obs: torch.Tensor) -> Independent:
    """That of `action / action_scale`."""
    return Independent(
        Normal(policy.mean(policy.normalizer(obs)), policy.log_std.exp().expand(-1, obs.shape[1], -1)), 1
    )


def test_log_prob_is_the_density_of_the_scaled_action():
    policy, obs = made(), torch.randn(3, 20, 4) * 3
    action = torch.randn(3, 20, 2) * SCALE
    expected = distribution(policy, obs).log_prob(action / SCALE)
    torch.testing.assert_close(policy.log_prob(obs, action), expected)
    in_task_units = Independent(Normal(policy(obs), (policy.log_std.exp() * SCALE).expand(-1, 20, -1)), 1)
    torch.testing.assert_close(policy.log_prob(obs, action), in_task_units.log_prob(action) + SCALE.log().sum())


def test_log_density_takes_scaled_numbers():
    policy, obs = made(), torch.randn(3, 20, 4)
    action = torch.randn(3, 20, 2)
    mean = policy.mean(policy.normalizer(obs))
    torch.testing.assert_close(policy.log_density(mean, action), policy.log_prob(obs, action * SCALE))


def test_entropy_is_that_of_the_scaled_action():
    policy = made()
    torch.testing.assert_close(
        policy.entropy(torch.empty(0)), distribution(policy, torch.zeros(3, 1, 4)).entropy()[:, 0]
    )


@pytest.mark.parametrize("log_std", [-5.0, 0.0, 2.0])
def test_log_prob_and_its_gradient_are_finite_at_the_boundary_and_far_out(log_std):
    policy = made()
    policy.log_std.data.fill_(log_std)
    action = torch.tensor([-1e4, -1.0, -1.0 + 1e-7, 0.0, 1.0, 1e4])[None, :, None].expand(3, -1, 2) * SCALE
    log_prob = policy.log_prob(torch.full((3, 6, 4), 1e4), action)
    assert log_prob.isfinite().all()
    assert all(g.isfinite().all() for g in torch.autograd.grad(log_prob.sum(), list(policy.parameters())))


def test_act_draws_from_the_policy_and_forward_is_its_mean():
    policy, obs = made(), torch.randn(3, 1, 4)
    assert torch.equal(policy.act(obs, torch.zeros(3, 1, 2)), policy(obs))
    assert torch.equal(policy(obs), policy.mean(policy.normalizer(obs)) * SCALE)
    n = 20_000
    actions = policy.act(obs.expand(-1, n, -1), torch.randn(3, n, 2)).detach()
    std = (policy.log_std.exp() * SCALE)[:, 0].detach()
    assert ((actions.mean(1) - policy(obs)[:, 0]).abs() < 4 * std / n**0.5).all()
    assert ((actions.std(1) - std).abs() < 4 * std / (2 * n) ** 0.5).all()
    noise = torch.randn(3, 5, 2)
    torch.testing.assert_close(
        policy.log_prob(obs.expand(-1, 5, -1), policy.act(obs.expand(-1, 5, -1), noise)),
        Normal(0, 1).log_prob(noise).sum(-1) - policy.log_std.sum(-1),
        rtol=1e-4,
        atol=1e-4,
    )


def test_an_untrained_policy_is_standard_normal_in_scaled_units():
    policy = GaussianPolicy(4, SCALE.double(), (8,), Generators(SEEDS, "weights"))
    assert not policy.log_std.any()
    assert (policy(torch.randn(3, 50, 4)) / SCALE).abs().max() < 0.1
    assert policy(torch.randn(3, 1, 4)).dtype == torch.float32


@pytest.mark.parametrize("hidden", [(), (8,), (8, 6), (8, 7, 6, 5, 4)])
def test_a_population_survives_a_file_and_a_learner_its_selection(hidden):
    policy, obs = made(hidden), torch.randn(3, 9, 4)
    action = torch.randn(3, 9, 2)
    tensors = safetensors.torch.load(safetensors.torch.save(policy.state_dict()))
    again = GaussianPolicy.from_tensors(tensors)
    assert torch.equal(again(obs), policy(obs))
    assert torch.equal(again.log_prob(obs, action), policy.log_prob(obs, action))
    for p in range(3):
        one = policy.select(p)
        torch.testing.assert_close(one(obs[p : p + 1]), policy(obs)[p : p + 1], rtol=1e-6, atol=1e-6)
        torch.testing.assert_close(one.log_prob(obs[p : p + 1], action[p : p + 1])[0], policy.log_prob(obs, action)[p])


def test_a_selected_learner_is_a_copy():
    policy, obs = made(), torch.randn(1, 9, 4)
    one = policy.select(1)
    before = one(obs)
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter.fill_(float("nan"))
    policy.normalizer.update(torch.randn(3, 50, 4) * 100)
    assert torch.equal(one(obs), before)


# Categorical


def categorical(hidden: tuple[int, ...] = (8, 6)) -> CategoricalPolicy:
    """Policies over three actions that are no longer near their start."""
    policy, g = CategoricalPolicy(4, 3, hidden, Generators(SEEDS, "weights")), Generators(SEEDS, "test")
    linears(policy.logits)[-1].weight.data *= 100
    linears(policy.logits)[-1].bias.data = g.normal(1, 3)
    policy.normalizer.update(g.normal(50, 4) * 3 + 1)
    return policy


def test_categorical_log_prob_and_entropy_are_those_of_torch():
    policy, obs = categorical(), torch.randn(3, 20, 4) * 3
    head = policy.head(policy.normalizer(obs))
    expected = OneHotCategorical(logits=head)
    action = expected.sample()
    torch.testing.assert_close(policy.log_prob(obs, action), expected.log_prob(action))
    torch.testing.assert_close(policy.log_density(head, action), expected.log_prob(action))
    torch.testing.assert_close(policy.entropy(head), expected.entropy().mean(1))
    assert expected.entropy().std(1).min() > 0.01  # it does depend on the state


def test_categorical_actions_are_drawn_with_their_probabilities():
    policy, obs, n = categorical(), torch.randn(3, 1, 4), 20_000
    noise = Generators(SEEDS, "actions").normal(n, 3)
    action = policy.act(obs.expand(-1, n, -1), noise)
    assert torch.equal(action.sort(-1).values, torch.tensor([0.0, 0.0, 1.0]).expand_as(action))
    probability = policy.head(policy.normalizer(obs))[:, 0].softmax(-1).detach().double()
    for p in range(3):
        assert chisquare(action[p].sum(0).tolist(), n * (probability[p] / probability[p].sum()).numpy()).pvalue > 1e-3


def test_the_deterministic_categorical_policy_takes_the_likeliest_action():
    policy, obs = categorical(), torch.randn(3, 20, 4)
    head = policy.head(policy.normalizer(obs))
    assert torch.equal(policy(obs), torch.eye(3)[head.argmax(-1)])


def test_an_untrained_categorical_policy_is_nearly_uniform():
    policy = CategoricalPolicy(4, 3, (8,), Generators(SEEDS, "weights"))
    head = policy.head(torch.randn(3, 50, 4))
    assert (head.softmax(-1) - 1 / 3).abs().max() < 0.02
    assert torch.equal(policy.action_scale, torch.ones(3))


@pytest.mark.parametrize("far", [30.0, 1e4])
def test_certain_categorical_policies_have_finite_numbers(far):
    """Gumbel noise of the largest and smallest normal numbers, and log probabilities of actions never taken."""
    policy = categorical(())
    linears(policy.logits)[-1].bias.data = torch.tensor([0.0, far, -far]).expand(3, 1, 3).clone()
    obs = torch.zeros(3, 2, 4)
    noise = torch.tensor([[-9.0, 9.0, 0.0], [30.0, -30.0, 0.0]]).expand(3, 2, 3)
    assert torch.equal(policy.act(obs, noise).sum(-1), torch.ones(3, 2))
    assert policy.log_prob(obs, torch.eye(3)[None, :2].expand(3, -1, -1)).isfinite().all()
    assert policy.entropy(policy.head(obs)).isfinite().all()


@pytest.mark.parametrize("hidden", [(), (8,), (8, 6)])
def test_a_categorical_population_survives_a_file_and_a_learner_its_selection(hidden):
    policy, obs = categorical(hidden), torch.randn(3, 9, 4)
    again = Policy.from_tensors(safetensors.torch.load(safetensors.torch.save(policy.state_dict())))
    assert isinstance(again, CategoricalPolicy)
    assert torch.equal(again.head(obs), policy.head(obs))
    for p in range(3):
        one = policy.select(p)
        torch.testing.assert_close(one.head(obs[p : p + 1]), policy.head(obs)[p : p + 1], rtol=1e-6, atol=1e-6)
