"""The chapter on densities in the plane: what the energy, the generator and log Z are worth where all is known."""

from collections.abc import Sequence
from functools import partial

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from studies.density import schema
from studies.density.schema import Size
from threefold.report import style
from threefold.report.chapter import TRUTH, Chapter, Read, colours, legend, nats, row, with_worst
from threefold.report.plot import Plot
from threefold.report.tables import NONE, Table

AIMS = {"log_z_error": 0.05, "kl_energy": 0.03}  # nats
AIMED = ("ring", "moons")  # the targets of the aims
FLOOR = 7.0  # nats below the highest density of the target at which a map is lightest
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
ESTIMATES = {
    "b": "b, solved",
    "log_z_generator": "generator alone",
    "log_z_mixture": "mixture, p known",
    "log_z_bound": "no weights (bound)",
}
GENERATORS = {"gaussian": "Gaussian", "mixture": "mixture", "flow": "flow"}
EBM_GANS = {("ebm_gan", generator): name for generator, name in GENERATORS.items()} | {
    ("ebm_gan_fused", "flow"): "flow, fused"
}
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


def chapter(read: Read, size: Size) -> Chapter:
    """Figures and tables of the study."""
    training, spreads = partial(read, "training.csv.gz", schema.TRAINING), partial(read, "spread.csv.gz", schema.SPREAD)
    maps, samples = partial(read, "maps.csv.gz", schema.MAPS), partial(read, "samples.csv.gz", schema.DRAWN)
    of_training = ("studies/density/training.csv.gz",)
    of_maps = ("studies/density/maps.csv.gz", "studies/density/samples.csv.gz")
    plots = {
        "density_landscapes": Plot(
            lambda: landscapes(maps(), samples(), size.targets),
            "Energies and samples",
            "Log densities of the data, of exp(−E)/Z for learnt energies, and of a flow; darker is denser, on the "
            f"target's own scale, and lightest is {FLOOR:.0f} nats below its peak or more. Points: samples of the "
            "generator that learnt with the energy. First seed.",
            of_maps,
        ),
        "density_scores": Plot(
            lambda: scores(training(), size.targets),
            "Errors of energies and generators",
            "After training, every seed a point: the error of the solved log Z, the divergence of the learnt energy, "
            "and that of its generator, from the data, by quadrature. Dotted: 0.05 and 0.03 nats. Exact log Z (by "
            "quadrature in every step) is what the energy could reach; the flow of maximum likelihood is EBM-GAN's.",
            of_training,
        ),
        "density_log_z": Plot(
            lambda: log_z(training(), size.targets),
            "Estimates of log Z while EBM-GAN learns",
            "Estimates less the true log Z (by quadrature), from 10,000 points of each source, first seed. The "
            "estimate that weighs the mixture by the data's true density is out of reach for a method; where even that "
            "one stays low, exp(−E) has mass where neither source ever goes.",
            of_training,
        ),
        "density_fixed": Plot(
            lambda: fixed(training(), size.targets),
            "A generator alone, with the energy known",
            "Above: log Z estimated from the generator alone, less the true one. Below: divergence of the generator "
            "from the data. Every line is a seed. A flow that drops modes fits the rest, and its estimate stays low, "
            "but for jumps when one of its points strays into a lost mode.",
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
            lambda: spread(spreads()),
            "Estimates of log Z against the number of points",
            "Mean error and one standard deviation over repeated samples of a ring of eight Gaussians, nothing learnt. "
            "Generators: one wide Gaussian, and one that has all but lost half of the modes. Energies: right, and that "
            "of a ring of wider modes.",
            ("studies/density/spread.csv.gz",),
        ),
    }
    return Chapter(
        "Densities in the plane",
        "Energies and generators learn densities in two dimensions, where every divergence and every log Z is known by "
        f"quadrature: {size.steps:,} steps on {size.batch:,} fresh points of each source, {len(size.seeds)} seed"
        f"{'s' if len(size.seeds) > 1 else ''}. EBM-GAN is the GAN of Finn et al., its log Z solved in every step; "
        "“fused” adds a wide Gaussian to its generator, as guided cost learning keeps its first sampler.",
        plots,
        lambda: {
            "density_results": results_table(training(), size.targets),
            "density_spread_table": spread_table(spreads()),
        },
    )


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
                    color=colours(methods)[method, generator],
                )
            ax.set_xscale("log")
            if measure in AIMS:
                ax.axvline(AIMS[measure], **style.RANDOM)
            if target == targets[-1]:
                ax.set_xlabel(measures[measure] + ", nats")
        line[0].set_title(target.replace("_", " "), loc="left")
        line[0].set_yticks(range(len(methods)), [METHODS[key] for key in methods])
        line[0].set_ylim(len(methods) - 0.5, -0.5)
    return figure


