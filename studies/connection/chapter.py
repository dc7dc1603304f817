"""The chapter on the connection of Finn et al. 2016: three claims, and what happens where their conditions fail."""

from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from studies.connection import schema
from studies.connection.schema import Size
from threefold.report.chapter import TRUTH, Chapter, Read, colours, legend, minus, row
from threefold.report.plot import Plot
from threefold.report.tables import Table

AGREEMENT = 1e-10  # relative: to rounding, in float64
LEAST = 1e-17  # a relative error of zero is drawn here
CLAIMS = {
    "1": "claim 1",
    "1 at any Z": "claim 1, any Z",
    "2": "claim 2",
    "3": "claim 3",
    "3 gradient": "claim 3, gradient",
}
SAMPLES = {
    "alike": "data near the generator",
    "apart": "data far from the generator",
    "optimal": r"data drawn from $p_\theta$",
}
ESTIMATORS = {
    "generator": "generator alone",
    "mixture, p known": "mixture, p known",
    "mixture, p_theta for p": r"mixture, $p_\theta$ for p",
    "b": "b, solved",
}
LOSSES = {"discriminator": "discriminator's loss", "cost": "guided cost learning's loss"}
# The same in tables, which are text.
SAMPLE_NAMES = SAMPLES | {"optimal": "data drawn from p_theta"}
ESTIMATOR_NAMES = ESTIMATORS | {"mixture, p_theta for p": "mixture, p_theta for p"}


def chapter(read: Read, size: Size) -> Chapter:
    """Figures and tables of the study."""
    claimed, wrong = partial(read, "claims.csv.gz", schema.CLAIMS), partial(read, "gradient.csv.gz", schema.GRADIENT)
    estimated, signs = partial(read, "bias.csv.gz", schema.BIAS), partial(read, "sign.csv.gz", schema.SIGN)
    plots = {
        "connection_claims": Plot(
            lambda: claims(claimed()),
            "Three claims",
            "Relative error of each claim on random neural energies, generators and samples, in float64; every point "
            "is one energy and one sample. Claim 1: where the discriminator's loss has no slope in Z, Z is the "
            "mixture's importance-sampling estimate (at any other Z, the slope is that estimate's relative error). "
            "Claim 2: there, the discriminator's gradient is guided cost learning's. Claim 3: the generator's loss is "
            "entropy-regularised cost, and its gradient that cost's. Dashed: 10⁻¹⁰; at the bottom: errors of zero.",
            ("studies/connection/claims.csv.gz",),
        ),
        "connection_gradient": Plot(
            lambda: gradient(wrong()),
            "What a wrong log Z costs",
            "Error of the gradient by the energy's parameters, relative to the gradient at the solved log Z, against "
            "the error of log Z. Lines: median over random energies; bands: their middle 80 %. Dashed: an error as "
            "large as the gradient itself. Where the energy is right, the true gradient is small and a wrong log Z "
            "drowns it: so log Z is solved, not slowly learnt.",
            ("studies/connection/gradient.csv.gz",),
        ),
        "connection_bias": Plot(
            lambda: bias(estimated()),
            "Bias of the estimates of Z",
            "Mean of the estimate over the true Z, less 1, against how wrong the energy is: data N(0, 1), generator "
            "N(0.5, 1.5²), exp(−E)/Z a normal density of variance 1 at growing distance. Error bars: two standard "
            "errors over repeated samples; lines: the limit of endless samples. Weights made with the generator "
            "alone, or with the data's true density, leave no bias. With p_θ in its place, as in a GAN, the "
            "estimate is biased until the energy is right, and twice as much with Z solved for as with Z known.",
            ("studies/connection/bias.csv.gz",),
        ),
        "connection_sign": Plot(
            lambda: sign(signs()),
            "The sign in section 4",
            "Energies that each reading of the discriminator learns of a standard normal. With −E and log Z (section "
            "3.1) the energy is right. Without log Z it must normalise itself, which a quadratic cannot. With +E, as "
            "printed in section 4, it is upside down: exp(−E) has no integral.",
            ("studies/connection/sign.csv.gz",),
        ),
    }
    return Chapter(
        "The connection, measured",
        "Finn, Christiano, Abbeel & Levine (2016) show that a GAN whose generator has a density q and whose "
        "discriminator is σ(−E − log Z − log q) trains the energy E as guided cost learning does. They ran no "
        f"experiment. Here their claims are put to {size.energies} random energies, on samples of three kinds.",
        plots,
        lambda: {
            "connection_claims_table": claims_table(claimed()),
            "connection_gradient_table": gradient_table(wrong()),
            "connection_bias_table": bias_table(estimated()),
            "connection_sign_table": sign_table(signs()),
        },
    )


