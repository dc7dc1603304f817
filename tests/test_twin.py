"""The twin of guided cost learning by other routes: the joint Gaussian of all actions, sums by hand, and prediction."""

import math

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.optimize import brentq
from torch.distributions import MultivariateNormal, kl_divergence

from algorithms.core.population import Generators
from studies.core import parts
from studies.twin import schema, study
from studies.twin.chapter import claims, differences, horizon_table, learnt_table, weights_table
from studies.twin.lqr import DYNAMICS, INPUT, Cost, divergence, expected, sample, second_moments, solve
from studies.twin.schema import Size
from studies.twin.study import EXPERT, ROWS, STARTS, Learners, Row, learn, share
from tests import fresh, synthetic
from threefold.base.errors import InputError
from threefold.cells.study import run

T = 6
START = STARTS[2]


def random_cost(seed):
    g = torch.Generator().manual_seed(seed)
    root, roots = torch.randn(4, 5, generator=g).double(), torch.randn(2, 2, generator=g).double()
    return Cost(root.mT @ root, roots.mT @ roots + 0.1 * torch.eye(2).double())


def roll(actions, start=START):
    """z of every step `[T, 5]`, one at a time."""
    z, states = start, []
    for u in actions:
        states.append(z)
        z = DYNAMICS @ z + INPUT @ u
    return torch.stack(states)


def total(cost, flat, start=START):
    """c of 2 T actions in a row, written out."""
    u = flat.view(-1, 2)
    return sum((z @ cost.state @ z + a @ cost.action @ a) / 2 for z, a in zip(roll(u, start), u, strict=True))


def joint(cost, start=START):
    """exp(-c) / Z as one Gaussian of 2 T actions, and log Z, from the slope and the curvature of c at 0."""
    zero = torch.zeros(2 * T).double()
    curve = torch.autograd.functional.hessian(lambda u: total(cost, u, start), zero)
    slope = torch.autograd.functional.jacobian(lambda u: total(cost, u, start), zero)
    mean = -torch.linalg.solve(curve, slope)
    log_z = -total(cost, mean, start) + T * math.log(2 * math.pi) - torch.logdet(curve) / 2
    return MultivariateNormal(mean, precision_matrix=curve), log_z


def test_two_steps_by_hand():
    """The last action only costs, the first moves the second state: Q_uu = r + p h^4 / 4 + v h^2 along an axis."""
    h, p, v, r = 0.05, 3.0, 2.0, 0.7
    cost = Cost(torch.diag(torch.tensor([p, p, v, v, 0.0])).double(), r * torch.eye(2).double())
    policy = solve(cost, 2)
    torch.testing.assert_close(policy.precision[1], r * torch.eye(2).double())
    assert not policy.gain[1].any()
    precision = r + p * h**4 / 4 + v * h**2
    assert policy.precision[0, 0, 0].item() == pytest.approx(precision)
    gain = [p * h**2 / 2 / precision, (p * h**3 / 2 + v * h) / precision]
    assert policy.gain[0, 0].tolist() == pytest.approx([gain[0], 0, gain[1], 0, 0])


@pytest.mark.parametrize("seed", [0, 1])
def test_the_policy_is_the_gaussian_of_all_actions(seed):
    """log Z, the density of trajectories, their mean and their moments."""
    cost = random_cost(seed)
    policy, (gaussian, log_z) = solve(cost, T), joint(cost)
    assert policy.log_z(START).item() == pytest.approx(log_z.item(), abs=1e-8)
    noise = torch.randn(5, T, 2, generator=torch.Generator().manual_seed(seed)).double()
    tau, actions = sample(policy, START, noise)
    log_density = gaussian.log_prob(actions.flatten(1))
    torch.testing.assert_close(-cost(tau) - policy.log_z(START), log_density)
    by_steps = -noise.square().sum((1, 2)) / 2 + torch.logdet(policy.precision).sum() / 2 - T * math.log(2 * math.pi)
    torch.testing.assert_close(by_steps, log_density)
    seen = second_moments(policy, START)
    torch.testing.assert_close(seen[:-1, :, -1], roll(gaussian.mean.view(T, 2)))
    torch.testing.assert_close(cost(expected(policy, START))[0], T + total(cost, gaussian.mean))  # chi-square of 2 T


