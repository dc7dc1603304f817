"""Whole trajectories: which episodes are found, what is drawn of them, and how likely the recent policies made them."""

import math
from copy import deepcopy
from functools import partial

import pytest
import torch
from torch import Tensor

from algorithms.core.adversarial import LoopConfig, policy_samples
from algorithms.core.experience import Batch, Demonstrations, Experience, Samples, Trajectories, Transitions
from algorithms.core.policy import GaussianPolicy
from algorithms.core.population import Generators
from algorithms.core.ppo import PPO, PPOConfig
from algorithms.core.trajectories import Episodes, Window, complete
from tests.toy import HORIZON, Puck, demonstrations, gaussian
from threefold.base.errors import InputError

SEEDS = [3, 8]
CONFIG = PPOConfig(hidden=(8,), steps=10, epochs=1, minibatches=1, rate=0.01)


def by_hand(ended: Tensor, new: Tensor) -> list[list[tuple[int, int]]]:
    """Starts and lengths of each learner's whole episodes, by walking along every stream."""
    P, E, T = ended.shape
    found: list[list[tuple[int, int]]] = [[] for _ in range(P)]
    for p in range(P):
        for e in range(E):
            start = 0 if new[p, e] else None
            for t in range(T):
                if ended[p, e, t]:
                    if start is not None:
                        found[p].append((e * T + start, t - start + 1))
                    start = t + 1
    return found


@pytest.mark.parametrize("often", [0.0, 0.1, 0.5, 1.0])
def test_complete_finds_every_whole_episode(often):
    g = torch.Generator().manual_seed(4)
    for _ in range(10):
        ended, new = torch.rand(3, 4, 12, generator=g) < often, torch.rand(3, 4, generator=g) < 0.5
        ended[1] = False  # a learner without any
        start, length, count = complete(ended, new)
        found = by_hand(ended, new)
        assert count.tolist() == [len(f) for f in found]
        for p in range(3):
            assert list(zip(start[p].tolist(), length[p].tolist(), strict=True))[: count[p]] == found[p]


@pytest.fixture(scope="module")
def history() -> tuple[Window, list[Experience], list[GaussianPolicy]]:
    """A window of three after five rollouts of policies that change between them; and all of both."""
    ppo, window = PPO(Puck(SEEDS, 3), SEEDS, CONFIG), Window(3, demonstrations([1, 4]))
    rollouts, policies = [], []
    for _ in range(5):
        rollouts.append(ppo.collect())
        policies.append(gaussian(deepcopy(ppo.policy)))
        window.append(rollouts[-1], ppo.policy)
        ppo.improve(lambda e: -e.obs[..., 0].abs(), rollouts[-1])
    return window, rollouts, policies


