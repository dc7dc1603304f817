"""Statistics of scores: few seeds, so points and intervals, and no p-values (under ten seeds they say nothing).

A *stratum* is one task with one number of demonstrations: the scores of its learners, one number per seed. Learners are
resampled within their stratum (stratified bootstrap), as in Agarwal et al. 2021, "Deep RL at the edge of the
statistical precipice". Strata without a learner, whose results are missing, are left out. Every interval takes an
explicit generator, so that it does not depend on what was computed before it.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

from threefold.base.errors import InputError
from threefold.tables.schema import LEARNER, REFERENCES

CONFIDENCE = 0.95
POWER = 0.8  # chance to tell apart what differs, of `seeds_needed`
MANY_SEEDS = 1000  # beyond them `seeds_needed` does not count
RESAMPLES = 2000
BATCH = 200  # resamples held in memory at once

Strata = Sequence[np.ndarray]
UNKNOWN = np.array([np.nan])


class Estimate(NamedTuple):
    """A value (number or array) with its 95 % interval; the interval is NaN where a stratum has a single learner."""

    value: np.ndarray
    low: np.ndarray
    high: np.ndarray


def final_episodes(evaluations: pd.DataFrame) -> pd.DataFrame:
    """The rows of each learner's final evaluation: those at its largest env_steps."""
    last = evaluations.groupby(list(LEARNER), sort=False)["env_steps"].transform("max")
    return evaluations[evaluations["env_steps"] == last]


def learner_means(evaluations: pd.DataFrame) -> pd.DataFrame:
    """One row per learner and evaluation: mean return and length (steps) over its episodes, and how many they were."""
    return evaluations.groupby([*LEARNER, "env_steps"], as_index=False).agg(
        episode_return=("episode_return", "mean"),
        episode_length=("episode_length", "mean"),
        episodes=("episode", "size"),
    )


def reference_returns(evaluations: pd.DataFrame) -> pd.DataFrame:
    """`reference_means`; InputError if an expert is no better than random, for then no score is defined."""
    means = reference_means(evaluations)
    for task in means.index[~(means["expert"] > means["random"])]:
        raise InputError(
            f"{task}: expert returns {means.expert[task]:.4g}, random {means.random[task]:.4g}: no score is defined; "
            f"train a better expert in data/experts/{task}"
        )
    return means


def reference_means(evaluations: pd.DataFrame) -> pd.DataFrame:
    """Mean measured return of each reference policy: index task, columns random, expert, expert-stochastic."""
    rows = evaluations[evaluations["row"].isin(REFERENCES)]
    means = rows.pivot_table(index="task", columns="row", values="episode_return", aggfunc="mean")
    return means.reindex(columns=list(REFERENCES))


def score(episode_return: Any, random: Any, expert: Any) -> Any:
    """Normalised return (numbers or columns): 0 is the random policy, 1 the expert (Ho & Ermon 2016, figure 1)."""
    return (episode_return - random) / (expert - random)


def interquartile_mean(scores: np.ndarray, axis: int = -1) -> np.ndarray:
    """Mean of what is left after dropping a quarter (rounded down) of the scores at each end."""
    return stats.trim_mean(scores, proportiontocut=0.25, axis=axis)


def mean(strata: Strata, rng: np.random.Generator) -> Estimate:
    """Mean over all learners of all strata."""
    return _bootstrap(strata, lambda pooled: pooled.mean(axis=-1), rng)


def aggregate(strata: Strata, rng: np.random.Generator) -> Estimate:
    """Interquartile mean over all learners of all strata."""
    return _bootstrap(strata, interquartile_mean, rng)


def optimality_gap(strata: Strata, rng: np.random.Generator) -> Estimate:
    """Mean shortfall from the expert, max(0, 1 - score), over all learners of all strata (Agarwal et al. 2021)."""
    return _bootstrap(strata, lambda pooled: np.maximum(0.0, 1.0 - pooled).mean(axis=-1), rng)


def performance_profile(strata: Strata, thresholds: np.ndarray, rng: np.random.Generator) -> Estimate:
    """Share of learners that score above each threshold: arrays of thresholds' shape [K], bands pointwise."""
    return _bootstrap(strata, lambda pooled: np.stack([(pooled > x).mean(axis=-1) for x in thresholds]), rng)


