"""The studies' mathematics by other routes: closed forms, scipy's quadrature and root finder, numpy, chi-square."""

import gzip
import itertools
import json
import math
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import integrate, optimize, stats

from algorithms.core.population import Generators
from studies.connection import schema as claims_schema
from studies.connection import study as connection
from studies.connection.schema import Size as Connection
from studies.connection.study import CLAIMS, SAMPLES, Case
from studies.core import measures, parts
from studies.core.discriminator import (
    Points,
    cost_loss,
    discriminator_loss,
    generator_loss,
    log_z_generator,
    log_z_mixture,
    solve_log_z,
)
from studies.core.energies import Energy, Grid
from studies.core.generators import Flow, Fused, Mixture
from studies.core.gradients import gradient
from studies.core.losses import kim_bengio
from studies.core.measures import GRID, Measures, estimates, left
from studies.core.targets import TARGETS, on_ring
from studies.core.training import Data, KnownEnergy, Learners, Trial, train
from studies.density import schema
from studies.density import study as density
from studies.density.chapter import results_table
from studies.density.schema import Size as Density
from studies.density.spread import spread
from tests import fresh, synthetic
from tests.blank import blank
from tests.command import threefold
from threefold.base.errors import InputError
from threefold.base.files import write_json
from threefold.cells.study import run
from threefold.profile.design import load
from threefold.report import build, inputs
from threefold.report import studies as chapters
from threefold.tables import schema as files
from threefold.tables.collect import collect

ROOT = Path(__file__).parent.parent


def random_points(points, seed=0):
    rng = np.random.default_rng(seed)
    return Points(torch.from_numpy(rng.normal(size=points) * 3), torch.from_numpy(rng.normal(size=points) - 2))


def as_numpy(points):
    return points.energy.numpy(), points.log_q.numpy()


# The discriminator


def test_log_z_is_the_root_that_scipy_finds():
    p, q = random_points(7, 1), random_points(12, 2)

    def slope(log_z):
        d_p, d_q = (1 / (1 + np.exp(e + log_z + log_q)) for e, log_q in map(as_numpy, (p, q)))
        return np.mean(1 - d_p) - np.mean(d_q)

    assert solve_log_z(p, q).item() == pytest.approx(optimize.brentq(slope, -50, 50, xtol=1e-13), abs=1e-11)


def test_log_z_is_found_however_far_apart_the_samples_are():
    p, q = Points(torch.full((3,), -400.0), torch.zeros(3)), Points(torch.full((5,), 300.0), torch.zeros(5))
    log_z = solve_log_z(p, q)
    assert -300 < log_z.item() < 400
    assert torch.isfinite(discriminator_loss(p, q, log_z))


def test_losses_are_the_papers_formulas():
    p, q = random_points(4, 1), random_points(6, 2)
    log_z = torch.tensor(0.3, dtype=torch.float64)
    (e_p, log_q_p), (e_q, log_q_q) = as_numpy(p), as_numpy(q)
    d_p = np.exp(-e_p - 0.3) / (np.exp(-e_p - 0.3) + np.exp(log_q_p))
    d_q = np.exp(-e_q - 0.3) / (np.exp(-e_q - 0.3) + np.exp(log_q_q))
    assert discriminator_loss(p, q, log_z).item() == pytest.approx(-np.log(d_p).mean() - np.log(1 - d_q).mean())
    assert generator_loss(q, log_z).item() == pytest.approx((np.log(1 - d_q) - np.log(d_q)).mean())
    mu_p, mu_q = (np.exp(-e - 0.3) / 2 + np.exp(log_q) / 2 for e, log_q in ((e_p, log_q_p), (e_q, log_q_q)))
    z = (np.exp(-e_p) / mu_p).mean() / 2 + (np.exp(-e_q) / mu_q).mean() / 2
    assert cost_loss(p, q, log_z).item() == pytest.approx(e_p.mean() + np.log(z))
    assert log_z_generator(q).item() == pytest.approx(np.log(np.mean(np.exp(-e_q - log_q_q))))


def test_the_generators_loss_is_the_divergence_of_gaussians():
    """KL(N(1, 0.5^2) || N(0, 2^2)), from quantiles, which leave an error of about 1e-4."""
    x = 1 + 0.5 * torch.from_numpy(stats.norm.ppf((np.arange(100_000) + 0.5) / 100_000))
    q = Points(x.square() / 8, torch.from_numpy(stats.norm.logpdf(x.numpy(), 1, 0.5)))
    log_z = torch.tensor(math.log(2 * math.sqrt(2 * math.pi)), dtype=torch.float64)
    expected = math.log(2 / 0.5) + (0.25 + 1) / 8 - 0.5
    assert generator_loss(q, log_z).item() == pytest.approx(expected, abs=1e-4)


