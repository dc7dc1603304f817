"""Absorbing states: their share of a known occupancy; and, method by method, that a policy which cannot look like the
expert does not learn to end its episodes for that."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace

import pytest
import torch
from torch import Tensor
from torch.distributions import Normal

import algorithms
from algorithms.core.absorbing import MEASURES, share_of_episodes, share_of_steps
from algorithms.core.adversarial import LoopConfig, expert_samples, policy_samples
from algorithms.core.experience import Demonstrations, Experience
from algorithms.core.policy import GaussianPolicy
from algorithms.core.population import Generators
from algorithms.core.ppo import PPO, PPOConfig
from threefold.base.errors import InputError

SEEDS, HORIZON = [3, 8], 10


# The share, on chains whose occupancy is known

DISCOUNT = 0.9
EARLY, LATE, LIMIT = (2, True), (40, True), (60, False)  # steps of an episode, and whether the task ended it
KINDS = [[EARLY, LATE, LIMIT], [LIMIT, LATE, LATE]]  # of the parallel episodes of two learners


@dataclass(frozen=True)
class Config:
    loop: LoopConfig = LoopConfig(absorbing=True)
    ppo: PPOConfig = PPOConfig(hidden=(), steps=7, discount=DISCOUNT)


def occupancy(episodes: Sequence[tuple[int, bool]], discount: float = DISCOUNT) -> float:
    """The absorbing state's part of the discounted time of endless episodes, one time step after the other."""
    alive = absorbed = 0.0
    for length, terminated in episodes:
        for t in range(4000):
            alive += discount**t * (t < length)
            absorbed += discount**t * (t >= length and terminated)
    return absorbed / (alive + absorbed)


def of_steps(episodes: Sequence[tuple[int, bool]], measure: str, discount: float = DISCOUNT) -> float:
    time = torch.cat([torch.arange(length) for length, _ in episodes])[None]
    terminal = torch.cat([(torch.arange(n) == n - 1) & terminated for n, terminated in episodes])[None]
    return share_of_steps(time, terminal, discount, measure).item()


def of_episodes(episodes: Sequence[tuple[int, bool]], measure: str, discount: float = DISCOUNT) -> float:
    lengths, terminated = (torch.tensor(column) for column in zip(*episodes, strict=True))
    used = torch.ones(1, len(episodes), dtype=torch.bool)
    return share_of_episodes(lengths, terminated, used, discount, measure).item()


@pytest.mark.parametrize(
    "episodes", [[EARLY], [LATE], [LIMIT], [EARLY, LATE, LIMIT], [EARLY, EARLY, LIMIT], [(1, True), LIMIT]]
)
@pytest.mark.parametrize("of", [of_steps, of_episodes])
def test_the_share_is_that_of_the_discounted_occupancy(of, episodes):
    assert of(episodes, "discounted") == pytest.approx(occupancy(episodes), rel=1e-5)


@pytest.mark.parametrize("of", [of_steps, of_episodes])
def test_of_an_episode_that_ends_it_is_the_discount_to_its_length(of):
    for length, _ in (EARLY, LATE):
        assert of([(length, True)], "discounted") == pytest.approx(DISCOUNT**length, rel=1e-5)


@pytest.mark.parametrize("of", [of_steps, of_episodes])
def test_counted_a_late_end_weighs_like_an_early_one(of):
    """0.9 / (1 - 0.9) = 9 absorbing samples beside a terminal one: 2 terminals among 102 transitions, 18 / 120."""
    assert of([EARLY, LATE, LIMIT], "counted") == pytest.approx(18 / 120)


@pytest.mark.parametrize("of", [of_steps, of_episodes])
def test_an_expert_that_falls_late_has_a_small_share(of):
    """42 % of the episodes end near step 700: the counted share made dying look like something that experts do."""
    episodes = [(700, True)] * 21 + [(1000, False)] * 29
    assert of(episodes, "counted", 0.99) == pytest.approx(0.046, abs=1e-3)
    assert of(episodes, "discounted", 0.99) == pytest.approx(0.0004, abs=5e-5)


@pytest.mark.parametrize("measure", MEASURES)
@pytest.mark.parametrize("of", [of_steps, of_episodes])
def test_where_nobody_falls_it_is_0(of, measure):
    assert of([LIMIT, LIMIT], measure) == 0


