"""EBM-GAN: an energy trained as a GAN's discriminator (Finn, Christiano, Abbeel & Levine 2016, arXiv 1611.03852).

Algorithm 1, applied to imitation with x = (s, a) drawn from the occupancy measures. Repeat:
    sample trajectories from the policy pi, and fit the density q_phi of its observations by likelihood;
    solve for b, the estimate of log Z, from  mean_expert(1 - D) = mean_policy(D),   D = sigmoid(l)    (section 3.1)
    step the energy E down  E_expert[-log D] + E_pi[-log(1 - D)]
    step the policy on log D - log(1 - D) = l.

l(x) = -E(x) - b - log q(x),   q(x) = q_phi(s) pi(a|s),   E(x) = |x|^2 / (2 * 1.5^2) + e_theta(x): so Z is finite.
Section 4 of the paper prints sigmoid(E - log q); by its section 3.1 the sign is -E, with the bias -log Z.
At the optimum l = log rho_expert - log rho_pi whatever q_phi is: a poor one spoils E and Z, not the policy's reward.
`conditional`, for observations too large for a density, models a given s: in the place of log q_phi(s) stands
log Z(s) = log mean_k exp(-E(s, a_k)) / pi(a_k|s),  a_k ~ pi(.|s).

Sign: l is high for the expert;  loss = E_expert softplus(-l) + E_pi softplus(l),  reward = l, without entropy bonus.
Terminal states: a reward of free sign teaches the policy to die or not to, so an episode that terminates goes on in an
absorbing state: an atom, of mass `share` under q (its share of the policy's occupancy), with an energy of its own.
Discrete actions: their density is a probability, without noise; E's first term and the defensive share leave them out.

Additions to the paper, which has no experiments:
- Instance noise of 0.8 on x from both sources, in q as well; dimensions that hardly vary are left out. With less the
  expert's 200 states stand apart for longer: after 600,000 steps HalfCheetah is at 0.25 with 0.3, at 0.63 with 0.8.
- E starts half as wide again as the expert's data, and e_theta learns at 1e-3: wider or slower, l is mostly -log q for
  long, and the policy seeks whatever is rare.
- A tenth of the generator, samples and q, is the Gaussian of E's first term (a defensive mixture, Hesterberg 1995). It
  bounds exp(-E) / q, or l would be hundreds of nats at the expert's states. No gradient penalty.
"""

from dataclasses import dataclass
from functools import partial
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from algorithms.core.adversarial import LoopConfig, imitate
from algorithms.core.constants import BelowOne, NonNegativeFloat, PositiveFloat
from algorithms.core.experience import Batch, Samples, average
from algorithms.core.generator import Generator
from algorithms.core.partition import effective_size, log_mean_exp, solve_log_z
from algorithms.core.population import Generators, Linear, affine, mlp
from algorithms.core.ppo import PPOConfig

PIECE = 64  # observations whose actions are worked on together: what a cache holds


@dataclass(frozen=True)
class Config:
    """Constants of EBM-GAN; the paper gives none."""

    conditional: bool = False  # model the action given the observation only
    hidden: tuple[int, ...] = (64, 64)  # as every method here
    batch: int = 512  # samples of each source a step
    noise: NonNegativeFloat = 0.8  # std of the instance noise, in standard units
    base_std: PositiveFloat = 1.5  # of the Gaussian that makes exp(-E) integrable
    defensive: BelowOne = 0.1  # share of that Gaussian in the generator
    components: int = 6  # of q_phi
    fit_steps: int = 5  # of expectation maximisation an iteration, from the last iteration's mixture
    actions: int = 64  # K of the conditional form, whose generator is the policy alone
    loop: LoopConfig = LoopConfig(absorbing=True, reward_rate=1e-3)
    ppo: PPOConfig = PPOConfig()