def test_moments_are_sums_over_the_steps():
    cost = random_cost(3)
    tau, actions = sample(solve(cost, T), START, torch.randn(2, T, 2).double())
    torch.testing.assert_close(cost(tau), torch.stack([total(cost, u.flatten()) for u in actions]))


def test_divergence_is_that_of_the_gaussians():
    one, two = random_cost(0), random_cost(1)
    expected_kl = kl_divergence(joint(one)[0], joint(two)[0])
    assert divergence(solve(one, T), solve(two, T), START).item() == pytest.approx(expected_kl.item(), rel=1e-8)
    assert divergence(solve(one, T), solve(one, T), START).item() == pytest.approx(0, abs=1e-10)


def test_a_factor_of_the_cost_is_one_of_the_precision_alone():
    """Hence a policy without entropy has the mean of one with it."""
    (mean, variance), (same, wider) = (study.positions(solve(cost, 20)) for cost in (EXPERT, EXPERT.times(0.25)))
    torch.testing.assert_close(mean, same)
    torch.testing.assert_close(4 * variance, wider)


@pytest.mark.parametrize("wrong", study.WRONG)
def test_the_share_that_counts_falls_with_the_horizon(wrong):
    """Of a Gaussian of 2 T numbers whose precision is off by a factor: (1 - wrong^2)^T."""
    for horizon in (1, 10, 50):
        found = share(EXPERT, EXPERT.times(1 + wrong), horizon, START)
        assert found == pytest.approx((1 - wrong**2) ** horizon, rel=1e-6)


def test_effective_sizes_approach_the_limit():
    size = Size(seeds=[0], steps=1, trajectories=[2], horizon=1, learnt_horizons=[1], horizons=[1, 10], repeats=200)
    rows = pd.DataFrame(study.weights(size))
    near = rows[rows["wrong"] == 0.03]
    assert (near["measured"] - near["limit"]).abs().max() < 0.05
    assert (rows["measured"] >= 1).all()


def at_expert(rows, n=7):
    """Learners whose costs are the expert's."""
    learners = Learners(rows, [0, 1], T, n)
    with torch.no_grad():
        learners.on_state.copy_(torch.eye(4, 5).double() * EXPERT.state.diagonal()[:4].sqrt()[:, None])
        learners.on_action.copy_(EXPERT.action.sqrt())
    return learners


def test_with_a_sampler_that_is_up_to_date_all_count_and_the_gradient_is_a_difference_of_means():
    """The weights are then Z for all: half the difference between demonstrations and samples, with p known or not."""
    learners = at_expert([Row(), ROWS["known"]])
    loss, effective = learners.losses()
    torch.testing.assert_close(effective, torch.full((2, 2), 7.0).double())
    (found,) = torch.autograd.grad(loss.sum(), learners.on_action)
    noise = Generators([0, 1], f"twin {T} 7")
    demonstrations = sample(learners.expert, STARTS, noise.normal(4, 7, T, 2).double())[0]
    noise.normal(1, 4, 1)  # of the first costs
    samples = sample(learners.expert, STARTS, noise.normal(4, 7, T, 2).double())[0]
    gap = (demonstrations.action - samples.action).mean((1, 2)) / 2  # over starts and trajectories
    slope = (learners.on_action[0, :, 0] @ gap)[None, :, None]
    torch.testing.assert_close(found, slope.expand_as(found))


def action_moments(gaussian):
    """E sum_t u u' under the Gaussian of all actions."""
    second = gaussian.covariance_matrix + torch.outer(gaussian.mean, gaussian.mean)
    return second.view(T, 2, T, 2).diagonal(dim1=0, dim2=2).sum(-1)