def test_claim_2_against_its_sum_written_out():
    """dL_D/dtheta by autograd is E_p[dE] - E_mu[exp(-E) dE / (Z mu~)], one point and one parameter at a time."""
    case = Case(1, 5, "alike")
    p, q = case.fixed()
    log_z = solve_log_z(p, q)
    found = gradient(discriminator_loss(p, q, log_z), case.energy_net)[0]

    def slopes(x):
        energies = case.energy_net(x)[0, :, 0]
        return torch.stack([gradient(energy, case.energy_net)[0] for energy in energies])

    weights = [torch.exp(-s.energy[0] - log_z - s.log_mixture(log_z)[0]).detach()[:, None] for s in (p, q)]
    d_p, d_q = slopes(case.x_p), slopes(case.x_q.detach())
    expected = d_p.mean(0) - ((weights[0] * d_p).mean(0) + (weights[1] * d_q).mean(0)) / 2
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("sample", SAMPLES)
@pytest.mark.parametrize("claim", CLAIMS)
def test_every_claim_holds_to_rounding(claim, sample):
    assert CLAIMS[claim](Case(4, 33, sample)).max() < 1e-10


@pytest.mark.parametrize("sample", SAMPLES)
def test_claim_2_needs_the_solved_log_z(sample):
    rows = pd.DataFrame(connection.wrong_log_z(Connection(energies=3, points=[8], repeats=2)))
    errors = rows[rows["sample"] == sample].groupby("offset")["relative_error"].min()
    assert errors[0.0] < 1e-10
    assert errors[[-2.0, -1.0, 1.0, 2.0]].min() > 0.05


# Estimates of Z


def test_limits_of_the_estimates_against_scipy():
    shift, (p, q) = 1.0, (stats.norm(0, 1), stats.norm(0.5, 1.5))
    x = torch.from_numpy((np.arange(50_001) + 0.5) / 50_001)
    found = connection.estimates(connection.P.icdf(x), connection.Q.icdf(x), shift)

    def over(f):
        return integrate.quad(f, -12, 12, limit=200)[0]

    def unnormalised(x):
        return np.exp(-((x - shift) ** 2) / 2)

    z = math.sqrt(2 * math.pi)

    def mixture(x):
        return unnormalised(x) / z / 2 + q.pdf(x) / 2

    def slope(log_b):
        return 1 - over(lambda x: (p.pdf(x) + q.pdf(x)) / (1 + q.pdf(x) * np.exp(log_b) / unnormalised(x)))

    known = over(lambda x: (p.pdf(x) / 2 + q.pdf(x) / 2) * unnormalised(x) / mixture(x)) / z
    assert found["mixture, p_theta for p"].item() == pytest.approx(known, abs=2e-4)
    assert found["b"].item() == pytest.approx(math.exp(optimize.brentq(slope, -2, 2)) / z, abs=2e-4)
    assert found["b"] < found["mixture, p_theta for p"] < 0.95
    assert found["generator"].item() == pytest.approx(1, abs=1e-3)
    assert found["mixture, p known"].item() == pytest.approx(1, abs=1e-3)


def test_bias_of_small_samples_is_that_of_the_limit():
    """Unbiased estimates are so for every n; a factor of two in one weight would show."""
    rows = pd.DataFrame(connection.bias(Connection(energies=1, points=[8], repeats=4000))).set_index(
        ["estimator", "gap"]
    )
    for estimator, gap in itertools.product(("generator", "mixture, p known", "mixture, p_theta for p"), (0.0, 0.5)):
        row = rows.loc[estimator, gap]
        assert abs(row["relative_bias"] - row["limit"]) < 4 * row["standard_error"]
        assert row["standard_error"] < 0.01
    assert rows.loc[("b", 0.5), "relative_bias"] < -0.15


