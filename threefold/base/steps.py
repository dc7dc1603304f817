"""What a training says while it runs."""

from collections.abc import Sequence
from typing import NamedTuple


class Step(NamedTuple):
    """How far some learners have come since they last said so."""

    more: int  # for each of them
    episodes: Sequence[tuple[int, float, int]] = ()  # learner, episode_return and length of those that ended
    unit: str = "steps"  # what there is more of; a method that uses no environment step counts something else
    learners: int | None = None  # how many have; None: all
    resumed: bool = False  # it was done by an earlier run