class Reward(nn.Module):
    """The energy E and the generator's density q, as functions of inputs `[P, N, O + 1 + A]` (see `Batch.inputs`)."""

    log_z: Tensor

    def __init__(self, obs_size: int, action_size: int, generators: Generators, config: Config) -> None:
        super().__init__()
        self.config, self.sizes = config, [obs_size, 1, action_size]
        self.e_theta = mlp(sum(self.sizes), config.hidden, 1, generators)
        defensive = 0.0 if config.conditional else config.defensive
        self.q = Generator(
            obs_size, action_size, generators, config.components, config.noise, config.base_std, defensive
        )
        self.register_buffer("log_z", torch.zeros(len(generators), device=generators.device))  # b
        self.diagnostics: dict[str, Tensor] = {}

    def forward(self, inputs: Tensor) -> Tensor:
        """Return u = -E - log q `[P, N]`; the logit is u - b."""
        return -self.energy(inputs) - self.log_q(inputs)

    def energy(self, inputs: Tensor) -> Tensor:
        """Return E `[P, N]`."""
        obs, _, action = inputs.split(self.sizes, -1)
        return self.q.wide(obs, action) + self.e_theta(inputs)[..., 0]

    def log_q(self, inputs: Tensor) -> Tensor:
        """Return log q `[P, N]`; the conditional form puts log Z(s) in the place of log q_phi(s)."""
        obs = inputs[..., : self.sizes[0]]
        return self.q.log_prob(inputs, (self.log_z_given if self.config.conditional else self.q.density.log_prob)(obs))

    def log_z_given(self, obs: Tensor) -> Tensor:
        """Estimate log Z(s) `[P, N]`, that of exp(-E(s, .)), from K actions, or from all discrete ones."""
        action, log_pi = self.q.actions.proposals(obs, self.config.actions, self.config.noise, self.q.draws)
        pieces = zip(obs.split(PIECE, 1), action.split(PIECE, 1), strict=True)
        energy = torch.cat([self.energies(*piece) for piece in pieces], 1)
        return log_mean_exp(-energy - log_pi)

    def energies(self, obs: Tensor, action: Tensor) -> Tensor:
        """Return E `[P, N, K]` of K actions `[P, N, K, A]` at each observation.

        What the observation adds to the first layer is computed once, not K times.
        """
        first = cast(Linear, self.e_theta[0])
        at_obs, _, at_action = first.weight.split(self.sizes, 1)
        of_obs = affine(obs, at_obs, first.bias).repeat_interleave(action.shape[2], 1)
        layer = affine(action.flatten(1, 2), at_action, of_obs, tanh=len(self.e_theta) > 1)
        return self.q.wide(obs[:, :, None], action) + self.e_theta[2:](layer).view(action.shape[:3])

    def prepare(self, expert: Samples, policy: Samples, config: Config) -> None:
        """Fit q to the policy's samples, and measure how well q, E and Z are known."""
        self.q.follow(expert, policy)
        if not config.conditional:
            self.diagnostics = {"state_log_likelihood": self.q.fit(policy, config.fit_steps)}
            self.measure(expert)

    def measure(self, expert: Samples) -> None:
        """Estimate log Z from samples of q alone and of the expert and q, and the expert's held-out likelihood."""
        n, share = self.config.batch, self.q.share
        inputs = self.q.sample(n)
        log_weight = self(inputs) + (-share).log1p()[:, None]  # exp(-E) / q of what is not absorbing
        log_z = log_mean_exp(log_weight)
        if self.config.loop.absorbing:
            end = torch.zeros_like(inputs[:, :1])
            end[..., self.sizes[0]] = 1
            log_z = torch.logaddexp(log_z, -self.energy(end)[:, 0])
            inputs = torch.where((self.q.draws.uniform(n) < share[:, None])[..., None], end, inputs)
        mixture = solve_log_z(self(self.q.noisy(expert.transitions(n))), self(inputs))
        held_out = average(-self.energy(self.q.noisy(expert.rows)), 1 - expert.weight)
        self.diagnostics |= {
            "log_z_generator": log_z,
            "log_z_mixture": mixture,
            "effective_share": effective_size(log_weight) / n,
            "expert_log_likelihood": held_out - mixture,  # nats a step, of demonstrations the learner does not use
        }


def loss(model: Reward, expert: Samples, policy: Samples, config: Config) -> Tensor:
    """Return `[P]`: the discriminator's logistic loss at the solved b."""
    x = model.q.noisy(expert.transitions(config.batch))
    y = model.q.defended(model.q.noisy(policy.transitions(config.batch)))
    u = model(torch.cat([x, y], 1)).split(config.batch, 1)
    model.log_z = solve_log_z(*u)
    on_expert, on_policy = (side - model.log_z[:, None] for side in u)
    model.diagnostics |= {
        "log_z": model.log_z,
        "expert_logit": on_expert.detach().mean(1),
        "policy_logit": on_policy.detach().mean(1),
    }
    return softplus(-on_expert).mean(1) + softplus(on_policy).mean(1)


def reward(model: Reward, batch: Batch, config: Config) -> Tensor:
    """Return `[P, N]`: log D - log(1 - D) = l."""
    return model(model.q.kept(batch.inputs())) - model.log_z[:, None]


train = partial(imitate, Reward, loss, reward)
