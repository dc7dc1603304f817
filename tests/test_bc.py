"""Behavioural cloning: the split, the fit, the checkpoint it keeps, and a learner that fails."""

import itertools
import math
from collections.abc import Sequence
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor

from algorithms.bc import Config, split, train
from algorithms.core.experience import Demonstrations
from algorithms.core.population import Generators
from algorithms.core.progress import Progress
from threefold.base.errors import InputError

SEEDS = [4, 9, 4]
# All that BC reads of an env.
ENV = SimpleNamespace(
    obs_size=3, action_size=2, discrete=False, action_low=torch.tensor([-2.0, -0.5]), action_high=torch.tensor([2, 0.5])
)
SCALE = torch.tensor([2.0, 0.5])
WEIGHT, BIAS = torch.tensor([[1.0, -0.5], [0.0, 0.3], [-2.0, 0.1]]), torch.tensor([0.5, -0.2])


def linear_expert(obs: Tensor) -> Tensor:
    return (obs * torch.tensor([1.0, 0.1, 0.02])) @ WEIGHT + BIAS


def pairs(rows: int, counts: Sequence[int], noise: float) -> Demonstrations:
    """Ten trajectories of `rows` pairs of a linear expert with Gaussian noise, on observations of uneven scales."""
    g, n = torch.Generator().manual_seed(0), 10 * rows
    obs = torch.randn(n, 3, generator=g) * torch.tensor([1.0, 10.0, 50.0]) + torch.tensor([0.0, 5.0, -20.0])
    action = linear_expert(obs) + noise * SCALE * torch.randn(n, 2, generator=g)
    lengths, never = torch.full((10,), rows), torch.zeros(n, dtype=torch.bool)
    trajectory = torch.arange(10).repeat_interleave(rows)
    return Demonstrations(obs, action, obs, never, trajectory, lengths, never[:10], counts)


def parts(counts: Sequence[int], seeds: Sequence[int], rows: int = 7, share: float = 0.7):
    demonstrations = pairs(rows, counts, 0.1)
    training, validation = split(demonstrations, Generators(seeds, "minibatches"), share)
    own = [[part.index[p, : part.size[p]].tolist() for part in (training, validation)] for p in range(len(seeds))]
    return training, validation, own


def test_the_split_is_a_partition_of_each_learners_own_rows():
    counts = [2, 10, 1]
    training, validation, own = parts(counts, SEEDS)
    assert training.size.tolist() == [10, 49, 5]  # of 14, 70 and 7 rows
    assert validation.size.tolist() == [4, 21, 2]
    for (first, second), count in zip(own, counts, strict=True):
        assert sorted(first + second) == list(range(7 * count))
    assert own[1][0] != sorted(own[1][0])  # shuffled


@pytest.mark.parametrize(("share", "rows", "expected"), [(0.99, 3, (2, 1)), (0.01, 3, (1, 2)), (0.7, 2, (1, 1))])
def test_either_part_has_a_row_at_least(share, rows, expected):
    training, validation, _ = parts([1], [0], rows, share)
    assert (training.size.item(), validation.size.item()) == expected


def test_the_split_does_not_depend_on_the_neighbours():
    _, _, together = parts([2, 10, 1], SEEDS)
    for p, count in enumerate([2, 10, 1]):
        _, _, alone = parts([count], [SEEDS[p]])
        assert together[p] == alone[0]


def test_means_and_draws_keep_to_a_learners_own_rows():
    training, validation, own = parts([2, 10, 1], SEEDS)
    for part, which in ((training, 0), (validation, 1)):
        x = torch.randn(70)
        means = part.mean(x[part.index])
        drawn = part.draw(Generators(SEEDS, "draws"), 2000)
        assert part.weight.sum(1).tolist() == part.size.tolist()
        for p in range(3):
            torch.testing.assert_close(means[p], x[own[p][which]].mean())
            assert set(drawn[p].tolist()) == set(own[p][which])


def test_it_recovers_a_linear_gaussian_expert():
    demonstrations = pairs(60, [10, 10, 10], noise=0.1)
    config = Config(hidden=(), rate=0.02, steps=600, batch=256)
    policy = list(train(ENV, demonstrations, SEEDS, config))[-1].policy
    obs = demonstrations.obs[::7]
    error = (policy(obs.expand(3, -1, -1)) - linear_expert(obs)) / SCALE
    assert error.square().mean().sqrt() < 0.02  # 420 rows of noise 0.1, 4 numbers fitted: 0.1 (4 / 420)^0.5 = 0.01
    assert error.abs().max() < 0.1
    torch.testing.assert_close(policy.log_std, torch.full((3, 1, 2), math.log(0.1)), rtol=0, atol=0.1)


