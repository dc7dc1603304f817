import itertools

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from threefold.base.errors import InputError
from threefold.tables import schema, statistics


def rng():
    return np.random.default_rng(0)


@pytest.mark.parametrize(("runs", "tasks"), [(5, 1), (5, 3), (10, 4), (7, 9), (3, 2)])
def test_interquartile_mean_is_rliables(runs, tasks):
    """rliable: scipy's trim_mean at 25 % over all runs x tasks at once. Here by sorting and slicing instead."""
    scores = np.random.default_rng(runs).normal(size=(runs, tasks))
    ordered = sorted(scores.ravel())
    cut = len(ordered) // 4
    expected = sum(ordered[cut : len(ordered) - cut]) / (len(ordered) - 2 * cut)
    value = statistics.aggregate(list(scores.T), rng()).value
    assert value == pytest.approx(expected, abs=1e-12)


def test_interquartile_mean_ignores_outliers():
    scores = np.array([-1e6, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1e6])
    assert statistics.interquartile_mean(scores) == pytest.approx((0.6 + 0.7 + 0.8 + 0.9) / 4)


def test_interval_resamples_within_each_task():
    """With equal scores inside each task a stratified bootstrap cannot vary; a pooled one would."""
    assert [float(x) for x in statistics.mean([np.zeros(5), np.ones(5)], rng())] == [0.5, 0.5, 0.5]


def test_interval_of_a_mean_matches_all_resamples():
    """Two strata of three learners: the 27 x 27 equally likely resamples, enumerated."""
    strata = [np.array([0.1, 0.4, 1.0]), np.array([0.0, 0.7, 0.8])]
    sums = [np.array([sum(s) for s in itertools.product(stratum, repeat=3)]) for stratum in strata]
    every = np.add.outer(*sums).ravel() / 6
    _, low, high = statistics.mean(strata, rng())
    assert low == pytest.approx(np.quantile(every, 0.025), abs=0.03)
    assert high == pytest.approx(np.quantile(every, 0.975), abs=0.03)


def test_interval_covers_the_truth():
    """95 % intervals of the mean of 20 learners x 3 tasks should miss about 5 % of the time, not 15 % or never."""
    draw = np.random.default_rng(1)
    missed = 0
    for _ in range(200):
        _, low, high = statistics.mean(list(draw.normal(0.7, 0.2, (3, 20))), rng())
        missed += not low <= 0.7 <= high
    assert 2 <= missed <= 26


def test_same_generator_same_interval():
    strata = [np.random.default_rng(3).normal(size=5)]
    assert statistics.aggregate(strata, rng()) == statistics.aggregate(strata, rng())
    assert statistics.aggregate(strata, rng())[1:] != statistics.aggregate(strata, np.random.default_rng(1))[1:]


def test_one_seed_has_no_interval():
    value, low, high = statistics.aggregate([np.array([0.3]), np.array([0.5])], rng())
    assert value == pytest.approx(0.4)
    assert np.isnan([low, high]).all()


def test_performance_profile_counts():
    strata = [np.array([0.0, 0.5, 1.0]), np.array([0.2, 0.5, 0.9])]
    thresholds = np.array([-1.0, 0.0, 0.5, 0.95, 2.0])
    value, low, high = statistics.performance_profile(strata, thresholds, rng())
    np.testing.assert_allclose(value, [1, 5 / 6, 2 / 6, 1 / 6, 0])
    assert ((low <= value) & (value <= high)).all()
    assert high[3] > value[3]


def test_probability_of_improvement_is_the_u_statistic():
    draw = np.random.default_rng(0)
    ours, theirs = list(draw.normal(0.5, 1, (3, 6)).round(1)), list(draw.normal(0, 1, (3, 5)).round(1))
    expected = np.mean([stats.mannwhitneyu(a, b).statistic / 30 for a, b in zip(ours, theirs, strict=True)])
    value, low, high = statistics.probability_of_improvement(ours, theirs, rng())
    assert value == pytest.approx(expected)
    assert low < value < high
    assert statistics.probability_of_improvement(theirs, ours, rng()).value == pytest.approx(1 - expected)


def test_improvement_needs_the_same_strata():
    with pytest.raises(ValueError, match="strata"):
        statistics.probability_of_improvement([np.ones(3)], [np.ones(3)] * 2, rng())


@pytest.mark.parametrize(
    ("scores", "verdict"),
    [
        ([1.0, 0.99, 1.01, 1.0, 0.98], "non-inferior"),
        ([0.5, 0.52, 0.48, 0.51, 0.5], "inferior"),
        ([1.0, 0.6, 1.2, 0.9, 0.7], "inconclusive"),
        ([1.0], "inconclusive"),
    ],
)
def test_non_inferiority(scores, verdict):
    assert statistics.non_inferiority(np.array(scores), published=1.0, margin=0.05).verdict == verdict


