"""Sizes and files of the study of transfer: of each part its own, and files that begin with the name of their part."""

from pydantic import PositiveInt

from threefold.base.strict import Strict
from threefold.tables.schema import Schema


class Tabular(Strict):
    """How much is measured in finite MDPs."""

    draws: PositiveInt  # random MDPs of each kind
    moves: PositiveInt  # new dynamics that each reward is taken to, with the action that stays and with another


class Size(Strict):
    """How much is measured, a part of the study each."""

    tabular: Tabular


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
