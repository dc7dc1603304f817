"""The chapter on guided cost learning's exact twin: weights, entropy, and why long horizons defeat the weights."""

from functools import partial

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from studies.twin import schema
from studies.twin.schema import Size
from threefold.report import style
from threefold.report.chapter import TRUTH, Chapter, Read, colours, legend, minus
from threefold.report.plot import Plot
from threefold.report.tables import NONE, Table, number_text

ROWS = {
    "weights": "weights, as on the tasks",
    "known": "true density",
    "gaussian": "one Gaussian",
    "exact": "exact gradient",
    "unweighted": "no weights",
    "no_entropy": "no entropy",
}
NAMES = ROWS | {"cooled": "weights; entropy off afterwards"}
MEASURES = {"kl": "KL, nats", "variance": "variance / expert's", "mean_error": "error of the mean, m"}
SAMPLERS = {"weights": "sampler optimal for the cost", "narrow": "for a cost 10 % too large"}
# Of the KL of trajectories, summed over 100 steps, with 40 demonstrations from four distributions, so 10 of each: Finn,
# Levine & Abbeel 2016, appendix B.
PUBLISHED, DEMONSTRATIONS = {"known": 230.66, "gaussian": 272.71}, 10
NEAR = 0.2  # a variance within that of the expert's, relative, is right


def chapter(read: Read, size: Size) -> Chapter:
    """Figures and tables of the study."""
    learnt, paths = partial(read, "learnt.csv.gz", schema.LEARNT), partial(read, "paths.csv.gz", schema.PATHS)
    weights, horizons = partial(read, "weights.csv.gz", schema.WEIGHTS), partial(read, "horizons.csv.gz", schema.LEARNT)
    plots = {
        "twin_paths": Plot(
            lambda: path_figure(paths()),
            "Trajectories learnt by guided cost learning",
            "Position along x from the first start: mean and one standard deviation of the learnt distribution, first "
            f"seed, {max(size.trajectories)} demonstrations from each start. Dashed: the expert's. Without weights the "
            "learnt distribution is far too wide; without entropy it has hardly any width.",
            ("studies/twin/paths.csv.gz",),
        ),
        "twin_samples": Plot(
            lambda: sample_figure(learnt()),
            "Distributions of trajectories against the number of trajectories",
            f"KL of the learnt distribution of {size.horizon} steps from the expert's, its variance of positions over "
            "the expert's, and the error of its mean positions, against the demonstrations from each start (and as "
            "many samples a step). Points: seeds; lines: medians. Dashed: the expert.",
            ("studies/twin/learnt.csv.gz",),
        ),
        "twin_horizon": Plot(
            lambda: horizon_figure(weights(), horizons()),
            "Weights against the horizon",
            "Left: how many trajectories of a sample count (Kish's effective size) where the sampler is optimal for a "
            "cost that is too large; points: measured; lines: the share of endless samples that counts, in closed "
            "form, times the trajectories. Middle: the same while a cost is learnt, from as many trajectories as "
            "demonstrations, with a sampler that is optimal for the cost in every step, or for one 10 % too large. "
            "Right: KL a step of exp(−c)/Z, c as learnt, from the expert. Over a short horizon the weights mend a "
            "wrong sampler; over a long one no sample and no demonstration look alike, and nothing is learnt.",
            ("studies/twin/weights.csv.gz", "studies/twin/horizons.csv.gz"),
        ),
    }
    return Chapter(
        "Guided cost learning, exactly",
        "A point mass with a quadratic cost is a task where nothing about guided cost learning is hidden: policies, "
        "densities, Z and the divergence of trajectories have closed forms, and the policy's step is exact. The cost "
        "is learnt by the objective that trains on the other tasks, from demonstrations of an expert that is optimal "
        f"with entropy for such a cost, from four starts; {size.steps} steps on the cost, {len(size.seeds)} seeds.",
        plots,
        lambda: {
            "twin_table": learnt_table(learnt(), size),
            "twin_claims": claims(learnt(), size),
            "twin_weights_table": weights_table(weights()),
            "twin_horizon_table": horizon_table(horizons()),
        },
        lambda: differences(learnt(), size),
    )


