"""Adversarial inverse reinforcement learning (Fu, Luo & Levine 2018, arXiv 1710.11248).

Algorithm 1. Repeat:
    sample trajectories from the policy pi;
    step the discriminator D = exp f / (exp f + pi(a|s)) on logistic regression of expert against policy;
    set the reward to log D - log(1 - D), f(s, a, s') = g(s, a) + gamma h(s') - h(s)                   (equation 4)
    step the policy on that reward.

Sign: D is high for the expert; its logit is l = f - log pi(a|s), and so
    loss   = E_expert softplus(-l) + E_pi softplus(l)
    reward = f - lambda log pi, whose expected sum is that of f plus lambda times the entropy of pi.
lambda = 1 is the paper's log D - log(1 - D) = l; its experiments weigh the entropy by 0.1 (appendix D).
With `state_only`, g is a function of s alone: what is learnt survives a change of dynamics (section 5).
Terminal states: the potential h is 0 in them. A reward of free sign would teach the policy to end its episodes or never
to, so one that terminates goes on in an absorbing state with a g of its own, where h and log pi are 0.

Departures from the paper:
- PPO instead of TRPO, and 4,096 transitions a rollout instead of 10,000: the same learner for every method here.
- g and h are 64-64 tanh networks, as every network here (the paper: g linear, h 32-32 ReLU; its code: both ReLU).
- g(s, a) has a term -w |a|^2, as GCL's cost has: f, at best the expert's log density, must fall as -log pi rises. A
  tanh network does not, and beyond the data l would reward a wider and wider policy.
- Instance noise of 0.3 on s, as in EBM-GAN: 200 states of an expert can be known by heart.
- Samples of the last iteration alone (the paper: of the last 20), whose log pi is that of the policy that drew them.
- The absorbing state (Kostrikov et al. 2019, arXiv 1809.02925); the paper's tasks never end.
No gradient penalty: f has to become as steep as log pi, and a policy whose f may not stays too wide.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from algorithms.core.adversarial import LoopConfig, imitate
from algorithms.core.constants import NonNegativeFloat
from algorithms.core.experience import Batch, Samples
from algorithms.core.population import Generators, Normalizer, mlp
from algorithms.core.ppo import PPOConfig


@dataclass(frozen=True)
class Config:
    """Constants of AIRL. Sources: the paper's appendices, or a departure above."""

    state_only: bool = False  # g(s) instead of g(s, a)
    hidden: tuple[int, ...] = (64, 64)  # departure
    batch: int = 512  # samples of each source a step
    entropy_weight: NonNegativeFloat = 0.1  # lambda; appendix D
    torque: NonNegativeFloat = 0.5  # w; with `state_only` 0
    noise: NonNegativeFloat = 0.3  # std of the instance noise, in standard units
    loop: LoopConfig = LoopConfig(
        absorbing=True,
        reward_rate=1e-3,  # at 3e-4 f lags behind log pi: without w the std of Reacher's policies grew to 1.7
    )
    ppo: PPOConfig = PPOConfig()


class Learnt(nn.Module):
    """The reward g, of inputs `[P, N, O + 1 + A]` (see `Batch.inputs`)."""

    torque: Tensor

    def __init__(self, network: nn.Sequential, obs_size: int, torque: float = 0.0) -> None:
        super().__init__()
        self.network, self.first_action = network, obs_size + 1
        weight = next(network.parameters())
        self.size = weight.shape[1]  # a state-only network leaves the action out
        self.register_buffer("torque", weight.new_full((len(weight), 1), torque))  # a number for each learner

    def forward(self, inputs: Tensor) -> Tensor:
        """Return g `[P, N]`."""
        effort = inputs[..., self.first_action :].square().sum(-1)
        return self.network(inputs[..., : self.size])[..., 0] - self.torque * effort