def test_the_exact_gradient_is_the_mean_over_demonstrations_less_the_joint_gaussians():
    learners = Learners([ROWS["exact"]], [4], T, 3)
    loss, _ = learners.losses()
    _, found = torch.autograd.grad(loss.sum(), [learners.on_state, learners.on_action])
    cost = Cost(*(x[0, 0, 0].detach() for x in learners.cost()))
    model = torch.stack([action_moments(joint(cost, start)[0]) for start in STARTS])
    gap = (learners.demonstrations.action[0].mean(1) - model).mean(0)
    torch.testing.assert_close(found[0, 0, 0], learners.on_action[0, 0, 0] @ gap)


def test_without_weights_the_variance_is_the_one_predicted():
    """One step, endless samples: E_p[c] is E[c] of (p + q) exp(-c), q = exp(-c) / Z; a Gaussian of d = 2 numbers."""

    def miss(a, d=2):
        weight = np.array([(1 + a) ** (-d / 2), 2 ** (-d / 2)])
        return weight @ [1 / (1 + a), 1 / (2 * a)] / weight.sum() - 1

    a = brentq(miss, 0.01, 1)
    assert a < 0.4
    learners, _ = learn([ROWS["unweighted"], Row()], [0], 1, 1500, 150)
    precision = learners.cost().action[:, 0, 0] @ torch.linalg.inv(EXPERT.action)
    ratio = precision.diagonal(dim1=-2, dim2=-1).mean(-1)
    assert ratio.tolist() == pytest.approx([a, 1], rel=0.08)


# Files and chapter

SIZE = Size(seeds=[0, 1], steps=60, trajectories=[5, 20], horizon=8, learnt_horizons=[1, 4], horizons=[1, 8], repeats=4)


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("THREEFOLD_STORE", str(tmp_path_factory.mktemp("store")))
        patch.setattr(parts, "get_context", lambda _: fresh.CONTEXT)  # whose workers have loaded torch
        return {name: rows for name, (rows, _) in study.study(SIZE).items()}


def test_files_have_every_learner(found):
    assert len(found["learnt"]) == 7 * 2 * 2
    assert len(found["horizons"]) == 2 * 2 * 2
    assert list(found["learnt"]) == list(schema.LEARNT)
    assert found["learnt"]["row"].nunique() == 7
    assert found["learnt"]["trajectories"].is_monotonic_increasing
    assert found["horizons"]["horizon"].is_monotonic_increasing
    assert len(found["paths"]) == 7 * 9
    assert len(found["weights"]) == 3 * 2


def test_weights_learn_the_distribution_and_the_others_its_mean_or_nothing(found):
    of = found["learnt"][found["learnt"]["trajectories"] == 20].groupby("row").median(numeric_only=True)
    assert of.loc[["weights", "known", "gaussian", "exact"], "kl"].max() < 1
    assert of.loc[["weights", "known", "exact"], "variance"].between(0.7, 1.4).all()
    assert of.loc["unweighted", "variance"] > 2
    assert of.loc["unweighted", "kl"] > 3
    assert of.loc["no_entropy", "variance"] < 0.05
    assert of.loc["cooled", "variance"] < 0.05
    assert of.loc["cooled", "mean_error"] == pytest.approx(of.loc["weights", "mean_error"], rel=1e-6)


def test_the_effective_size_of_a_fresh_sampler_is_all(found):
    of = found["horizons"].groupby("row")["effective"]
    assert of.min()["weights"] == pytest.approx(5)
    assert of.max()["narrow"] < 5


def test_a_learner_does_not_depend_on_who_learns_beside_it():
    alone, both = (learn(rows, [3], 4, 3, 5)[0].cost() for rows in ([Row()], [ROWS["unweighted"], Row()]))
    torch.testing.assert_close(alone.state[0], both.state[1], rtol=1e-9, atol=1e-12)


