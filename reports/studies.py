"""The chapters of the report on theory: the connection of Finn et al. 2016, and densities in the plane.

    python -m reports.studies --params params.yaml --only density_scores

writes reports/<profile>/figures/<name>.pdf and .png from results/<profile>/studies/. Without --only, all of them.
"""

import argparse
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from errors import InputError, one_line
from reports import style
from reports.figures import Plot, write
from reports.tables import NONE, Table
from results import schema as files
from results.design import Design, load
from studies import schema

TRUTH: dict[str, Any] = {"color": "#222222", "linestyle": (0, (5, 2)), "linewidth": 1.1}
LEAST = 1e-17  # a relative error of zero is drawn here
FLOOR = 7.0  # nats below the highest density of the target at which a map is blank

METHODS = {
    ("exact", "none"): "exact log Z",
    ("likelihood", "flow"): "likelihood, flow",
    ("likelihood", "gaussian"): "likelihood, Gaussian",
    ("kim_bengio", "flow"): "Kim-Bengio, flow",
    ("ebm_gan", "gaussian"): "EBM-GAN, Gaussian",
    ("ebm_gan", "mixture"): "EBM-GAN, mixture",
    ("ebm_gan", "flow"): "EBM-GAN, flow",
    ("ebm_gan_fused", "flow"): "EBM-GAN fused, flow",
    ("ebm_gan", "narrow"): "EBM-GAN, narrow Gaussian",
    ("ebm_gan_fused", "narrow"): "EBM-GAN fused, narrow Gaussian",
}
SAMPLES = {
    "alike": "data near the generator",
    "apart": "data far from the generator",
    "optimal": r"data drawn from $p_\theta$",
}
ESTIMATES = {
    "b": "b, solved",
    "log_z_generator": "generator alone",
    "log_z_mixture": "mixture, p known",
    "log_z_bound": "no weights (lower bound)",
}
ESTIMATORS = {
    "generator": "generator alone",
    "mixture, p known": "mixture, p known",
    "mixture, p_theta for p": r"mixture, $p_\theta$ for p",
    "b": "b, solved",
}
LOSSES = {"discriminator": "discriminator's loss", "cost": "guided cost learning's loss"}
GENERATORS = {"gaussian": "Gaussian", "mixture": "mixture", "flow": "flow"}
LANDSCAPES = {
    "data": ("data", "none", "data", None),
    "exact log Z:\nenergy": ("exact", "none", "energy", None),
    "EBM-GAN, Gaussian:\nenergy, samples": ("ebm_gan", "gaussian", "energy", "generator"),
    "EBM-GAN, flow:\nenergy, samples": ("ebm_gan", "flow", "energy", "generator"),
    "fused, flow:\nenergy, samples": ("ebm_gan_fused", "flow", "energy", "generator"),
    "Kim-Bengio, flow:\nenergy, samples": ("kim_bengio", "flow", "energy", "generator"),
    "likelihood:\nflow": ("likelihood", "flow", "generator", None),
}
TWO_MODES = {
    "EBM-GAN\nfrom a wide start": ("ebm_gan", "gaussian"),
    "EBM-GAN\nfrom a narrow start": ("ebm_gan", "narrow"),
    "EBM-GAN fused\nfrom a narrow start": ("ebm_gan_fused", "narrow"),
}


def plots(design: Design) -> dict[str, Plot]:
    """All figures of the studies by name, in reading order; none if the profile has no studies."""
    if design.studies is None:
        return {}
    read = partial(_read, design)
    return connection(read) | density(read, design.studies.density.targets)


Key = TypeVar("Key")
Reader = Callable[[str, files.Schema], pd.DataFrame]


def _read(design: Design, name: str, columns: files.Schema) -> pd.DataFrame:
    return files.read_csv(design.results / "studies" / name, columns)


