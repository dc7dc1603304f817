"""Densities in the plane where everything is known: what EBM-GAN's energy, generator and log Z are worth.

The files are `training` (what every learner's energy and generator are worth while they learn; the last step is the
result), `maps` and `samples` (the first seed's final densities), `spread` (estimates of log Z against the number
of points).
"""

from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor

from studies.core.measures import Measures, energy_log_densities, generator_log_densities
from studies.core.parts import Frames, compute
from studies.core.tables import Tables
from studies.core.targets import TARGETS
from studies.core.training import Data, Learners, Trial, train
from studies.density import schema
from studies.density.schema import Size
from studies.density.spread import spread
from threefold.base.errors import InputError

# All on the targets of the profile; then covering against seeking, on a target of two modes.
TRIALS = (
    Trial("fixed", "gaussian"),
    Trial("fixed", "mixture"),
    Trial("fixed", "flow"),
    Trial("exact", "none"),
    Trial("likelihood", "flow"),
    Trial("kim_bengio", "flow"),
    Trial("ebm_gan", "gaussian"),
    Trial("ebm_gan", "mixture"),
    Trial("ebm_gan", "flow"),
    Trial("ebm_gan_fused", "flow"),
)
TWO_MODES = (
    Trial("likelihood", "gaussian"),
    Trial("ebm_gan", "gaussian"),
    Trial("ebm_gan", "narrow"),
    Trial("ebm_gan_fused", "narrow"),
)

HELD_OUT = 10_000  # points of each source behind a measurement
MAP = torch.cartesian_prod(*2 * [torch.linspace(-4.5, 4.5, 46, dtype=torch.float64)])
FAINTEST = -50.0  # nats, on a map
SHOWN = 400  # samples beside a map


def learn(trial: Trial, names: Sequence[str], size: Size) -> tuple[pd.DataFrame, Learners]:
    """Train one learner per target and seed; return rows of `training`, and the learners, target by target."""
    pairs = list(product(names, size.seeds))
    each, seeds = [TARGETS[name] for name, _ in pairs], [seed for _, seed in pairs]
    learners = Learners(trial, each, seeds)
    measure = Measures(learners, Data(each, seeds, "held out").draw(HELD_OUT))
    due = {size.steps * k // size.records for k in range(size.records + 1)}
    rows = []
    for step in train(learners, size.steps, size.batch):
        for metric, values in measure().items() if step in due else ():
            for (name, seed), value in zip(pairs, values.tolist(), strict=True):
                rows.append((name, *trial, seed, step, metric, value))
    return pd.DataFrame(rows, columns=list(schema.TRAINING)), learners


@torch.no_grad()
def maps(learners: Learners, names: Sequence[str], size: Size) -> Iterator[pd.DataFrame]:
    """Yield rows of `maps`: log densities of each target's first seed."""
    found = {}
    if learners.has_energy:
        found["energy"], _ = energy_log_densities(learners, MAP)
    if learners.has_generator:
        found["generator"] = generator_log_densities(learners, MAP)
    for source, values in found.items():
        for name, value in zip(names, values[:: len(size.seeds)], strict=True):
            yield placed(name, learners.trial, source, MAP, log_density=value.clamp(min=FAINTEST))


def samples(learners: Learners, names: Sequence[str], size: Size) -> Iterator[pd.DataFrame]:
    """Yield rows of `samples`: points of the generator of each target's first seed."""
    if learners.has_generator:
        for name, x in zip(names, learners.generator.draw(SHOWN, learners.noise)[0][:: len(size.seeds)], strict=True):
            yield placed(name, learners.trial, "generator", x.double())


def truth(names: Sequence[str]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the targets' own rows of `maps` and of `samples`."""
    data, generator = Trial("data", "none"), torch.Generator().manual_seed(0)
    log_p = {name: TARGETS[name].log_density(MAP).clamp(min=FAINTEST) for name in names}
    return (
        pd.concat(placed(name, data, "data", MAP, log_density=log_p[name]) for name in names),
        pd.concat(placed(name, data, "data", TARGETS[name].sample(SHOWN, generator)) for name in names),
    )


def placed(name: str, trial: Trial, source: str, x: Tensor, **columns: Tensor) -> pd.DataFrame:
    """Return rows at points `[N, 2]`, without the digits that no figure shows."""
    keys = {"target": name, "method": trial.method, "generator": trial.generator, "source": source}
    return pd.DataFrame(keys | {"x": x[:, 0], "y": x[:, 1]} | columns).round(3)


def trials(size: Size) -> dict[str, tuple[Trial, list[str]]]:
    """Return trials and the names of their targets, by the names of the parts that train."""
    found = {f"{'-'.join(trial)}-targets": (trial, size.targets) for trial in TRIALS}
    return found | {f"{'-'.join(trial)}-two_modes": (trial, ["two_modes"]) for trial in TWO_MODES}


def part(name: str, size: Size, _: Path) -> Frames:
    """Return the rows of a part of the study."""
    if name == "spread":
        return {"spread": pd.DataFrame(spread(size))}
    trial, names = trials(size)[name]
    rows, learners = learn(trial, names, size)
    if trial.method == "fixed":
        return {"training": rows}
    drawn = {"maps": list(maps(learners, names, size)), "samples": list(samples(learners, names, size))}
    return {"training": rows} | {file: pd.concat(found) for file, found in drawn.items() if found}


def study(size: Size) -> Tables:
    """Return every file's rows and columns; parts run side by side, and those that are done are kept."""
    for name in size.targets:
        if name not in TARGETS:
            raise InputError(f"studies.density.targets: no {name!r}; choose from {', '.join(TARGETS)}")
    found = compute("density", dict.fromkeys([*trials(size), "spread"], size), schema.FILES, part)
    for names in (["two_modes"], size.targets):
        for file, rows in zip(("maps", "samples"), truth(names), strict=True):
            found[file] = pd.concat([rows, found[file]])
    return {name: (rows, schema.FILES[name]) for name, rows in found.items()}
