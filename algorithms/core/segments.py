"""Segments of what a policy did, and their replay: the same states, with derivatives.

A stored step s, a, s' is written as  a = mu(s) + e,  s' = f(s, a) + nu  with a noise e and a residual nu that are held
fixed (Heess et al. 2015, arXiv 1510.09142). Replayed through mu and f the states and actions of a segment are those
stored, to rounding, whatever f is; their derivatives are those of mu and f.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from algorithms.core.experience import Experience
from algorithms.core.policy import GaussianPolicy
from algorithms.core.population import Generators

Step = Callable[[Tensor, Tensor], Tensor]  # observations and actions `[P, N, .]` to next observations


@dataclass(frozen=True)
class Segments:
    """n segments of L steps of each learner. One ends with its episode: later steps, of weight 0, are another's."""

    obs: Tensor  # [P, n, L, O]
    action: Tensor  # [P, n, L, A]
    next_obs: Tensor  # [P, n, L, O], the true successor
    weight: Tensor  # [P, n, L], 1 up to the end of the episode and 0 after it

    def standardised(self, policy: GaussianPolicy) -> "Segments":
        """Return the same in standard units: observations by the policy's statistics, actions by half their range."""
        obs, next_obs = (
            policy.normalizer(x.flatten(1, 2)).unflatten(1, x.shape[1:3]) for x in (self.obs, self.next_obs)
        )
        return Segments(obs, self.action / policy.action_scale, next_obs, self.weight)


def joined(rollouts: Sequence[Experience]) -> Experience:
    """Return rollouts that follow each other as one."""
    return Experience(*(torch.cat([getattr(rollout, f.name) for rollout in rollouts], 1) for f in fields(Experience)))


def draw(record: Experience, n: int, length: int, generators: Generators) -> Segments:
    """Draw n segments with replacement, of `length` steps, or as long as the record if that is shorter."""
    P, T, E = record.terminal.shape
    length = min(length, T)
    u = generators.uniform(2, n)
    first, stream = (u[:, 0] * (T - length + 1)).long(), (u[:, 1] * E).long()
    learner = torch.arange(P, device=first.device)[:, None, None]
    place = learner, first[..., None] + torch.arange(length, device=first.device), stream[..., None]
    ended = record.ended[place].long()
    weight = (ended.cumsum(-1) == ended).to(record.obs.dtype)  # no end before the step
    return Segments(record.obs[place], record.action[place], record.next_obs[place], weight)


def replay(
    segments: Segments,
    mean: Callable[[Tensor], Tensor],
    model: Step,
    residual: bool = True,
) -> tuple[Tensor, Tensor]:
    """Return observations and actions `[P, n, L, .]` of the segments, as functions of `mean` and `model`.

    `mean` maps observations `[P, N, O]` to mean actions. Without the `residual` (an ablation) the states after the
    first are those that the model predicts.
    """
    shape = segments.weight.shape[1:]
    obs, action, next_obs = (x.flatten(1, 2) for x in (segments.obs, segments.action, segments.next_obs))
    with torch.no_grad():
        noise = (action - mean(obs)).unflatten(1, shape).unbind(2)
        error = (next_obs - model(obs, action)).mul(residual).unflatten(1, shape).unbind(2)
    obs, observations, actions = segments.obs[:, :, 0], [], []
    for e, nu in zip(noise, error, strict=True):
        observations.append(obs)
        actions.append(mean(obs) + e)
        obs = model(obs, actions[-1]) + nu
    return torch.stack(observations, 2), torch.stack(actions, 2)