def path_figure(rows: pd.DataFrame) -> Figure:
    """A panel per way to learn."""
    figure = Figure(figsize=(style.WIDTH, 3.9))
    axes = figure.subplots(2, 3, sharex=True, sharey=True).flat
    expert = rows[rows["row"] == "expert"]
    for ax, (name, colour) in zip(axes, colours(ROWS).items(), strict=True):
        of = rows[rows["row"] == name]
        ax.plot(of["time"], of["mean"], color=colour, linewidth=1.8)
        low, high = of["mean"] - of["std"], of["mean"] + of["std"]
        ax.fill_between(of["time"], low, high, color=colour, alpha=0.2, linewidth=0)
        for side in (-1, 0, 1):
            ax.plot(expert["time"], expert["mean"] + side * expert["std"], **TRUTH | {"linewidth": 0.9})
        ax.set_title(ROWS[name])
        ax.set_ylim(-2, 3)
    for ax in axes.base[1]:
        ax.set_xlabel("time, s")
    for ax in axes.base[:, 0]:
        ax.set_ylabel("x, m")
    return figure


def sample_figure(rows: pd.DataFrame) -> Figure:
    """A panel per measure, a colour per way to learn."""
    figure = Figure(figsize=(style.WIDTH, 3.4))
    axes = figure.subplots(1, len(MEASURES))
    coloured, sizes = colours(ROWS), sorted(set(rows["trajectories"]))
    for ax, (measure, label) in zip(axes, MEASURES.items(), strict=True):
        for name, colour in coloured.items():
            of = rows[rows["row"] == name]
            ax.plot(of["trajectories"], of[measure], "o", ms=3.5, mew=0, alpha=0.5, color=colour)
            middle = of.groupby("trajectories")[measure].median()
            ax.plot(middle.index, middle, color=colour, linewidth=1.6, marker="o", ms=3.5, label=ROWS[name])
        ax.set_xscale("log")
        ax.set_yscale("log")
        ax.set_xticks(sizes, map(str, sizes))
        ax.xaxis.minorticks_off()
        ax.set_xlabel("trajectories of each source")
        ax.set_ylabel(label)
    axes[1].axhline(1, **TRUTH)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=3)
    return figure


def horizon_figure(weights: pd.DataFrame, rows: pd.DataFrame) -> Figure:
    """Effective sizes of fixed costs, effective sizes in learning, and what is learnt."""
    figure = Figure(figsize=(style.WIDTH, 3.0))
    left, middle, right = figure.subplots(1, 3)
    shades = style.shades(weights["wrong"].nunique() + 1)  # the last is too light for a line
    for (wrong, of), shade in zip(weights.groupby("wrong"), shades, strict=False):
        left.plot(of["horizon"], of["measured"], "o", ms=4, color=shade, label=f"{wrong:.0%}".replace("%", " %"))
        left.plot(of["horizon"], of["limit"].clip(lower=1e-9), color=shade, linewidth=1.4)
    left.set_ylim(0.5, 20)
    left.set_yscale("log")
    left.set_yticks([1, 2, 4, 8, 16], ["1", "2", "4", "8", "16"])
    left.minorticks_off()
    left.legend(loc="lower left", title="cost wrong by", fontsize=8, title_fontsize=8)
    left.set_ylabel("effective trajectories")
    coloured = dict(zip(SAMPLERS, ("#0072B2", "#D55E00"), strict=True))
    for ax, value in ((middle, rows["effective"]), (right, rows["kl_cost"] / rows["horizon"])):
        for name, colour in coloured.items():
            mine = rows["row"] == name
            ax.plot(rows.loc[mine, "horizon"], value[mine], "o", ms=3.5, mew=0, alpha=0.5, color=colour)
            medians = value[mine].groupby(rows.loc[mine, "horizon"]).median()
            ax.plot(medians.index, medians, color=colour, linewidth=1.6)
    middle.set_ylim(0, 1.1 * rows["trajectories"].max())
    middle.set_ylabel("effective, while learning")
    right.set_yscale("log")
    right.set_ylabel("KL a step, nats")
    for ax in (left, middle, right):
        ax.set_xscale("log")
        ax.set_xlabel("horizon, steps")
    legend(figure, {SAMPLERS[name]: colour for name, colour in coloured.items()}, marker="o")
    return figure


