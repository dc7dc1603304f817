"""The policies of a population: Gaussian where actions are vectors of numbers, categorical where they are discrete.

Both offer the same, and an action is a vector `[..., A]` with either: a method does not know which one it has.
"""

import math
from collections.abc import Sequence
from functools import partial
from typing import Protocol

import torch
from torch import Tensor, nn

from algorithms.core.actions import Actions, CategoricalActions, GaussianActions, gumbel, one_hot
from algorithms.core.population import Generators, Normalizer, mlp


class Policy(nn.Module):
    """A policy per learner. Its network sees standardised observations; what it returns is called the head.

    A scaled action is one in units of `action_scale`.
    """

    action_scale: Tensor  # [A]
    normalizer: Normalizer
    discrete: bool

    def head(self, obs: Tensor) -> Tensor:
        """Return what the network says `[P, N, A]` at standardised `obs` `[P, N, O]`."""
        raise NotImplementedError

    def forward(self, obs: Tensor) -> Tensor:
        """Return the most likely action `[P, N, A]`, in the task's units, at `obs`: the deterministic policy."""
        raise NotImplementedError

    def act(self, obs: Tensor, noise: Tensor) -> Tensor:
        """Return actions `[P, N, A]` drawn at `obs` `[P, N, O]` with standard normal `noise` `[P, N, A]`."""
        raise NotImplementedError

    def log_density(self, head: Tensor, action: Tensor) -> Tensor:
        """Return log density `[P, N]` (nats) of a scaled `action` under a `head`, both `[P, N, A]`."""
        raise NotImplementedError

    def entropy(self, head: Tensor) -> Tensor:
        """Return the mean entropy `[P]` of a scaled action (nats) over the states of a `head` `[P, N, A]`."""
        raise NotImplementedError

    def kl(self, old: "Policy", obs: Tensor) -> Tensor:
        """Return the mean KL divergence `[P]` (nats) of an `old` policy from this one, at standardised `obs`."""
        raise NotImplementedError

    def actions(self) -> Actions:
        """Return the actions of the policies as they are now, for a density of them."""
        raise NotImplementedError

    def log_prob(self, obs: Tensor, action: Tensor) -> Tensor:
        """Return log density `[P, N]` (nats) of `action / action_scale` at `obs`; `action` `[P, N, A]` is unclipped."""
        return self.log_density(self.head(self.normalizer(obs)), action / self.action_scale)

    def select(self, learner: int) -> "Policy":
        """Return one learner's policy, as a population of one."""
        tensors = {k: v if k == "action_scale" else v[learner : learner + 1] for k, v in self.state_dict().items()}
        return Policy.from_tensors(tensors)

    def on_cpu(self) -> "Policy":
        """Return the population on the CPU: itself, or a copy if it is on another device."""
        if self.action_scale.device.type == "cpu":
            return self
        return Policy.from_tensors({k: v.cpu() for k, v in self.state_dict().items()})

    @staticmethod
    def from_tensors(tensors: dict[str, Tensor]) -> "Policy":
        """Rebuild a population from its `state_dict()`; kind and sizes are those of the tensors."""
        network, scale = "mean." if "log_std" in tensors else "logits.", tensors["action_scale"]
        layers = sorted(int(k.split(".")[1]) for k in tensors if k.startswith(network) and k.endswith(".weight"))
        weights = [tensors[f"{network}{layer}.weight"] for layer in layers]
        population, obs_size, _ = weights[0].shape
        hidden = [w.shape[2] for w in weights[:-1]]
        placeholder = Generators([0] * population, "weights", weights[0].device)  # overwritten at once
        policy = (
            GaussianPolicy(obs_size, scale, hidden, placeholder)
            if "log_std" in tensors
            else CategoricalPolicy(obs_size, len(scale), hidden, placeholder)
        )
        policy.load_state_dict(tensors)
        return policy