def claims(rows: pd.DataFrame) -> Figure:
    """A column of points per claim and kind of sample."""
    figure = Figure(figsize=(7.2, 3.0))
    ax = figure.subplots()
    jitter = np.random.default_rng(0)
    coloured = colours(SAMPLES)
    for i, (sample, colour) in enumerate(coloured.items()):
        for j, name in enumerate(CLAIMS):
            error = rows.loc[(rows["claim"] == name) & (rows["sample"] == sample), "relative_error"]
            x = j + 0.25 * (i - 1) + jitter.uniform(-0.09, 0.09, len(error))
            ax.plot(x, error.clip(lower=LEAST), "o", ms=2, mew=0, alpha=0.5, color=colour)
    ax.axhline(AGREEMENT, **TRUTH)
    ax.set_yscale("log")
    ax.set_ylim(LEAST / 2, 1e-9)
    ax.set_xticks(range(len(CLAIMS)), CLAIMS.values())
    ax.grid(visible=False, axis="x")
    ax.set_ylabel("relative error")
    of_samples = {SAMPLES[sample]: colour for sample, colour in coloured.items()}
    legend(figure, of_samples, marker="o", linestyle="none")
    return figure


def gradient(rows: pd.DataFrame) -> Figure:
    """A panel per kind of sample, a colour per loss."""
    figure, axes = row(len(SAMPLES))
    coloured = dict(zip(LOSSES, ("#D55E00", "#0072B2"), strict=True))
    for ax, (sample, title) in zip(axes, SAMPLES.items(), strict=True):
        for loss, colour in coloured.items():
            errors = rows[(rows["sample"] == sample) & (rows["loss"] == loss)].groupby("offset")["relative_error"]
            low, middle, high = (errors.quantile(share) for share in (0.1, 0.5, 0.9))
            ax.plot(middle.index, middle, color=colour, linewidth=2)
            ax.fill_between(middle.index, low, high, color=colour, alpha=0.15, linewidth=0)
        ax.axhline(1, **TRUTH)
        ax.set_yscale("log")
        ax.set_ylim(0.01, 100)
        ax.set_title(title)
        ax.set_xlabel("error of log Z")
    axes[0].set_ylabel("relative error of the gradient")
    legend(figure, {LOSSES[loss]: colour for loss, colour in coloured.items()})
    return figure


def bias(rows: pd.DataFrame) -> Figure:
    """A panel per size of sample."""
    sizes = sorted(set(rows["points"]))
    figure, axes = row(len(sizes))
    coloured = colours(ESTIMATORS)
    for ax, size in zip(axes, sizes, strict=True):
        for i, (estimator, colour) in enumerate(coloured.items()):
            found = rows[(rows["points"] == size) & (rows["estimator"] == estimator)].sort_values("gap")
            ax.plot(found["gap"], found["limit"], color=colour, linewidth=1)
            look: dict[str, Any] = {
                "color": colour,
                "fmt": "o",
                "ms": 8 - 1.5 * i,
                "linewidth": 1.2,
            }  # those that agree stay visible
            ax.errorbar(found["gap"], found["relative_bias"], 2 * found["standard_error"], **look)
        ax.set_title(f"{size:,} points of each")
        ax.set_xlabel(r"KL(p, $p_\theta$), nats")
    axes[0].set_ylabel("estimate / Z − 1")
    legend(figure, {ESTIMATORS[name]: colour for name, colour in coloured.items()}, marker="o")
    return figure


def sign(rows: pd.DataFrame) -> Figure:
    """The learnt quadratics, and the true one."""
    figure = Figure(figsize=(4.6, 3.0))
    ax = figure.subplots()
    x = np.linspace(-3, 3, 121)
    for (_, found), colour in zip(rows.iterrows(), ("#009E73", "#E69F00", "#D55E00"), strict=True):
        known = f"KL {found['kl']:.2f}" if np.isfinite(found["kl"]) else "no density"
        ax.plot(
            x, found["precision"] * x**2 / 2, color=colour, linewidth=2, label=f"l = {minus(found['logit'])}: {known}"
        )
    ax.plot(x, x**2 / 2, label="true", **TRUTH)
    ax.set_xlabel("x")
    ax.set_ylabel("learnt energy E(x)")
    figure.legend(loc="outside upper center", ncols=2)
    return figure


