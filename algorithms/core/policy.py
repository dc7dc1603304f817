"""The Gaussian policies of a population."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from algorithms.core.population import Generators, Normalizer, mlp


class GaussianPolicy(nn.Module):
    """A diagonal Gaussian per learner whose log std does not depend on the state (Ho & Ermon 2016, appendix B).

    The network works in units of half the action range, so that one initial std fits every task. Actions are not
    squashed: the environment clips them, and `log_prob` is that of the unclipped action, finite everywhere.
    """

    action_scale: Tensor

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

    def forward(self, obs: Tensor) -> Tensor:
        """Return the mean action `[P, N, A]`, in the task's units, at `obs` `[P, N, O]`: the deterministic policy."""
        return self.mean(self.normalizer(obs)) * self.action_scale

    def act(self, obs: Tensor, noise: Tensor) -> Tensor:
        """Return actions `[P, N, A]` drawn at `obs` `[P, N, O]` with standard normal `noise` `[P, N, A]`."""
        return self(obs) + noise * (self.log_std.exp() * self.action_scale)

    def log_prob(self, obs: Tensor, action: Tensor) -> Tensor:
        """Return log density `[P, N]` (nats) of `action / action_scale` at `obs`; `action` `[P, N, A]` is unclipped."""
        return self.log_density(self.mean(self.normalizer(obs)), action / self.action_scale)

    def log_density(self, mean: Tensor, action: Tensor) -> Tensor:
        """Return log density `[P, N]` of a scaled `action` under a scaled `mean`, both `[P, N, A]`."""
        z = (action - mean) * (-self.log_std).exp()
        return -0.5 * z.square().sum(-1) - (self.log_std + _HALF_LOG_2PI).sum(-1)

    def select(self, learner: int) -> "GaussianPolicy":
        """Return one learner's policy, as a population of one."""
        tensors = {k: v if k == "action_scale" else v[learner : learner + 1] for k, v in self.state_dict().items()}
        return GaussianPolicy.from_tensors(tensors)

    def on_cpu(self) -> "GaussianPolicy":
        """Return the population on the CPU: itself, or a copy if it is on another device."""
        if self.log_std.device.type == "cpu":
            return self
        return GaussianPolicy.from_tensors({k: v.cpu() for k, v in self.state_dict().items()})

    @classmethod
    def from_tensors(cls, tensors: dict[str, Tensor]) -> "GaussianPolicy":
        """Rebuild a population from its `state_dict()`; the sizes are those of the tensors."""
        layers = sorted(int(k.split(".")[1]) for k in tensors if k.startswith("mean.") and k.endswith(".weight"))
        weights = [tensors[f"mean.{layer}.weight"] for layer in layers]
        population, obs_size, _ = weights[0].shape
        hidden = [w.shape[2] for w in weights[:-1]]
        placeholder = Generators([0] * population, "weights", weights[0].device)  # overwritten at once
        policy = cls(obs_size, tensors["action_scale"], hidden, placeholder)
        policy.load_state_dict(tensors)
        return policy

    def entropy(self) -> Tensor:
        """Return the differential entropy `[P]` of a scaled action (nats), the same in every state."""
        return (self.log_std + _HALF_LOG_2PI + 0.5).sum((-2, -1))


_HALF_LOG_2PI = 0.5 * math.log(2 * math.pi)
