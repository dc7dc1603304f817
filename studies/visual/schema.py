"""Size and files of visual imitation on grid worlds."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from threefold.base.strict import Count, Seed, Strict
from threefold.tables.schema import Schema

Maps = Annotated[int, Field(gt=0, le=100_000)]


class Pool(Strict):
    """Training maps of a learner, and how long it learns on them."""

    maps: Maps
    iterations: Count  # of GAIL
    cloning_iterations: Count  # of behavioural cloning and DAgger


class Size(Strict):
    """How much is measured."""

    seeds: Annotated[list[Seed], Field(min_length=1)]  # learners of a row, each in worlds of its own
    pools: Annotated[list[Pool], Field(min_length=1)]
    demonstrations: Annotated[
        list[Annotated[int, Field(gt=0, le=10**6)]], Field(min_length=1)
    ]  # trajectories, spread evenly over the maps
    held_out: Maps  # maps that nobody has trained on
    one_map_iterations: Count  # of GAIL on one map
    records: Count  # measurements of a learner while it learns
    taken_apart: bool  # also the rows that take cures and networks apart
    device: Literal["auto", "cpu", "cuda"] = "auto"  # of learning and measuring: cuda where there is one, else cpu

    @model_validator(mode="after")
    def _spread(self) -> Self:
        maps, most = self.maps, max(self.demonstrations)
        if len(set(maps)) < len(maps):
            raise PydanticCustomError(
                "pools", "pools: two of them have as many maps; leave one of {maps} out", {"maps": str(maps)}
            )
        uneven = "demonstrations: {number} are not spread evenly over {maps} maps; write a multiple of {maps}"
        if wrong := [(most, n) for n in maps if most % n]:
            raise PydanticCustomError("demonstrations", uneven, {"number": most, "maps": wrong[0][1]})
        if idle := [number for number in self.demonstrations if all(number % n for n in maps)]:
            raise PydanticCustomError("demonstrations", uneven, {"number": idle[0], "maps": min(maps)})
        return self

    @property
    def maps(self) -> list[int]:
        """Return the numbers of training maps."""
        return [pool.maps for pool in self.pools]


ROW: Schema = {"row": "str", "maps": "int64", "demonstrations": "int64"}
# One line per learner, iteration and kind of maps (split: training | held-out), mean over maps. Of the policy itself,
# which is stochastic: success, the probability of reaching the goal in time from the start; success_off, from a cell
# that the expert never meets; success_slips, where a fifth of the actions is replaced by random ones. js: divergence of
# its occupancy from the expert's, nats. on, off, slipped: probability of an optimal action in cells that the expert
# meets; in those that it never meets; in the latter as often as an expert that slips meets them. logit_on, logit_off:
# whether the action that the discriminator likes best is optimal. pairs: labelled by the expert so far, per map.
LEARNT: Schema = ROW | {
    "seed": "int64",
    "iteration": "int64",
    "split": "str",
    "success": "float64",
    "success_off": "float64",
    "success_slips": "float64",
    "js": "float64",
    "on": "float64",
    "off": "float64",
    "slipped": "float64",
    "logit_on": "float64",
    "logit_off": "float64",
    "pairs": "float64",
}
# One line per free cell and action of the first seed's first map, at the end. cell: 8 row + column; kind: free, start
# or goal; expert, policy: probabilities; visits, expert_visits: discounted occupancies; logit: the discriminator's;
# best_logit: the optimal one's, -inf where the policy alone goes, nan where neither does.
CELLS: Schema = ROW | {
    "split": "str",
    "cell": "int64",
    "kind": "str",
    "action": "int64",
    "expert": "float64",
    "policy": "float64",
    "expert_visits": "float64",
    "visits": "float64",
    "logit": "float64",
    "best_logit": "float64",
}
