"""What a method sees of an env: everything but the reward, which is recorded for whoever runs the method."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from envs.batch import BatchEnv


class Monitor:
    """A `BatchEnv` without its reward, so that no method can peek.

    The method uses `obs`, `elapsed`, `step` and the sizes; its runner takes the rewards and the finished episodes,
    which pile up until taken. Wrap a freshly reset env: an episode under way would count from here.
    """

    def __init__(self, env: BatchEnv) -> None:
        self._env = env
        self.P, self.E, self.horizon = env.P, env.E, env.horizon
        self.obs_size, self.action_size = env.obs_size, env.action_size
        self.action_low, self.action_high = env.action_low, env.action_high
        self.discrete = env.discrete
        self._return = torch.zeros_like(env.obs[..., 0])
        self._length = torch.zeros_like(env.elapsed)
        self._rewards: list[Tensor] = []
        self._steps: list[tuple[Tensor, Tensor, Tensor]] = []

    @property
    def obs(self) -> Tensor:
        """[P, E, O] to act from next."""
        return self._env.obs

    @property
    def elapsed(self) -> Tensor:
        """[P, E] steps since the episode began."""
        return self._env.elapsed

    def step(self, action: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Apply `action` [P, E, A]; returns `next_obs` [P, E, O], `terminal` and `truncated` [P, E]."""
        next_obs, reward, terminal, truncated = self._env.step(action)
        ended = terminal | truncated
        episode_return, length = self._return + reward, self._length + 1
        self._rewards.append(reward)
        self._steps.append((ended, episode_return, length))
        self._return, self._length = episode_return.masked_fill(ended, 0.0), length.masked_fill(ended, 0)
        return next_obs, terminal, truncated

    def state_dict(self) -> dict[str, Any]:
        """Everything that the next step depends on, less what waits to be taken."""
        return {"return": self._return, "length": self._length, "env": self._env.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from there; what waited to be taken is dropped."""
        self._return, self._length = state["return"].to(self._return), state["length"].to(self._length)
        self._env.load_state_dict(state["env"])
        self._rewards, self._steps = [], []

    def take_rewards(self) -> Tensor:
        """True rewards [T, P, E] of the T steps since the last call."""
        taken, self._rewards = self._rewards, []
        return torch.stack(taken) if taken else self._return.new_empty(0, self.P, self.E)

    def take_episodes(self) -> list[tuple[int, float, int]]:
        """(learner, episode_return, length) of the episodes finished since the last call, in order of their end.

        Raises `InputError` if the engine could not compute a step: nothing wrong is ever recorded.
        """
        self._env.check()
        taken, self._steps = self._steps, []
        if not taken:
            return []
        ended, episode_return, length = (torch.stack(column) for column in zip(*taken, strict=True))
        learner = ended.nonzero()[:, 1]
        return list(zip(learner.tolist(), episode_return[ended].tolist(), length[ended].tolist(), strict=True))