def test_the_sign_of_section_4_turns_the_energy_upside_down():
    rows = pd.DataFrame(connection.sign()).set_index("logit")
    right, self_normalised, printed = (rows.loc[name] for name in connection.LOGITS)
    assert right["precision"] == pytest.approx(1, abs=1e-3)
    assert right["log_z"] == pytest.approx(math.log(2 * math.pi) / 2, abs=1e-3)
    assert right["kl"] < 1e-6
    assert self_normalised["kl"] > 0.01
    assert printed["precision"] == pytest.approx(-self_normalised["precision"])
    assert printed["kl"] == math.inf


def test_kl_of_gaussians_against_scipy():
    found = integrate.quad(
        lambda x: stats.norm.pdf(x) * (stats.norm.logpdf(x) - stats.norm.logpdf(x, 0.25, 0.5)), -9, 9
    )
    assert connection.kl(4.0, 1.0) == pytest.approx(found[0])


# Densities in the plane


def chi_square(x, log_density, half_width=3.0, bins=24):
    """Return the p-value of samples `[N, 2]` in square bins, each cell's mass the mean of 8 x 8 inner points."""
    fine = 8 * bins
    axis = torch.linspace(-half_width, half_width, fine + 1, dtype=torch.float64)
    middles = (axis[:-1] + axis[1:]) / 2
    mass = log_density(torch.cartesian_prod(middles, middles)).double().exp() * float(axis[1] - axis[0]) ** 2
    mass = mass.reshape(bins, 8, bins, 8).sum((1, 3)).flatten().detach().numpy()
    square = [[-half_width, half_width]] * 2
    counts = np.histogram2d(x[:, 0].numpy(), x[:, 1].numpy(), bins=bins, range=square)[0].flatten()
    mass, counts = np.append(mass, max(1 - mass.sum(), 0)), np.append(counts, len(x) - counts.sum())
    order = np.argsort(mass)
    group = np.minimum(np.cumsum(mass[order]) * len(x) // 10, 1e9).astype(int)  # at least ten expected in each
    expected, found = (np.bincount(group, values[order]) for values in (mass * len(x), counts))
    keep = expected > 0
    return stats.chisquare(found[keep], expected[keep] * found[keep].sum() / expected[keep].sum()).pvalue


@pytest.mark.parametrize("name", TARGETS)
def test_a_target_has_mass_one_and_samples_of_its_density(name):
    target = TARGETS[name]
    assert GRID.log_integral(target.log_density(GRID.points)).item() == pytest.approx(0, abs=1e-4)
    x = target.sample(20_000, torch.Generator().manual_seed(1))
    assert chi_square(x, target.log_density) > 1e-3
    assert chi_square(x + 0.05, target.log_density) < 1e-3  # the test sees a shift that small


def test_moons_are_the_blurred_arcs():
    """Against a Riemann sum with far more nodes than the target's own quadrature."""
    angle = torch.pi * (torch.arange(20_000, dtype=torch.float64) + 0.5) / 20_000
    upper = 1.25 * torch.stack([angle.cos() - 0.5, angle.sin() - 0.25], -1)
    for x in torch.tensor([[0.0, 0.0], [-1.9, -0.4], [0.6, 0.9], [1.0, -1.0]]).double():
        squares = torch.stack([(x - upper).square().sum(-1), (x + upper).square().sum(-1)]) / 0.15**2
        expected = ((-squares / 2).exp().mean() / (2 * math.pi * 0.15**2)).log()
        assert TARGETS["moons"].log_density(x).item() == pytest.approx(expected.item(), abs=1e-5)


def shaken(module, seed=0):
    """The module with random parameters, so that nothing is at its start."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter += 0.3 * torch.randn(parameter.shape, generator=generator)
    return module


def makers():
    return {
        "mixture": lambda: shaken(Mixture(3, 1.0, Generators([0, 1], "weights"), middle=0.5)),
        "flow": lambda: shaken(Flow(4, 8, 1.0, Generators([0, 1], "weights"))),
        "fused": lambda: Fused(shaken(Mixture(1, 0.5, Generators([0, 1], "weights"))), 1.2),
    }


@pytest.mark.parametrize("name", makers())
def test_a_generator_has_mass_one_and_samples_of_its_density(name):
    generator = makers()[name]()
    each = GRID.points.float().expand(2, -1, -1)
    with torch.no_grad():
        mass = GRID.log_integral(generator.log_density(each).double())
        x, log_q = generator.draw(20_000, Generators([0, 1], "noise"))
        torch.testing.assert_close(log_q, generator.log_density(x), rtol=1e-4, atol=1e-4)
        assert mass.abs().max() < 2e-3
        for i in range(2):
            assert chi_square(x[i], lambda y, i=i: generator.log_density(y.float().expand(2, -1, -1))[i]) > 1e-3
            assert chi_square(x[i] + 0.15, lambda y, i=i: generator.log_density(y.float().expand(2, -1, -1))[i]) < 1e-3


def test_mixture_is_the_one_of_torch():
    mixture = shaken(Mixture(3, 1.0, Generators([0, 1], "weights")))
    normal = torch.distributions.MultivariateNormal(mixture.mean, scale_tril=mixture.cholesky())
    same = torch.distributions.MixtureSameFamily(torch.distributions.Categorical(logits=mixture.logits), normal)
    x = torch.randn(50, 2)
    torch.testing.assert_close(mixture.log_density(x.expand(2, -1, -1)), same.log_prob(x[:, None]).T)


def test_flow_changes_density_by_the_determinant_of_its_jacobian():
    flow = shaken(Flow(5, 8, 1.5, Generators([0], "weights"))).double()
    z = torch.randn(1, 2, dtype=torch.float64)
    jacobian = torch.autograd.functional.jacobian(lambda z: flow(z[None])[0][0, 0], z)[:, 0]
    expected = stats.norm.logpdf(z.numpy()).sum() - jacobian.det().abs().log().item()
    assert flow(z[None])[1].item() == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("name", ["mixture", "flow"])
def test_reverse_kl_and_its_gradient_are_the_integrals(name):
    """E_q[E + log q] by samples, weights of the mixture included, against quadrature."""
    generator = makers()[name]()
    points = GRID.points.float().expand(2, -1, -1)

    def energy(x):
        return x.square().sum(-1) / 3 + x[..., 0].sin()

    log_q = generator.log_density(points)
    exact = GRID.mean(log_q, energy(points) + log_q)
    found = generator.reverse_kl(energy, 200_000, Generators([0, 1], "noise"))
    torch.testing.assert_close(found, exact, atol=0.02, rtol=0)
    one, two = gradient(found, generator), gradient(exact, generator)
    assert ((one - two).norm(dim=1) < 0.05 * two.norm(dim=1)).all()


def test_grid_integrates_a_gaussian_and_its_moments():
    grid = Grid(101)
    log_p = -grid.points.square().sum(-1) / 2
    assert grid.log_integral(log_p).item() == pytest.approx(math.log(2 * math.pi), abs=1e-9)
    assert grid.mean(log_p - math.log(2 * math.pi), grid.points[:, 1].square()).item() == pytest.approx(1, abs=1e-9)
    assert left(TARGETS["two_modes"].log_density(GRID.points)).item() == pytest.approx(0.6, abs=1e-3)


# Learners


def learners(method, generator, names=("two_modes",), seeds=(0,)):
    each = [TARGETS[name] for name in names]
    return Learners(Trial(method, generator), each, seeds)


def trained(method, generator, steps, batch=256):
    found = learners(method, generator)
    for _ in train(found, steps, batch):
        pass
    return {name: value.item() for name, value in Measures(found, found.data.draw(4000))().items()}


def test_exact_energy_recovers_a_known_density():
    found = trained("exact", "none", 250)
    assert found["kl_energy"] < 0.05
    assert found["left_energy"] == pytest.approx(0.6, abs=0.05)
    assert found["held_out_energy"] == pytest.approx(-2.11, abs=0.1)  # minus the entropy, 2.11 nats


def test_ebm_gan_recovers_the_density_and_its_log_z():
    found = trained("ebm_gan", "gaussian", 250)
    assert found["kl_energy"] < 0.05
    assert abs(found["b"] - found["log_z"]) < 0.1


def test_a_narrow_generator_seeks_one_mode_and_fusion_keeps_the_energy_right():
    alone, fused = trained("ebm_gan", "narrow", 200), trained("ebm_gan_fused", "narrow", 200)
    assert max(alone["left_generator"], fused["left_generator"]) < 0.02
    assert alone["kl_energy"] > 0.2
    assert fused["kl_energy"] < 0.05
    assert fused["left_energy"] == pytest.approx(0.6, abs=0.06)


def test_likelihood_finds_the_moments_of_the_data():
    found = learners("likelihood", "gaussian")
    for _ in train(found, 400, 512):
        pass
    covariance = found.generator.cholesky() @ found.generator.cholesky().mT
    assert found.generator.mean[0, 0].tolist() == pytest.approx([-0.35, 0.0], abs=0.15)  # 1.75 (0.4 - 0.6)
    expected = [0.25 + 1.75**2 * (1 - 0.2**2), 0.25]
    assert covariance[0, 0].diagonal().tolist() == pytest.approx(expected, rel=0.15)


def test_kim_and_bengio_compare_plain_means():
    class First(torch.nn.Module):
        def forward(self, x):
            return x[..., 0]

    found = learners("kim_bengio", "narrow")
    found.energy = First()
    assert kim_bengio(found, 20_000).item() == pytest.approx(-0.35 - 1.0, abs=0.06)  # the narrow one starts at 1


def test_rates_fall_to_zero_in_a_straight_line():
    """Adam's first step is its rate, whatever the gradient; so is every step while the gradient keeps its sign."""
    found = learners("likelihood", "narrow")
    means = [found.generator.mean[0, 0, 0].item() for _ in train(found, 10, 512)]
    assert np.diff(means).tolist() == pytest.approx([-0.01 * (1 - k / 10) for k in range(10)], rel=0.2)


def test_a_learner_does_not_depend_on_its_neighbour():
    alone = learners("ebm_gan", "mixture", ["ring"], [3])
    beside = learners("ebm_gan", "mixture", ["moons", "ring"], [1, 3])
    for _ in zip(train(alone, 4, 32), train(beside, 4, 32), strict=True):
        pass
    for part in ("energy", "generator"):
        pairs = zip(getattr(alone, part).parameters(), getattr(beside, part).parameters(), strict=True)
        for one, two in pairs:
            torch.testing.assert_close(one[0], two[1], rtol=0, atol=1e-3)  # a tenth of one step


def test_looking_changes_nothing():
    looked, blind = learners("ebm_gan", "flow"), learners("ebm_gan", "flow")
    measure = Measures(looked, Data(looked.targets, [0], "held out").draw(50))
    for _ in zip(train(looked, 3, 16), train(blind, 3, 16), strict=True):
        measure()
    for one, two in zip(looked.energy.parameters(), blind.energy.parameters(), strict=True):
        assert torch.equal(one, two)


def test_measures_of_an_energy_and_a_generator_that_are_right():
    """With E = -log p - 1 and q = p, every estimate is 1, no divergence is left, and all points count."""
    found = learners("fixed", "gaussian")
    found.targets = [TARGETS["two_modes"]]
    found.sampler = found.generator = Mixture(2, 0.5, Generators([0], "weights"))
    with torch.no_grad():
        found.generator.logits.copy_(torch.tensor([[0.6, 0.4]]).log())
        found.generator.mean.copy_(torch.tensor([[[-1.75, 0.0], [1.75, 0.0]]]))
    measured = {name: value.item() for name, value in Measures(found, found.data.draw(1000))().items()}
    for name in ("log_z", "b", "log_z_generator", "log_z_mixture", "log_z_bound", "ess"):
        assert measured[name] == pytest.approx(1, abs=1e-4), name
    assert measured["kl_energy"] == pytest.approx(0, abs=1e-4)
    assert measured["kl_generator"] == pytest.approx(0, abs=1e-4)
    assert measured["held_out_energy"] == pytest.approx(measured["held_out_generator"], abs=1e-4)


def test_known_energy_and_base_are_what_they_say():
    x = torch.randn(2, 5, 2)
    expected = [-TARGETS[name].log_density(x[i].double()) - 1 for i, name in enumerate(("ring", "funnel"))]
    found = KnownEnergy([TARGETS["ring"], TARGETS["funnel"]])(x)
    torch.testing.assert_close(found, torch.stack(expected).float())
    energy = Energy(Generators([0], "weights"))
    far = torch.tensor([[[30.0, 40.0]]])
    assert energy(far).item() == pytest.approx(50**2 / 8, abs=20)  # e_theta is bounded


def test_estimates_of_log_z_on_average():
    """With the right energy all but the bound are right on average; knowing p narrows the spread."""
    size = Density(targets=["ring"], seeds=[0], steps=1, batch=1, records=1, points=[512], repeats=100)
    rows = pd.DataFrame(spread(size)).set_index(["energy", "generator", "estimator"])
    right = rows.sort_index().loc["right", "wide"]
    for estimator in ("b", "log_z_generator", "log_z_mixture"):
        assert abs(right.loc[estimator, "mean"]) < 4 * right.loc[estimator, "std"] / 10 + 0.01
    assert right.loc["log_z_bound", "mean"] < -1
    assert right.loc["log_z_mixture", "std"] < right.loc["b", "std"] < 1.2 * right.loc["log_z_generator", "std"]
    assert abs(rows.loc[("wrong", "wide", "b"), "mean"]) > 0.1
    assert abs(rows.loc[("wrong", "wide", "log_z_generator"), "mean"]) < 0.1


def test_the_bound_and_the_known_mixture_by_hand():
    p, q = random_points(3, 1), random_points(4, 2)
    log_p = torch.zeros(3).double(), torch.ones(4).double()
    found = estimates(p, q, *log_p)
    (e_p, log_q_p), (e_q, log_q_q) = as_numpy(p), as_numpy(q)
    mu_p, mu_q = 0.5 + np.exp(log_q_p) / 2, np.exp(1) / 2 + np.exp(log_q_q) / 2
    z = (np.exp(-e_p) / mu_p).mean() / 2 + (np.exp(-e_q) / mu_q).mean() / 2
    assert found["log_z_mixture"].item() == pytest.approx(np.log(z))
    assert found["log_z_bound"].item() == pytest.approx(np.mean(-e_q - log_q_q))
    assert log_z_mixture(p, q, p.log_mixture(found["b"]), q.log_mixture(found["b"])).item() == pytest.approx(
        found["b"].item()
    )


# Commands and figures

SIZE = {
    "targets": ["ring", "funnel"],
    "seeds": [0, 1],
    "steps": 3,
    "batch": 16,
    "records": 1,
    "points": [16, 32],
    "repeats": 3,
}


@pytest.fixture(scope="module")
def params(tmp_path_factory):
    """A profile with studies of the smallest size, both run, beside made-up cells."""
    sizes = {
        "connection": {"energies": 2, "points": [8], "repeats": 10},
        "density": SIZE,
    }
    path = synthetic.design(tmp_path_factory.mktemp("project"), studies=sizes)
    synthetic.fill(path)
    collect(load(path))
    with pytest.MonkeyPatch.context() as patch:
        coarse(patch)
        patch.setenv("THREEFOLD_STORE", str(path.parent / "store"))
        patch.setattr(parts, "get_context", lambda _: fresh.CONTEXT)  # such a worker is coarse too, and is loaded
        assert threefold("study", "density", "--params", path) == 0
    # In a process of its own, which hashes otherwise than the one that computes it again.
    subprocess.run([sys.executable, "-m", "threefold", "study", "connection", "--params", path], cwd=ROOT, check=True)
    return path


def coarse(patch):
    """Measure at few points: where files are looked at, and not how right their numbers are."""
    patch.setattr(measures, "GRID", Grid(41))
    patch.setattr(density, "HELD_OUT", 500)
    patch.setattr(density, "MAP", density.MAP.view(46, 46, 2)[::5, ::5].flatten(0, 1))


@pytest.fixture(scope="module")
def report(params):
    """The page, without the figures of the cells, which are those of tests/test_reports.py; its own are PDFs alone."""
    with pytest.MonkeyPatch.context() as patch:
        blank(patch, ["png"])
        patch.setattr(build.figures, "plots", lambda given: {})
        return build.build(inputs.read(params))


def test_files_hold_their_schemas_and_every_learner(params):
    design = load(params)
    folder = design.results / "studies"
    for name, columns in (
        ("claims", claims_schema.CLAIMS),
        ("gradient", claims_schema.GRADIENT),
        ("bias", claims_schema.BIAS),
    ):
        assert len(files.read_csv(folder / "connection" / f"{name}.csv.gz", columns))
    assert len(files.read_csv(folder / "connection" / "sign.csv.gz", claims_schema.SIGN)) == 3
    training = files.read_csv(folder / "density" / "training.csv.gz", schema.TRAINING)
    assert not training.duplicated([*schema.LEARNER, "step", "metric"]).any()
    assert set(training["step"]) == {0, 3}
    learners_of = training[list(schema.LEARNER)].drop_duplicates()
    assert len(learners_of) == 2 * (2 * len(density.TRIALS) + len(density.TWO_MODES))
    maps = files.read_csv(folder / "density" / "maps.csv.gz", schema.MAPS)
    assert not maps.duplicated(list(schema.DRAWN)).any()
    assert len(files.read_csv(folder / "density" / "samples.csv.gz", schema.DRAWN))
    assert len(files.read_csv(folder / "density" / "spread.csv.gz", schema.SPREAD)) == 2 * 2 * 2 * 4


def test_the_same_sizes_give_the_same_bytes(params, monkeypatch):
    coarse(monkeypatch)
    size = SimpleNamespace(**load(params).sizes)
    folder = load(params).results / "studies"
    files.write_csv(pd.DataFrame(connection.claims(size.connection)), folder / "again.csv.gz", claims_schema.CLAIMS)
    assert (folder / "again.csv.gz").read_bytes() == (folder / "connection" / "claims.csv.gz").read_bytes()
    rows, _ = density.learn(Trial("ebm_gan_fused", "flow"), size.density.targets, size.density)
    files.write_csv(rows, folder / "again.csv.gz", schema.TRAINING)
    lines, every = (
        gzip.decompress(path.read_bytes()).splitlines()
        for path in (folder / "again.csv.gz", folder / "density" / "training.csv.gz")
    )
    assert set(lines) < set(every)


def test_every_figure_has_caption_and_its_data_exist(params):
    design = load(params)
    plots = chapters.plots(design)
    for plot in plots.values():
        assert plot.caption.endswith(".")
        assert all((design.results / file).exists() for file in plot.data)
    assert len(plots) == 10


def test_every_table_has_all_that_was_measured(params):
    connection_tables, density_tables = (chapter.tables() for chapter in chapters.chapters(load(params)).values())
    assert {name: len(table.shown) for name, table in (connection_tables | density_tables).items()} == {
        "connection_claims_table": len(CLAIMS),
        "connection_gradient_table": 2 * len(SAMPLES),
        "connection_bias_table": 4 * 4,
        "connection_sign_table": 3,
        "density_results": 2 * (len(density.TRIALS) - 3) + len(density.TWO_MODES),
        "density_spread_table": 2 * 2 * 4,
    }
    results = density_tables["density_results"]
    assert list(dict.fromkeys(results.shown["Target"])) == ["ring", "funnel", "two modes"]
    assert set(results.shown["Aims"][results.data["target"] != "ring"]) == {"–"}
    worst = connection_tables["connection_claims_table"].data["max"]
    assert 0 < worst.max() < 1e-10


def test_the_aims_are_met_by_every_seed_or_missed():
    keys = {"target": "ring", "method": "ebm_gan", "generator": "flow", "step": 1}
    measures = {"b": 1.0, "kl_generator": 0.0, "held_out_energy": 0.0, "held_out_generator": 0.0}

    def aims(worst_kl, worst_error):
        rows = [
            keys | {"seed": seed, "metric": metric, "value": value}
            for seed, (kl, error) in enumerate([(0.01, 0.01), (worst_kl, worst_error)])
            for metric, value in (measures | {"kl_energy": kl, "log_z": 1.0 + error}).items()
        ]
        return results_table(pd.DataFrame(rows), ["ring"]).shown["Aims"].to_list()

    assert aims(0.029, -0.049) == ["met"]
    assert aims(0.031, -0.049) == ["missed"]
    assert aims(0.029, -0.051) == ["missed"]


def test_the_page_has_the_chapters_with_figures_tables_and_commands(params, report):
    page = report.read_text()
    plots = chapters.plots(load(params))
    for title in ("The connection, measured", "Densities in the plane"):
        assert f"<h2>{title}</h2>" in page
    for name in plots:
        assert f"threefold figures --params params.yaml --only {name}" in page
        assert (report.parent / "figures" / f"{name}.pdf").is_file()
    for name in ("connection_bias_table", "density_results"):
        assert f'<section id="{name}">' in page
        latex = (report.parent / "tables" / f"{name}.tex").read_text()
        assert latex.isascii()
    provenance = (report.parent / "provenance.html").read_text()
    assert all(f"threefold study {name} --params" in provenance for name in ("connection", "density"))


def test_a_studys_figure_needs_its_own_results_alone(params, report, tmp_path):
    path = synthetic.design(tmp_path, studies={"connection": {"energies": 2, "points": [8], "repeats": 10}})
    folder = load(path).results / "studies"
    shutil.copytree(load(params).results / "studies" / "connection", folder / "connection")
    assert threefold("figures", "--params", path, "--only", "connection_sign") == 0
    one, other = (
        root / "reports" / "made-up" / "figures" / "connection_sign.pdf" for root in (tmp_path, params.parent)
    )
    assert one.read_bytes() == other.read_bytes()


def test_a_profile_without_studies_has_no_chapters(tmp_path):
    assert not chapters.chapters(load(synthetic.design(tmp_path)))


@pytest.mark.parametrize(
    ("studies", "said"),
    [
        ({}, "studies.density: missing; add the size of the study"),
        ({"density": SIZE | {"targets": ["ring", "tunnel"]}}, "studies.density.targets: no 'tunnel'; choose from ring"),
        (
            {"density": SIZE | {"targets": ["ring", "ring"]}},
            "studies.density.targets: ['ring', 'ring'] names one twice",
        ),
        ({"density": SIZE | {"step": 3}}, "studies.density.step: no such key; did you mean 'steps'?"),
    ],
)
def test_a_wrong_size_is_named_with_its_file(tmp_path, studies, said):
    path = synthetic.design(tmp_path, studies=studies)
    with pytest.raises(InputError) as caught:
        run("density", path)
    assert str(caught.value).startswith(f"{path}: {said}")


def test_the_ring_lies_on_its_circle():
    assert on_ring().norm(dim=1).tolist() == pytest.approx([2.0] * 8)
    x = TARGETS["ring"].sample(4000, torch.Generator().manual_seed(0))
    assert x.norm(dim=1).mean().item() == pytest.approx(2.0, abs=0.05)


def test_a_study_of_another_plan_is_refused(tmp_path):
    path = synthetic.design(tmp_path, studies={"connection": {"energies": 1, "points": [8], "repeats": 2}})
    run("connection", path)
    made_from = json.loads(
        (tmp_path / "results" / "made-up" / "provenance" / "studies" / "connection.json").read_text()
    )
    plan: dict[str, dict] = {"cells": {}, "variants": {}, "references": {}, "settings": {}}
    plan["studies"] = {"connection": made_from["fingerprint"]}
    write_json(plan, tmp_path / "plan.json")
    run("connection", path)
    write_json(plan | {"studies": {"connection": "other"}}, tmp_path / "plan.json")
    with pytest.raises(InputError, match=r"plan\.json: studies\.connection: made before the last change of code or"):
        run("connection", path)


def test_a_study_says_how_long_cores_computed_its_parts_also_those_that_were_there(tmp_path, monkeypatch):
    monkeypatch.setenv("THREEFOLD_STORE", str(tmp_path / "store"))
    monkeypatch.setattr(parts, "get_context", lambda _: fresh.CONTEXT)
    tiny = {"targets": ["ring"], "seeds": [0], "steps": 2, "batch": 8, "records": 1, "points": [8], "repeats": 2}
    path = synthetic.design(tmp_path, studies={"density": tiny})
    sidecar = tmp_path / "results" / "made-up" / "provenance" / "studies" / "density.json"
    for _ in range(2):
        run("density", path)
        each = [json.loads(part.read_text())["cpu_s"] for part in (tmp_path / "store").rglob("provenance.json")]
        assert json.loads(sidecar.read_text())["cpu_s"] >= round(sum(each), 1) > 0


ROWS = pd.DataFrame({"a": [1.0]})


@pytest.mark.parametrize("returned", [None, [ROWS], ROWS, {"a": ROWS}, {"a": (ROWS,)}, {"a": (ROWS, ["a"])}, {"a": {}}])
def test_what_is_no_table_with_its_columns_is_refused_with_the_studys_file(tmp_path, monkeypatch, returned):
    path = synthetic.design(tmp_path, studies={"connection": {"energies": 1, "points": [8], "repeats": 2}})
    monkeypatch.setattr(connection, "study", lambda size: returned)
    with pytest.raises(InputError, match=r"^studies/connection/study\.py: study: returns no dict of pairs[^\n]+$"):
        run("connection", path)
    assert not (tmp_path / "results" / "made-up" / "studies").exists()


@pytest.mark.parametrize("columns", [{"b": "float64"}, {"a": "int64"}, {}])
def test_a_table_of_other_columns_is_refused_with_the_file_that_names_them(tmp_path, monkeypatch, columns):
    path = synthetic.design(tmp_path, studies={"connection": {"energies": 1, "points": [8], "repeats": 2}})
    monkeypatch.setattr(connection, "study", lambda size: {"shares": (ROWS, columns)})
    said = r"^studies/connection/study\.py, held against studies/connection/schema\.py: shares\.csv\.gz: the table has"
    with pytest.raises(InputError, match=said):
        run("connection", path)