def test_non_inferiority_bound_is_the_one_sided_t_test():
    """At the margin that equals the bound, the textbook one-sided t test has p = 0.05."""
    scores = np.array([0.9, 1.0, 0.95, 1.1, 0.85])
    bound = statistics.non_inferiority(scores, 1.0, 0.05).low + 1.0
    assert stats.ttest_1samp(scores, bound, alternative="greater").pvalue == pytest.approx(0.05)


def evaluations(*rows):
    return pd.DataFrame(rows, columns=list(schema.EVALUATIONS)).astype(schema.EVALUATIONS)


def test_final_evaluation_is_the_last_of_each_learner():
    frame = evaluations(
        ("t", "gail", 4, 0, 100, 0, 1.0, 9, True),
        ("t", "gail", 4, 0, 200, 0, 2.0, 9, True),
        ("t", "gail", 4, 0, 200, 1, 4.0, 9, True),
        ("t", "gail", 4, 1, 150, 0, 7.0, 9, True),
        ("t", "bc", 4, 0, 0, 0, 5.0, 9, True),
    )
    means = statistics.learner_means(statistics.final_episodes(frame)).set_index(["row", "seed"])
    assert means["episode_return"].to_dict() == {("gail", 0): 3.0, ("gail", 1): 7.0, ("bc", 0): 5.0}
    assert means["episodes"].to_dict() == {("gail", 0): 2, ("gail", 1): 1, ("bc", 0): 1}


def test_references_and_scores():
    frame = evaluations(
        ("t", "random", 0, 0, 0, 0, -4.0, 9, True),
        ("t", "random", 0, 0, 0, 1, -6.0, 9, True),
        ("t", "expert", 0, 0, 0, 0, 15.0, 9, True),
        ("t", "expert-stochastic", 0, 0, 0, 0, 10.0, 9, True),
        ("t", "gail", 4, 0, 100, 0, 99.0, 9, True),
    )
    ends = statistics.reference_returns(frame).loc["t"]
    assert list(ends) == [-5.0, 15.0, 10.0]
    assert statistics.score(np.array([-5.0, 15.0, 10.0]), ends["random"], ends["expert"]).tolist() == [0, 1, 0.75]
    with pytest.raises(InputError, match="t: expert"):
        statistics.reference_returns(frame[frame["row"] != "expert"])
    with pytest.raises(InputError, match="no score"):
        statistics.reference_returns(frame.replace({"episode_return": {15.0: -7.0}}))


def test_strata_without_a_learner_are_left_out():
    full, empty = [np.array([0.1, 0.2, 0.4]), np.array([0.5, 0.9, 0.7])], np.array([])
    rng = np.random.default_rng
    for function in (statistics.mean, statistics.aggregate):
        assert function([*full, empty], rng(0)) == function(full, rng(0))
        assert np.isnan(function([empty], rng(0))).all()
    both = statistics.probability_of_improvement(full, full[::-1], rng(0))
    assert statistics.probability_of_improvement([*full, empty, full[0]], [*full[::-1], full[0], empty], rng(0)) == both
    assert np.isnan(statistics.probability_of_improvement([empty], [full[0]], rng(0))).all()


def test_optimality_gap_counts_nothing_beyond_the_expert():
    value = statistics.optimality_gap([np.array([0.2, 1.5]), np.array([1.0, 0.9])], rng()).value
    assert value == pytest.approx((0.8 + 0 + 0 + 0.1) / 4)


@pytest.mark.parametrize(("n", "share", "k"), [(3, 0.9, 6.155), (5, 0.9, 3.407), (10, 0.9, 2.355), (10, 0.99, 3.981)])
def test_tolerance_bound_has_the_factors_of_the_tables(n, share, k):
    """One-sided normal tolerance factors at 95 % confidence, as tables print them (NIST handbook, 7.2.6.3)."""
    scores = np.random.default_rng(n).normal(size=n)
    bound = statistics.tolerance_bound(scores, share)
    assert (scores.mean() - bound) / scores.std(ddof=1) == pytest.approx(k, abs=2e-3)
    assert np.isnan(statistics.tolerance_bound(scores[:1], share))


@pytest.mark.parametrize(("effect", "n"), [(0.2, 394), (0.5, 64), (0.8, 26), (1.0, 17)])
def test_seeds_needed_are_those_of_cohens_table(effect, n):
    """Cohen (1988): two groups of n each, two-sided 5 %, power 0.8."""
    ours = np.array([-1.0, 1.0]) / np.sqrt(2)  # variance 1
    assert statistics.seeds_needed(ours, ours + effect) == n
    assert statistics.seeds_needed(ours + effect, ours) == n


def test_seeds_needed_at_the_edges():
    same = np.array([0.5, 0.5])
    assert statistics.seeds_needed(same, same) == np.inf
    assert statistics.seeds_needed(same, same + 0.1) == 2
    assert statistics.seeds_needed(np.array([0.0, 1.0]), np.array([0.001, 1.001])) == np.inf
    assert np.isnan(statistics.seeds_needed(same, same[:1]))
