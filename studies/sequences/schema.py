"""Sizes and files of the study of sequences."""

from typing import Annotated, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from threefold.base.strict import Count, Seed, Strict
from threefold.tables.schema import Schema

MOST = 10**6  # sequences on a tree
MANY = 10**7  # sequences at a time: more than any memory holds
Many = Annotated[int, Field(ge=2, le=MANY)]


class Sessions(Strict):
    """How much is measured on sessions of items."""

    items: Annotated[int, Field(ge=20, le=1000)]
    length: Annotated[int, Field(ge=2, le=1000)]
    train: Many  # sessions, and a quarter as many for validation
    test: Many
    steps: Count


class Size(Strict):
    """How much is measured."""

    seeds: Annotated[list[Seed], Field(min_length=1)]  # each has an oracle of its own
    tokens: Many
    length: Many
    steps: Count
    batch: Many  # sequences of each source in a step on an energy
    records: Count  # looks at the learners during training, the last included
    margins: Annotated[list[Annotated[float, Field(gt=0, le=1000)]], Field(min_length=1)]
    data: Annotated[list[Annotated[int, Field(ge=10, le=MANY)]], Field(min_length=1)]  # sizes of finite data sets
    repeats: Many  # gradients that an estimator's error is averaged over
    sessions: Sessions

    @model_validator(mode="after")
    def _tree(self) -> Self:
        if self.tokens**self.length > MOST:
            reason = "{tokens}^{length} sequences are too many to enumerate; take fewer tokens or a shorter length"
            raise PydanticCustomError("tree", reason, {"tokens": self.tokens, "length": self.length})
        return self


# One row per learner, step and metric. energy: steps | whole | pairs | none. margin: of EB-SeqGAN, else 0. data:
# sequences of a finite data set, 0 if endless.
LEARNER: Schema = {"method": "str", "energy": "str", "margin": "float64", "data": "int64", "seed": "int64"}
TRAINING: Schema = LEARNER | {"step": "int64", "metric": "str", "value": "float64"}
# The first seed's log densities with endless data, at sequences from the likeliest on. source: data | energy |
# generator, of a method.
DENSITIES: Schema = {"method": "str", "margin": "float64", "source": "str", "rank": "int64", "log_density": "float64"}
# The oracles: which draw was taken, and what it is, in nats; sharp: of q = p^2 / sum p^2, NLL_oracle = E_q[-log p],
# its entropy and KL(p || q).
ORACLES: Schema = {
    "seed": "int64",
    "draw": "int64",
    "entropy": "float64",
    "max_log_p": "float64",
    "min_log_p": "float64",
    "sharp_nll": "float64",
    "sharp_entropy": "float64",
    "sharp_kl": "float64",
}
# Free energies under the hinge, with the generator at its optimum: KL(p || q) by the clip law and by descent, and the
# total variation between the two.
CLIP: Schema = {"margin": "float64", "seed": "int64", "law": "float64", "found": "float64", "variation": "float64"}
# The largest relative disagreement. where: sample | tree, and the routes to log Z.
CLAIMS: Schema = {"claim": "str", "where": "str", "seed": "int64", "relative_error": "float64"}
# Root mean square error of an estimate of the generator's gradient over its norm; tokens: drawn for one estimate.
GRADIENTS: Schema = {
    "generator": "str",
    "estimator": "str",
    "seed": "int64",
    "tokens": "int64",
    "relative_error": "float64",
}
# Of the last item of held-out sessions, the ten that are ranked first; nll: of the item, and of a session, in nats.
SESSIONS: Schema = {
    "model": "str",
    "part": "str",
    "seed": "int64",
    "hit": "float64",
    "ndcg": "float64",
    "item_nll": "float64",
    "session_nll": "float64",
}
FILES = {
    "training": TRAINING,
    "densities": DENSITIES,
    "oracles": ORACLES,
    "clip": CLIP,
    "claims": CLAIMS,
    "gradients": GRADIENTS,
    "sessions": SESSIONS,
}