def test_verdicts_follow_the_numbers(found):
    def verdicts(rows):
        return {(line.row, line.says): line.holds for line in claims(rows, SIZE).data.itertuples()}

    measured = verdicts(found["learnt"])
    assert measured["no weights", "the variance is far too large"] == "yes"
    assert measured["no entropy", "the variance is 0"] == "yes"
    turned = verdicts(found["learnt"].assign(variance=1 / found["learnt"]["variance"], kl=-found["learnt"]["kl"]))
    assert turned["no weights", "the variance is far too large"] == "no"
    assert turned["no entropy", "the variance is 0"] == "no"
    before = measured["true density", "nearer than with one Gaussian"]
    assert turned["true density", "nearer than with one Gaussian"] != before
    assert len(learnt_table(found["learnt"], SIZE).shown) == 14
    assert len(weights_table(found["weights"]).shown) == 2
    assert horizon_table(found["horizons"]).shown["Horizon"].to_list() == ["1", "4"]


def test_the_density_claim_is_on_as_many_trajectories_as_the_papers(found):
    """With many either way is right and the order is chance. By hand: 1 and 2 nats with 10, 3 and 2 with 20."""
    rows = found["learnt"].assign(trajectories=found["learnt"]["trajectories"].replace(5, 10))
    kl = {("known", 10): 1.0, ("gaussian", 10): 2.0, ("known", 20): 3.0, ("gaussian", 20): 2.0}
    keys = zip(rows["row"], rows["trajectories"], strict=True)
    rows["kl"] = [kl.get(key, x) for key, x in zip(keys, rows["kl"], strict=True)]
    size = SIZE.model_copy(update={"trajectories": [10, 20]})
    (line,) = claims(rows, size).data.query("says == 'nearer than with one Gaussian'").itertuples()
    assert (line.measured, line.holds) == ("KL 1.00 nats, 2.00 with one Gaussian (10 trajectories)", "yes")
    assert "10 trajectories of each source KL is 1.00 nats" in differences(rows, size)[0]
    assert "in the same order, on another scale" in differences(rows, size)[0]


def test_what_the_paper_says_and_is_not_found_is_told_where_the_verdict_is_no(found):
    def told(row, error):
        rows = found["learnt"].assign(mean_error=0.1)
        rows.loc[rows["row"] == row, "mean_error"] = error
        holds = claims(rows, SIZE).data.query("says.str.startswith('the mean is right')").set_index("row")["holds"]
        return holds.to_dict(), differences(rows, SIZE)[1:]

    holds, sentences = told("unweighted", 0.3)
    assert (holds["no weights"], holds["no entropy"]) == ("no", "yes")
    assert len(sentences) == 1
    assert sentences[0].startswith("Without weights the mean is not right: off by 0.300 m with 20 trajectories and by")
    holds, sentences = told("no_entropy", 0.4)
    assert (holds["no weights"], holds["no entropy"]) == ("yes", "no")
    assert len(sentences) == 1
    assert sentences[0].startswith("Without entropy in the sampler the mean is off by 0.400 m:")
    assert sentences[0].endswith("the mean is as with weights, off by 0.100 m.")
    assert told("cooled", 0.1)[1] == []


def test_what_was_published_stands_beside_as_many_trajectories_alone(found):
    rows = found["learnt"].assign(trajectories=found["learnt"]["trajectories"].replace(20, 10))
    shown = learnt_table(rows, SIZE).shown.set_index(["Learnt with", "Trajectories"])["Published KL"]
    assert dict(shown[shown != "–"]) == {("true density", "10"): "230.66", ("one Gaussian", "10"): "272.71"}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"horizon": 0}, "studies.twin.horizon: Input should be greater than 0"),
        ({"horizons": [5, 5]}, "studies.twin.horizons: [5, 5] names one twice; remove it"),
        ({"trajectories": [1]}, "studies.twin.trajectories.0: Input should be greater than or equal to 2"),
        ({"repeat": 3}, "studies.twin.repeat: no such key; did you mean 'repeats'?"),
    ],
)
def test_a_wrong_size_is_one_line(tmp_path, change, said):
    path = synthetic.design(tmp_path, studies={"twin": SIZE.model_dump() | change})
    with pytest.raises(InputError) as caught:
        run("twin", path)
    assert str(caught.value).startswith(f"{path}: {said}")
    assert "\n" not in str(caught.value)