class Repeating:
    """Parallel episode e of learner p is of the kind `kinds[p][e]` again and again, whatever one does."""

    discrete = False

    def __init__(self, kinds: Sequence[Sequence[tuple[int, bool]]]) -> None:
        self.P, self.E, self.horizon, self.obs_size, self.action_size = len(kinds), len(kinds[0]), 10**6, 1, 1
        self.action_low, self.action_high = torch.tensor([-1.0]), torch.tensor([1.0])
        self._length, terminated = torch.tensor(kinds).unbind(-1)
        self._terminated = terminated.bool()
        self.elapsed, self.obs = torch.zeros_like(self._length), torch.ones(self.P, self.E, 1)

    def step(self, action: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        elapsed = self.elapsed + 1
        ended = elapsed == self._length
        self.elapsed = elapsed * ~ended
        return self.obs, ended & self._terminated, ended & ~self._terminated


def rollouts(kinds: Sequence[Sequence[tuple[int, bool]]]) -> list[Experience]:
    """120 rollouts of 7 steps, most of which cut an episode: 840 steps, which are whole episodes of every kind."""
    ppo = PPO(Repeating(kinds), SEEDS, Config().ppo)
    return [ppo.collect() for _ in range(120)]


def shares(recent: Sequence[Experience]) -> list[float]:
    policy = GaussianPolicy(1, torch.ones(1), (), Generators(SEEDS, "weights"))
    return policy_samples(policy, recent, Generators(SEEDS, "samples"), Config()).absorbing_share.tolist()


def test_rollouts_that_cut_episodes_measure_the_same_occupancy():
    """Learner by learner; counted from where each rollout begins it would be another."""
    recent = rollouts(KINDS)
    times = {EARLY: 420, LATE: 21, LIMIT: 14}
    expected = [occupancy(sum(([kind] * times[kind] for kind in own), [])) for own in KINDS]
    assert shares(recent) == pytest.approx(expected, rel=1e-5)
    from_here = [replace(r, elapsed=torch.arange(7)[:, None].expand(2, 7, 3)) for r in recent]
    assert shares(from_here)[1] > 5 * expected[1]


def test_time_in_an_episode_goes_on_from_rollout_to_rollout():
    elapsed = torch.cat([r.elapsed for r in rollouts(KINDS)], 1)
    for p, e in itertools.product(range(2), range(3)):
        assert torch.equal(elapsed[p, :, e], torch.arange(840) % KINDS[p][e][0])


def test_an_experts_share_is_of_its_whole_trajectories():
    """Of single pairs too; each learner's is that of the trajectories that it uses."""
    flags, x, seeds = torch.tensor([False, True, True]), torch.zeros(3, 1), [1, 2, 3]
    expert = Demonstrations(x, x, x, flags, torch.arange(3), torch.tensor([60, 40, 2]), flags, [1, 2, 3])
    policy = GaussianPolicy(1, torch.ones(1), (), Generators(seeds, "weights"))
    samples = expert_samples(policy, expert, Generators(seeds, "samples"), Config())
    expected = [occupancy([LIMIT, LATE, EARLY][:n]) for n in seeds]
    assert samples.absorbing_share.tolist() == pytest.approx(expected, rel=1e-5)


def test_an_unknown_measure_is_one_line():
    with pytest.raises(InputError, match=r"^loop\.absorbing_share: .*'discount'; write discounted or counted$"):
        LoopConfig(absorbing_share="discount")


# What policies learn


class Door:
    """An action above 0 ends the episode, others go on. The second observation is -1 or so, whatever one does."""

    discrete = False

    def __init__(self, seeds: Sequence[int], episodes: int) -> None:
        self.P, self.E, self.horizon = len(seeds), episodes, HORIZON
        self.obs_size, self.action_size = 2, 1
        self.action_low, self.action_high = torch.tensor([-1.0]), torch.tensor([1.0])
        self._noise, self.elapsed = Generators(seeds, "door"), torch.zeros(self.P, episodes, dtype=torch.long)
        self._obs = self._look()

    @property
    def obs(self) -> Tensor:
        return self._obs

    def step(self, action: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        elapsed = self.elapsed + 1
        terminal, truncated = action[..., 0] > 0, elapsed >= HORIZON
        self.elapsed = elapsed * ~(terminal | truncated)
        self._obs = self._look()
        return self._obs, terminal, truncated

    def _look(self) -> Tensor:
        return torch.tensor([1.0, -1.0]) + torch.tensor([0.0, 1.0]) * self._noise.normal(self.E, 2)


def stayers() -> Demonstrations:
    """Ten experts who never leave, and to whom the second observation is 1 or so."""
    g, n = torch.Generator().manual_seed(0), 10 * HORIZON
    obs = torch.tensor([1.0, 1.0]) + torch.tensor([0.0, 1.0]) * torch.randn(n, 2, generator=g)
    action = -torch.rand(n, 1, generator=g)
    lengths, trajectory = torch.full((10,), HORIZON), torch.arange(10).repeat_interleave(HORIZON)
    flags = torch.zeros(n, dtype=torch.bool)
    return Demonstrations(obs, action, obs.roll(-1, 0), flags, trajectory, lengths, flags[:10], [10, 10])


def leaving(name: str, absorbing: bool) -> list[float]:
    """Return how likely each learner is to leave at a step, after training."""
    config = algorithms.load(name).Config()
    ppo = PPOConfig(hidden=(16,), steps=32, epochs=5, minibatches=4, rate=0.01, discount=0.9)
    loop = replace(config.loop, absorbing=absorbing, reward_rate=0.01, recent=min(config.loop.recent, 4))
    smaller = {"hidden": (16,), "batch": 128} if hasattr(config, "batch") else {"hidden": (16,)}
    training = algorithms.load(name).train(
        Door(SEEDS, 8), stayers(), SEEDS, replace(config, ppo=ppo, loop=loop, **smaller)
    )
    policy = next(itertools.islice(training, 24, None)).policy
    mean = policy(torch.tensor([1.0, -1.0]).expand(2, 1, 2))[:, 0, 0]
    return (1 - Normal(mean, policy.log_std.exp()[:, 0, 0]).cdf(torch.zeros(2))).tolist()


@pytest.mark.parametrize("name", ["airl", "gcl", "ebm_gan"])
def test_with_absorbing_states_who_cannot_look_like_the_expert_stays_as_the_expert_does(name):
    assert max(leaving(name, absorbing=True)) < 0.2


@pytest.mark.parametrize("name", ["airl", "ebm_gan"])
def test_without_them_the_best_is_to_leave(name):
    assert min(leaving(name, absorbing=False)) > 0.6


def test_whole_trajectories_tell_their_length():
    """So a cost of trajectories keeps this learner inside even without absorbing states."""
    assert max(leaving("gcl", absorbing=False)) < 0.2