def claims_table(rows: pd.DataFrame) -> Table:
    """Largest error of each claim on each kind of sample."""
    data = rows.groupby(["claim", "sample"], sort=False)["relative_error"].agg(["size", "median", "max"]).reset_index()
    wide = data.pivot(index="claim", columns="sample", values="max").loc[list(CLAIMS), list(SAMPLES)]
    shown = pd.DataFrame(
        {"Claim": list(CLAIMS.values())} | {SAMPLE_NAMES[name]: wide[name].map(_power).to_numpy() for name in wide}
    )
    return Table(
        "Three claims: largest errors",
        f"Largest relative error over {data['size'].iloc[0]} energies and samples of each kind.",
        data,
        shown,
    )


def gradient_table(rows: pd.DataFrame) -> Table:
    """Median error of the gradient, for a few errors of log Z."""
    errors = rows.groupby(["loss", "sample", "offset"], sort=False)["relative_error"]
    data = errors.quantile([0.1, 0.5, 0.9]).unstack().set_axis(["low", "median", "high"], axis=1).reset_index()
    wide = data.pivot(index=["sample", "loss"], columns="offset", values="median")[[-1.0, -0.5, 0.0, 0.5, 1.0]]
    wide = wide.loc[[(sample, loss) for sample in SAMPLES for loss in LOSSES]]
    shown = {
        "Sample": [SAMPLE_NAMES[sample] for sample, _ in wide.index],
        "Loss": [LOSSES[loss] for _, loss in wide.index],
    } | {minus(f"{offset:+g}") if offset else "solved": wide[offset].map(_share).to_list() for offset in wide}
    return Table(
        "What a wrong log Z costs: errors of the gradient",
        "Error of the gradient relative to its size, median over energies, by the error of log Z in nats.",
        data,
        pd.DataFrame(shown),
    )


def bias_table(rows: pd.DataFrame) -> Table:
    """Bias of each estimate, by the divergence of the energy and the size of the sample."""
    keys, sizes = ["gap", "estimator"], sorted(set(rows["points"]))
    wide = rows.pivot(index=keys, columns="points", values=["relative_bias", "standard_error", "limit"])
    wide = wide.loc[rows[keys].drop_duplicates().itertuples(index=False, name=None)]
    shown = {
        "Energy": [f"KL {gap:.3f}" if gap else "right" for gap, _ in wide.index],
        "Estimate": [ESTIMATOR_NAMES[name] for _, name in wide.index],
    }
    for size in sizes:
        pairs = zip(wide["relative_bias", size], wide["standard_error", size], strict=True)
        shown[f"{size:,} points"] = [f"{_signed(value)} ± {2 * error:.3f}" for value, error in pairs]
    shown["Limit"] = [_signed(value) for value in wide["limit", sizes[0]]]
    return Table(
        "Bias of the estimates of Z: numbers",
        "Mean of the estimate over the true Z, less 1, ± two standard errors, by the number of points of each source; "
        "limit: of endless samples. KL: of the energy's density from the data, in nats.",
        rows,
        pd.DataFrame(shown),
    )


def sign_table(rows: pd.DataFrame) -> Table:
    """What each reading of the discriminator learns."""
    shown = {
        "Logit": rows["logit"].map(minus),
        "Precision": rows["precision"].map("{:.3f}".format).map(minus),
        "log Z": rows["log_z"].map("{:.3f}".format).map(minus),
        "KL": [f"{kl:.3f}" if np.isfinite(kl) else "no density" for kl in rows["kl"]],
    }
    return Table(
        "The sign in section 4: numbers",
        "The quadratic energy that each reading of the discriminator learns of a standard normal, whose precision is "
        "1 and whose log Z is 0.919. KL: of the learnt density from the data, in nats.",
        rows,
        pd.DataFrame(shown),
    )


def _power(value: float) -> str:
    return minus(f"{value:.1e}")


def _share(value: float) -> str:
    return f"{value:.2f}" if value > 0.005 or value == 0 else _power(value)


def _signed(value: float) -> str:
    return minus(f"{value:+z.3f}").replace("+0.000", "0.000")