def connection(read: Reader) -> dict[str, Plot]:
    """The three claims, and what happens where their conditions fail."""
    return {
        "connection_claims": Plot(
            lambda: claims(read("connection/claims.csv", schema.CLAIMS)),
            "The connection: three claims",
            "Relative error of each claim of Finn et al. 2016 on random neural energies, generators and samples, in "
            "float64; every point is one energy and one sample. Claim 1: where the discriminator's loss has no slope "
            "in Z, Z is the mixture's importance-sampling estimate (at any other Z, the slope is its relative error). "
            "Claim 2: there, the discriminator's gradient is guided cost learning's. Claim 3: the generator's loss is "
            "entropy-regularised cost, and its gradient that cost's. Dashed: 1e-10.",
            ("studies/connection/claims.csv",),
        ),
        "connection_gradient": Plot(
            lambda: gradient(read("connection/gradient.csv", schema.GRADIENT)),
            "What a wrong log Z costs",
            "Error of the gradient by the energy's parameters, relative to the gradient at the solved log Z, against "
            "the error of log Z. Lines: median over random energies; bands: their middle 80 %. Where the energy is "
            "right, the true gradient is small and a wrong log Z drowns it: so log Z is solved, not slowly learnt.",
            ("studies/connection/gradient.csv",),
        ),
        "connection_bias": Plot(
            lambda: bias(read("connection/bias.csv", schema.BIAS)),
            "Bias of the estimates of Z",
            "Mean of the estimate over the true Z, less 1, against how wrong the energy is. Error bars: two standard "
            "errors over repeated samples; lines: the limit of endless samples. Weights made with the generator "
            "alone, or with the data's true density, leave no bias. With p_θ in its place, as in a GAN, the "
            "estimate is biased until the energy is right, and twice as much with Z solved for as with Z known.",
            ("studies/connection/bias.csv",),
        ),
        "connection_sign": Plot(
            lambda: sign(read("connection/sign.csv", schema.SIGN)),
            "The sign in section 4",
            "Energies that each reading of the discriminator learns of a standard normal. With −E and log Z (section "
            "3.1) the energy is right. Without log Z it must normalise itself, which a quadratic cannot. With +E, as "
            "printed in section 4, it is upside down: exp(−E) has no integral.",
            ("studies/connection/sign.csv",),
        ),
    }


def density(read: Reader, targets: Sequence[str]) -> dict[str, Plot]:
    """What the energy, the generator and log Z are worth where everything is known."""
    training = partial(read, "density/training.csv", schema.TRAINING)
    maps, samples = partial(read, "density/maps.csv", schema.MAPS), partial(read, "density/samples.csv", schema.DRAWN)
    of_training, of_maps = (
        ("studies/density/training.csv",),
        ("studies/density/maps.csv", "studies/density/samples.csv"),
    )
    return {
        "density_landscapes": Plot(
            lambda: landscapes(maps(), samples(), targets),
            "Energies and samples",
            "Log densities of the data, of exp(−E)/Z for learnt energies, and of a flow; darker is denser, on the "
            f"target's own scale, and blank is more than {FLOOR:.0f} nats below its peak. Points: samples of the "
            "generator that learnt with the energy. First seed.",
            of_maps,
        ),
        "density_scores": Plot(
            lambda: scores(training(), targets),
            "Errors of energies and generators",
            "After training, every seed a point: the error of the solved log Z, the divergence of the learnt energy, "
            "and that of its generator, from the data, by quadrature. Dotted: 0.05 and 0.03 nats. Exact log Z (by "
            "quadrature in every step) is what the energy could reach; the flow of maximum likelihood is EBM-GAN's.",
            of_training,
        ),
        "density_log_z": Plot(
            lambda: log_z(training(), targets),
            "Estimates of log Z while EBM-GAN learns",
            "Estimates less the true log Z (by quadrature), from 10,000 points of each source, first seed. The "
            "estimate that weighs the mixture by the data's true density is out of reach for a method.",
            of_training,
        ),
        "density_fixed": Plot(
            lambda: fixed(training(), targets),
            "A generator alone, with the energy known",
            "Above: log Z estimated from the generator alone, less the true one. Below: divergence of the generator "
            "from the data. Every line is a seed. A flow that drops modes fits the rest, and its estimate stays low.",
            of_training,
        ),
        "density_two_modes": Plot(
            lambda: two_modes(maps(), training()),
            "Covering and seeking",
            "One Gaussian as generator, for data of two modes (60 % and 40 %). Maximum likelihood covers both. So does "
            "EBM-GAN's generator from a wide start: reverse KL has a local minimum there. From a narrow start, nearer "
            "the smaller mode, it seeks that one; its energy keeps mass on the other but loses its shape, since where "
            "the generator never goes the discriminator is certain and teaches nothing. Fused with a wide Gaussian "
            "(half of the negatives), the generator seeks and the energy keeps both. Numbers: mass left of the middle, "
            "and KL(p, p_θ), means over seeds.",
            (*of_maps, *of_training),
        ),
        "density_spread": Plot(
            lambda: spread(read("density/spread.csv", schema.SPREAD)),
            "Estimates of log Z against the number of points",
            "Mean error and one standard deviation over repeated samples of a ring of eight Gaussians, nothing learnt. "
            "Generators: one wide Gaussian, and one that has all but lost half of the modes. Energies: right, and that "
            "of a ring of wider modes.",
            ("studies/density/spread.csv",),
        ),
    }


