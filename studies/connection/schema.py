"""Size and files of the study of the connection."""

from typing import Annotated

from pydantic import Field

from threefold.base.strict import Count, Strict
from threefold.tables.schema import Schema


class Size(Strict):
    """How much is measured."""

    energies: Count  # random ones
    points: Annotated[list[Count], Field(min_length=1)]  # of the data, in a sample
    repeats: Count  # samples that the bias of an estimate is averaged over


# One row per claim, sample and random energy. points: of p; of q about twice as many.
# sample: alike | apart | optimal.
CLAIMS: Schema = {
    "claim": "str",
    "sample": "str",
    "points": "int64",
    "seed": "int64",
    "relative_error": "float64",
}
# Error of a loss's gradient made with log Z + offset, against the gradient at log Z. loss: discriminator | cost.
GRADIENT: Schema = {
    "loss": "str",
    "sample": "str",
    "seed": "int64",
    "offset": "float64",
    "relative_error": "float64",
    "cosine": "float64",
}
# Estimate of Z over Z, less 1: mean over repeats, its standard error, and the limit of endless samples.
BIAS: Schema = {
    "estimator": "str",
    "gap": "float64",  # KL(p || p_theta), nats
    "points": "int64",
    "relative_bias": "float64",
    "standard_error": "float64",
    "limit": "float64",
}
# What each reading of the discriminator learns of a Gaussian: its precision, its KL(p || p_theta) (inf: no density).
SIGN: Schema = {"logit": "str", "precision": "float64", "log_z": "float64", "kl": "float64"}
