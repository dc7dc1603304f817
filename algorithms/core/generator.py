"""The generator that an energy is told apart from: the density of what the policy does, and samples of it.

Everything is in standard units. Inputs are `[P, N, O + 1 + A]`: observation, flag of the absorbing state, action (see
`Batch.inputs`).
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.distributions import Normal
from torch.nn.functional import pad

from algorithms.core.density import GaussianMixture
from algorithms.core.experience import Batch, Samples, average
from algorithms.core.population import Generators


class Generator(nn.Module):
    """q(x) = q_phi(s) pi(a|s), with instance noise on s and a, beside an atom for the absorbing state.

    A `defensive` share of what is not absorbed is a wide Gaussian (Hesterberg 1995), of density and samples alike.
    Observations that hardly vary are left out.
    """

    share: Tensor
    conditional: Callable[[Tensor], tuple[Tensor, Tensor]]  # mean and log std of the current policy

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
        assert policy.conditional is not None
        self.conditional = policy.conditional
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
        log_q = of_obs + self.pi(obs).log_prob(action).sum(-1)
        if self.defensive:
            dimensions = self.density.kept.sum(1, keepdim=True) + self.sizes[2]
            normal = -self.wide(obs, action) - dimensions * math.log(self.wide_std * math.sqrt(2 * math.pi))
            log_q = torch.logaddexp(log_q + math.log(1 - self.defensive), normal + math.log(self.defensive))
        return torch.lerp(log_q + (-self.share).log1p()[:, None], self.share.log()[:, None], absorbing[..., 0])

    def wide(self, obs: Tensor, action: Tensor) -> Tensor:
        """Return the wide Gaussian's energy |x|^2 / (2 std^2) `[...]` of `[..., O]` and `[..., A]`."""
        return (obs.square().sum(-1) + action.square().sum(-1)) / (2 * self.wide_std**2)

    def pi(self, obs: Tensor) -> Normal:
        """Return the policy's density of actions that have instance noise on them."""
        mean, log_std = self.conditional(obs)
        std = ((2 * log_std).exp() + self.noise**2).sqrt()
        return Normal(mean, std, validate_args=False)  # which would raise if one learner is NaN

    def sample(self, n: int) -> Tensor:
        """Return n inputs that are not absorbed."""
        obs = self.density.sample(self.draws.uniform(n), self.draws.normal(n, self.sizes[0]))
        pi = self.pi(obs)
        return self.defended(alive(obs, pi.mean + pi.stddev * self.draws.normal(*pi.mean.shape[1:])))

    def defended(self, inputs: Tensor) -> Tensor:
        """Return the policy's inputs, but for the share that the wide Gaussian has."""
        n, flag = inputs.shape[1], inputs[..., self.sizes[0], None]
        obs, _, action = (self.wide_std * self.draws.normal(n, sum(self.sizes))).split(self.sizes, -1)
        replaced = (self.draws.uniform(n, 1) < self.defensive) & (flag == 0)
        return torch.where(replaced, self.kept(alive(obs, action)), inputs)

    def noisy(self, batch: Batch) -> Tensor:
        """Return the batch's inputs with instance noise."""
        inputs = batch.inputs()
        obs, flag, action = (self.noise * self.draws.normal(*inputs.shape[1:])).split(self.sizes, -1)
        return self.kept(inputs + torch.cat([obs, 0 * flag, action], -1) * (1 - batch.absorbing[..., None]))

    def kept(self, inputs: Tensor) -> Tensor:
        """Return the inputs without the observations that hardly vary."""
        return inputs * pad(self.density.kept, (0, 1 + self.sizes[2]), value=1.0)[:, None]


def alive(obs: Tensor, action: Tensor) -> Tensor:
    """Return inputs that are not in the absorbing state."""
    return torch.cat([obs, torch.zeros_like(obs[..., :1]), action], -1)
