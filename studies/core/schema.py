"""Columns and dtypes of the files that studies write to results/<profile>/studies/<study>/."""

from results.schema import Schema

# Connection: one row per claim, sample and random energy. points: of p; of q about twice as many.
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

# Density: one row per learner, step and metric. generator: gaussian | narrow | mixture | flow | none.
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