def probability_of_improvement(ours: Strata, theirs: Strata, rng: np.random.Generator) -> Estimate:
    """P(a learner of ours scores above one of theirs), ties counted half, averaged over strata (same order)."""
    if len(ours) != len(theirs):
        raise ValueError(f"{len(ours)} strata against {len(theirs)}")
    known = [(a, b) for a, b in zip(ours, theirs, strict=True) if len(a) and len(b)] or [(UNKNOWN, UNKNOWN)]
    ours, theirs = zip(*known, strict=True)

    def statistic(*samples: np.ndarray, axis: int = -1) -> np.ndarray:
        pairs = zip(samples[: len(ours)], samples[len(ours) :], strict=True)
        return np.mean([_wins(a, b) for a, b in pairs], axis=0)

    return _resample([*ours, *theirs], statistic, rng)


class NonInferiority(NamedTuple):
    """Mean score minus a published one, its one-sided 95 % bounds, and what they say at the declared margin."""

    difference: float
    low: float
    high: float
    verdict: str  # non-inferior | inferior | inconclusive


def non_inferiority(scores: np.ndarray, published: float, margin: float) -> NonInferiority:
    """Hold learners' scores [n] against a published score taken as exact.

    non-inferior: the one-sided 95 % lower bound of the mean lies above published - margin; inferior: the upper bound
    lies below it. Bounds are Student's t: the percentile bootstrap is too narrow on a handful of learners.
    """
    difference = float(np.mean(scores)) - published
    if len(scores) < 2:
        return NonInferiority(difference, np.nan, np.nan, "inconclusive")
    half = stats.t.ppf(CONFIDENCE, len(scores) - 1) * stats.sem(scores)
    low, high = difference - half, difference + half
    verdict = "non-inferior" if low > -margin else "inferior" if high < -margin else "inconclusive"
    return NonInferiority(difference, low, high, verdict)


def tolerance_bound(scores: np.ndarray, share: float) -> float:
    """Score above which, with 95 % confidence, at least this share of all seeds would lie; NaN for a single learner.

    The one-sided normal tolerance bound, mean - k sd with k = t'(0.95; n - 1, z_share sqrt n) / sqrt n, t' the quantile
    of the noncentral t distribution.
    """
    n = len(scores)
    if n < 2:
        return np.nan
    k = stats.nct.ppf(CONFIDENCE, n - 1, stats.norm.ppf(share) * np.sqrt(n)) / np.sqrt(n)
    return float(np.mean(scores) - k * np.std(scores, ddof=1))


def seeds_needed(ours: np.ndarray, theirs: np.ndarray) -> float:
    """Seeds of each method with which a t test at 5 % (two-sided) would tell them apart with a chance of POWER.

    Taken as true: the measured means, and the mean of the two measured variances. Infinite from MANY_SEEDS on; NaN
    where a method has a single learner.
    """
    if min(len(ours), len(theirs)) < 2:
        return np.nan
    difference = abs(np.mean(ours) - np.mean(theirs))
    sd = np.sqrt((np.var(ours, ddof=1) + np.var(theirs, ddof=1)) / 2)
    if sd == 0 or difference == 0:
        return 2.0 if difference else np.inf
    n = np.arange(2, MANY_SEEDS)
    critical, shift = stats.t.ppf((1 + CONFIDENCE) / 2, 2 * n - 2), difference / sd * np.sqrt(n / 2)
    enough = n[stats.nct.sf(critical, 2 * n - 2, shift) >= POWER]  # the other tail adds nothing at this power
    return float(enough[0]) if len(enough) else np.inf


def _wins(ours: np.ndarray, theirs: np.ndarray) -> np.ndarray:
    """Share of pairs won along the last axis, ties half: [..., n] against [..., m] -> [...]."""
    a, b = ours[..., :, None], theirs[..., None, :]
    return np.where(np.isnan(a) | np.isnan(b), np.nan, (a > b) + 0.5 * (a == b)).mean(axis=(-2, -1))


def _bootstrap(strata: Strata, statistic: Callable[[np.ndarray], np.ndarray], rng: np.random.Generator) -> Estimate:
    """Interval of a statistic of the pooled learners (last axis), each stratum resampled on its own."""

    def pooled(*samples: np.ndarray, axis: int = -1) -> np.ndarray:
        return statistic(np.concatenate(samples, axis=-1))

    return _resample([stratum for stratum in strata if len(stratum)] or [UNKNOWN], pooled, rng)


def _resample(strata: Strata, statistic: Callable[..., np.ndarray], rng: np.random.Generator) -> Estimate:
    value = statistic(*strata)
    if min(len(stratum) for stratum in strata) < 2:
        return Estimate(value, np.full_like(value, np.nan), np.full_like(value, np.nan))
    result = stats.bootstrap(
        tuple(strata),
        statistic,
        n_resamples=RESAMPLES,
        batch=BATCH,
        confidence_level=CONFIDENCE,
        method="percentile",
        vectorized=True,
        axis=-1,
        rng=rng,
    )
    return Estimate(value, result.confidence_interval.low, result.confidence_interval.high)