def learnt_table(rows: pd.DataFrame, size: Size) -> Table:
    """Medians over seeds by row and number of trajectories."""
    data = rows.groupby(["row", "trajectories"], sort=False)[[*MEASURES, "effective"]].median().reset_index()
    data = data.sort_values("row", key=lambda column: column.map(list(NAMES).index), kind="stable", ignore_index=True)
    shown = {"Learnt with": data["row"].map(NAMES), "Trajectories": data["trajectories"].astype(str)}
    shown |= {"KL": data["kl"].map(_figures), "Variance / expert's": data["variance"].map(_figures)}
    shown |= {"Error of the mean, m": data["mean_error"].map("{:.3f}".format)}
    papers = data["row"].map(PUBLISHED).where(data["trajectories"] == DEMONSTRATIONS)
    shown |= {"Published KL": papers.map("{:.2f}".format).where(papers.notna(), NONE)}
    return Table(
        "Guided cost learning, exactly: numbers",
        f"After {size.steps} steps on the cost, medians over seeds; trajectories of {size.horizon} steps, from each of "
        "four starts. KL: of the learnt distribution from the expert's, nats, mean over starts. Published: the sum "
        "over 100 steps of Finn, Levine & Abbeel (2016), appendix B. Their four distributions are given controllers', "
        "which no cost of theirs has to fit, so their numbers stand on another scale; the order is what compares.",
        data,
        pd.DataFrame(shown),
    )


def claims(rows: pd.DataFrame, size: Size) -> Table:
    """What the paper says of its figure 4 and its numbers, beside what was measured with most trajectories."""
    most = rows[rows["trajectories"] == max(size.trajectories)]
    of = most.groupby("row")[list(MEASURES)].median()
    right = of.loc["weights", "mean_error"]

    def line(name: str, says: str, measure: str, holds: bool) -> tuple[str, str, str, str]:
        unit = {"kl": "KL {} nats", "variance": "{} times the expert's variance", "mean_error": "off by {} m"}[measure]
        return NAMES[name], says, unit.format(_figures(of.loc[name, measure])), "yes" if holds else "no"

    def falls(name: str, measure: str) -> bool:
        by_number = rows[rows["row"] == name].groupby("trajectories")[measure].median()
        return by_number.is_monotonic_decreasing and len(by_number) > 1

    variance, mean = of["variance"], of["mean_error"]
    number, known, gaussian = _beside_published(rows, size)
    density = f"KL {_figures(known)} nats, {_figures(gaussian)} with one Gaussian ({number} trajectories)"
    lines = [
        line("weights", "the variance is right (ours)", "variance", abs(variance["weights"] - 1) < NEAR),
        line("weights", "KL falls with samples (ours)", "kl", falls("weights", "kl")),
        (NAMES["known"], "nearer than with one Gaussian", density, "yes" if known < gaussian else "no"),
        line("unweighted", "the variance is far too large", "variance", variance["unweighted"] > 2),
        line("unweighted", "the mean is right", "mean_error", mean["unweighted"] < 2 * right),
        line(
            "unweighted", "the mean's error falls with samples (ours)", "mean_error", falls("unweighted", "mean_error")
        ),
        line("no_entropy", "the variance is 0", "variance", variance["no_entropy"] < 0.05),
        line("no_entropy", "the mean is right (ours)", "mean_error", mean["no_entropy"] < 2 * right),
        line("cooled", "the variance is 0 (ours)", "variance", variance["cooled"] < 0.05),
        line("cooled", "the mean is right (ours)", "mean_error", mean["cooled"] < 2 * right),
    ]
    data = pd.DataFrame(lines, columns=["row", "says", "measured", "holds"])
    return Table(
        "Guided cost learning, exactly: claims",
        f"Finn, Levine & Abbeel (2016), appendix B, and medians over seeds, with {max(size.trajectories)} trajectories "
        "where no number is named. "
        f"A variance within {100 * NEAR:.0f} % is right; a mean is right if it is off by less than twice what it is "
        "with weights. Entropy is taken from the sampler while the cost is learnt, and weights cannot mend that; taken "
        "from the policy afterwards it leaves the mean as it is.",
        data,
        data.set_axis(["Learnt with", "Claim", "Measured", "Holds"], axis=1),
    )


