"""The chapter on sequences: the clip law of EB-SeqGAN's margin, related methods beside it, and what they recommend."""

from functools import partial

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from studies.sequences import schema
from studies.sequences.schema import Size
from threefold.report import style
from threefold.report.chapter import TRUTH, Chapter, Read, colours, legend, minus, nats, with_worst
from threefold.report.plot import Plot
from threefold.report.tables import NONE, Table

AIM = 0.05  # nats, of EBM-GAN's KL and of its b
METHODS = {
    "exact": "exact log Z",
    "likelihood": "likelihood",
    "ebm_gan": "EBM-GAN",
    "eb_seqgan": "EB-SeqGAN",
    "eb_seqgan_optimal": "EB-SeqGAN, best generator",
    "eb_seqgan_greedy": "EB-SeqGAN, no entropy",
    "kim_bengio": "Kim-Bengio",
    "seqgan": "SeqGAN",
}
COLOURS = colours(METHODS)
ENERGIES = {"steps": "", "whole": ", whole", "pairs": ", pairs", "none": ""}
BY_MARGIN = {
    "free": "free energies, best generator: descent",
    "eb_seqgan_optimal": "networks, best generator",
    "eb_seqgan": "networks, generator learnt",
}
ESTIMATORS = ("sequence", "less mean", "to go", "roll-outs", "roll-outs less mean", "exact value")
GENERATORS = {"first": "generator as it begins", "after likelihood": "after 100 steps of likelihood"}
MODELS = {
    ("popularity", "generator"): "popularity",
    ("followers", "generator"): "followers",
    ("likelihood", "generator"): "likelihood",
    ("likelihood_again", "generator"): "likelihood, again",
    ("seqgan", "generator"): "SeqGAN",
    ("eb_seqgan", "generator"): "EB-SeqGAN, generator",
    ("eb_seqgan", "energy"): "EB-SeqGAN, energy",
    ("ebm_gan", "generator"): "EBM-GAN, generator",
    ("ebm_gan", "energy"): "EBM-GAN, energy",
    ("optimum", "generator"): "optimum",
}
RANKED = {"hit": "hit rate of 10", "ndcg": "NDCG of 10", "item_nll": "NLL of the item, nats"}


