"""The density of observations and the partition function, each against a library or a closed form."""

import math

import pytest
import torch
from scipy.optimize import brentq
from scipy.stats import kstest, norm
from torch import Tensor
from torch.distributions import Categorical, MixtureSameFamily, MultivariateNormal
from torch.nn.functional import logsigmoid, softplus

from algorithms.core.density import PRIOR, GaussianMixture
from algorithms.core.partition import effective_size, log_mean_exp, solve_log_z
from algorithms.core.population import Generators

SEEDS = [3, 8]


def mixture(components: int = 3, size: int = 2) -> GaussianMixture:
    """One with nothing round, central or equal about it."""
    model, g = GaussianMixture(components, size, Generators(SEEDS, "density")), torch.Generator().manual_seed(0)
    model.log_share = torch.rand(2, components, generator=g).log_softmax(1)
    model.mean = torch.randn(2, components, size, generator=g)
    half = torch.randn(2, components, size, size, generator=g)
    model.factor = torch.linalg.cholesky(half @ half.mT + 0.1 * torch.eye(size))
    return model


def library(model: GaussianMixture, p: int) -> MixtureSameFamily:
    components = MultivariateNormal(model.mean[p], scale_tril=model.factor[p])
    return MixtureSameFamily(Categorical(logits=model.log_share[p]), components)


# The Gaussian mixture


def test_log_prob_equals_a_librarys():
    model, x = mixture(), 2 * torch.randn(2, 50, 2)
    for p in range(2):
        torch.testing.assert_close(model.log_prob(x)[p], library(model, p).log_prob(x[p]), rtol=1e-4, atol=1e-4)


def test_log_prob_is_normalised():
    model, line = mixture(), torch.linspace(-15, 15, 601)
    grid = torch.cartesian_prod(line, line).expand(2, -1, -1)
    torch.testing.assert_close((model.log_prob(grid).exp().sum(1) * 0.05**2), torch.ones(2), rtol=1e-4, atol=0)


def test_samples_follow_the_density():
    """The share of each component, and along one direction the whole distribution."""
    model, n = mixture(), 4000
    draws = Generators(SEEDS, "test")
    x = model.sample(draws.uniform(n), draws.normal(n, 2))
    for p in range(2):
        shares, direction = model.log_share[p].exp(), torch.tensor([0.6, -0.8])
        middle = model.mean[p] @ direction
        std = (direction @ model.factor[p]).norm(dim=1)

        def cdf(t, shares=shares, middle=middle, std=std):
            return sum(float(w) * norm.cdf(t, float(m), float(s)) for w, m, s in zip(shares, middle, std, strict=True))

        assert kstest((x[p] @ direction).numpy(), cdf).pvalue > 1e-3


def test_one_component_is_fitted_in_closed_form():
    """Mean and second moment of the rows and of the prior's one row: nothing else."""
    x, weight = torch.randn(2, 40, 3) * torch.tensor([1.0, 0.1, 3.0]) + 1, torch.rand(2, 40)
    model = GaussianMixture(1, 3, Generators(SEEDS, "density"))
    model.fit(x, weight, 1)
    for p in range(2):
        n = weight[p].sum() + PRIOR
        mean = weight[p] @ x[p] / n
        moment = (x[p].mT @ (weight[p][:, None] * x[p]) + PRIOR * torch.eye(3)) / n
        torch.testing.assert_close(model.mean[p, 0], mean)
        torch.testing.assert_close(model.factor[p, 0] @ model.factor[p, 0].mT, moment - mean.outer(mean))


def posterior(model: GaussianMixture, x: Tensor) -> Tensor:
    """What each step must raise: the likelihood, and that of `PRIOR` standard Gaussian rows given to each component."""
    cov = model.factor @ model.factor.mT
    inverse, mean = cov.inverse(), model.mean[..., None]
    cross = inverse.diagonal(dim1=-2, dim2=-1).sum(-1) + (mean.mT @ inverse @ mean)[..., 0, 0]
    prior = model.log_share - 0.5 * (torch.logdet(cov) + cross)
    return model.log_prob(x).sum(1) + PRIOR * prior.sum(1)