def claims(rows: pd.DataFrame) -> Figure:
    """A column of points per claim and kind of sample."""
    figure = Figure(figsize=(7.2, 3.0))
    ax = figure.subplots()
    names = list(dict.fromkeys(rows["claim"]))
    jitter = np.random.default_rng(0)
    colours = _colours(SAMPLES)
    for i, (sample, colour) in enumerate(colours.items()):
        for j, name in enumerate(names):
            error = rows.loc[(rows["claim"] == name) & (rows["sample"] == sample), "relative_error"]
            x = j + 0.25 * (i - 1) + jitter.uniform(-0.09, 0.09, len(error))
            ax.plot(x, error.clip(lower=LEAST), "o", ms=2, mew=0, alpha=0.5, color=colour)
    ax.axhline(1e-10, **TRUTH)
    ax.set_yscale("log")
    ax.set_ylim(LEAST / 2, 1e-9)
    ax.set_xticks(range(len(names)), [f"claim {name}" for name in names])
    ax.grid(visible=False, axis="x")
    ax.set_ylabel("relative error")
    of_samples = {SAMPLES[sample]: colour for sample, colour in colours.items()}
    _legend(figure, of_samples, marker="o", linestyle="none")
    return figure


def gradient(rows: pd.DataFrame) -> Figure:
    """A panel per kind of sample, a colour per loss."""
    figure, axes = _row(len(SAMPLES), sharey=True)
    colours = dict(zip(LOSSES, ("#D55E00", "#0072B2"), strict=True))
    for ax, (sample, title) in zip(axes, SAMPLES.items(), strict=True):
        for loss, colour in colours.items():
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
    _legend(figure, {LOSSES[loss]: colour for loss, colour in colours.items()})
    return figure


def bias(rows: pd.DataFrame) -> Figure:
    """A panel per size of sample."""
    sizes = sorted(set(rows["points"]))
    figure, axes = _row(len(sizes), sharey=True)
    colours = _colours(ESTIMATORS)
    for ax, size in zip(axes, sizes, strict=True):
        for i, (estimator, colour) in enumerate(colours.items()):
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
    _legend(figure, {ESTIMATORS[name]: colour for name, colour in colours.items()}, marker="o")
    return figure


def sign(rows: pd.DataFrame) -> Figure:
    """The learnt quadratics, and the true one."""
    figure = Figure(figsize=(4.6, 3.0))
    ax = figure.subplots()
    x = np.linspace(-3, 3, 121)
    for (_, row), colour in zip(rows.iterrows(), ("#009E73", "#E69F00", "#D55E00"), strict=True):
        known = f"KL {row['kl']:.2f}" if np.isfinite(row["kl"]) else "no density"
        ax.plot(x, row["precision"] * x**2 / 2, color=colour, linewidth=2, label=f"l = {_minus(row['logit'])}: {known}")
    ax.plot(x, x**2 / 2, label="true", **TRUTH)
    ax.set_xlabel("x")
    ax.set_ylabel("learnt energy E(x)")
    figure.legend(loc="outside upper center", ncols=2)
    return figure


