"""Guided cost learning (Finn, Levine & Abbeel 2016, arXiv 1603.00448).

Algorithm 1. Repeat:
    sample trajectories from the policy q and add them to those of recent iterations;
    draw n demonstrations and n samples; both together are the background batch;
    step the cost c down  L = mean_demo c(tau) + log mean_background [z_j exp(-c(tau_j))]            (section 4)
    step the policy on  min E_q[c(tau)] - H(q).

c(tau) = sum_t c(s_t, a_t) over whole trajectories, undiscounted. log q(tau) = sum_t log pi(a_t|s_t): dynamics cancel.
z_j = 1 / mu(tau_j) are importance weights, held constant, with fusion of the last K policies in the density of the
background, mu = p~/2 + mean_k q_k / 2. The demonstrations' own density p~ is unknown: as in Finn, Christiano, Abbeel &
Levine 2016 (arXiv 1611.03852, section 3) it is the model's, exp(-c) / Z, where Z = mean_background[z_j exp(-c(tau_j))].
Regularised by  g_lcr = mean_t [(c_{t+1} - c_t) - (c_t - c_{t-1})]^2, on demonstrations and samples.

Sign: c is low for the expert; reward = -c - log pi(a|s), whose expected sum is -E_q[c] + H(q).
Terminal states: a cost of free sign teaches the policy to die or not to, so a trajectory that terminated goes on to the
horizon in an absorbing state with a cost of its own and log pi = 0. A time limit is the horizon: all are equally long.
Over 1000 steps the weights degenerate, here as in the literature: `effective_samples` measures how far.

Departures from the paper:
- PPO on the discounted cost instead of guided policy search with fitted linear dynamics.
- An episode is collected over several iterations; each q_k is taken to have made all of it.
- c is a 64-64 tanh network plus w_u |a|^2, not a quadratic form of learnt features plus w_u |a|^2; no monotonicity
  term, which is for reaching.
`segment` is not the paper's: a sample is then so many steps of a trajectory, down to one, and the weights degenerate
less. `demonstration_density` "one" and `entropy_weight` 0 with single steps are the weights and the reward of
DI-engine's GCL; the network, g_lcr, w_u and the absorbing state remain ours.
"""

import math
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn

from algorithms.core.adversarial import LoopConfig, imitate
from algorithms.core.constants import Count, NonNegativeFloat
from algorithms.core.experience import Batch, Samples, Trajectories
from algorithms.core.partition import effective_size, log_mean_exp, solve_log_z
from algorithms.core.population import Generators, mlp
from algorithms.core.ppo import PPOConfig
from threefold.base.errors import InputError


@dataclass(frozen=True)
class Config:
    """Constants of GCL; the paper gives none for these tasks."""

    hidden: tuple[int, ...] = (64, 64)  # as every method here
    trajectories: int = 16  # n, of each source a step
    segment: Count | None = None  # steps of each that count, from a random one on; None: all
    demonstration_density: Literal["model", "one"] = "model"  # p~ and q together, or 1, in a demonstration's weight
    entropy_weight: NonNegativeFloat = 1.0  # of -log pi in the reward
    lcr: NonNegativeFloat = 0.1  # weight of g_lcr
    torque: NonNegativeFloat = 0.5  # w_u: so exp(-c) starts as the first policy, and stays integrable
    loop: LoopConfig = LoopConfig(
        reward_steps=3,
        recent=8,  # 2,048 steps: as many as two episodes of most tasks
        absorbing=True,
        trajectories=True,
    )
    ppo: PPOConfig = PPOConfig()

    def __post_init__(self) -> None:
        """Raise `InputError` for segments of episodes that end before the horizon."""
        if self.segment and not self.loop.absorbing:
            raise InputError("segment: an episode that ends has none of this length; set loop.absorbing to true")


class Reward(nn.Module):
    """The cost c, low for the expert."""

    def __init__(self, obs_size: int, action_size: int, generators: Generators, config: Config) -> None:
        super().__init__()
        self.torque = config.torque
        self.cost = mlp(obs_size + 1 + action_size, config.hidden, 1, generators, last_gain=0.01)
        *_, last_bias = self.cost.parameters()
        last_bias.requires_grad_(False)  # trajectories are equally long: a constant is free, and would drift
        self.diagnostics: dict[str, Tensor] = {}

    def forward(self, batch: Batch) -> Tensor:
        """Return costs `[P, N]` of steps."""
        effort = batch.action.square().sum(-1) * (1 - batch.absorbing)
        return self.cost(batch.inputs())[..., 0] + self.torque * effort


def loss(model: Reward, expert: Samples, policy: Samples, config: Config) -> Tensor:
    """Return `[P]`: L + g_lcr; 0 for learners whose policies have completed no episode yet."""
    n, segment = config.trajectories, config.segment
    demonstrations, samples = expert.trajectories(n, segment), policy.trajectories(n, segment)
    steps = [model(tau.steps) for tau in (demonstrations, samples)]
    on_expert, on_policy = demonstrations.sum(steps[0]), samples.sum(steps[1])
    log_q = demonstrations.log_mixture, samples.log_mixture
    value, log_z = objective(on_expert, log_q[0], on_policy, log_q[1], config.demonstration_density == "model")
    bend = (curvature(demonstrations, steps[0]) + curvature(samples, steps[1])) / 2
    model.diagnostics = {
        "log_z": log_z,
        "effective_samples": effective_size(-on_policy.detach() - samples.log_mixture),
        "expert_cost": on_expert.detach().mean(1),
        "policy_cost": on_policy.detach().mean(1),
    }
    ready = samples.weight.flatten(1).any(1)
    return torch.where(ready, value + config.lcr * bend, 0 * value)


def objective(
    on_expert: Tensor, expert_log_q: Tensor, on_policy: Tensor, policy_log_q: Tensor, fused: bool = True
) -> tuple[Tensor, Tensor]:
    """Return L and log Z, `[P]`, from costs c(tau) and log mean_k q_k(tau), `[P, n]`, of both sources.

    Not `fused`, mu is 1 for demonstrations and mean_k q_k for samples.
    """
    cost, log_q = torch.cat([on_expert, on_policy], 1), torch.cat([expert_log_q, policy_log_q], 1)
    log_z = solve_log_z(-on_expert - expert_log_q, -on_policy - policy_log_q)
    log_mu = (torch.stack([-cost - log_z[:, None], log_q]).logsumexp(0) - math.log(2)).detach()
    if not fused:
        log_mu = torch.cat([torch.zeros_like(expert_log_q), policy_log_q], 1)
    return on_expert.mean(1) + log_mean_exp(-cost - log_mu), log_z


def curvature(tau: Trajectories, cost: Tensor) -> Tensor:
    """Return g_lcr `[P]` of step costs `[P, n L]`: the mean squared second difference within a trajectory."""
    inside = tau.weight > 0
    bend = cost.view_as(tau.weight).diff(n=2).square()
    triple = inside[..., :-2] & inside[..., 1:-1] & inside[..., 2:]
    return (bend * triple).sum((1, 2)) / triple.sum((1, 2)).clamp(min=1)


def reward(model: Reward, batch: Batch, config: Config) -> Tensor:
    """Return `[P, N]`: -c - log pi."""
    return -model(batch) - config.entropy_weight * batch.log_prob


train = partial(imitate, Reward, loss, reward)
