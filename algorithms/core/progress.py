"""What `train` yields: a policy that gets better, and how its training goes."""

from dataclasses import dataclass, field

from torch import Tensor, nn

from algorithms.core.policy import Policy
from algorithms.core.state import State


@dataclass(frozen=True)
class Progress:
    """The state of a population after an iteration. Evaluation, logging, saving and timing are the consumer's."""

    iteration: int
    env_steps: int  # environment steps that each learner has used
    policy: Policy
    metrics: dict[str, Tensor]  # [P] each
    finite: dict[str, Tensor]  # [P] bool each: a learner for which one is false has failed, and its name says where
    models: dict[str, nn.Module] = field(default_factory=dict)  # what was learnt beside the policy
    state: State | None = None  # all that the next iteration depends on beside the env; None: there is no next one
