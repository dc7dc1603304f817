"""The generator that an energy is told apart from: the density of what the policy does, and samples of it.

Everything is in standard units. Inputs are `[P, N, O + 1 + A]`: observation, flag of the absorbing state, action (see
`Batch.inputs`).
"""

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from algorithms.core.actions import Actions
from algorithms.core.density import GaussianMixture
from algorithms.core.experience import Batch, Samples, average
from algorithms.core.population import Generators


class Generator(nn.Module):
    """q(x) = q_phi(s) pi(a|s), with instance noise on s and a, beside an atom for the absorbing state.

    A `defensive` share of what is not absorbed is a wide Gaussian (Hesterberg 1995), of density and samples alike.
    Discrete actions have no noise, and in the wide share they are uniform.
    Observations that hardly vary are left out.
    """

    share: Tensor
    actions: Actions  # of the current policies

    def __init__(
        self,
        obs_size: int,
        action_size: int,
        generators: Generators,
        components: int,
        noise: float,
        wide_std: float,
        defensive: float,
    ) -> None:
        super().__init__()
        self.sizes, self.noise, self.wide_std, self.defensive = [obs_size, 1, action_size], noise, wide_std, defensive
        self.density = GaussianMixture(components, obs_size, generators)  # q_phi
        self.draws = Generators(generators.seeds, "noise", generators.device)
        self.register_buffer("share", torch.zeros(len(generators), device=generators.device))  # mass of the atom

    def follow(self, expert: Samples, policy: Samples) -> None:
        """Take the policy's actions, its absorbing share, and which observations vary for either source."""
        assert policy.actions is not None
        self.actions = policy.actions
        self.share = policy.absorbing_share.clamp(min=1 / policy.rows.obs.shape[1])  # the atom is never impossible
        self.density.kept = (expert.varies() | policy.varies()).to(self.share.dtype)

    def fit(self, policy: Samples, steps: int) -> Tensor:
        """Fit q_phi to four in five of the policy's observations; return the log likelihood `[P]` of the others."""
        obs = self.noisy(policy.rows)[..., : self.sizes[0]]
        fitted = (self.draws.uniform(obs.shape[1]) < 0.8).to(obs.dtype)
        self.density.fit(obs, fitted, steps)
        return average(self.density.log_prob(obs), 1 - fitted)

    def log_prob(self, inputs: Tensor, of_obs: Tensor) -> Tensor:
        """Return log q `[P, N]`, with `of_obs` `[P, N]` in the place of log q_phi(s)."""
        obs, absorbing, action = inputs.split(self.sizes, -1)
        log_q = of_obs + self.actions.log_prob(obs, action, self.noise)
        if self.defensive:
            dimensions = self.density.kept.sum(1, keepdim=True) + self.actions.dimensions
            wide = -self.wide(obs, action) - dimensions * math.log(self.wide_std * math.sqrt(2 * math.pi))
            wide = wide - self.actions.log_number
            log_q = torch.logaddexp(log_q + math.log(1 - self.defensive), wide + math.log(self.defensive))
        return torch.lerp(log_q + (-self.share).log1p()[:, None], self.share.log()[:, None], absorbing[..., 0])

    def wide(self, obs: Tensor, action: Tensor) -> Tensor:
        """Return the wide Gaussian's energy |x|^2 / (2 std^2) `[...]` of `[..., O]` and `[..., A]`.

        Of discrete actions, which are equally likely there, x has the observation only.
        """
        return (obs.square().sum(-1) + self.actions.squares(action)) / (2 * self.wide_std**2)

    def sample(self, n: int) -> Tensor:
        """Return n inputs that are not absorbed."""
        obs = self.density.sample(self.draws.uniform(n), self.draws.normal(n, self.sizes[0]))
        return self.defended(alive(obs, self.actions.draw(obs, self.draws.normal(n, self.sizes[2]), self.noise)))

    def defended(self, inputs: Tensor) -> Tensor:
        """Return the policy's inputs, but for the share that the wide Gaussian has."""
        n, flag = inputs.shape[1], inputs[..., self.sizes[0], None]
        obs, _, action = (self.wide_std * self.draws.normal(n, sum(self.sizes))).split(self.sizes, -1)
        replaced = (self.draws.uniform(n, 1) < self.defensive) & (flag == 0)
        return torch.where(replaced, self.kept(alive(obs, self.actions.wide(action))), inputs)

    def noisy(self, batch: Batch) -> Tensor:
        """Return the batch's inputs with instance noise."""
        inputs = batch.inputs()
        obs, flag, action = (self.noise * self.draws.normal(*inputs.shape[1:])).split(self.sizes, -1)
        return self.kept(
            inputs + torch.cat([obs, 0 * flag, self.actions.noise(action)], -1) * (1 - batch.absorbing[..., None])
        )

    def kept(self, inputs: Tensor) -> Tensor:
        """Return the inputs without the observations that hardly vary."""
        return inputs * pad(self.density.kept, (0, 1 + self.sizes[2]), value=1.0)[:, None]


def alive(obs: Tensor, action: Tensor) -> Tensor:
    """Return inputs that are not in the absorbing state."""
    return torch.cat([obs, torch.zeros_like(obs[..., :1]), action], -1)