class GaussianPolicy(Policy):
    """A diagonal Gaussian per learner whose log std does not depend on the state (Ho & Ermon 2016, appendix B).

    The network works in units of half the action range, so that one initial std fits every task. Actions are not
    squashed: the environment clips them, and `log_prob` is that of the unclipped action, finite everywhere.
    """

    discrete = False

    def __init__(
        self,
        obs_size: int,
        action_scale: Tensor,
        hidden: Sequence[int],
        generators: Generators,
        log_std: float = 0.0,
    ) -> None:
        """Draw P policies; `action_scale` `[A]` is half the width of the action space, in the task's units.

        `log_std` is the initial one of every action, in units of `action_scale`.
        """
        super().__init__()
        action_size = action_scale.numel()
        self.normalizer = Normalizer(len(generators), obs_size, generators.device)
        self.mean = mlp(obs_size, hidden, action_size, generators, last_gain=0.01)
        self.log_std = nn.Parameter(torch.full((len(generators), 1, action_size), log_std, device=generators.device))
        self.register_buffer("action_scale", action_scale.float().to(generators.device))

    def head(self, obs: Tensor) -> Tensor:
        """Return the scaled mean action."""
        return self.mean(obs)

    def forward(self, obs: Tensor) -> Tensor:
        """Return the mean action `[P, N, A]`, in the task's units, at `obs` `[P, N, O]`: the deterministic policy."""
        return self.mean(self.normalizer(obs)) * self.action_scale

    def act(self, obs: Tensor, noise: Tensor) -> Tensor:
        """See `Policy`."""
        return self(obs) + noise * (self.log_std.exp() * self.action_scale)

    def log_density(self, head: Tensor, action: Tensor) -> Tensor:
        """See `Policy`; the head is the scaled mean."""
        z = (action - head) * (-self.log_std).exp()
        return -0.5 * z.square().sum(-1) - (self.log_std + _HALF_LOG_2PI).sum(-1)

    def entropy(self, head: Tensor) -> Tensor:
        """See `Policy`: the differential entropy, the same in every state."""
        return (self.log_std + _HALF_LOG_2PI + 0.5).sum((-2, -1))

    def kl(self, old: Policy, obs: Tensor) -> Tensor:
        """See `Policy`."""
        assert isinstance(old, GaussianPolicy)
        ratio = 2 * (old.log_std - self.log_std)  # of log variances
        z = (self.mean(obs) - old.mean(obs)) * (-self.log_std).exp()
        return 0.5 * (z.square() + ratio.exp() - 1 - ratio).sum(-1).mean(1)

    def actions(self) -> GaussianActions:
        """See `Policy`."""
        return GaussianActions(_constant(self.mean), self.log_std.detach())


class CategoricalPolicy(Policy):
    """A distribution over A actions per learner; an action is a one-hot vector."""

    discrete = True

    def __init__(self, obs_size: int, actions: int, hidden: Sequence[int], generators: Generators) -> None:
        """Draw P policies, nearly uniform."""
        super().__init__()
        self.normalizer = Normalizer(len(generators), obs_size, generators.device)
        self.logits = mlp(obs_size, hidden, actions, generators, last_gain=0.01)
        self.register_buffer("action_scale", torch.ones(actions, device=generators.device))

    def head(self, obs: Tensor) -> Tensor:
        """Return the logits."""
        return self.logits(obs)

    def forward(self, obs: Tensor) -> Tensor:
        """See `Policy`; of equally likely actions the first."""
        return one_hot(self.logits(self.normalizer(obs)))

    def act(self, obs: Tensor, noise: Tensor) -> Tensor:
        """See `Policy`; the largest of logits plus Gumbel noise (Gumbel 1954)."""
        return one_hot(self.logits(self.normalizer(obs)) + gumbel(noise))

    def log_density(self, head: Tensor, action: Tensor) -> Tensor:
        """See `Policy`: a log probability."""
        return (action * head.log_softmax(-1)).sum(-1)

    def entropy(self, head: Tensor) -> Tensor:
        """See `Policy`."""
        log_p = head.log_softmax(-1)
        return -(log_p.exp() * log_p).sum(-1).mean(1)

    def kl(self, old: Policy, obs: Tensor) -> Tensor:
        """See `Policy`."""
        before, now = (policy.head(obs).log_softmax(-1) for policy in (old, self))
        return (before.exp() * (before - now)).sum(-1).mean(1)

    def actions(self) -> CategoricalActions:
        """See `Policy`."""
        return CategoricalActions(_constant(self.logits), self.action_scale.numel())


class Spaces(Protocol):
    """What a policy needs to know of its env."""

    obs_size: int
    action_size: int
    discrete: bool
    action_low: Tensor
    action_high: Tensor


def policy_for(env: Spaces, hidden: Sequence[int], generators: Generators, log_std: float = 0.0) -> Policy:
    """Draw P policies of the kind that an env's actions call for; `log_std` is a Gaussian one's first."""
    if env.discrete:
        return CategoricalPolicy(env.obs_size, env.action_size, hidden, generators)
    return GaussianPolicy(env.obs_size, (env.action_high - env.action_low) / 2, hidden, generators, log_std)


def _constant(network: nn.Module) -> partial[Tensor]:
    """Return a network as a function whose parameters have no gradient."""
    fixed = {name: p.detach() for name, p in network.named_parameters()}
    return partial(_call, network, fixed)


def _call(network: nn.Module, parameters: dict[str, Tensor], x: Tensor) -> Tensor:
    return torch.func.functional_call(network, parameters, (x,))


_HALF_LOG_2PI = 0.5 * math.log(2 * math.pi)