def landscapes(maps: pd.DataFrame, samples: pd.DataFrame, targets: Sequence[str]) -> Figure:
    """A row per target, a column per learner."""
    rows, columns = len(targets), len(LANDSCAPES)
    figure = Figure(figsize=(style.WIDTH, style.WIDTH / columns * rows + 0.5))
    grid = figure.subplots(rows, columns, squeeze=False)
    for target, line in zip(targets, grid, strict=True):
        top = _pick(maps, target, "data", "none", "data")["log_density"].max()
        for ax, (title, (method, generator, source, over)) in zip(line, LANDSCAPES.items(), strict=True):
            _map(ax, _pick(maps, target, method, generator, source), top)
            if over is not None:
                points = _pick(samples, target, method, generator, over)
                ax.plot(points["x"], points["y"], ".", ms=1.6, mew=0, color="#D55E00", alpha=0.7)
            if target == targets[0]:
                ax.set_title(title, fontsize=8)
        line[0].set_ylabel(target.replace("_", " "))
    return figure


def scores(rows: pd.DataFrame, targets: Sequence[str]) -> Figure:
    """A row of points per method within a panel per target and measure."""
    last = _final(rows)
    last["log_z_error"] = (last["b"] - last["log_z"]).abs()
    measures = {"log_z_error": "|b − log Z|", "kl_energy": r"KL(p, $p_\theta$)", "kl_generator": "KL(p, q)"}
    methods = [key for key in METHODS if key[1] != "narrow" and key != ("likelihood", "gaussian")]
    figure = Figure(figsize=(style.WIDTH, 1.45 * len(targets) + 0.5))
    grid = figure.subplots(len(targets), len(measures), squeeze=False, sharey=True, sharex="col")
    for target, line in zip(targets, grid, strict=True):
        for ax, measure in zip(line, measures, strict=True):
            for place, (method, generator) in enumerate(methods):
                found = last[(last["target"] == target) & (last["method"] == method) & (last["generator"] == generator)]
                ax.plot(
                    found[measure].clip(lower=1e-4),
                    np.full(len(found), place),
                    "o",
                    ms=4.5,
                    mew=0,
                    alpha=0.7,
                    color=_colours(methods)[method, generator],
                )
            ax.set_xscale("log")
            if measure != "kl_generator":
                ax.axvline(0.05 if measure == "log_z_error" else 0.03, **style.RANDOM)
            if target == targets[-1]:
                ax.set_xlabel(measures[measure] + ", nats")
        line[0].set_title(target.replace("_", " "), loc="left")
        line[0].set_yticks(range(len(methods)), [METHODS[key] for key in methods])
        line[0].set_ylim(len(methods) - 0.5, -0.5)
    return figure


def log_z(rows: pd.DataFrame, targets: Sequence[str]) -> Figure:
    """A row per generator, a column per target."""
    rows = rows[(rows["method"] == "ebm_gan") & (rows["seed"] == rows["seed"].min())]
    colours = _colours(ESTIMATES)
    figure, grid = _panels(len(GENERATORS), targets)
    for (generator, name), line in zip(GENERATORS.items(), grid, strict=True):
        for ax, target in zip(line, targets, strict=True):
            of = rows[(rows["target"] == target) & (rows["generator"] == generator)]
            table = of.pivot(index="step", columns="metric", values="value")
            for estimate, colour in colours.items():
                ax.plot(table.index, table[estimate] - table["log_z"], color=colour, linewidth=1.6)
            ax.axhline(0, **TRUTH)
            ax.set_ylim(-1.5, 0.75)
        line[0].set_ylabel(f"{name}\nerror, nats")
    _legend(figure, {ESTIMATES[name]: colour for name, colour in colours.items()})
    return figure


