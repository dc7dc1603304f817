"""What losses draw from: batches, the two sources of samples, the demonstrations."""

from dataclasses import fields

import pytest
import torch
from scipy.stats import binomtest, chisquare

from algorithms.core.experience import Batch, Demonstrations, Experience, Samples
from algorithms.core.population import Generators

SEEDS = [2, 7]


def batch(P: int = 2, N: int = 5) -> Batch:
    """Rows that say which they are: the first observation entry is the row, the second the learner."""
    row, learner = torch.arange(N).expand(P, N).float(), torch.arange(P)[:, None].expand(P, N).float()
    obs = torch.stack([row, learner, row + 0.5], -1)
    action = torch.stack([row, 1 + row], -1)
    return Batch(obs, action, obs + 1, (row == N - 1).float(), -row - 1, torch.zeros(P, N))


def test_inputs_flag_the_absorbing_state_and_hide_all_else():
    b = batch()
    flag = torch.tensor([[0.0, 1, 0, 0, 1], [1, 0, 0, 0, 0]])
    x = Batch(b.obs, b.action, b.next_obs, b.terminal, b.log_prob, flag).inputs()
    assert x.shape == (2, 5, 3 + 1 + 2)
    assert x[0, 1].tolist() == [0, 0, 0, 1, 0, 0]
    assert x[0, 2].tolist() == [2, 0, 2.5, 0, 2, 3]
    assert torch.equal(x[..., 3], flag)
    assert torch.equal(x[..., :3], b.obs * (1 - flag)[..., None])
    assert torch.equal(x[..., 4:], b.action * (1 - flag)[..., None])


ROWS = [field.name for field in fields(Batch) if field.name != "discrete"]


def test_take_returns_each_learners_own_rows_of_every_field():
    b, index = batch(), torch.tensor([[4, 0, 0], [1, 3, 2]])
    taken = b.take(index)
    assert taken.discrete == b.discrete
    for name in ROWS:
        ours, whole = getattr(taken, name), getattr(b, name)
        assert torch.equal(ours, torch.stack([whole[p][index[p]] for p in range(2)]))


def test_into_absorbing_empties_the_samples_named_and_leaves_the_others():
    b, which = batch(), torch.tensor([[False, True, False, False, True], [False] * 5])
    new = b.into_absorbing(which)
    assert torch.equal(new.absorbing, which.float())
    for name in ROWS:
        if name != "absorbing":
            ours, old = getattr(new, name), getattr(b, name)
            assert torch.equal(ours[~which], old[~which])
            assert not ours[which].any()  # no observation, action, log_prob; it leads to itself and never ends


def test_transitions_are_drawn_evenly_from_a_learners_own_rows():
    size, n = torch.tensor([3, 5]), 6000
    drawn = Samples(batch(), size, torch.zeros(2), Generators(SEEDS, "samples")).transitions(n)
    assert drawn.obs.shape == (2, n, 3)
    assert not drawn.absorbing.any()
    for p in range(2):
        assert (drawn.obs[p, :, 1] == p).all()
        counts = drawn.obs[p, :, 0].long().bincount(minlength=5)
        assert not counts[size[p] :].any()
        assert chisquare(counts[: size[p]].numpy()).pvalue > 1e-3
        row = drawn.obs[p, :, 0]
        assert torch.equal(drawn.log_prob[p], -row - 1)  # a transition stays together
        assert torch.equal(drawn.terminal[p], (row == 4).float())
        assert torch.equal(drawn.action[p, :, 1], row + 1)


def test_absorbing_samples_come_in_their_share_whatever_the_row():
    share, n = torch.tensor([0.3, 0.75]), 6000
    drawn = Samples(batch(), torch.tensor([5, 5]), share, Generators(SEEDS, "samples")).transitions(n)
    for p in range(2):
        absorbing = drawn.absorbing[p].bool()
        assert binomtest(int(absorbing.sum()), n, share[p].item()).pvalue > 1e-3
        assert chisquare(drawn.action[p, ~absorbing, 0].long().bincount(minlength=5).numpy()).pvalue > 1e-3
        assert not drawn.obs[p, absorbing].any()


def test_draws_differ_from_call_to_call_and_depend_on_the_seed_alone():
    def draws(seeds: list[int], sizes: list[int], p: int) -> torch.Tensor:
        samples = Samples(batch(), torch.tensor(sizes), torch.full((2,), 0.2), Generators(seeds, "samples"))
        return torch.stack([samples.transitions(50).action[p, :, 0] for _ in range(2)])

    first = draws([2, 7], [3, 5], 1)
    assert torch.equal(first, draws([4, 7], [5, 5], 1))
    assert not torch.equal(first, draws([4, 8], [5, 5], 1))
    assert not torch.equal(first[0], first[1])


def test_a_rollout_counts_every_parallel_episode():
    T, E = 7, 3
    x, flag = torch.zeros(2, T, E, 1), torch.zeros(2, T, E, dtype=torch.bool)
    assert Experience(x, x, x, flag, flag, flag.long()).steps == T * E


@pytest.fixture
def pool() -> dict[str, torch.Tensor]:
    """Four trajectories of 7, 3, 10 and 4 steps, every third step kept; the second and last ended by themselves."""
    trajectory = torch.tensor([0, 0, 0, 1, 2, 2, 2, 2, 3, 3])
    obs = torch.arange(10.0)[:, None]
    terminal = torch.tensor([0, 0, 0, 1, 0, 0, 0, 0, 0, 0]).bool()  # the last one's end was not kept
    lengths, ended = torch.tensor([7, 3, 10, 4]), torch.tensor([False, True, False, True])
    return {
        "obs": obs,
        "action": -obs,
        "next_obs": obs + 1,
        "terminal": terminal,
        "trajectory": trajectory,
        "lengths": lengths,
        "ended": ended,
    }


def test_sets_of_demonstrations_are_nested(pool):
    d = Demonstrations(**pool, counts=[2, 4, 1, 3])
    assert d.counts.tolist() == [2, 4, 1, 3]
    assert d.size.tolist() == [4, 10, 3, 8]
    assert d.rows == 10
    assert Demonstrations(**pool, counts=[1, 2]).rows == 4


def test_a_learner_uses_the_first_of_the_whole_trajectories(pool):
    d = Demonstrations(**pool, counts=[1, 2, 4])
    assert d.used.tolist() == [[True, False, False, False], [True, True, False, False], [True] * 4]
