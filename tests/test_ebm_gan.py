"""EBM-GAN: its densities by hand, its optimum where all distributions are known, its estimates of a known log Z."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import fields, replace

import pytest
import torch
from scipy.integrate import quad
from scipy.stats import binomtest, chisquare, kstest, norm
from torch import Tensor
from torch.distributions import Normal

from algorithms import ebm_gan
from algorithms.core.actions import CategoricalActions, GaussianActions
from algorithms.core.adversarial import LoopConfig
from algorithms.core.density import GaussianMixture
from algorithms.core.experience import Batch, Samples
from algorithms.core.generator import alive
from algorithms.core.population import Generators
from algorithms.core.ppo import PPOConfig
from algorithms.core.progress import Progress
from tests.fixed import Fixed, searcher
from tests.toy import Puck, demonstrations

SEEDS = [3, 8]
CONFIG = ebm_gan.Config(hidden=(6,), batch=8, components=2, noise=0.05, base_std=3.0)
LOG_STD = torch.tensor([[[-1.0]], [[0.2]]])


def mean_action(obs: Tensor) -> Tensor:
    """What a policy does at observations of two numbers."""
    return obs[..., :1] * 0.5 - obs[..., 1:] ** 2


def acting() -> GaussianActions:
    return GaussianActions(mean_action, LOG_STD)


def model_of(config: ebm_gan.Config = CONFIG) -> ebm_gan.Reward:
    """With a policy and shares of the absorbing state, and nothing round about its q_phi."""
    model = ebm_gan.Reward(2, 1, Generators(SEEDS, "weights"), config)
    model.q.actions, model.q.share = acting(), torch.tensor([0.2, 0.6])
    g = torch.Generator().manual_seed(0)
    model.q.density.fit(torch.randn(2, 30, 2, generator=g) * torch.tensor([1.0, 0.4]), torch.ones(2, 30), 2)
    return model


def batch(n: int = 8) -> Batch:
    """The last one stands in the absorbing state."""
    g = torch.Generator().manual_seed(1)
    obs, action, zero = torch.randn(2, n, 2, generator=g), torch.randn(2, n, 1, generator=g), torch.zeros(2, n)
    return Batch(obs, action, obs, zero, zero, zero).into_absorbing((torch.arange(n) == n - 1).expand(2, -1))


# Densities by hand


def test_energy_by_hand():
    model, inputs = model_of(), batch().inputs()
    e_theta = model.e_theta(inputs)[..., 0].detach()
    for p, i in itertools.product(range(2), range(8)):
        s1, s2, flag, a = inputs[p, i].tolist()
        base = (s1**2 + s2**2 + a**2) / (2 * 3**2)
        assert model.energy(inputs)[p, i].item() == pytest.approx(base + e_theta[p, i].item(), abs=1e-5)
        assert flag == (i == 7)


def test_log_q_by_hand():
    """The atom has its share; of the rest a tenth is the wide Gaussian, the others q_phi(s) times the policy's density,
    which has the instance noise in it."""
    model, b = model_of(), batch()
    found, states = model.log_q(b.inputs()), model.q.density.log_prob(b.obs)
    for p, i in itertools.product(range(2), range(8)):
        share, std = model.q.share[p].item(), math.hypot(LOG_STD[p].exp().item(), CONFIG.noise)
        log_pi = Normal(mean_action(b.obs)[p, i, 0], std).log_prob(b.action[p, i, 0]).item()
        x = torch.cat([b.obs, b.action], -1)[p, i]
        wide = Normal(0.0, 3.0).log_prob(x).sum().exp().item()
        alive = math.log((1 - share) * (0.9 * math.exp(states[p, i].item() + log_pi) + 0.1 * wide))
        assert found[p, i].item() == pytest.approx(math.log(share) if i == 7 else alive, abs=1e-4)


def test_q_is_normalised():
    """Over observations and actions, and the atom."""
    model = model_of(replace(CONFIG, base_std=1.0))
    line, actions = torch.linspace(-5, 5, 41), torch.linspace(-32, 8, 161)
    grid = torch.cartesian_prod(line, line, actions).expand(2, -1, -1)
    total = model.log_q(alive(grid[..., :2], grid[..., 2:])).exp().sum(1) * 0.25**3
    torch.testing.assert_close(total + model.q.share, torch.ones(2), rtol=2e-3, atol=0)


def test_dimensions_left_out_have_no_part_in_q():
    """A wide Gaussian over two dimensions, not three."""
    model, b = model_of(), batch()
    model.q.density.kept = torch.tensor([[1.0, 0.0], [1.0, 1.0]])
    inputs = model.q.kept(b.inputs())
    log_pi = model.q.actions.log_prob(inputs[..., :2], b.action, CONFIG.noise)
    x = torch.stack([inputs[..., 0], inputs[..., 3]], -1)
    parts = [
        log_pi + model.q.density.log_prob(inputs[..., :2]) + math.log(0.9),
        Normal(0.0, 3.0).log_prob(x).sum(-1) + math.log(0.1),
    ]
    expected = torch.logaddexp(*parts) + (1 - model.q.share[:, None]).log()
    torch.testing.assert_close(model.log_q(inputs)[0, :7], expected[0, :7])


def test_a_tenth_of_the_generator_is_the_wide_gaussian():
    """In the place of the policy's samples, never of absorbing ones."""
    model, n = model_of(), 20_000
    inputs = torch.full((2, n, 4), 0.5)
    inputs[..., 2] = 0
    inputs[:, n // 2 :] = torch.tensor([0.0, 0, 1, 0])
    model.q.density.kept = torch.tensor([[1.0, 0.0], [1.0, 1.0]])
    out = model.q.defended(inputs)
    changed = (out != inputs).any(-1)
    assert not changed[:, n // 2 :].any()
    for p in range(2):
        assert binomtest(int(changed[p].sum()), n // 2, 0.1).pvalue > 1e-3
        drawn = out[p, changed[p]]
        assert not drawn[:, 2].any()
        assert kstest(drawn[:, 3].numpy(), norm(scale=3).cdf).pvalue > 1e-3
        assert drawn[:, 1].any() == (p == 1)


def test_logit_reward_and_loss_by_hand():
    config = replace(CONFIG, noise=0.0, defensive=0.0)
    model, x = model_of(config).double(), batch()
    x = Batch(*(getattr(x, f.name).double() for f in fields(Batch) if f.name != "discrete"))
    y = replace(x, obs=-x.obs)
    loss = ebm_gan.loss(model, Fixed(x), Fixed(y), config)
    logits = [-model.energy(b.inputs()) - model.log_q(b.inputs()) - model.log_z[:, None] for b in (x, y)]
    d = [logit.sigmoid() for logit in logits]
    torch.testing.assert_close(loss, -d[0].log().mean(1) - logits[1].neg().sigmoid().log().mean(1))
    torch.testing.assert_close((1 - d[0]).mean(1), d[1].mean(1), rtol=1e-9, atol=1e-12)  # what solves for b
    paid = ebm_gan.reward(model, y, config)
    torch.testing.assert_close(paid, d[1].log() - logits[1].neg().sigmoid().log())


@pytest.mark.parametrize("hidden", [(), (6,), (6, 5)])
def test_energies_of_many_actions_are_those_of_each(hidden):
    model, obs, actions = model_of(replace(CONFIG, hidden=hidden)), torch.randn(2, 7, 2), torch.randn(2, 7, 4, 1)
    each = [model.energy(alive(obs, action)) for action in actions.unbind(2)]
    torch.testing.assert_close(model.energies(obs, actions), torch.stack(each, 2))


def test_conditional_log_z_equals_quadrature():
    """log of the integral over actions of exp(-E(s, a)); it takes the place of log q_phi(s)."""
    model, obs = model_of(replace(CONFIG, conditional=True, actions=4000)), 0.5 * torch.randn(2, 3, 2)
    log_pi = model.q.actions.log_prob(obs, mean_action(obs), CONFIG.noise)
    found = model.log_q(alive(obs, mean_action(obs))) - log_pi - (1 - model.q.share[:, None]).log()
    for i in range(3):

        def weight(a: float, i: int = i) -> float:
            inputs = torch.tensor([*obs[1, i].tolist(), 0.0, a]).expand(2, 1, 4)
            return math.exp(-model.energy(inputs)[1, 0].item())

        # of the second learner, whose policy is wide enough to sample exp(-E)
        assert found[1, i].item() == pytest.approx(math.log(quad(weight, -15, 15)[0]), abs=0.15)


def test_noise_moves_neither_the_absorbing_state_nor_what_is_left_out():
    model = model_of()
    model.q.density.kept = torch.tensor([[1.0, 0.0], [1.0, 1.0]])
    b = batch(2000)
    noisy, clean = model.q.noisy(b), model.q.kept(b.inputs())
    moved = noisy - clean
    assert not moved[..., 2].any()
    assert not moved[:, -1].any()
    assert not moved[0, :, 1].any()
    assert not clean[0, :, 1].any()
    for column in (moved[0, :-1, 0], moved[1, :-1, 1], moved[0, :-1, 3]):
        assert abs(column.std() / CONFIG.noise - 1) < 0.1


# A finite space: five states and the absorbing one, no action that matters; all distributions in known shares.

EXPERT = torch.tensor([10, 3, 7, 1, 15, 24])  # of 60; the last is the absorbing state
POLICY = torch.tensor([4, 12, 5, 20, 9, 10])


class Table(GaussianMixture):
    """A density of one-hot observations."""

    def __init__(self, log_prob: Tensor) -> None:
        super().__init__(1, 5, Generators([0], "density"))
        self.table = log_prob
        self.double()

    def log_prob(self, x: Tensor) -> Tensor:
        return x @ self.table


def source(counts: Tensor) -> Fixed:
    """Sixty samples in just these shares."""
    state = torch.arange(6).repeat_interleave(counts)
    obs, zero = torch.eye(6).double()[state][None, :, :5], torch.zeros(1, 60).double()
    rows = Batch(obs, zero[..., None], obs, zero, zero, zero).into_absorbing((state == 5)[None])
    return Fixed(rows)


@pytest.mark.parametrize("right", [True, False])
def test_the_optimal_logit_is_the_ratio_of_densities_whatever_q_is(right):
    """With a right q_phi b is log Z as well, and exp(-E) / Z the expert's distribution; with a wrong one neither is."""
    config = replace(CONFIG, hidden=(), noise=0.0, defensive=0.0, batch=60)
    model = ebm_gan.Reward(5, 1, Generators([0], "weights"), config).double()
    shares = POLICY[:5] / POLICY[:5].sum() if right else torch.tensor([0.05, 0.3, 0.1, 0.15, 0.4])
    model.q.density = Table(shares.double().log())
    model.q.share = (POLICY[5:] / 60).double()
    width = 0.5 * math.log(2 * math.pi)  # of a standard normal action, which is 0 and so has density one in these units
    model.q.actions = GaussianActions(lambda obs: obs[..., :1] * 0, torch.full((1, 1, 1), -width).double())
    expert, policy = source(EXPERT), source(POLICY)
    optimizer = searcher(model.parameters())

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = ebm_gan.loss(model, expert, policy, config).sum()
        loss.backward()
        return loss.detach()

    optimizer.step(closure)
    closure()
    ratio = (EXPERT.double() / POLICY).log()
    logit = ebm_gan.reward(model, policy.transitions(60), config)[0].detach()
    torch.testing.assert_close(logit, ratio.repeat_interleave(POLICY), rtol=0, atol=1e-6)
    states = torch.eye(6).double()[None]
    energy = model.energy(torch.cat([states, 0 * states[..., :1]], -1))[0].detach()
    log_z = (-energy).logsumexp(0)
    apart = (model.log_z[0] - log_z).abs(), ((-energy).softmax(0) - EXPERT / 60).abs().max()
    assert all(x < 1e-6 for x in apart) if right else all(x > 0.02 for x in apart)


# Estimates of log Z


def samples(obs: Tensor, action: Tensor, size: Sequence[int], share: float) -> Samples:
    zero = torch.zeros(obs.shape[:2])
    rows = Batch(obs, action, obs, zero, zero, zero)
    draws = Generators(SEEDS, "samples")
    return Samples(rows, torch.tensor(size), torch.full((2,), share), draws, actions=acting())


@pytest.mark.parametrize("defensive", [0.0, 0.2])
def test_the_three_estimates_of_log_z_find_a_known_one(defensive):
    """E = |x|^2 / 2 and -log 7 in the absorbing state: Z = (2 pi)^(3/2) + 7. The policy's actions are wider than
    exp(-E)'s, its observations the same; the expert is exp(-E) / Z itself."""
    config = replace(CONFIG, base_std=1.0, batch=4000, components=1, noise=0.0, defensive=defensive, hidden=())
    model = ebm_gan.Reward(2, 1, Generators(SEEDS, "weights"), config)
    weight, bias = model.e_theta.parameters()
    weight.data.zero_()
    bias.data.zero_()
    weight.data[:, 2] = -math.log(7)
    truth = math.log((2 * math.pi) ** 1.5 + 7)
    draws = Generators(SEEDS, "test")
    n = 6000
    share = 7 / math.exp(truth)
    policy = samples(draws.normal(n, 2), draws.normal(n, 1) * 1.3, [n, n], 0.3)
    policy.actions = GaussianActions(lambda obs: obs[..., :1] * 0, torch.full((2, 1, 1), math.log(1.3)))
    expert = samples(draws.normal(n, 2), draws.normal(n, 1), [n // 2, n // 2], share)
    model.prepare(expert, policy, config)
    ebm_gan.loss(model, expert, policy, config)
    found = model.diagnostics
    for name in ("log_z", "log_z_generator", "log_z_mixture"):
        assert found[name].tolist() == pytest.approx([truth] * 2, abs=0.08), name
    if not defensive:  # weights N(a; 1) / N(a; 1.3^2): E[w]^2 / E[w^2] in closed form
        assert found["effective_share"].tolist() == pytest.approx([math.sqrt(2 * 1.69 - 1) / 1.69] * 2, abs=0.03)
    entropy = 1.5 * (1 + math.log(2 * math.pi))
    log_likelihood = -entropy + math.log(1 - share)  # of what is alive
    assert found["expert_log_likelihood"].tolist() == pytest.approx([log_likelihood] * 2, abs=0.1)
    assert found["state_log_likelihood"].tolist() == pytest.approx([-1 - math.log(2 * math.pi)] * 2, abs=0.1)


def test_held_out_means_rows_that_are_not_the_learners():
    """Ten rows: the first learner has 4 of them, the second all."""
    model = model_of(replace(CONFIG, noise=0.0))
    obs, action = torch.randn(2, 10, 2), torch.randn(2, 10, 1)
    expert = samples(obs, action, [4, 10], 0.0)
    model.measure(expert)
    found = model.diagnostics["expert_log_likelihood"] + model.diagnostics["log_z_mixture"]
    energy = model.energy(alive(obs, action))
    assert found[0].item() == pytest.approx(-energy[0, 4:].mean().item(), abs=1e-5)
    assert found[1].isnan()


def test_dimensions_that_hardly_vary_are_left_out():
    """Unless they vary for the expert, or for the policy: then they tell the two apart."""
    steady, moving = torch.full((2, 50, 1), 0.7), torch.randn(2, 50, 1)
    config, action = CONFIG, torch.randn(2, 50, 1)

    def kept(expert_obs: Tensor, policy_obs: Tensor) -> list[float]:
        model = model_of()
        expert, policy = (samples(torch.cat([moving, x], -1), action, [5, 50], 0.0) for x in (expert_obs, policy_obs))
        model.prepare(expert, policy, config)
        return model.q.density.kept[0].tolist()

    assert kept(steady, steady + 1e-4 * moving) == [1, 0]
    assert kept(moving, steady) == kept(steady, moving) == [1, 1]
    late = torch.cat([steady[:, :5], moving[:, 5:]], 1)
    assert kept(late, steady) == [1, 0]  # of rows that the learner may not use


@pytest.mark.parametrize("form", ["joint", "conditional", "without absorbing states"])
def test_training_reports_all_of_it_and_learners_stay_apart(form):
    loop = LoopConfig(2, absorbing=form != "without absorbing states")
    ppo = PPOConfig(hidden=(4,), steps=24, epochs=1, minibatches=1)
    config = ebm_gan.Config(form == "conditional", (8,), batch=16, actions=4, loop=loop, ppo=ppo)

    def last(seeds: list[int], counts: list[int]) -> Progress:
        training = ebm_gan.train(Puck(seeds, 3), demonstrations(counts), seeds, config)
        return list(itertools.islice(training, 3))[-1]

    both, alone = last(SEEDS, [1, 4]), last(SEEDS[1:], [4])
    joint = {"log_z_generator", "log_z_mixture", "effective_share", "expert_log_likelihood", "state_log_likelihood"}
    assert {"log_z", "expert_logit", "policy_logit"} <= set(both.metrics)
    assert joint & set(both.metrics) == (set() if form == "conditional" else joint)
    assert all(m.isfinite().all() for m in both.metrics.values())
    for name, metric in alone.metrics.items():
        torch.testing.assert_close(both.metrics[name][1:], metric, rtol=1e-4, atol=1e-4)


# Discrete actions


def logits(obs: Tensor) -> Tensor:
    """Of three actions, at observations of two numbers."""
    return torch.cat([obs, obs[..., :1] - 2 * obs[..., 1:]], -1)


def discrete_model(config: ebm_gan.Config = CONFIG) -> ebm_gan.Reward:
    model = ebm_gan.Reward(2, 3, Generators(SEEDS, "weights"), config)
    model.q.actions, model.q.share = CategoricalActions(logits, 3), torch.tensor([0.2, 0.6])
    return model


def every_action(obs: Tensor) -> Tensor:
    """Inputs `[3, P, N, 6]`: each observation with each action."""
    return torch.stack([alive(obs, a.expand(*obs.shape[:-1], 3)) for a in torch.eye(3)])


def test_q_of_discrete_actions_is_normalised():
    """Over observations, the three actions and the atom, the wide share included."""
    model, line = discrete_model(replace(CONFIG, base_std=1.0)), torch.linspace(-6, 6, 49)
    grid = torch.cartesian_prod(line, line).expand(2, -1, -1)
    total = model.log_q(every_action(grid)[0]).exp() + sum(model.log_q(x).exp() for x in every_action(grid)[1:])
    torch.testing.assert_close(total.sum(1) * 0.25**2 + model.q.share, torch.ones(2), rtol=2e-3, atol=0)


def test_q_of_a_discrete_action_has_its_probability():
    model, obs = discrete_model(replace(CONFIG, defensive=0.0)), torch.randn(2, 5, 2)
    for action, inputs in enumerate(every_action(obs)):
        of_obs = model.q.density.log_prob(obs) + (1 - model.q.share[:, None]).log()
        probability = (model.log_q(inputs) - of_obs).exp()
        torch.testing.assert_close(probability, logits(obs).softmax(-1)[..., action])


def test_conditional_log_z_of_discrete_actions_is_exact():
    model, obs = discrete_model(replace(CONFIG, conditional=True)), torch.randn(2, 5, 2)
    exact = torch.stack([-model.energy(inputs) for inputs in every_action(obs)]).logsumexp(0)
    torch.testing.assert_close(model.log_z_given(obs), exact)


def test_samples_of_discrete_actions_are_drawn_from_q():
    """One-hot, of the policy's frequencies where not defended; and uniform where all of it is."""
    for defensive, expected in ((0.0, logits(torch.tensor([1.0, 0.5])).softmax(-1)), (0.99999, torch.ones(3) / 3)):
        model = discrete_model(replace(CONFIG, defensive=defensive))
        model.q.density.kept = torch.zeros(2, 2)  # every observation is 0 ...
        model.q.actions = CategoricalActions(lambda obs: logits(obs + torch.tensor([1.0, 0.5])), 3)  # ... seen as this
        action = model.q.sample(20_000)[..., 3:]
        assert torch.equal(action.sort(-1).values, torch.tensor([0.0, 0.0, 1.0]).expand_as(action))
        for p in range(2):
            counts = action[p].sum(0).tolist()
            assert chisquare(counts, (20_000 * expected.double() / expected.double().sum()).numpy()).pvalue > 1e-3


def test_no_noise_falls_on_discrete_actions():
    model, action = discrete_model(), torch.eye(3)[None, [0, 2, 1]].expand(2, -1, -1)
    obs, zero = torch.randn(2, 3, 2), torch.zeros(2, 3)
    noisy = model.q.noisy(Batch(obs, action, obs, zero, zero, zero, True))
    assert torch.equal(noisy[..., 3:], action)
    assert (noisy[..., :2] != obs).all()