def log_z(rows: pd.DataFrame, targets: Sequence[str]) -> Figure:
    """A row per EBM-GAN, a column per target."""
    rows = rows[rows["seed"] == rows["seed"].min()].set_index(["target", "method", "generator"]).sort_index()
    coloured = colours(ESTIMATES)
    figure, grid = _panels(len(EBM_GANS), targets)
    for (key, name), line in zip(EBM_GANS.items(), grid, strict=True):
        for ax, target in zip(line, targets, strict=True):
            of = rows.loc[(target, *key)]
            table = of.pivot(index="step", columns="metric", values="value")
            for estimate, colour in coloured.items():
                ax.plot(table.index, table[estimate] - table["log_z"], color=colour, linewidth=1.6)
            _errors(ax)
        line[0].set_ylabel(f"{name}:\nerror, nats")
    legend(figure, {ESTIMATES[name]: colour for name, colour in coloured.items()})
    return figure


def fixed(rows: pd.DataFrame, targets: Sequence[str]) -> Figure:
    """Two rows of panels: the estimate of log Z and the divergence, a colour per generator."""
    rows = rows[rows["method"] == "fixed"]
    coloured = colours(GENERATORS)
    figure, grid = _panels(2, targets)
    for target, (above, below) in zip(targets, grid.T, strict=True):
        for generator, colour in coloured.items():
            of = rows[(rows["target"] == target) & (rows["generator"] == generator)]
            table = of.pivot(index="step", columns=["metric", "seed"], values="value")
            above.plot(table.index, table["log_z_generator"] - table["log_z"], color=colour, linewidth=1.4)
            below.plot(table.index, table["kl_generator"], color=colour, linewidth=1.4)
        _errors(above)
        below.set_yscale("log")
    for ax, label in zip(grid[:, 0], ("log Z, generator alone:\nerror, nats", "KL(p, q), nats"), strict=True):
        ax.set_ylabel(label)
    legend(figure, {GENERATORS[generator]: colour for generator, colour in coloured.items()})
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
    panel(above[0], "likelihood", "gaussian", "generator", _left(covering["left_generator"]))
    panel(below[0], "data", "none", "data", _left(0.6))
    above[0].set_title("likelihood")
    below[0].set_title("data")
    for place, (title, (method, generator)) in enumerate(TWO_MODES.items(), 1):
        found = of.loc[method, generator]
        panel(above[place], method, generator, "generator", _left(found["left_generator"]))
        energy = f"{_left(found['left_energy'])}, KL {found['kl_energy']:.3f}"
        panel(below[place], method, generator, "energy", energy)
        above[place].set_title(title)
    above[0].set_ylabel("generator")
    below[1].set_ylabel("energy")
    return figure


def spread(rows: pd.DataFrame) -> Figure:
    """A panel per energy and generator."""
    panels = list(rows[["energy", "generator"]].drop_duplicates().itertuples(index=False, name=None))
    figure, axes = row(len(panels))
    coloured = colours(ESTIMATES)
    for ax, (energy, generator) in zip(axes, panels, strict=True):
        of = rows[(rows["energy"] == energy) & (rows["generator"] == generator)]
        for estimator, colour in coloured.items():
            found = of[of["estimator"] == estimator].sort_values("points")
            ax.plot(found["points"], found["mean"], color=colour, linewidth=1.6, marker="o", ms=3)
            low, high = found["mean"] - found["std"], found["mean"] + found["std"]
            ax.fill_between(found["points"], low, high, color=colour, alpha=0.2, linewidth=0)
        _errors(ax)
        ax.set_xscale("log")
        ax.set_title(f"energy {energy},\ngenerator {generator}")
        ax.set_xlabel("points of each source")
    axes[0].set_ylabel("error of log Z, nats")
    legend(figure, {ESTIMATES[name]: colour for name, colour in coloured.items()})
    return figure


