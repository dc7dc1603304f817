"""Size and files of the study of densities."""

from typing import Annotated

from pydantic import Field

from threefold.base.strict import Count, Seed, Strict
from threefold.tables.schema import Schema


class Size(Strict):
    """How much is measured."""

    targets: Annotated[list[str], Field(min_length=1)]
    seeds: Annotated[list[Seed], Field(min_length=1)]
    steps: Count
    batch: Count  # points of each source in a step
    records: Count  # looks at the learners during training, the last included
    points: Annotated[list[Count], Field(min_length=1)]  # of each source, in a sample that estimates log Z
    repeats: Count  # samples that the spread of an estimate is taken over


# One row per learner, step and metric. generator: gaussian | narrow | mixture | flow | none.
LEARNER: Schema = {"target": "str", "method": "str", "generator": "str", "seed": "int64"}
TRAINING: Schema = LEARNER | {"step": "int64", "metric": "str", "value": "float64"}
# The first seed's final log densities (nats) on a square grid, and samples. source: data | energy | generator.
DRAWN: Schema = {"target": "str", "method": "str", "generator": "str", "source": "str", "x": "float64", "y": "float64"}
MAPS: Schema = DRAWN | {"log_density": "float64"}
# Error of estimates of log Z over repeats, against the number of points of each source.
SPREAD: Schema = {
    "energy": "str",
    "generator": "str",
    "estimator": "str",
    "points": "int64",
    "mean": "float64",
    "std": "float64",
}
FILES = {"training": TRAINING, "maps": MAPS, "samples": DRAWN, "spread": SPREAD}
