"""Absorbing states, method by method: who cannot look like the expert must not learn to end its episodes for that."""

import itertools
from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.distributions import Normal

import algorithms
from algorithms.core.experience import Demonstrations
from algorithms.core.population import Generators
from algorithms.core.ppo import PPOConfig

SEEDS, HORIZON = [3, 8], 10


class Door:
    """An action above 0 ends the episode, others go on. The second observation is -1 or so, whatever one does."""

    def __init__(self, seeds: Sequence[int], episodes: int) -> None:
        self.P, self.E, self.horizon = len(seeds), episodes, HORIZON
        self.obs_size, self.action_size = 2, 1
        self.action_low, self.action_high = torch.tensor([-1.0]), torch.tensor([1.0])
        self._noise, self._elapsed = Generators(seeds, "door"), torch.zeros(self.P, episodes)
        self._obs = self._look()

    @property
    def obs(self) -> Tensor:
        return self._obs

    def step(self, action: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        self._elapsed += 1
        terminal, truncated = action[..., 0] > 0, self._elapsed >= HORIZON
        self._elapsed = self._elapsed * ~(terminal | truncated)
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
