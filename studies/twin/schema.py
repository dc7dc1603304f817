"""Size and files of guided cost learning's exact twin."""

from typing import Annotated

from pydantic import Field

from threefold.base.strict import Count, Seed, Strict
from threefold.tables.schema import Schema


class Size(Strict):
    """How much is measured."""

    seeds: Annotated[list[Seed], Field(min_length=1)]
    steps: Count  # on the cost
    trajectories: Annotated[list[Annotated[int, Field(ge=2)]], Field(min_length=1)]  # of each source, from each start
    horizon: Count  # at which they are compared
    learnt_horizons: Annotated[list[Count], Field(min_length=1)]  # at which a cost is learnt
    horizons: Annotated[list[Count], Field(min_length=1)]  # at which weights alone are drawn
    repeats: Count  # samples that an effective size is averaged over


# One row per learner after its last step. kl: of the policy's trajectories from the expert's, nats, mean over starts;
# kl_cost: of exp(-c) / Z, which differ where the sampler's entropy does not count 1. variance: of positions, over the
# expert's. mean_error: of mean positions, root mean square, m. effective: of the samples' weights, mean over starts and
# the last half of steps.
LEARNT: Schema = {
    "row": "str",
    "horizon": "int64",
    "trajectories": "int64",
    "seed": "int64",
    "kl": "float64",
    "kl_cost": "float64",
    "variance": "float64",
    "mean_error": "float64",
    "effective": "float64",
}
# Positions along x from the first start: of the first seed with most trajectories, and of the expert (row: expert).
PATHS: Schema = {"row": "str", "time": "float64", "mean": "float64", "std": "float64"}
# Effective size of weights of trajectories whose sampler is right but for a cost (1 + wrong) times too large.
# measured: mean over repeats; limit: trajectories times the share of endless ones.
WEIGHTS: Schema = {
    "wrong": "float64",
    "horizon": "int64",
    "trajectories": "int64",
    "measured": "float64",
    "standard_error": "float64",
    "limit": "float64",
}
FILES = {"learnt": LEARNT, "horizons": LEARNT, "paths": PATHS, "weights": WEIGHTS}