def test_the_window_holds_the_episodes_within_the_recent_rollouts(history):
    """As walking along the whole history finds them; an episode spans rollouts."""
    window, rollouts, _ = history
    episodes = window.policy()
    ended = torch.cat([r.ended for r in rollouts], 1).transpose(1, 2)  # [P, E, 50]
    obs = torch.cat([r.obs for r in rollouts], 1).transpose(1, 2)
    terminal = torch.cat([r.terminal for r in rollouts], 1).transpose(1, 2)
    longest, kinds = 0, set[bool]()
    for p, found in enumerate(by_hand(ended, torch.ones(2, 3, dtype=torch.bool))):
        recent = [(s // 50, s % 50, n) for s, n in found if s % 50 >= 20]
        assert episodes.count[p] == len(recent)
        for i, (e, t, n) in enumerate(recent):
            start = int(episodes.start[p, i])
            assert episodes.length[p, i] == n
            assert torch.equal(episodes.record.obs[p, start : start + n], obs[p, e, t : t + n])
            assert episodes.ended[p, i] == terminal[p, e, t + n - 1]
            longest, kinds = max(longest, n), kinds | {bool(episodes.ended[p, i])}
    assert longest > CONFIG.steps
    assert kinds == {True, False}


def test_at_the_start_every_episode_counts():
    ppo, window = PPO(Puck(SEEDS, 3), SEEDS, CONFIG), Window(3, demonstrations([1, 4]))
    found = torch.zeros(2, dtype=torch.long)
    for _ in range(3):
        rollout = ppo.collect()
        window.append(rollout, ppo.policy)
        found = found + rollout.ended.sum((1, 2))
        assert torch.equal(window.policy().count, found)


def test_the_experts_are_each_learners_own_demonstrations(history):
    episodes, pool = history[0].expert(), demonstrations([1, 4])
    assert episodes.count.tolist() == [1, 4]
    assert episodes.length[1, :4].tolist() == [9, 12, 5, 12]
    assert episodes.start[1, :4].tolist() == [0, 9, 21, 26]
    assert episodes.ended[1, :4].tolist() == [True, False, True, False]
    assert torch.equal(episodes.record.obs[1], pool.obs[:38])


def see(policy: GaussianPolicy, rows: Transitions) -> Batch:
    """What a loss would see, in other units."""
    zero = torch.zeros_like(rows.terminal.float())
    return Batch(10 * rows.obs, rows.action, rows.next_obs, rows.terminal.float(), policy.log_prob(*rows[:2]), zero)


def draw(episodes: Episodes, policy: GaussianPolicy, n: int = 40, horizon: int | None = HORIZON) -> Trajectories:
    return episodes.draw(n, Generators(SEEDS, "draws"), partial(see, policy), horizon)


@pytest.mark.parametrize("source", ["expert", "policy"])
def test_the_mixture_is_that_of_the_recent_policies(history, source):
    """log of the mean over the last three of the product of an episode's densities, one episode at a time."""
    window, _, policies = history
    tau = draw(getattr(window, source)(), policies[-1])
    obs, action = (tau.steps.obs / 10).unflatten(1, (40, -1)), tau.steps.action.unflatten(1, (40, -1))
    for p in range(2):
        for i in range(40):
            own = (tau.weight[p, i] > 0) & (tau.steps.absorbing.unflatten(1, (40, -1))[p, i] == 0)
            x, a = obs[p, i, own].expand(2, -1, -1), action[p, i, own].expand(2, -1, -1)
            logs = [policy.log_prob(x, a)[p].sum().item() for policy in policies[-3:]]
            expected = math.log(sum(map(math.exp, logs)) / 3)
            assert tau.log_mixture[p, i].item() == pytest.approx(expected, rel=1e-4, abs=1e-4)
    assert not tau.log_mixture.requires_grad


@pytest.mark.parametrize("source", ["expert", "policy"])
def test_an_ended_episode_goes_on_to_the_horizon(history, source):
    """Weights, flags and padding of what is drawn."""
    window, _, policies = history
    episodes = getattr(window, source)()
    tau = draw(episodes, policies[-1])
    assert isinstance(tau.steps, Batch)
    absorbing, log_prob = (x.unflatten(1, (40, -1)) for x in (tau.steps.absorbing, tau.steps.log_prob))
    kinds = set()
    for p in range(2):
        known = {(int(n), bool(e)) for n, e in zip(episodes.length[p], episodes.ended[p], strict=True)}
        for i in range(40):
            n = int(((tau.weight[p, i] > 0) & (absorbing[p, i] == 0)).sum())
            ended = bool(absorbing[p, i].any())
            assert (n, ended) in known
            assert tau.weight[p, i, :n].tolist() == [1] * n
            rest = [HORIZON - n] if ended else []
            assert tau.weight[p, i, n : n + len(rest)].tolist() == rest
            assert not tau.weight[p, i, n + len(rest) :].any()
            assert absorbing[p, i].nonzero().flatten().tolist() == ([n] if ended else [])
            if ended:
                assert log_prob[p, i, n] == 0
            kinds.add(ended)
    if source == "policy":
        assert kinds == {True, False}
    assert torch.equal(tau.weight.sum(-1), torch.full((2, 40), float(HORIZON)))  # whatever an episode does


def test_without_absorbing_states_it_does_not(history):
    window, _, policies = history
    tau = draw(window.policy(), policies[-1], horizon=None)
    assert not tau.steps.absorbing.any()
    assert set(tau.weight.unique().tolist()) == {0, 1}
    assert tau.weight.sum(-1).min() < HORIZON


def test_sum_adds_up_time(history):
    window, _, policies = history
    tau = draw(window.policy(), policies[-1], n=3)
    x = torch.randn_like(tau.steps.log_prob)
    n = tau.weight.shape[2]
    expected = [[sum(x[p, i * n + t] * tau.weight[p, i, t] for t in range(n)) for i in range(3)] for p in range(2)]
    torch.testing.assert_close(tau.sum(x), torch.tensor(expected))


def test_a_learner_without_episodes_weighs_nothing():
    ppo, window = PPO(Puck(SEEDS, 3), SEEDS, CONFIG), Window(3, demonstrations([1, 4]))
    rollout = ppo.collect()
    rollout.terminal[0], rollout.truncated[0] = False, False
    window.append(rollout, ppo.policy)
    tau = draw(window.policy(), gaussian(ppo.policy), n=4)
    assert not tau.weight[0].any()
    assert tau.weight[1].any()
    assert tau.log_mixture.isfinite().all()


def test_single_pairs_are_refused():
    x, flag = torch.zeros(3, 1), torch.zeros(3, dtype=torch.bool)
    pairs = Demonstrations(x, x, x, flag, torch.tensor([0, 0, 1]), torch.tensor([9, 9]), flag[:2], [1])
    with pytest.raises(InputError, match="whole: true"):
        Window(3, pairs)


def test_samples_without_trajectories_say_so():
    rollout = PPO(Puck(SEEDS, 3), SEEDS, CONFIG).collect()
    policy = GaussianPolicy(2, torch.ones(1), (), Generators(SEEDS, "weights"))
    config = type("Config", (), {"loop": LoopConfig(), "ppo": CONFIG})()
    samples: Samples = policy_samples(policy, [rollout], Generators(SEEDS, "samples"), config)
    with pytest.raises(AssertionError, match=r"LoopConfig\.trajectories"):
        samples.trajectories(3)


@pytest.mark.parametrize("source", ["expert", "policy"])
@pytest.mark.parametrize("segment", [1, 5, HORIZON])
def test_a_segment_is_so_many_steps_of_an_episode_that_goes_on_to_the_horizon(history, source, segment):
    """Every step to the horizon is as likely, in the absorbing state too, and its density is of its own actions."""
    window, _, policies = history
    episodes, n = getattr(window, source)(), 4000
    tau = episodes.draw(n, Generators(SEEDS, "draws"), partial(see, policies[-1]), HORIZON, segment=segment)
    assert torch.equal(tau.weight, torch.ones(2, n, segment))
    assert tau.steps.absorbing.shape == (2, n * segment)
    absorbing = tau.steps.absorbing.unflatten(1, (n, segment))
    assert (absorbing.diff(dim=2) >= 0).all()  # nothing comes after it
    for p in range(2):
        count = int(episodes.count[p])
        length, ended = episodes.length[p, :count].double(), episodes.ended[p, :count]
        expected = ((HORIZON - length) * ended).mean().item() / HORIZON
        if segment in (1, HORIZON):  # between, the steps in the middle are in more segments than the first and last
            assert absorbing[p].mean().item() == pytest.approx(expected, abs=0.03)
    obs, action = (tau.steps.obs / 10).unflatten(1, (n, -1)), tau.steps.action.unflatten(1, (n, -1))
    for p in range(2):
        for i in range(0, n, 400):
            own = absorbing[p, i] == 0
            x, a = obs[p, i, own].expand(2, -1, -1), action[p, i, own].expand(2, -1, -1)
            logs = [policy.log_prob(x, a)[p].sum().item() for policy in policies[-3:]]
            expected = math.log(sum(map(math.exp, logs)) / 3)
            assert tau.log_mixture[p, i].item() == pytest.approx(expected, rel=1e-4, abs=1e-4)