def _errors(ax: Axes) -> None:
    """An axis of errors of log Z: level near zero, logarithmic beyond a tenth of a nat."""
    ax.axhline(0, **TRUTH)
    ax.set_yscale("symlog", linthresh=0.1)
    ax.set_ylim(-12, 2)
    ax.set_yticks([-10, -1, -0.1, 0, 0.1, 1], ["−10", "−1", "−0.1", "0", "0.1", "1"])
    ax.minorticks_off()


def _final(rows: pd.DataFrame) -> pd.DataFrame:
    """One row per learner with its metrics at the last step."""
    last = rows[rows["step"] == rows["step"].max()]
    found = last.pivot(index=list(schema.LEARNER), columns="metric", values="value").reset_index()
    return found.assign(log_z_error=(found["b"] - found["log_z"]).abs())


def _pick(rows: pd.DataFrame, target: str, method: str, generator: str, source: str) -> pd.DataFrame:
    keys = {"target": target, "method": method, "generator": generator, "source": source}
    return rows[(rows[list(keys)] == pd.Series(keys)).all(axis=1)]


def _map(ax: Axes, rows: pd.DataFrame, top: float) -> None:
    table = rows.pivot(index="y", columns="x", values="log_density")
    low, high = table.columns[0], table.columns[-1]
    ax.imshow(
        table.clip(lower=top - FLOOR).to_numpy(),
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


def results_table(rows: pd.DataFrame, targets: Sequence[str]) -> Table:
    """The result of every trial: mean over seeds, and the worst of them for what has an aim."""
    last = _final(rows)
    last = last[last["method"] != "fixed"]
    grouped = last.groupby(["target", "method", "generator"], sort=False)
    measures = [*AIMS, "kl_generator", "held_out_energy", "held_out_generator"]
    data = grouped[measures].mean().join(grouped[list(AIMS)].max().add_suffix("_worst"))
    keys = [(target, *key) for target in [*targets, "two_modes"] for key in METHODS]
    data = data.loc[[key for key in keys if key in data.index]].reset_index()
    data["met"] = [_met(row) for row in data.to_dict("records")]
    shown = {
        "Target": data["target"].str.replace("_", " "),
        "Method": [METHODS[key] for key in zip(data["method"], data["generator"], strict=True)],
        "Error of b": with_worst(data, "log_z_error"),
        "KL, energy": with_worst(data, "kl_energy"),
        "KL, generator": data["kl_generator"].map(nats),
        "LL, energy": data["held_out_energy"].map(nats),
        "LL, generator": data["held_out_generator"].map(nats),
        "Aims": data["met"].replace("", NONE),
    }
    return Table(
        "Densities in the plane: results",
        "After training, in nats: mean over seeds, in brackets the worst. Error of b: distance of the solved log Z "
        "from the true one. KL: divergence from the data, by quadrature. LL: mean log likelihood of held-out points. "
        f"Aims, on {' and '.join(AIMED)}: under {AIMS['log_z_error']} and {AIMS['kl_energy']} with every seed.",
        data,
        pd.DataFrame(shown),
    )


def spread_table(rows: pd.DataFrame) -> Table:
    """Error of each estimate of log Z, by the number of points."""
    keys = ["energy", "generator", "estimator"]
    wide = rows.pivot(index=keys, columns="points", values=["mean", "std"])
    wide = wide.loc[rows[keys].drop_duplicates().itertuples(index=False, name=None)]
    shown = {
        "Energy": [energy for energy, _, _ in wide.index],
        "Generator": [generator for _, generator, _ in wide.index],
        "Estimate": [ESTIMATES[estimator] for _, _, estimator in wide.index],
    }
    for points in sorted(set(rows["points"])):
        pairs = zip(wide["mean", points], wide["std", points], strict=True)
        shown[f"{points:,} points"] = [f"{nats(mean)} ± {nats(std)}" for mean, std in pairs]
    return Table(
        "Estimates of log Z against the number of points: numbers",
        "Error of the estimate in nats, mean ± standard deviation over repeated samples.",
        rows,
        pd.DataFrame(shown),
    )


def _met(row: dict) -> str:
    """Whether every seed of a trial with all that the aims are about is within them."""
    if row["target"] not in AIMED or np.isnan(row["log_z_error"]):
        return ""
    return "met" if all(row[f"{name}_worst"] < aim for name, aim in AIMS.items()) else "missed"


def _left(share: float) -> str:
    return f"left {100 * share:.0f} %"