def chapter(read: Read, size: Size) -> Chapter:
    """Figures and tables of the study."""
    training, densities = (
        partial(read, "training.csv.gz", schema.TRAINING),
        partial(read, "densities.csv.gz", schema.DENSITIES),
    )
    oracles, clip = partial(read, "oracles.csv.gz", schema.ORACLES), partial(read, "clip.csv.gz", schema.CLIP)
    claims, gradients = (
        partial(read, "claims.csv.gz", schema.CLAIMS),
        partial(read, "gradients.csv.gz", schema.GRADIENTS),
    )
    sessions = partial(read, "sessions.csv.gz", schema.SESSIONS)
    of_training = ("studies/sequences/training.csv.gz",)
    middle = margin_text(middle_of(size))
    plots = {
        "sequences_clip": Plot(
            lambda: clip_figure(training(), clip(), densities(), size),
            "The clip law of EB-SeqGAN's margin",
            "Left: KL(p, q) against the margin m, every seed a point. Line: the law, q = clip(p, f, f e^m), mean over "
            "seeds; free energies descend the hinge with the best generator; networks do so with the best generator, "
            "or with one that learns beside them; band: EBM-GAN, which has no margin, least to largest. Right: log "
            "densities of the first seed's sequences by rank. Dashed: the oracle's; lines: the law; points: the "
            "networks with the best generator. A small margin flattens both ends. At a small margin networks beat the "
            "law: where data are rare their energies stay beyond the margin, and come back as rarely as data do. At a "
            "large one the hinge is Kim and Bengio's difference of means.",
            ("studies/sequences/clip.csv.gz", "studies/sequences/densities.csv.gz", *of_training),
        ),
        "sequences_scores": Plot(
            lambda: scores(training(), size),
            "Errors of energies and generators on sequences",
            f"After {size.steps:,} steps on endless data, every seed a point, in nats. EB-SeqGAN's margin: {middle}. "
            f"Dotted: {AIM}. Energies sum over steps, unless they give one number for the whole sequence or weigh "
            "pairs of neighbours (features that cannot hold the oracle). SeqGAN's discriminator is read as an energy, "
            "which it does not claim to be.",
            of_training,
        ),
        "sequences_trap": Plot(
            lambda: trap(training(), oracles(), size),
            "The trap in SeqGAN's only measure",
            "NLL of the oracle, E_q[−log p], less the oracle's own entropy, at the last step, against KL(p, q), and "
            "against the generator's entropy less the oracle's. Every seed a point: filled with endless data, hollow "
            f"with {min(size.data):,} sequences. Left of 0 a generator scores better than the oracle itself: it "
            "prefers what is likely, or has learnt a few sequences by heart. Pluses: the oracle sharpened, p squared "
            "and normalised. Crosses: all mass on the oracle's likeliest sequence, whose KL is infinite.",
            ("studies/sequences/oracles.csv.gz", *of_training),
        ),
        "sequences_data": Plot(
            lambda: data_figure(training(), size),
            "Finite data: held-out likelihood",
            "What the held-out log likelihood, known exactly, falls short of the oracle's: KL(p, p_θ) of energies and "
            "KL(p, q) of generators, against the number of sequences to learn from. Of each learner the look with the "
            "best likelihood of its own validation data counts; SeqGAN's looks include its beginning, by likelihood. "
            "Points: seeds; lines: medians.",
            of_training,
        ),
        "sequences_gradients": Plot(
            lambda: gradient_figure(gradients()),
            "Estimates of the generator's gradient",
            f"Root mean square error over the exact gradient's norm, {size.repeats} estimates of 64 sequences each; "
            "in brackets the tokens drawn for one. Points: seeds. Roll-outs draw 16 completions of every prefix.",
            ("studies/sequences/gradients.csv.gz",),
        ),
        "sequences_sessions": Plot(
            lambda: session_figure(sessions()),
            "What learners recommend next",
            f"The last item of {size.sessions.test:,} held-out sessions of {size.sessions.length} items out of "
            f"{size.sessions.items}, from {size.sessions.train:,} sessions to learn from; every seed a point. Sessions "
            "are synthetic, by a stated law whose best recommendation is known (dashed). Followers: counts of what "
            "came after the item before. Adversarial methods begin with the generator of likelihood: there EBM-GAN's "
            "energy has all of the density to learn, EB-SeqGAN's only what the generator misses.",
            ("studies/sequences/sessions.csv.gz",),
        ),
    }
    return Chapter(
        "Sequences, enumerated",
        f"An LSTM with random weights gives each of {size.tokens}^{size.length} = {size.tokens**size.length:,} "
        "sequences its probability, and every divergence and every log Z is a sum over them. EB-SeqGAN (Yoo et al. "
        "2017) stands here by its principle, since of the paper the abstract alone was at hand: an energy with EBGAN's "
        "hinge, a generator whose reward is −E, with entropy −E − log q; no number of theirs is replicated. Its margin "
        f"m is a range in nats, and EBM-GAN needs none. {size.steps:,} steps, {len(size.seeds)} seeds, each with an "
        "oracle of its own.",
        plots,
        lambda: {
            "sequences_results": results(training(), size),
            "sequences_clip_table": clip_table(training(), clip(), oracles()),
            "sequences_trap_table": trap_table(training(), oracles(), size),
            "sequences_data_table": data_table(training()),
            "sequences_claims_table": claims_table(claims()),
            "sequences_gradients_table": gradient_table(gradients()),
            "sequences_sessions_table": session_table(sessions(), size),
        },
    )