def test_every_step_raises_the_posterior():
    x = torch.cat([torch.randn(2, 60, 2) * 0.3 + 2, torch.randn(2, 40, 2)], 1)
    model, values = GaussianMixture(4, 2, Generators(SEEDS, "density")), []
    for _ in range(15):
        values.append(posterior(model, x))
        model.fit(x, torch.ones(2, 100), 1)
    rise = torch.stack(values).diff(dim=0)
    assert (rise > -1e-3).all()
    assert (rise[0] > 10).all()


def test_fit_finds_the_mixture_that_made_the_data():
    truth, draws = mixture(2), Generators(SEEDS, "test")
    truth.mean = torch.tensor([[[-2.0, 0.0], [2.0, 1.0]], [[0.0, 3.0], [0.0, -3.0]]])
    x = truth.sample(draws.uniform(3000), draws.normal(3000, 2))
    test = truth.sample(draws.uniform(3000), draws.normal(3000, 2))
    model = GaussianMixture(2, 2, Generators(SEEDS, "density"))
    model.fit(x, torch.ones(2, 3000), 40)
    # What is lost in nats a point, on points not fitted to: about parameters / (2 n) = 11 / 6000.
    assert ((truth.log_prob(test) - model.log_prob(test)).mean(1).abs() < 0.01).all()


def test_dimensions_that_are_left_out_do_not_count():
    """The density is that of the others, whatever these hold."""
    x, kept = torch.randn(2, 50, 3), torch.tensor([[1.0, 0.0, 1.0], [1.0, 1.0, 1.0]])
    model, other = (GaussianMixture(1, n, Generators(SEEDS, "density")) for n in (3, 2))
    model.kept = kept
    model.fit(x, torch.ones(2, 50), 2)
    other.fit(x[..., [0, 2]], torch.ones(2, 50), 2)
    torch.testing.assert_close(model.log_prob(x)[0], other.log_prob(x[..., [0, 2]])[0])
    torch.testing.assert_close(model.log_prob(x + torch.tensor([0.0, 9.0, 0.0]))[0], model.log_prob(x)[0])
    assert (model.log_prob(x)[1] - other.log_prob(x[..., [0, 2]])[1]).abs().min() > 1e-3
    drawn = model.sample(torch.rand(2, 20), torch.randn(2, 20, 3))
    assert not drawn[0, :, 1].any()
    assert drawn[1].all()


def test_rows_of_weight_0_are_not_fitted():
    x, weight = torch.randn(2, 60, 2), torch.cat([torch.ones(2, 40), torch.zeros(2, 20)], 1)
    one, other = (GaussianMixture(3, 2, Generators(SEEDS, "density")) for _ in range(2))
    one.fit(x, weight, 3)
    other.fit(x[:, :40], torch.ones(2, 40), 3)
    torch.testing.assert_close(one.log_prob(x), other.log_prob(x))


def test_a_component_without_rows_stays_alive_and_a_nan_learner_alone():
    x = torch.randn(2, 60, 2)
    model = GaussianMixture(3, 2, Generators(SEEDS, "density"))
    model.mean = model.mean + torch.tensor([0.0, 0.0, 50.0])[:, None]
    model.fit(x, torch.ones(2, 60), 3)
    before = model.log_prob(x)
    assert before.isfinite().all()
    x[1] = math.nan
    model.fit(x, torch.ones(2, 60), 1)
    assert model.log_prob(x)[0].isfinite().all()
    assert model.log_prob(x)[1].isnan().all()


# The partition function