def fixed(rows: pd.DataFrame, targets: Sequence[str]) -> Figure:
    """Two rows of panels: the estimate of log Z and the divergence, a colour per generator."""
    rows = rows[rows["method"] == "fixed"]
    colours = _colours(GENERATORS)
    figure, grid = _panels(2, targets)
    for target, (above, below) in zip(targets, grid.T, strict=True):
        for generator, colour in colours.items():
            of = rows[(rows["target"] == target) & (rows["generator"] == generator)]
            table = of.pivot(index="step", columns=["metric", "seed"], values="value")
            above.plot(table.index, table["log_z_generator"] - table["log_z"], color=colour, linewidth=1.4)
            below.plot(table.index, table["kl_generator"], color=colour, linewidth=1.4)
        above.axhline(0, **TRUTH)
        above.set_ylim(-1.5, 0.75)
        below.set_yscale("log")
    for ax, label in zip(grid[:, 0], ("log Z, generator alone:\nerror, nats", "KL(p, q), nats"), strict=True):
        ax.set_ylabel(label)
    _legend(figure, {GENERATORS[generator]: colour for generator, colour in colours.items()})
    return figure


def two_modes(maps: pd.DataFrame, rows: pd.DataFrame) -> Figure:
    """Generators above, energies below; on the left likelihood's generator, and the data."""
    of = _final(rows).groupby(["target", "method", "generator"]).mean(numeric_only=True).loc["two_modes"]
    figure = Figure(figsize=(style.WIDTH, 3.6))
    above, below = figure.subplots(2, 1 + len(TWO_MODES))
    top = _pick(maps, "two_modes", "data", "none", "data")["log_density"].max()

    def panel(ax: Axes, method: str, generator: str, source: str, text: str) -> None:
        _map(ax, _pick(maps, "two_modes", method, generator, source), top)
        ax.set_ylim(-2.6, 2.6)
        ax.set_xlabel(text)

    covering = of.loc["likelihood", "gaussian"]
    panel(above[0], "likelihood", "gaussian", "generator", f"left {covering['left_generator']:.0%}")
    panel(below[0], "data", "none", "data", "left 60%")
    above[0].set_title("likelihood")
    below[0].set_title("data")
    for place, (title, (method, generator)) in enumerate(TWO_MODES.items(), 1):
        found = of.loc[method, generator]
        panel(above[place], method, generator, "generator", f"left {found['left_generator']:.0%}")
        energy = f"left {found['left_energy']:.0%}, KL {found['kl_energy']:.3f}"
        panel(below[place], method, generator, "energy", energy)
        above[place].set_title(title)
    above[0].set_ylabel("generator")
    below[1].set_ylabel("energy")
    return figure


def spread(rows: pd.DataFrame) -> Figure:
    """A panel per energy and generator."""
    panels = list(rows[["energy", "generator"]].drop_duplicates().itertuples(index=False, name=None))
    figure, axes = _row(len(panels), sharey=True)
    colours = _colours(ESTIMATES)
    for ax, (energy, generator) in zip(axes, panels, strict=True):
        of = rows[(rows["energy"] == energy) & (rows["generator"] == generator)]
        for estimator, colour in colours.items():
            found = of[of["estimator"] == estimator].sort_values("points")
            ax.plot(found["points"], found["mean"], color=colour, linewidth=1.6, marker="o", ms=3)
            low, high = found["mean"] - found["std"], found["mean"] + found["std"]
            ax.fill_between(found["points"], low, high, color=colour, alpha=0.2, linewidth=0)
        ax.axhline(0, **TRUTH)
        ax.set_xscale("log")
        ax.set_ylim(-1.2, 0.8)
        ax.set_title(f"energy {energy},\ngenerator {generator}")
        ax.set_xlabel("points of each source")
    axes[0].set_ylabel("error of log Z, nats")
    _legend(figure, {ESTIMATES[name]: colour for name, colour in colours.items()})
    return figure


def tables(design: Design) -> dict[str, Table]:
    """The result of every learner in the plane, averaged over seeds; none if the profile has no studies."""
    if design.studies is None:
        return {}
    last = _final(_read(design, "density/training.csv", schema.TRAINING))
    last["log_z_error"] = last["b"] - last["log_z"]
    last = last[last["method"] != "fixed"]
    numbers = {
        "log_z_error": "b − log Z",
        "kl_energy": "KL, energy",
        "kl_generator": "KL, generator",
        "held_out_energy": "Likelihood, energy",
        "held_out_generator": "Likelihood, generator",
    }
    means = last.groupby(["target", "method", "generator"], sort=False)[list(numbers)].mean().reset_index()
    shown = {
        "Target": means["target"].str.replace("_", " "),
        "Method": [METHODS[key] for key in zip(means["method"], means["generator"], strict=True)],
    } | {text: means[name].map(_nats) for name, text in numbers.items()}
    return {
        "density": Table(
            "Densities in the plane",
            "Means over seeds after training, in nats. KL: divergence from the data by quadrature. Likelihood: mean "
            "log density of 10,000 held-out points.",
            means,
            pd.DataFrame(shown),
        )
    }


