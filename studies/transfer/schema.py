"""Sizes and files of the study of transfer: of each part its own, and files that begin with the name of their part."""

from typing import Annotated

from pydantic import Field

from threefold.base.strict import Count, Seed, Strict
from threefold.tables.schema import Schema


class Tabular(Strict):
    """How much is measured in finite MDPs."""

    draws: Count  # random MDPs of each kind
    moves: Count  # new dynamics that each reward is taken to, with the action that stays and with another


class Moved(Strict):
    """How much is measured where rewards are taken from one task to another."""

    seeds: Annotated[list[Seed], Field(min_length=1)]
    trajectories: Count  # of the expert, for each learner
    imitation_steps: Count  # env steps in which a learner learns its reward,
    transfer_steps: Count  # and in which a new policy is trained on it


class Size(Strict):
    """How much is measured, a part of the study each; one that is left out is not."""

    tabular: Tabular
    point_maze: Moved | None = None
    ant: Moved | None = None


# row: see ROWS in tabular.py. One line per MDP. groups: of linked states; unmet: states that the expert never meets;
# misfit: root mean square of f - log pi_E, nats; error: the largest |g - r| after the best constant, over all states
# and over those met.
MDP: Schema = {"row": "str", "seed": "int64"}
LEARNT: Schema = MDP | {
    "groups": "int64",
    "unmet": "int64",
    "misfit": "float64",
    "error": "float64",
    "error_met": "float64",
}
# Of an MDP and new dynamics, what a policy that is optimal for the reward is worth. staying: same | other action stays
# at the goal. reward: state (g) | state-action (log pi_E). score: return, 0 = uniform policy, 1 = optimum; regret: what
# the reward with entropy falls short of the optimum, nats.
TRANSFERRED: Schema = MDP | {
    "draw": "int64",
    "staying": "str",
    "reward": "str",
    "score": "float64",
    "regret": "float64",
}
# The first MDP's g of every row, both with mean 0.
REWARDS: Schema = MDP | {"state": "int64", "true": "float64", "learnt": "float64"}
# Of a learner, the mean true return. row, kind: see moved.py; kind: reward (a new policy, trained on it) | imitator (as
# it is) | reference. where: source | same | authors, the order of the motors on the second task. share: of the training
# after which the reward was frozen.
MOVED: Schema = {
    "row": "str",
    "kind": "str",
    "where": "str",
    "share": "float64",
    "seed": "int64",
    "episode_return": "float64",
}
