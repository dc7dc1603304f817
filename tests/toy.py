"""A task of a few lines for the tests of learners, demonstrations of it, and a look into networks."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from algorithms.core.experience import Demonstrations
from algorithms.core.policy import GaussianPolicy, Policy
from algorithms.core.population import Generators, Linear

HORIZON = 12


class Puck:
    """A puck on a line, pushed by the action; it ends beyond +-1. Offers what a method may use of an env, no more."""

    discrete = False

    def __init__(self, seeds: Sequence[int], episodes: int) -> None:
        self.P, self.E, self.horizon = len(seeds), episodes, HORIZON
        self.obs_size, self.action_size = 2, 1
        self.action_low, self.action_high = torch.tensor([-2.0]).double(), torch.tensor([2.0]).double()
        self._starts, self.elapsed = Generators(seeds, "starts"), torch.zeros(self.P, episodes, dtype=torch.long)
        self._state = self._start()

    @property
    def obs(self) -> Tensor:
        return self._state

    def step(self, action: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        push = self._push(action.double().nan_to_num(0.0, 0.0, 0.0).clamp(self.action_low, self.action_high))
        position, speed = self._state.unbind(-1)
        speed = 0.9 * speed + 0.1 * push
        next_obs = torch.stack([position + speed, speed], -1)
        elapsed = self.elapsed + 1
        terminal, truncated = next_obs[..., 0].abs() > 1, elapsed >= self.horizon
        ended = terminal | truncated
        self.elapsed = elapsed * ~ended
        self._state = torch.where(ended[..., None], self._start(), next_obs)
        return next_obs, terminal, truncated

    def _push(self, action: Tensor) -> Tensor:
        return action[..., 0]

    def state_dict(self) -> dict[str, Any]:
        return {"state": self._state, "elapsed": self.elapsed, "starts": self._starts.state_dict()}

    def load_state_dict(self, saved: dict[str, Any]) -> None:
        self._state, self.elapsed = saved["state"], saved["elapsed"]
        self._starts.load_state_dict(saved["starts"])

    def _start(self) -> Tensor:
        return self._starts.uniform(self.E, 2).double() - 0.5


class Kicked(Puck):
    """The same with three discrete actions: pushes of -2, 0 and 2."""

    discrete = True

    def __init__(self, seeds: Sequence[int], episodes: int) -> None:
        super().__init__(seeds, episodes)
        self.action_size, self.action_low, self.action_high = 3, torch.zeros(3).double(), torch.ones(3).double()

    def _push(self, action: Tensor) -> Tensor:
        return 2 * (action.argmax(-1) - 1).double()


def demonstrations(counts: Sequence[int], discrete: bool = False) -> Demonstrations:
    """Six trajectories of whoever pushes the puck back to the middle, every pair of them; two count as terminated."""
    g, lengths = torch.Generator().manual_seed(0), torch.tensor([9, 12, 5, 12, 7, 12])
    ended = torch.tensor([True, False, True, False, False, False])
    trajectory = torch.arange(6).repeat_interleave(lengths)
    obs = torch.rand(len(trajectory), 2, generator=g) - 0.5
    action = -(obs * torch.tensor([2.0, 4.0])).sum(1, keepdim=True) + 0.3 * torch.randn(len(obs), 1, generator=g)
    if discrete:
        action = 2 * action.sign() * (action.abs() > 0.5)
    speed = 0.9 * obs[:, 1:] + 0.1 * action
    terminal = ended[trajectory] & (trajectory != trajectory.roll(-1))
    next_obs = torch.cat([obs[:, :1] + speed, speed], 1)
    if discrete:
        action = torch.eye(3)[(action[:, 0] / 2 + 1).long()]
    return Demonstrations(obs, action, next_obs, terminal, trajectory, lengths, ended, counts)


def gaussian(policy: Policy) -> GaussianPolicy:
    """The policy of a task whose actions are no discrete ones."""
    assert isinstance(policy, GaussianPolicy)
    return policy


def linears(network: nn.Sequential) -> list[Linear]:
    """The affine layers of a network, in order."""
    return [layer for layer in network if isinstance(layer, Linear)]
