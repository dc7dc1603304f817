"""The inner loop of every method: proximal policy optimisation (Schulman et al. 2017, arXiv 1707.06347).

Two verbs: `collect() -> Experience` and `improve(reward_function)`. The reward is a function, so that the same loop
serves learnt rewards and, for the experts, the true one. TRPO (trpo.py) offers the same.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from algorithms.core.constants import BelowOne, NonNegativeFloat, PositiveFloat, Share
from algorithms.core.experience import Experience
from algorithms.core.policy import Policy, policy_for
from algorithms.core.population import Generators, adam, descend, mlp
from algorithms.core.state import State
from threefold.base.errors import InputError

RewardFunction = Callable[[Experience], Tensor]


class Env(Protocol):
    """P x E episodes stepped together. There is no reward here: no method can use the true one."""

    P: int
    E: int
    horizon: int  # steps after which an episode is truncated
    obs_size: int
    action_size: int
    discrete: bool  # whether an action is a one-hot vector
    action_low: Tensor  # [A]
    action_high: Tensor  # [A]

    @property
    def obs(self) -> Tensor:
        """Return the observation to act from next, `[P, E, O]`."""

    @property
    def elapsed(self) -> Tensor:
        """Return the steps of each episode so far, `[P, E]`."""

    def step(self, action: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Act `[P, E, A]`; return the true `next_obs` `[P, E, O]`, `terminal` and `truncated` `[P, E]`."""


@torch.no_grad()
def roll_out(env: Env, policy: Policy, draws: Generators, steps: int) -> Experience:
    """Act for `steps` steps with the stochastic policy."""
    noise = draws.normal(steps, env.E, env.action_size)
    rows = []
    for t in range(steps):
        obs, elapsed = env.obs.float(), env.elapsed
        action = policy.act(obs, noise[:, t])
        next_obs, terminal, truncated = env.step(action)
        rows.append((obs, action, next_obs.float(), terminal, truncated, elapsed))
    return Experience(*(torch.stack(column, 1) for column in zip(*rows, strict=True)))


@dataclass(frozen=True)
class PPOConfig:
    """Constants of the inner loop; the sources are Schulman et al. 2017 (table 3) unless a line says otherwise."""

    hidden: tuple[int, ...] = (64, 64)
    steps: int = 256  # T of a rollout; with 16 episodes 4096 transitions, here a measured choice
    epochs: int = 10
    minibatches: int = 8
    rate: PositiveFloat = 3e-4
    clip: PositiveFloat = 0.2
    discount: BelowOne = 0.99
    gae: Share = 0.95
    entropy_weight: NonNegativeFloat = 0.0
    log_std: float = 0.0  # of the first policy's actions, in units of half their range; here a choice
    max_norm: PositiveFloat = 0.5  # Andrychowicz et al. 2021 (arXiv 2006.05990), section 3.6


class ActorCritic:
    """P independent learners on the rollouts of their own policies: what PPO and TRPO share."""

    def __init__(self, env: Env, seeds: Sequence[int], config: PPOConfig) -> None:
        """Draw the initial networks; `seeds[p]` alone decides learner p's random numbers."""
        self.env, self.config = env, config
        device = env.obs.device
        weights = Generators(seeds, "weights", device)
        self.policy = policy_for(env, config.hidden, weights, config.log_std)
        self.value = mlp(env.obs_size, config.hidden, 1, weights)
        self._actions = Generators(seeds, "actions", device)
        self._scale = ReturnScale(env.P, env.E, config.discount, device)

    def collect(self) -> Experience:
        """Act for T steps with the stochastic policy."""
        return roll_out(self.env, self.policy, self._actions, self.config.steps)

    @torch.no_grad()
    def _entropy(self, experience: Experience) -> Tensor:
        """Return the mean entropy `[P]` of the policies in the states of a rollout."""
        return self.policy.entropy(self.policy.head(self.policy.normalizer(experience.obs.flatten(1, 2))))

    @torch.no_grad()
    def _training_rows(self, reward_function: RewardFunction, experience: Experience) -> Tensor:
        """Return `[P, T E, O + A + 3]`: normalised obs, scaled action, old log density, advantage, value target."""
        P, T, E, _ = experience.obs.shape
        obs = self.policy.normalizer(experience.obs.flatten(1, 2))
        next_obs = self.policy.normalizer(experience.next_obs.flatten(1, 2))
        action = experience.action.flatten(1, 2) / self.policy.action_scale
        value, next_value = self.value(obs).view(P, T, E), self.value(next_obs).view(P, T, E)
        reward = self._scale(reward_function(experience), experience.terminal | experience.truncated)
        advantage = generalized_advantages(
            reward, value, next_value, experience.terminal, experience.truncated, self.config.discount, self.config.gae
        )
        target = (advantage + value).flatten(1)
        advantage = advantage.flatten(1)
        advantage = (advantage - advantage.mean(1, keepdim=True)) / (advantage.std(1, keepdim=True) + 1e-8)
        old = self.policy.log_density(self.policy.head(obs), action)
        return torch.cat([obs, action, torch.stack([old, advantage, target], -1)], -1)