def differences(rows: pd.DataFrame, size: Size) -> list[str]:
    """What the paper says and is not found here, by the same rules as the table of claims."""
    most, fewest = max(size.trajectories), min(size.trajectories)
    of = rows[rows["trajectories"] == most].groupby("row")[list(MEASURES)].median()
    mean, right = of["mean_error"].map(_figures), of.loc["weights", "mean_error"]
    number, known, gaussian = _beside_published(rows, size)
    found = [
        f"With {number} trajectories of each source KL is {_figures(known)} nats with the true density and "
        f"{_figures(gaussian)} with one Gaussian, where Finn, Levine & Abbeel (2016) have {PUBLISHED['known']} and "
        f"{PUBLISHED['gaussian']}: {'in the same order' if known < gaussian else 'in the other order'}, on another "
        "scale. Their four distributions are given controllers', which no cost has to fit; here a cost of the right "
        "kind fits them exactly."
    ]
    if of.loc["unweighted", "mean_error"] >= 2 * right:
        before = rows[(rows["row"] == "unweighted") & (rows["trajectories"] == fewest)]["mean_error"].median()
        found.append(
            f"Without weights the mean is not right: off by {mean['unweighted']} m with {most} trajectories and by "
            f"{_figures(before)} m with {fewest}, where it is off by {mean['weights']} m with weights. The paper gives "
            f"no number for it. What is learnt is {_figures(of.loc['unweighted', 'variance'] ** 0.5)} times as wide as "
            "the expert."
        )
    if of.loc["no_entropy", "mean_error"] >= 2 * right:
        found.append(
            f"Without entropy in the sampler the mean is off by {mean['no_entropy']} m: samples that are all alike "
            "leave the weights nothing to mend. Where the entropy is taken from the policy of a cost that was learnt "
            f"with it, the mean is as with weights, off by {mean['cooled']} m."
        )
    return found


def _beside_published(rows: pd.DataFrame, size: Size) -> tuple[int, float, float]:
    """The number of trajectories nearest the paper's, and the KL there with the true density and with one Gaussian."""
    number = min(size.trajectories, key=lambda n: abs(n - DEMONSTRATIONS))
    kl = rows[rows["trajectories"] == number].groupby("row")["kl"].median()
    return number, kl["known"], kl["gaussian"]


def weights_table(rows: pd.DataFrame) -> Table:
    """Effective sizes by horizon."""
    wide = rows.pivot(index="horizon", columns="wrong", values=["measured", "limit"])
    shown = {"Horizon": [f"{horizon:,}" for horizon in wide.index]}
    for wrong in sorted(set(rows["wrong"])):
        pairs = zip(wide["measured", wrong], wide["limit", wrong], strict=True)
        shown[f"{100 * wrong:.0f} % too large"] = [f"{a:.2f} ({_figures(b)})" for a, b in pairs]
    return Table(
        "Weights against the horizon: numbers",
        f"Effective size of {rows['trajectories'].iloc[0]} trajectories, mean over samples, where the sampler is "
        "optimal for a cost that is too large by a share δ; in brackets as many times the share of endless samples, "
        "(1 − δ²) to the power of the horizon.",
        rows,
        pd.DataFrame(shown),
    )


def horizon_table(rows: pd.DataFrame) -> Table:
    """Medians over seeds by horizon and sampler."""
    data = rows.groupby(["horizon", "row"])[["effective", "kl_cost"]].median().reset_index()
    wide = data.pivot(index="horizon", columns="row", values=["effective", "kl_cost"])
    shown = {"Horizon": [f"{horizon:,}" for horizon in wide.index]}
    for name, text in SAMPLERS.items():
        shown[f"Count, {text}"] = [f"{value:.1f}" for value in wide["effective", name]]
        shown[f"KL a step, {text}"] = [_figures(value) for value in wide["kl_cost", name] / wide.index]
    return Table(
        "Costs learnt against the horizon: numbers",
        f"Medians over seeds, {rows['trajectories'].iloc[0]} trajectories of each source. Count: the effective size of "
        "the samples. KL a step: of exp(−c)/Z from the expert, in nats.",
        data,
        pd.DataFrame(shown),
    )


def _figures(value: float) -> str:
    """Two significant figures or whole numbers."""
    if not np.isfinite(value):
        return NONE
    return minus(f"{value:.1e}") if value < 0.001 else f"{value:.3f}" if value < 1 else number_text(value)
