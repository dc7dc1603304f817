"""The inner loop of methods that differentiate through a learnt model: pathwise gradients over replayed segments.

Two verbs, as PPO's: `collect() -> Experience` and `improve(objective, rollouts)`. The policy's std is given and never
learnt, so that the noise of a step is what its action differs from the mean by.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from algorithms.core.constants import BelowOne, PositiveFloat
from algorithms.core.experience import Demonstrations, Experience
from algorithms.core.policy import GaussianPolicy
from algorithms.core.population import Generators, Normalizer, adam, descend
from algorithms.core.ppo import Env, roll_out
from algorithms.core.segments import Segments, draw, joined
from algorithms.core.state import State
from threefold.base.errors import InputError

LEAST_STD = 1e-3  # of an action, in units of half its range, for demonstrations in which it never changes


@dataclass(frozen=True)
class PathwiseConfig:
    """Constants of the inner loop; those that PPO has too bear PPO's names, by which a task's preset changes them."""

    hidden: tuple[int, ...] = (64, 64)  # of the policy, as every network here
    steps: int = 32  # T of a rollout
    minibatches: int = 20  # of segments, a step on the policy each
    segments: int = 32  # of a minibatch
    length: int = 10  # steps of a segment; Baram et al.'s code
    policy_rate: PositiveFloat = 1e-4  # of Adam; Baram et al.'s code
    discount: BelowOne = 0.99  # Baram et al.'s code
    max_norm: PositiveFloat = 0.5  # of a gradient, as PPO's; Baram et al.'s code clips each number to 2


class Pathwise:
    """P independent policies, improved by gradients through a model of the env."""

    def __init__(
        self, env: Env, demonstrations: Demonstrations, seeds: Sequence[int], noise: float, config: PathwiseConfig
    ) -> None:
        """Draw the initial networks; `seeds[p]` alone decides learner p's random numbers.

        Observations are standardised by the demonstrations' statistics. The policy's std is `noise` times that of the
        demonstrations' actions. Raises `InputError` for discrete actions.
        """
        if env.discrete:
            raise InputError(
                "actions are discrete here, and this method differentiates through continuous ones; leave it out with "
                "`left_out`"
            )
        self.env, self.config = env, config
        device, scale = env.obs.device, (env.action_high - env.action_low) / 2
        self.policy = GaussianPolicy(env.obs_size, scale, config.hidden, Generators(seeds, "weights", device))
        actions = Normalizer(env.P, env.action_size, device)
        shown = torch.arange(demonstrations.rows, device=device) < demonstrations.size[:, None]
        for statistics, x in ((self.policy.normalizer, demonstrations.obs), (actions, demonstrations.action)):
            statistics.update(x[: demonstrations.rows].expand(env.P, -1, -1), shown)
        std = noise * actions.var.sqrt().float() / self.policy.action_scale
        self.policy.log_std.data.copy_(std.clamp(min=LEAST_STD).log())
        self.optimizer = adam(self.policy.mean.parameters(), config.policy_rate)
        self._actions = Generators(seeds, "actions", device)
        self._segments = Generators(seeds, "segments", device)
        self.state = State(policy=self.policy, optimizer=self.optimizer, actions=self._actions, segments=self._segments)

    def collect(self) -> Experience:
        """Act for T steps with the stochastic policy."""
        return roll_out(self.env, self.policy, self._actions, self.config.steps)

    def improve(self, objective: Callable[[Segments], Tensor], rollouts: Sequence[Experience]) -> Tensor:
        """Step up `objective` `[P]` of segments of the latest rollouts, a minibatch at a time; return its last value.

        They are drawn from the last one and from as many before it as a segment may reach back.
        """
        needed = 1 + math.ceil(self.config.length / self.config.steps)
        record = joined(rollouts[-needed:])
        for _ in range(self.config.minibatches):
            segments = draw(record, self.config.segments, self.config.length, self._segments)
            value = objective(segments.standardised(self.policy))
            descend(self.optimizer, -value, self.config.max_norm)
        return value.detach()


@contextmanager
def held(*modules: nn.Module) -> Iterator[None]:
    """Let gradients pass through modules whose own are not computed."""
    for module in modules:
        module.requires_grad_(False)
    try:
        yield
    finally:
        for module in modules:
            module.requires_grad_(True)