class PPO(ActorCritic):
    """P independent PPO learners, one network pair each."""

    def __init__(self, env: Env, seeds: Sequence[int], config: PPOConfig) -> None:
        """Draw the initial networks. Raises `InputError` for more minibatches than a rollout has transitions."""
        if config.minibatches > config.steps * env.E:
            raise InputError(
                f"ppo.minibatches: {config.minibatches}, but a rollout of ppo.steps {config.steps} in {env.E} parallel "
                f"episodes has {config.steps * env.E} transitions; write fewer, or more steps"
            )
        super().__init__(env, seeds, config)
        self.optimizer = adam([*self.policy.parameters(), *self.value.parameters()], config.rate)
        self._minibatches = Generators(seeds, "minibatches", env.obs.device)
        self.state = State(
            policy=self.policy,
            value=self.value,
            optimizer=self.optimizer,
            actions=self._actions,
            minibatches=self._minibatches,
            scale=self._scale,
        )

    def improve(self, reward_function: RewardFunction, experience: Experience) -> dict[str, Tensor]:
        """Take PPO's steps on one rollout under `reward_function`; return diagnostics, `[P]` each.

        The running observation statistics are updated on the rollout afterwards, so that the policy that is improved
        is the one that acted.
        """
        rows, old_entropy = self._training_rows(reward_function, experience), self._entropy(experience)
        config, size = self.config, rows.shape[1] // self.config.minibatches
        order = self._minibatches.permutations(config.epochs, rows.shape[1])
        flat, learner = rows.flatten(0, 1), torch.arange(len(rows), device=rows.device)[:, None] * rows.shape[1]
        for epoch in range(config.epochs):
            for index in (order[:, epoch] + learner).split(size, dim=1):
                batch = flat.index_select(0, index.flatten()).view(len(rows), index.shape[1], -1)
                descend(self.optimizer, self._loss(batch), config.max_norm)
        self.policy.normalizer.update(experience.obs.flatten(1, 2))
        return {"policy_entropy": old_entropy, "return_scale": self._scale.std}

    def _loss(self, batch: Tensor) -> Tensor:
        """Return the clipped surrogate plus the value error, `[P]`, on rows as `_training_rows` packs them."""
        O, A = self.env.obs_size, self.env.action_size
        obs, action, (old, advantage, target) = batch[..., :O], batch[..., O : O + A], batch[..., O + A :].unbind(-1)
        head = self.policy.head(obs)
        ratio = (self.policy.log_density(head, action) - old).exp()
        clipped = ratio.clamp(1 - self.config.clip, 1 + self.config.clip)
        surrogate = torch.minimum(ratio * advantage, clipped * advantage).mean(1)
        error = (self.value(obs)[..., 0] - target).square().mean(1)
        loss = 0.5 * error - surrogate
        return loss - self.config.entropy_weight * self.policy.entropy(head) if self.config.entropy_weight else loss


def generalized_advantages(
    reward: Tensor,
    value: Tensor,
    next_value: Tensor,
    terminal: Tensor,
    truncated: Tensor,
    discount: float,
    gae: float,
) -> Tensor:
    """Return generalised advantages `[P, T, E]` (Schulman et al. 2016, arXiv 1506.02438, equation 16).

    `terminal` cuts the bootstrap, a time limit (`truncated`) does not; both end the sum.
    """
    error = reward + discount * next_value * ~terminal - value
    keep = discount * gae * ~(terminal | truncated)
    advantage, following = torch.empty_like(error), torch.zeros_like(error[:, 0])
    for t in reversed(range(error.shape[1])):
        following = torch.addcmul(error[:, t], keep[:, t], following)
        advantage[:, t] = following
    return advantage


class ReturnScale(nn.Module):
    """Divides rewards by the running std of the discounted return, per learner: value targets of size one."""

    _return: Tensor
    _count: Tensor
    _mean: Tensor
    _var: Tensor

    def __init__(self, population: int, episodes: int, discount: float, device: torch.device) -> None:
        super().__init__()
        self._discount = discount
        self.register_buffer("_return", torch.zeros(population, episodes, device=device))
        for name in ("_count", "_mean", "_var"):
            self.register_buffer(name, torch.zeros(population, 1, device=device))

    @property
    def std(self) -> Tensor:
        """Return the running std `[P]`."""
        return self._var[:, 0].sqrt()

    def forward(self, reward: Tensor, ended: Tensor) -> Tensor:
        """Update the std on rewards `[P, T, E]` of episodes that end where `ended`; return rewards / std."""
        returns, keep = torch.empty_like(reward), self._discount * ~ended
        for t in range(reward.shape[1]):
            returns[:, t] = self._return + reward[:, t]
            self._return = returns[:, t] * keep[:, t]
        self._merge(returns.flatten(1))
        return reward / (self._var.sqrt()[..., None] + 1e-8)

    def _merge(self, returns: Tensor) -> None:
        n, mean, var = returns.shape[1], returns.mean(1, keepdim=True), returns.var(1, keepdim=True, correction=0)
        total, delta = self._count + n, mean - self._mean
        self._var = (self._count * self._var + n * var + delta.square() * self._count * n / total) / total
        self._mean, self._count = self._mean + delta * n / total, total