def middle_of(size: Size) -> float:
    """The margin of rows that have one alone."""
    return sorted(size.margins)[len(size.margins) // 2]


def margin_text(margin: float) -> str:
    """A margin without needless digits."""
    return f"{margin:g}"


def ends(rows: pd.DataFrame) -> pd.DataFrame:
    """One row per learner: metrics at the last step, but of finite data KL at the look that validation likes best."""
    keys = list(schema.LEARNER)
    wide = rows.pivot(index=[*keys, "step"], columns="metric", values="value").reset_index()
    found = wide[wide["step"] == wide["step"].max()].set_index(keys)
    for source in ("energy", "generator"):
        of = wide[(wide["data"] > 0) & wide[f"validation_{source}"].notna()]
        best = of.loc[of.groupby(keys)[f"validation_{source}"].idxmax()].set_index(keys)
        found.loc[best.index, f"kl_{source}"] = best[f"kl_{source}"]
    return found.reset_index().assign(b_error=lambda x: (x["b"] - x["log_z"]).abs())


def endless(rows: pd.DataFrame) -> pd.DataFrame:
    """The ends of learners with endless data."""
    found = ends(rows)
    return found[found["data"] == 0]


def single(found: pd.DataFrame, margin: float) -> pd.DataFrame:
    """Those without a margin, or with this one."""
    return found[found["margin"].isin([0.0, margin])]


def clip_figure(rows: pd.DataFrame, clip: pd.DataFrame, densities: pd.DataFrame, size: Size) -> Figure:
    """KL against the margin, and log densities by rank."""
    figure = Figure(figsize=(style.WIDTH, 3.6))
    left, right = figure.subplots(1, 2)
    last, coloured = endless(rows), colours(BY_MARGIN)
    gan = last[(last["method"] == "ebm_gan") & (last["energy"] == "steps")]["kl_generator"]
    left.axhspan(gan.min(), gan.max(), color=COLOURS["ebm_gan"], alpha=0.2, linewidth=0)
    left.text(min(size.margins), gan.max(), " EBM-GAN", color=COLOURS["ebm_gan"], va="top", fontsize=8)
    law = clip.groupby("margin")["law"].mean()
    left.plot(law.index, law, **TRUTH | {"linestyle": "-"})
    for name, marker, shift in (("free", "X", 0.97), ("eb_seqgan_optimal", "o", 1.0), ("eb_seqgan", "s", 1.03)):
        of = clip if name == "free" else last[last["method"] == name].rename(columns={"kl_generator": "found"})
        look = {"color": coloured[name], "label": BY_MARGIN[name], "alpha": 0.8, "mew": 0}
        left.plot(of["margin"] * shift, of["found"], marker, ms=5, **look)
    left.set_xscale("log", base=2)
    left.set_xticks(size.margins, [margin_text(m) for m in size.margins])
    left.minorticks_off()
    left.set_yscale("log")
    left.set_ylim(bottom=1e-5)
    left.set_xlabel("margin m, nats")
    left.set_ylabel("KL(p, q), nats")
    shown = [m for m in size.margins if m <= middle_of(size)]
    for margin, shade in zip(shown, style.shades(len(shown) + 1), strict=False):
        one = densities[densities["margin"] == margin]
        of = one[one["method"] == "law"]
        right.plot(of["rank"], of["log_density"], color=shade, linewidth=1.6, label=f"m = {margin_text(margin)}")
        of = one[(one["method"] == "eb_seqgan_optimal") & (one["source"] == "energy")]
        right.plot(of["rank"], of["log_density"], ".", ms=3, mew=0, color=shade, alpha=0.7)
    of = densities[densities["source"] == "data"]
    right.plot(of["rank"], of["log_density"], **TRUTH)
    right.set_xlabel("rank of the sequence under p")
    right.set_ylabel("log density, nats")
    right.legend(loc="lower left", fontsize=8)
    figure.legend(loc="outside upper center", ncols=3, handles=left.get_legend_handles_labels()[0])
    return figure


def row_names(last: pd.DataFrame) -> list[tuple[str, str]]:
    """Methods and energies in reading order."""
    there = set(zip(last["method"], last["energy"], strict=True))
    return [(method, energy) for method in METHODS for energy in ENERGIES if (method, energy) in there]


def row_text(method: str, energy: str) -> str:
    """What a row is called."""
    return METHODS[method] + ENERGIES[energy]


def scores(rows: pd.DataFrame, size: Size) -> Figure:
    """A row of points per method and energy, a panel per measure."""
    last = single(endless(rows), middle_of(size))
    measures = {
        "b_error": "|b − log Z|",
        "kl_energy": r"KL(p, $p_\theta$)",
        "kl_generator": "KL(p, q)",
        "reverse_generator": "KL(q, p)",
        "between": r"KL(q, $p_\theta$)",
    }
    names = row_names(last)
    figure = Figure(figsize=(style.WIDTH, 3.2))
    axes = figure.subplots(1, len(measures), sharey=True)
    for ax, (measure, label) in zip(axes, measures.items(), strict=True):
        for place, (method, energy) in enumerate(names):
            of = last[(last["method"] == method) & (last["energy"] == energy)][measure].dropna()
            look = {"ms": 4.5, "mew": 0, "alpha": 0.7, "color": COLOURS[method]}
            ax.plot(of.clip(lower=1e-4), np.full(len(of), place), "o", **look)
        ax.axvline(AIM, **style.RANDOM)
        ax.set_xscale("log")
        ax.set_xlim(7e-5, 20)
        ax.set_xticks([1e-4, 1e-2, 1])
        ax.set_xlabel(label)
    axes[0].set_yticks(range(len(names)), [row_text(*name) for name in names])
    axes[0].set_ylim(len(names) - 0.5, -0.5)
    return figure


TRAPPED = ("likelihood", "ebm_gan", "eb_seqgan", "eb_seqgan_greedy", "kim_bengio", "seqgan")


def trap(rows: pd.DataFrame, oracles: pd.DataFrame, size: Size) -> Figure:
    """Ends against KL, and against the entropy: filled with endless data, hollow with the fewest."""
    figure = Figure(figsize=(style.WIDTH, 3.4))
    left, right = figure.subplots(1, 2, sharex=True)
    last = rows[(rows["step"] == rows["step"].max()) & rows["energy"].isin(["steps", "none"])]
    last = last.pivot(index=list(schema.LEARNER), columns="metric", values="value").reset_index()
    last = single(last[last["data"].isin([0, min(size.data)])], middle_of(size))
    own = last["seed"].map(oracles.set_index("seed")["entropy"])
    last = last.assign(nll=last["nll_oracle"] - own, gap=last["entropy"] - own)
    for method in TRAPPED:
        for hollow, of in last[last["method"] == method].groupby(last["data"] > 0):
            look = {"color": COLOURS[method], "ms": 5, "mfc": "white" if hollow else COLOURS[method], "alpha": 0.8}
            left.plot(of["nll"], of["kl_generator"], "o", **look)
            right.plot(of["nll"], of["gap"], "o", **look)
    mode = -oracles["max_log_p"] - oracles["entropy"]
    left.set_yscale("log")
    left.plot(mode, np.full(len(mode), 3 * last["kl_generator"].max()), "x", color="#222222", ms=6)
    right.plot(mode, -oracles["entropy"], "x", color="#222222", ms=6)
    sharp = oracles["sharp_nll"] - oracles["entropy"]
    left.plot(sharp, oracles["sharp_kl"], "+", color="#222222", ms=7)
    right.plot(sharp, oracles["sharp_entropy"] - oracles["entropy"], "+", color="#222222", ms=7)
    left.set_ylabel("KL(p, q), nats")
    right.set_ylabel("entropy of q less p's, nats")
    right.axhline(0, **TRUTH)
    for ax in (left, right):
        ax.axvline(0, **TRUTH)
        ax.set_xlabel("NLL of the oracle less its entropy, nats")
    legend(figure, {METHODS[method]: COLOURS[method] for method in TRAPPED}, marker="o", linestyle="none")
    return figure


def data_figure(rows: pd.DataFrame, size: Size) -> Figure:
    """Energies and generators, a panel each."""
    found = single(ends(rows), middle_of(size))
    methods = [name for name in METHODS if name in set(found["method"][found["data"] > 0])]
    found = found[found["energy"].isin(["steps", "none"]) & found["method"].isin(methods)]
    sizes = sorted(size.data)
    places = {n: i for i, n in enumerate([*sizes, 0])}
    figure = Figure(figsize=(style.WIDTH, 3.0))
    axes = figure.subplots(1, 2, sharey=True)
    for ax, (measure, title) in zip(axes, (("kl_energy", "energies"), ("kl_generator", "generators")), strict=True):
        for shift, method in zip(np.linspace(-0.15, 0.15, len(methods)), methods, strict=True):
            of = found[(found["method"] == method) & found[measure].notna()]
            if (method, measure) == ("seqgan", "kl_energy"):
                continue
            ax.plot(of["data"].map(places) + shift, of[measure], "o", ms=4, mew=0, alpha=0.6, color=COLOURS[method])
            middle = of.groupby(of["data"].map(places))[measure].median()
            ax.plot(middle.index + shift, middle, color=COLOURS[method], linewidth=1.4)
        ax.set_yscale("log")
        ax.set_xticks(list(places.values()), [f"{n:,}" if n else "endless" for n in places])
        ax.set_title(title)
        ax.set_xlabel("sequences to learn from")
    axes[0].set_ylabel("KL, nats")
    legend(figure, {METHODS[name]: COLOURS[name] for name in methods}, marker="o")
    return figure


def gradient_figure(rows: pd.DataFrame) -> Figure:
    """A panel per generator, a row of points per estimator."""
    figure = Figure(figsize=(style.WIDTH, 2.3))
    axes, coloured = figure.subplots(1, len(GENERATORS), sharey=True), colours(ESTIMATORS)
    for ax, (generator, title) in zip(axes, GENERATORS.items(), strict=True):
        for place, (estimator, colour) in enumerate(coloured.items()):
            of = rows[(rows["generator"] == generator) & (rows["estimator"] == estimator)]
            ax.plot(of["relative_error"], np.full(len(of), place), "o", ms=5, mew=0, alpha=0.8, color=colour)
        ax.set_xlim(left=0)
        ax.set_title(title)
        ax.set_xlabel("relative error")
    tokens = rows.groupby("estimator")["tokens"].first()
    axes[0].set_yticks(range(len(coloured)), [f"{name} ({tokens[name]:,} tokens)" for name in coloured])
    axes[0].set_ylim(len(coloured) - 0.5, -0.5)
    return figure


def session_figure(rows: pd.DataFrame) -> Figure:
    """A row of points per model, a panel per measure."""
    names = [key for key in MODELS if key[0] != "optimum"]
    palette = {model: COLOURS.get(model, "#777777") for model, _ in names}
    best = rows[rows["model"] == "optimum"]
    figure = Figure(figsize=(style.WIDTH, 2.8))
    axes = figure.subplots(1, len(RANKED), sharey=True)
    for ax, (measure, label) in zip(axes, RANKED.items(), strict=True):
        for place, (model, part) in enumerate(names):
            of = rows[(rows["model"] == model) & (rows["part"] == part)]
            ax.plot(of[measure], np.full(len(of), place), "o", ms=5, mew=0, alpha=0.7, color=palette[model])
        ax.axvline(best[measure].mean(), **TRUTH)
        ax.set_xlabel(label)
    axes[0].set_yticks(range(len(names)), [MODELS[key] for key in names])
    axes[0].set_ylim(len(names) - 0.5, -0.5)
    return figure


def results(rows: pd.DataFrame, size: Size) -> Table:
    """Every row with endless data: mean over seeds, and the worst of what has an aim."""
    last = single(endless(rows), middle_of(size))
    measures = ["b_error", "kl_energy", "kl_generator", "reverse_generator", "between"]
    grouped = last.groupby(["method", "energy"])
    data = grouped[measures].mean().join(grouped[measures].max().add_suffix("_worst"))
    data = data.loc[row_names(last)].reset_index()
    of_gan = (data["method"] == "ebm_gan") & (data["energy"] != "pairs")
    worst = data[["b_error_worst", "kl_energy_worst", "kl_generator_worst"]].max(axis=1)
    shown = {
        "Method, energy": [row_text(*key) for key in zip(data["method"], data["energy"], strict=True)],
        "Error of b": with_worst(data, "b_error"),
        "KL, energy": with_worst(data, "kl_energy"),
        "KL, generator": with_worst(data, "kl_generator"),
        "reversed": with_worst(data, "reverse_generator"),
        "between": with_worst(data, "between"),
        "Aim": [("met" if worst[i] < AIM else "missed") if of_gan[i] else NONE for i in data.index],
    }
    return Table(
        "Sequences: results",
        f"After {size.steps:,} steps on endless data, in nats: mean over seeds, in brackets the worst. Error of b: "
        "distance of log Z, solved on 10,000 sequences of each source, from the true one. KL: of exp(−E)/Z, and "
        "of q, from the oracle's p; reversed: KL(q, p); between: of exp(−E)/Z from q. EB-SeqGAN's margin: "
        f"{margin_text(middle_of(size))}. Aim: EBM-GAN's b, energy and generator within {AIM} with every seed; weights "
        "of pairs cannot hold the oracle.",
        data,
        pd.DataFrame(shown),
    )


def clip_table(rows: pd.DataFrame, clip: pd.DataFrame, oracles: pd.DataFrame) -> Table:
    """The law and what was found, by margin."""
    last = endless(rows).rename(columns={"kl_generator": "found"})
    data = clip.groupby("margin")[["law", "found", "variation"]].agg(
        {"law": "mean", "found": "mean", "variation": "max"}
    )
    data["gap"] = (clip["found"] - clip["law"]).abs().groupby(clip["margin"]).max()
    for name in ("eb_seqgan_optimal", "eb_seqgan"):
        of = last[last["method"] == name].groupby("margin")
        data[name], data[f"{name}_range"] = of["found"].mean(), of["range"].mean()
    data = data.reset_index()
    span = oracles["max_log_p"] - oracles["min_log_p"]
    shown = {
        "Margin": data["margin"].map(margin_text),
        "Law": data["law"].map(nats),
        "Free energies": data["found"].map(nats),
        "Largest gap": data["gap"].map(_small),
        "Networks, best generator": data["eb_seqgan_optimal"].map(nats),
        "their range": data["eb_seqgan_optimal_range"].map("{:.1f}".format),
        "Networks, generator learnt": data["eb_seqgan"].map(nats),
    }
    gan = last[(last["method"] == "ebm_gan") & (last["energy"] == "steps")]["found"].mean()
    return Table(
        "The clip law: numbers",
        f"KL(p, q) in nats, mean over seeds, by margin; EBM-GAN's is {nats(gan)}. Largest gap: between free energies "
        "and the law, over seeds. Range: from the least log density to the largest, which the law bounds by the "
        f"margin. The oracles' ranges are {span.min():.1f} to {span.max():.1f} nats: at such a margin the law has no "
        "bias.",
        data,
        pd.DataFrame(shown),
    )


def trap_table(rows: pd.DataFrame, oracles: pd.DataFrame, size: Size) -> Table:
    """NLL both ways beside what they hide."""
    last = single(endless(rows), middle_of(size))
    last = last[last["energy"].isin(["steps", "none"]) & last["nll_oracle"].notna()]
    columns = ["nll_oracle", "nll_gen", "entropy", "kl_generator"]
    greedy = last[last["method"] == "eb_seqgan_greedy"].set_index("seed")["nll_oracle"]
    by_greedy = (greedy < oracles.set_index("seed")["entropy"]).sum()
    by_sharp = (oracles["sharp_nll"] < oracles["entropy"]).sum()
    data = last.groupby("method")[columns].mean().loc[[name for name in TRAPPED if name in set(last["method"])]]
    own, mode = oracles["entropy"].mean(), -oracles["max_log_p"].mean()
    sharp = oracles[["sharp_nll", "sharp_entropy", "sharp_kl"]].mean()
    data.loc["sharpened: p squared, normalised"] = [
        sharp["sharp_nll"],
        own + sharp["sharp_kl"],
        sharp["sharp_entropy"],
        sharp["sharp_kl"],
    ]
    data.loc["the oracle itself"] = [own, own, own, 0.0]
    data.loc["its likeliest sequence alone"] = [mode, np.inf, 0.0, np.inf]
    data = data.reset_index(names="method")
    shown = {"Generator": data["method"].map(lambda name: METHODS.get(name, name))}
    names = ("NLL of the oracle", "NLL of the generator", "Entropy", "KL(p, q)")
    shown |= {name: data[column].map(nats) for name, column in zip(names, columns, strict=True)}
    return Table(
        "The trap in SeqGAN's only measure: numbers",
        "In nats a sequence, means over seeds. SeqGAN was compared by the NLL of the oracle, E_q[−log p], alone: "
        f"p squared and normalised, which makes what is rare rarer, beats the oracle in it with {by_sharp} of "
        f"{len(oracles)} seeds; the generator without entropy, which forgets most of the data, with {by_greedy}: what "
        "is left has to be likely. NLL of the generator is E_p[−log q], infinite for the last line, as is its KL.",
        data,
        pd.DataFrame(shown),
    )


def data_table(rows: pd.DataFrame) -> Table:
    """KL by method and number of sequences."""
    found = ends(rows)
    on = found[found["data"] > 0]
    data = on.groupby(["method", "data"])[["kl_energy", "kl_generator"]].agg(["mean", "max"])
    data.columns = pd.Index(["_".join(column) for column in data.columns])
    order = [name for name in METHODS if name in set(on["method"])]
    data = data.loc[order].reset_index()
    data.loc[data["method"] == "seqgan", ["kl_energy_mean", "kl_energy_max"]] = np.nan

    def cell(row: pd.Series, source: str) -> str:
        mean, worst = row[f"kl_{source}_mean"], row[f"kl_{source}_max"]
        return f"{nats(mean)} ({nats(worst)})" if np.isfinite(mean) else NONE

    shown = {"Method": data["method"].map(METHODS), "Sequences": data["data"].map("{:,}".format)}
    shown |= {name: [cell(row, name.lower()) for _, row in data.iterrows()] for name in ("Energy", "Generator")}
    return Table(
        "Finite data: numbers",
        "What the held-out log likelihood falls short of the oracle's, in nats: mean over seeds, in brackets the "
        "worst.",
        data,
        pd.DataFrame(shown),
    )


def claims_table(rows: pd.DataFrame) -> Table:
    """The largest disagreement of each claim."""
    texts = {
        "1": "Claim 1: where the loss is flat, Z is the mixture's estimate",
        "1 at any Z": "The slope in log Z elsewhere",
        "2": "Claim 2: the energy's gradient is guided cost learning's",
        "3": "Claim 3: the generator's loss is E_q[E + log q] + log Z",
        "3 gradient": "Its gradient as well",
        "log Z": "log Z over all sequences",
    }
    data = rows.groupby(["claim", "where"], sort=False)["relative_error"].max().reset_index()
    shown = {
        "Claim": data["claim"].map(texts),
        "Where": data["where"],
        "Disagrees by": data["relative_error"].map(_small),
    }
    return Table(
        "Sequences: claims",
        "Finn et al. (2016) on random energies and generators, relative, the worst seed. Sample: 1,000 sequences of "
        "each source, log Z by the solver that trains. Tree: all sequences with their own weights. log Z over all "
        "sequences against the soft value of the empty prefix (backward), and against a transfer matrix.",
        data,
        pd.DataFrame(shown),
    )


def gradient_table(rows: pd.DataFrame) -> Table:
    """Mean relative error by estimator."""
    data = rows.groupby(["estimator", "generator"])[["relative_error", "tokens"]].mean().reset_index()
    wide = data.pivot(index="estimator", columns="generator", values="relative_error").loc[list(ESTIMATORS)]
    tokens = data.groupby("estimator")["tokens"].first().loc[list(ESTIMATORS)]
    shown = {"Advantage": list(ESTIMATORS), "Tokens": [f"{value:,.0f}" for value in tokens]}
    shown |= {title.capitalize(): [f"{value:.2f}" for value in wide[name]] for name, title in GENERATORS.items()}
    return Table(
        "Estimates of the generator's gradient: numbers",
        "Root mean square error over the exact gradient's norm, mean over seeds.",
        data,
        pd.DataFrame(shown),
    )


def session_table(rows: pd.DataFrame, size: Size) -> Table:
    """Every model: mean over seeds."""
    measures = ["hit", "ndcg", "item_nll", "session_nll"]
    data = rows.groupby(["model", "part"])[measures].mean().loc[list(MODELS)].reset_index()
    shown = {"Model": [MODELS[key] for key in zip(data["model"], data["part"], strict=True)]}
    names = ("Hit rate of 10", "NDCG of 10", "NLL of the item", "NLL of a session")
    shown |= {name: data[column].map(nats) for name, column in zip(names, measures, strict=True)}
    share = size.sessions.test * len(size.seeds)
    return Table(
        "What learners recommend next: numbers",
        f"Means over seeds, of {share:,} held-out sessions in all; NLL in nats. Likelihood, again: as many steps more "
        "as the adversarial methods take, at the same rate. An energy has no likelihood of sessions here, and SeqGAN's "
        "discriminator recommends nothing.",
        data,
        pd.DataFrame(shown),
    )


def _small(value: float) -> str:
    return minus(f"{value:.0e}") if value else "0"
