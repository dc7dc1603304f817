"""Adversarial inverse reinforcement learning (Fu, Luo & Levine 2018, arXiv 1710.11248).

Algorithm 1. Repeat:
    sample trajectories from the policy pi;
    step the discriminator D = exp f / (exp f + pi(a|s)) on logistic regression of expert against policy;
    set the reward to log D - log(1 - D), f(s, a, s') = g(s, a) + gamma h(s') - h(s)                   (equation 4)
    step the policy on that reward.

Sign: D is high for the expert; its logit is l = f - log pi(a|s), and so
    loss   = E_expert softplus(-l) + E_pi softplus(l)
    reward = log D - log(1 - D) = l, whose expected sum is that of f plus the entropy of pi.
With `state_only`, g is a function of s alone: what is learnt survives a change of dynamics (section 5).
Terminal states: the potential h is 0 in them. A reward of free sign would teach the policy to end its episodes or never
to, so one that terminates goes on in an absorbing state with a g of its own, where h and log pi are 0.

Departures from the paper:
- PPO instead of TRPO, and 4,096 transitions a rollout instead of 10,000: the same learner for every method here.
- No entropy weight beside that of the reward itself (the paper: 0.1).
- g and h are 64-64 tanh networks, as every network here (the paper: g linear, h 32-32 ReLU; its code: both ReLU).
- The absorbing state (Kostrikov et al. 2019, arXiv 1809.02925); the paper's tasks never end.
No gradient penalty: f has to become as steep as log pi, and a policy whose f may not stays too wide.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from algorithms.core.adversarial import LoopConfig, imitate
from algorithms.core.experience import Batch, Samples
from algorithms.core.population import Generators, Normalizer, mlp
from algorithms.core.ppo import PPOConfig


@dataclass(frozen=True)
class Config:
    """Constants of AIRL. Sources: the paper's appendices, or a departure above."""

    state_only: bool = False  # g(s) instead of g(s, a)
    hidden: tuple[int, ...] = (64, 64)  # departure
    batch: int = 512  # samples of each source a step
    loop: LoopConfig = LoopConfig(
        absorbing=True,
        recent=20,  # negatives from the last 20 iterations
        reward_rate=1e-3,  # at 3e-4 f lags behind log pi, and the std of Reacher's policies grows to 1.7
    )
    ppo: PPOConfig = PPOConfig()


class Reward(nn.Module):
    """The reward g and the potential h."""

    def __init__(self, obs_size: int, action_size: int, generators: Generators, config: Config) -> None:
        super().__init__()
        self.discount = config.ppo.discount
        self.input_size = obs_size + 1 if config.state_only else obs_size + 1 + action_size
        self.g = mlp(self.input_size, config.hidden, 1, generators)
        self.h = mlp(obs_size, config.hidden, 1, generators)
        self.diagnostics: dict[str, Tensor] = {}

    def forward(self, batch: Batch) -> Tensor:
        """Return f `[P, N]`."""
        g = self.g(batch.inputs()[..., : self.input_size])[..., 0]
        goes_on = (1 - batch.terminal) * (1 - batch.absorbing)
        h, next_h = self.h(batch.obs)[..., 0], self.h(batch.next_obs)[..., 0]
        return g + self.discount * next_h * goes_on - h * (1 - batch.absorbing)


def loss(model: Reward, expert: Samples, policy: Samples, config: Config) -> Tensor:
    """Return `[P]`: the discriminator's logistic loss."""
    on_expert, on_policy = (logit(model, source.transitions(config.batch)) for source in (expert, policy))
    model.diagnostics = {"expert_logit": on_expert.detach().mean(1), "policy_logit": on_policy.detach().mean(1)}
    return softplus(-on_expert).mean(1) + softplus(on_policy).mean(1)


def logit(model: Reward, batch: Batch) -> Tensor:
    """Return l = f - log pi, `[P, N]`."""
    return model(batch) - batch.log_prob


def reward(model: Reward, batch: Batch, config: Config) -> Tensor:
    """Return `[P, N]`: log D - log(1 - D) = l."""
    return logit(model, batch)


train = partial(imitate, Reward, loss, reward)


class LearntReward(nn.Module):
    """The learnt g on its own, in the task's units: it can be saved, loaded, and optimised in another environment."""

    action_scale: Tensor

    def __init__(self, g: nn.Sequential, normalizer: Normalizer, action_scale: Tensor) -> None:
        super().__init__()
        self.g, self.normalizer = g, normalizer
        self.register_buffer("action_scale", action_scale)

    def forward(self, obs: Tensor, action: Tensor) -> Tensor:
        """Return g `[P, N]` at `obs` `[P, N, O]` and `action` `[P, N, A]`."""
        return self._at(self.normalizer(obs), torch.zeros_like(obs[..., :1]), action / self.action_scale)

    def absorbing(self) -> Tensor:
        """Return g `[P]` of a step in the absorbing state."""
        obs = torch.zeros_like(self.normalizer.mean, dtype=torch.float32)
        action = self.action_scale.new_zeros(len(obs), 1, self.action_scale.numel())
        return self._at(obs, torch.ones_like(obs[..., :1]), action)[:, 0]

    def _at(self, *inputs: Tensor) -> Tensor:
        size = next(self.g.parameters()).shape[1]  # a state-only g leaves the action out
        return self.g(torch.cat(inputs, -1)[..., :size])[..., 0]

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor]) -> "LearntReward":
        """Rebuild it from its `state_dict()`, or from what a run saved (`reward.g...`, `policy.normalizer...`)."""
        own = {name.removeprefix("policy.").removeprefix("reward."): tensor for name, tensor in tensors.items()}
        layers = sorted(int(name.split(".")[1]) for name in own if name.startswith("g.") and name.endswith(".weight"))
        shapes = [own[f"g.{layer}.weight"].shape for layer in layers]
        population, input_size, _ = shapes[0]
        placeholder = Generators([0] * population, "weights", own["action_scale"].device)  # overwritten at once
        normalizer = Normalizer(population, own["normalizer.mean"].shape[2], placeholder.device)
        learnt = cls(mlp(input_size, [n for _, _, n in shapes[:-1]], 1, placeholder), normalizer, own["action_scale"])
        learnt.load_state_dict({name: own[name] for name in learnt.state_dict()})
        return learnt