class Reward(nn.Module):
    """The reward g and the potential h."""

    def __init__(self, obs_size: int, action_size: int, generators: Generators, config: Config) -> None:
        super().__init__()
        self.discount, self.noise = config.ppo.discount, config.noise
        size, torque = (0, 0.0) if config.state_only else (action_size, config.torque)
        self.g = Learnt(mlp(obs_size + 1 + size, config.hidden, 1, generators), obs_size, torque)
        self.h = mlp(obs_size, config.hidden, 1, generators)
        self.draws = Generators(generators.seeds, "noise", generators.device)
        self.diagnostics: dict[str, Tensor] = {}

    def forward(self, batch: Batch) -> Tensor:
        """Return f `[P, N]`."""
        goes_on = (1 - batch.terminal) * (1 - batch.absorbing)
        h, next_h = self.h(batch.obs)[..., 0], self.h(batch.next_obs)[..., 0]
        return self.g(batch.inputs()) + self.discount * next_h * goes_on - h * (1 - batch.absorbing)

    def noisy(self, batch: Batch) -> Batch:
        """Return the batch with instance noise on its observations."""
        return replace(batch, obs=batch.obs + self.noise * self.draws.normal(*batch.obs.shape[1:]))


def loss(model: Reward, expert: Samples, policy: Samples, config: Config) -> Tensor:
    """Return `[P]`: the discriminator's logistic loss."""
    sources = (model.noisy(source.transitions(config.batch)) for source in (expert, policy))
    on_expert, on_policy = (logit(model, batch) for batch in sources)
    model.diagnostics = {"expert_logit": on_expert.detach().mean(1), "policy_logit": on_policy.detach().mean(1)}
    return softplus(-on_expert).mean(1) + softplus(on_policy).mean(1)


def logit(model: Reward, batch: Batch) -> Tensor:
    """Return l = f - log pi, `[P, N]`."""
    return model(batch) - batch.log_prob


def reward(model: Reward, batch: Batch, config: Config) -> Tensor:
    """Return `[P, N]`: f - lambda log pi."""
    return model(batch) - config.entropy_weight * batch.log_prob


train = partial(imitate, Reward, loss, reward)


class LearntReward(nn.Module):
    """The learnt g on its own, in the task's units: it can be saved, loaded, and optimised in another environment."""

    action_scale: Tensor

    def __init__(self, g: Learnt, normalizer: Normalizer, action_scale: Tensor) -> None:
        super().__init__()
        self.g, self.normalizer = g, normalizer
        self.register_buffer("action_scale", action_scale)

    def forward(self, obs: Tensor, action: Tensor) -> Tensor:
        """Return g `[P, N]` at `obs` `[P, N, O]` and `action` `[P, N, A]`."""
        return self.g(torch.cat([self.normalizer(obs), torch.zeros_like(obs[..., :1]), action / self.action_scale], -1))

    def absorbing(self) -> Tensor:
        """Return g `[P]` of a step in the absorbing state."""
        population, _, obs_size = self.normalizer.mean.shape
        inputs = self.action_scale.new_zeros(population, 1, obs_size + 1 + self.action_scale.numel())
        inputs[..., obs_size] = 1
        return self.g(inputs)[:, 0]

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor]) -> "LearntReward":
        """Rebuild it from its `state_dict()`, or from what a run saved (`reward.g...`, `policy.normalizer...`)."""
        own = {name.removeprefix("policy.").removeprefix("reward."): tensor for name, tensor in tensors.items()}
        names = [name for name in own if name.startswith("g.network.") and name.endswith(".weight")]
        shapes = [own[name].shape for name in sorted(names, key=lambda name: int(name.split(".")[2]))]
        population, obs_size = len(own["normalizer.mean"]), own["normalizer.mean"].shape[2]
        placeholder = Generators([0] * population, "weights", own["action_scale"].device)  # overwritten at once
        network = mlp(shapes[0][1], [n for _, _, n in shapes[:-1]], 1, placeholder)
        normalizer = Normalizer(population, obs_size, placeholder.device)
        learnt = cls(Learnt(network, obs_size), normalizer, own["action_scale"])
        learnt.load_state_dict({name: own[name] for name in learnt.state_dict()})
        return learnt