def test_standardisation_uses_the_training_rows_alone():
    demonstrations = pairs(7, [2, 10, 1], 0.1)
    policy = next(train(ENV, demonstrations, SEEDS, Config(hidden=()))).policy
    training, _, own = parts([2, 10, 1], SEEDS)
    assert policy.normalizer.count.flatten().tolist() == training.size.tolist()
    for p in range(3):
        rows = demonstrations.obs[own[p][0]].double()
        torch.testing.assert_close(policy.normalizer.mean[p, 0], rows.mean(0))
        torch.testing.assert_close(policy.normalizer.var[p, 0], rows.var(0, correction=0))


OVERFITS = Config(hidden=(32,), rate=0.01, steps=201, batch=32, validate_every=10)


def parameters(progress: Progress) -> list[Tensor]:
    return [p.detach().clone() for p in progress.policy.parameters()]


def watched(demonstrations: Demonstrations, config: Config, poison: int | None = None):
    """What was yielded, with the parameters at that time; `poison` spoils learner 1 after that many looks."""
    history = []
    for i, progress in enumerate(train(ENV, demonstrations, SEEDS, config)):
        history.append((progress, parameters(progress)))
        if i == poison:
            for p in progress.policy.parameters():
                p.data[1] = math.nan
    return history


def test_each_learner_keeps_its_best_parameters_on_validation():
    """Few noisy rows and a large network: validation soon gets worse, at a time of each learner's own."""
    *looks, (last, kept) = watched(pairs(8, [1, 10, 3], noise=0.3), OVERFITS)
    scores = torch.stack([p.metrics["validation_log_likelihood"] for p, _ in looks])
    best = scores.argmax(0)
    assert len(looks) == 21
    assert len(set(best.tolist())) > 1
    assert best.min() > 0
    assert best.max() < 20
    assert torch.equal(last.metrics["best_validation_log_likelihood"], scores.max(0).values)
    for i, p in itertools.product(range(len(kept)), range(3)):
        assert torch.equal(kept[i][p], looks[best[p]][1][i][p])
        assert not torch.equal(kept[0][p], looks[-1][1][0][p])


def test_the_validation_score_is_the_mean_log_likelihood_of_validation_rows():
    demonstrations = pairs(7, [2, 10, 1], 0.1)
    progress = next(train(ENV, demonstrations, SEEDS, Config()))
    _, _, own = parts([2, 10, 1], SEEDS)
    for p in range(3):
        rows = own[p][1]
        one = progress.policy.select(p)
        score = one.log_prob(demonstrations.obs[rows][None], demonstrations.action[rows][None]).mean()
        torch.testing.assert_close(progress.metrics["validation_log_likelihood"][p], score)


def test_a_learner_that_becomes_nan_is_reported_and_the_others_end_as_without_it():
    demonstrations = pairs(8, [1, 10, 3], noise=0.3)
    sound, spoilt = watched(demonstrations, OVERFITS), watched(demonstrations, OVERFITS, poison=1)
    for progress, _ in spoilt[2:]:
        assert progress.finite["policy"].tolist() == [True, False, True]
    assert sound[-1][0].finite["policy"].all()
    for a, b in zip(sound[-1][1], spoilt[-1][1], strict=True):
        assert torch.equal(a[[0, 2]], b[[0, 2]])
    looks = torch.stack([p.metrics["validation_log_likelihood"][1] for p, _ in spoilt[:2]])
    assert spoilt[-1][0].metrics["best_validation_log_likelihood"][1] == looks.max()  # its best from before


def test_it_uses_no_environment_step():
    assert [p.env_steps for p, _ in watched(pairs(8, [1, 1, 1], 0.1), Config(steps=5, validate_every=2))] == [0] * 4


def test_the_papers_constants():
    config = Config()
    assert (config.train_share, config.rate, config.batch, config.steps) == (0.7, 1e-3, 128, 20_001)


def test_a_learner_with_a_single_pair_is_refused():
    demonstrations = pairs(1, [4, 1], 0.1)
    with pytest.raises(InputError, match=r"1 of these trajectories hold 1 pair\(s\) after subsampling, 2 are needed"):
        next(train(ENV, demonstrations, [0, 1], Config(steps=1)))