def _nats(value: float) -> str:
    return _minus(f"{value:.3f}") if np.isfinite(value) else NONE


def _minus(text: str) -> str:
    return text.replace("-", "−")


def _final(rows: pd.DataFrame) -> pd.DataFrame:
    """One row per learner with its metrics at the last step."""
    last = rows[rows["step"] == rows["step"].max()]
    return last.pivot(index=list(schema.LEARNER), columns="metric", values="value").reset_index()


def _pick(rows: pd.DataFrame, target: str, method: str, generator: str, source: str) -> pd.DataFrame:
    keys = {"target": target, "method": method, "generator": generator, "source": source}
    return rows[(rows[list(keys)] == pd.Series(keys)).all(axis=1)]


def _map(ax: Axes, rows: pd.DataFrame, top: float) -> None:
    table = rows.pivot(index="y", columns="x", values="log_density")
    low, high = table.columns[0], table.columns[-1]
    ax.imshow(
        np.ma.masked_less(table.to_numpy(), top - FLOOR),
        origin="lower",
        extent=(low, high, low, high),
        cmap="GnBu",
        norm=Normalize(top - FLOOR, top),
        interpolation="bilinear",
    )
    ax.set_xlim(low, high)
    ax.set_ylim(low, high)
    ax.set_xticks([])
    ax.set_yticks([])
    ax.grid(visible=False)
    ax.spines[:].set_visible(True)


def _colours(names: Iterable[Key]) -> dict[Key, str]:
    return dict(
        zip(
            names,
            ("#0072B2", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#E69F00", "#332288", "#882255"),
            strict=False,
        )
    )


def _row(count: int, height: float = 2.5, sharey: bool = False) -> tuple[Figure, list[Axes]]:
    figure = Figure(figsize=(style.WIDTH, height + 0.4))
    return figure, list(figure.subplots(1, count, sharey=sharey, squeeze=False)[0])


def _panels(rows: int, targets: Sequence[str]) -> tuple[Figure, np.ndarray]:
    """Rows by targets, whose names stand above and whose steps stand below."""
    width = min(style.PANEL_WIDTH, style.WIDTH / len(targets))
    figure = Figure(figsize=(width * len(targets) + 0.6, 1.7 * rows + 0.6))
    grid = figure.subplots(rows, len(targets), squeeze=False, sharex=True, sharey="row")
    for ax, target in zip(grid[0], targets, strict=True):
        ax.set_title(target.replace("_", " "))
    for ax in grid[-1]:
        ax.set_xlabel("steps")
        ax.xaxis.set_major_formatter(style.steps_formatter())
    return figure, grid


def _legend(figure: Figure, colours: Mapping[str, str], **look: Any) -> None:
    look = {"linewidth": 2} | look
    handles = [Line2D([], [], color=colour, label=name, **look) for name, colour in colours.items()]
    figure.legend(
        handles=handles, loc="outside upper center", ncols=min(len(handles), int(figure.get_figwidth() / 1.9))
    )


def main() -> None:
    """Write one figure of the studies, or all of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--params", type=Path, default=Path("params.yaml"), help="of the profile")
    parser.add_argument("--only", metavar="NAME", help="this figure alone")
    arguments = parser.parse_args()
    design = load(arguments.params)
    known = plots(design)
    if arguments.only and arguments.only not in known:
        raise InputError(f"--only {arguments.only}: no such figure; choose from {', '.join(known)}")
    for name in [arguments.only] if arguments.only else known:
        write(known[name], design.root / "reports" / design.profile / "figures", name)


if __name__ == "__main__":
    with one_line():
        main()