@pytest.mark.parametrize("apart", [0.0, 5.0, 400.0])
def test_log_z_is_the_root(apart):
    expert, policy = torch.randn(2, 40) + apart, 2 * torch.randn(2, 25)
    found = solve_log_z(expert, policy)
    for p in range(2):
        u, v = expert[p].double(), policy[p].double()

        def miss(b: float, u=u, v=v) -> float:  # logarithms, or nothing is left of either mean in between
            return float(log_mean_exp(logsigmoid(b - u)) - log_mean_exp(logsigmoid(v - b)))

        root = brentq(miss, min(u.min(), v.min()) - 1, max(u.max(), v.max()) + 1, xtol=1e-12)
        assert found[p].item() == pytest.approx(root, abs=1e-4, rel=1e-6)


@pytest.mark.parametrize("spread", [0.1, 1.0, 30.0, 1000.0, 30_000.0])
@pytest.mark.parametrize("sizes", [(1, 1), (3, 2), (16, 16), (64, 48), (1, 100), (512, 512)])
@pytest.mark.parametrize("kind", ["normal", "two peaks", "heavy tails", "ties"])
def test_log_z_is_exact_however_the_values_are_spread(spread, sizes, kind):
    """Both ways to write the equation hold, in logarithms: where one is flat, the other is not."""
    made = {
        "normal": lambda n: torch.randn(50, n),
        "two peaks": lambda n: torch.randn(50, n).sign() + torch.randn(50, n) / spread,
        "heavy tails": lambda n: torch.randn(50, n) / torch.randn(50, n),
        "ties": lambda n: torch.randn(50, n).round(),
    }
    for apart in (-3.0, 0.0, 3.0):
        expert, policy = (spread * made[kind](n).double() for n in sizes)
        expert = expert + apart * spread
        b = solve_log_z(expert, policy)[:, None]
        missed, taken = log_mean_exp(logsigmoid(b - expert)), log_mean_exp(logsigmoid(policy - b))
        found, refused = log_mean_exp(logsigmoid(expert - b)), log_mean_exp(logsigmoid(b - policy))
        rounding = 1e-12 * (1 + torch.cat([expert, policy], 1).abs().amax(1))
        assert ((missed - taken).abs() < rounding).all()
        assert ((found - refused).abs() < rounding).all()
        rounded = expert.float(), policy.float()
        assert torch.equal(solve_log_z(*rounded), solve_log_z(*(x.double() for x in rounded)).float())


def test_log_z_is_the_minimum_of_the_discriminators_loss():
    expert, policy = torch.randn(2, 40).double() + 1, torch.randn(2, 25).double()
    log_z = solve_log_z(expert, policy).requires_grad_()
    loss = softplus(log_z[:, None] - expert).mean(1) + softplus(policy - log_z[:, None]).mean(1)
    (slope,) = torch.autograd.grad(loss.sum(), log_z)
    assert slope.abs().max() < 1e-12


def test_log_z_is_exact_for_samples_of_both_densities():
    """p = exp(-E) / Z on four points, q another: samples in just these shares give log Z itself."""
    energy, log_q = torch.tensor([1.0, -0.5, 2.0, 0.3]).double(), torch.tensor([1, 2, 4, 3]).double().div(10).log()
    p, log_z = (-energy).softmax(0), (-energy).logsumexp(0)
    q = (-energy - log_q).repeat_interleave(torch.tensor([1, 2, 4, 3]))
    n = 200_000
    counts = (p * n).round().long()
    found = solve_log_z((-energy - log_q).repeat_interleave(counts)[None], q[None])
    assert found.item() == pytest.approx(log_z.item(), abs=1e-4)


def test_log_z_of_a_nan_learner_leaves_the_others_alone():
    expert, policy = torch.randn(2, 40), torch.randn(2, 25)
    sound = solve_log_z(expert, policy)
    expert[1, 3] = math.nan
    assert solve_log_z(expert, policy)[0] == sound[0]


def test_effective_size_by_hand():
    log_weight = torch.tensor([[0.0, 0.0, 0.0, 0.0], [3.0, 3.0, -math.inf, -math.inf], [900.0, 0.0, 0.0, 0.0]])
    assert effective_size(log_weight).tolist() == pytest.approx([4, 2, 1])
    assert effective_size(torch.tensor([[3.0, 1.0]]).log()).item() == pytest.approx(16 / 10)
