"""The inner loop of Ho & Ermon 2016: trust region policy optimisation (Schulman et al. 2015, arXiv 1502.05477).

It offers the verbs of PPO, `collect` and `improve`, and takes the constants that both share from `PPOConfig`: networks,
rollout, discount, GAE, entropy weight and the first std. A step goes along the natural gradient H^-1 g, where H is the
Hessian of the mean KL divergence, as far as that divergence allows.
"""

import math
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from algorithms.core.constants import Count, NonNegativeFloat, PositiveFloat, Share
from algorithms.core.experience import Experience
from algorithms.core.population import Generators
from algorithms.core.ppo import ActorCritic, Env, PPOConfig, RewardFunction
from algorithms.core.state import State


@dataclass(frozen=True)
class TRPOConfig:
    """Constants of the trust region, from the code of Ho & Ermon 2016 (openai/imitation)."""

    kl: PositiveFloat = 0.01  # nats, mean over states
    value_change: PositiveFloat = 0.01  # the same bound for the value, on its mean squared change
    damping: NonNegativeFloat = 0.1  # added to H
    share: Share = 0.1  # of a rollout's transitions, drawn anew, that H is estimated from
    solver_steps: Count = 10  # of conjugate gradients
    halvings: Count = 10  # of a step, until it is accepted
    least_gain: Share = 0.1  # of what the gradient promises, or a step is not accepted


class TRPO(ActorCritic):
    """P independent TRPO learners, one network pair each."""

    def __init__(self, env: Env, seeds: Sequence[int], config: PPOConfig, trust: TRPOConfig) -> None:
        """Draw the initial networks, those of PPO from the same seeds."""
        super().__init__(env, seeds, config)
        self.trust, self._subsets = trust, Generators(seeds, "subsets", env.obs.device)
        self.state = State(
            policy=self.policy, value=self.value, actions=self._actions, subsets=self._subsets, scale=self._scale
        )

    def improve(self, reward_function: RewardFunction, experience: Experience) -> dict[str, Tensor]:
        """Take one step of the policy and one of the value on a rollout under `reward_function`; return diagnostics.

        The running observation statistics are updated on the rollout afterwards, as by PPO.
        """
        rows, old_entropy = self._training_rows(reward_function, experience), self._entropy(experience)
        O, A = self.env.obs_size, self.env.action_size
        obs, action, (log_old, advantage, target) = rows[..., :O], rows[..., O : O + A], rows[..., O + A :].unbind(-1)
        few = obs[torch.arange(len(obs), device=obs.device)[:, None], self._subset(obs.shape[1])]
        old, old_value = deepcopy(self.policy).requires_grad_(False), deepcopy(self.value).requires_grad_(False)

        def gain() -> Tensor:
            head = self.policy.head(obs)
            surrogate = ((self.policy.log_density(head, action) - log_old).exp() * advantage).mean(1)
            return surrogate + self.config.entropy_weight * self.policy.entropy(head)

        def fit() -> Tensor:
            return -(self.value(obs)[..., 0] - target).square().mean(1)

        def change(x: Tensor) -> Tensor:
            return (self.value(x) - old_value(x)).square().mean((1, 2))

        accepted = climb(self.policy, gain, lambda x: self.policy.kl(old, x), few, obs, self.trust.kl, self.trust)
        climb(self.value, fit, change, few, obs, self.trust.value_change, self.trust)
        with torch.no_grad():
            kl = self.policy.kl(old, obs)
        self.policy.normalizer.update(experience.obs.flatten(1, 2))
        return {"policy_entropy": old_entropy, "return_scale": self._scale.std, "policy_kl": kl, "accepted": accepted}

    def _subset(self, n: int) -> Tensor:
        """Draw the rows `[P, m]` that H is estimated from."""
        return self._subsets.permutations(1, n)[:, 0, : math.ceil(self.trust.share * n)]


def climb(
    model: nn.Module,
    gain: Callable[[], Tensor],
    distance: Callable[[Tensor], Tensor],
    few: Tensor,
    obs: Tensor,
    bound: float,
    trust: TRPOConfig,
) -> Tensor:
    """Move a model's parameters up `gain()` `[P]` within a `distance(obs)` `[P]` from where they are.

    The distance is 0 here, and so is its gradient; its Hessian is estimated on `few` observations, and the bound is
    held on all, `obs`. A step is halved, by each learner for itself, until it gains enough and is no farther than twice
    the bound; if none is accepted, that of the last halving is taken. Returns `[P]`: 1 where one was accepted.
    """
    parameters = [p for p in model.parameters() if p.requires_grad]
    before = gain()
    gradient, before = flat(torch.autograd.grad(before.sum(), parameters)), before.detach()
    slope = torch.autograd.grad(distance(few).sum(), parameters, create_graph=True)

    def hessian(x: Tensor) -> Tensor:
        product = torch.autograd.grad((flat(slope) * x).sum(), parameters, retain_graph=True)
        return flat(product) + trust.damping * x

    direction = conjugate_gradients(hessian, gradient, trust.solver_steps)
    curvature = (direction * hessian(direction)).sum(1, keepdim=True)
    step = direction * (2 * bound / curvature).sqrt()
    step = torch.where(curvature > 0, step, torch.zeros_like(step))  # of a gradient of 0
    promise, start = (gradient * step).sum(1), flat([p.detach() for p in parameters])
    scale, accepted = torch.ones_like(promise), torch.zeros_like(promise, dtype=torch.bool)
    with torch.no_grad():
        for _ in range(trust.halvings):
            place(parameters, start + scale[:, None] * step)
            enough = gain() - before >= trust.least_gain * scale * promise
            accepted = accepted | (enough & (distance(obs) <= 2 * bound))
            scale = torch.where(accepted, scale, scale / 2)
        place(parameters, start + scale[:, None] * step)
    return accepted.to(promise.dtype)


def conjugate_gradients(product: Callable[[Tensor], Tensor], b: Tensor, steps: int) -> Tensor:
    """Solve A x = b `[P, D]` for each learner, of symmetric positive matrices given by `product(x)` (Hestenes 1952).

    One whose residual vanishes stays where it is.
    """
    x, residual, direction = torch.zeros_like(b), b, b
    size = residual.square().sum(1, keepdim=True)
    for _ in range(steps):
        image = product(direction)
        curvature = (direction * image).sum(1, keepdim=True)
        going = (size > SOLVED) & (curvature > 0)
        length = torch.where(going, size / curvature, 0.0)
        x, residual = x + length * direction, residual - length * image
        before, size = size, residual.square().sum(1, keepdim=True)
        direction = residual + torch.where(going, size / before, 0.0) * direction
    return x


SOLVED = 1e-10  # squared residual; the authors' code


def flat(tensors: Sequence[Tensor]) -> Tensor:
    """Return tensors `[P, ...]` as one, `[P, D]`."""
    return torch.cat([x.flatten(1) for x in tensors], 1)


def place(parameters: Sequence[nn.Parameter], values: Tensor) -> None:
    """Write values `[P, D]` into parameters."""
    parts = values.split([p[0].numel() for p in parameters], 1)
    for p, part in zip(parameters, parts, strict=True):
        p.copy_(part.view_as(p))
