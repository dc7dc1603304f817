"""Learnt forward models of a population: what state follows a state and an action, in standard units.

Actions are in units of half their range. An environment clips them, so a model sees them clipped: beyond the bounds its
derivative with respect to the action is 0, as the environment's own is.
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import relu

from algorithms.core.population import Generators, Linear, mlp


class ForwardModel(nn.Module):
    """A function `[P, N, O]`, `[P, N, A]` -> `[P, N, O]`; subclasses say which."""

    low: Tensor
    high: Tensor

    def __init__(self, low: Tensor, high: Tensor) -> None:
        """Take the bounds of actions `[A]`."""
        super().__init__()
        self.register_buffer("low", low.float(), persistent=False)  # the env's, of no learner
        self.register_buffer("high", high.float(), persistent=False)

    def forward(self, obs: Tensor, action: Tensor) -> Tensor:
        """Return the next observation `[P, N, O]`."""
        return self.following(obs, action.clamp(self.low, self.high))

    def following(self, obs: Tensor, action: Tensor) -> Tensor:
        """Return what `forward` does, of actions within their bounds."""
        raise NotImplementedError


class GatedModel(ForwardModel):
    """The next observation itself, from a product of what the observation and the action are encoded to.

    Baram et al. 2017; the cell is their code's: a gated recurrent unit (Cho et al. 2014, arXiv 1406.1078) whose hidden
    state is 1 at every step and never carried on.
    """

    def __init__(self, obs_size: int, low: Tensor, high: Tensor, width: int, generators: Generators) -> None:
        super().__init__(low, high)
        self.obs = Linear(obs_size, width, generators)
        self.gates = Linear(width, 2 * width, generators, gain=1.0)
        self.candidate = Linear(2 * width, width, generators, gain=1.0)
        self.obs_code = Linear(width, width, generators, gain=1.0)
        self.action = Linear(len(low), width, generators)
        self.action_code = Linear(width, width, generators, gain=1.0)
        self.decoder = nn.ModuleList(Linear(width, width, generators) for _ in range(3))
        self.last = Linear(width, obs_size, generators, gain=1.0)

    def following(self, obs: Tensor, action: Tensor) -> Tensor:
        """Return the next observation `[P, N, O]`."""
        h = relu(self.obs(obs))
        update, reset = self.gates(h).sigmoid().chunk(2, -1)
        cell = update + (1 - update) * self.candidate(torch.cat([h, reset], -1), tanh=True)
        x = self.obs_code(cell).sigmoid() * self.action_code(relu(self.action(action))).sigmoid()
        for layer in self.decoder:
            x = relu(layer(x))
        return self.last(x)


class DifferenceModel(ForwardModel):
    """The observation plus what a multilayer perceptron adds to it."""

    def __init__(self, obs_size: int, low: Tensor, high: Tensor, width: int, generators: Generators) -> None:
        super().__init__(low, high)
        self.change = mlp(obs_size + len(low), (width, width), obs_size, generators, last_gain=0.01)

    def following(self, obs: Tensor, action: Tensor) -> Tensor:
        """Return the next observation `[P, N, O]`."""
        return obs + self.change(torch.cat([obs, action], -1))
