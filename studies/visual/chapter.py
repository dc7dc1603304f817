"""The chapter on visual imitation: maps, what generalises to new ones, and what happens off the expert's path."""

from collections.abc import Iterator
from functools import partial
from itertools import product

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Polygon

from studies.visual import schema
from studies.visual.schema import Size
from threefold.report import style
from threefold.report.chapter import PALETTE, TRUTH, Chapter, Read, colours, legend, minus, row
from threefold.report.plot import Plot
from threefold.report.tables import NONE, Table

ROWS = {
    "table": "table",
    "table_minus_one": "table, reward −1",
    "table_plus_one": "table, reward +1",
    "table_positive": "table, reward −log(1 − D)",
    "table_no_action": "table, D without actions",
    "pixels": "pictures",
    "gail": "GAIL",
    "gail_anywhere": "GAIL, from anywhere",
    "gail_slippery": "GAIL, slippery",
    "gail_anywhere_demonstrations": "GAIL, demonstrations from anywhere",
    "gail_anywhere_walks": "GAIL, own walks from anywhere",
    "gail_slippery_demonstrations": "GAIL, slippery demonstrations",
    "gail_minus_one": "reward −1",
    "gail_minus_one_anywhere": "reward −1, walks from anywhere",
    "gail_no_action": "GAIL, D without actions",
    "gail_shared": "GAIL, one representation",
    "bc": "BC",
    "bc_anywhere": "BC, from anywhere",
    "bc_slippery": "BC, slippery",
    "dagger": "DAgger",
}
METHODS = ("gail", "gail_minus_one", "bc", "dagger")
WHERE = {"on": "on the expert's path", "slipped": "off it, where one slips to", "off": "all cells off it"}
MEASURES = ("success", "success_slips", "js", "on", "slipped", "off")
KEY = ["row", "maps", "demonstrations", "split"]
SIDE = 8
# of up, down, left, right: where an arrow points, and the triangle of a cell, as figures draw it (rows go down)
ARROWS = np.array([[0, -1], [0, 1], [-1, 0], [1, 0]])
CORNERS = np.array([[-0.5, -0.5], [0.5, -0.5], [0.5, 0.5], [-0.5, 0.5]])
EDGES = ((0, 1), (2, 3), (3, 0), (1, 2))
LOGITS = colormaps["PRGn"].with_extremes(bad="#BBBBBB")
CLEAR = 6.0  # a logit beyond which colours do not go
# What counts: as success 1, as occupancies that agree, as a wide gap, as a gap at all, as the share that closes it.
ALWAYS, ALIKE, WIDE, SOME, CLOSED = 0.99, 0.02, 0.2, 0.05, 0.5


def chapter(read: Read, size: Size) -> Chapter:
    """Figures and tables of the study."""
    learnt, cells = partial(read, "learnt.csv.gz", schema.LEARNT), partial(read, "cells.csv.gz", schema.CELLS)
    plots = {
        "visual_paths": Plot(
            lambda: path_figure(cells()),
            "Maps and paths",
            "The first seed's first map, at the end. Blue: how often a cell is visited (discounted occupancy); framed: "
            "cells that the expert meets; S and G: start and goal; arrows: the policy, green where the action is "
            "optimal, red where not. Off the path arrows are a guess, but where walks started anywhere.",
            ("studies/visual/cells.csv.gz",),
        ),
        "visual_logits": Plot(
            lambda: logit_figure(cells()),
            "The discriminator's logit",
            "The maps of the figure before; each cell has a triangle for each action: up, down, left, right. Green: "
            "the discriminator takes the action for the expert's; purple: for the policy's. First panel: the exact "
            "optimum for the policy with which the second panel's row ends; grey: where neither that policy nor the "
            "expert goes, nothing is known.",
            ("studies/visual/cells.csv.gz",),
        ),
        "visual_maps": Plot(
            lambda: map_figure(learnt()),
            "New maps",
            "Probability of reaching the goal, against the number of training maps. Filled: on training maps; open: on "
            f"{size.held_out} held-out maps; points: seeds; lines: their means. Dotted: before training, when "
            "a policy is all but uniform.",
            ("studies/visual/learnt.csv.gz",),
        ),
        "visual_off": Plot(
            lambda: off_figure(learnt()),
            "Off the expert's path",
            f"Probability of an optimal action on training maps, {min(size.maps)} of them. Points: seeds; bars: their "
            "means. Off the path, where one slips to: cells off the path as often as an expert meets them a fifth of "
            "whose actions is random. Dotted: before training.",
            ("studies/visual/learnt.csv.gz",),
        ),
        "visual_learning": Plot(
            lambda: learning_figure(learnt()),
            "Success while learning",
            "Probability of reaching the goal against iterations, means over seeds. Solid: training maps; dashed: "
            "held-out maps. An iteration of GAIL costs a few times one of cloning.",
            ("studies/visual/learnt.csv.gz",),
            diagnostic=True,
        ),
    }
    return Chapter(
        "Imitation from pictures",
        "GAIL whose policy and discriminator see pictures of random grid worlds, each through a convolutional network "
        "that is trained with it, in the setting of Ivanovic, Zhu, Garg & Savarese (of about 2017), whose numbers are "
        "not known here. Each map can be solved, so that occupancies and successes are exact. "
        f"{max(size.demonstrations):,} demonstrations are spread over the training maps; {_seeds(size)}, each "
        "with maps of its own. The expert takes shortest paths, so that a reward of −1 a step, which knows nothing of "
        "it, has the same best policies: what GAIL adds is what it does better than that reward.",
        plots,
        lambda: {
            "visual_claims": claims(learnt(), size),
            "visual_table": results_table(learnt()),
        },
    )


def final(rows: pd.DataFrame) -> pd.DataFrame:
    """Each learner's last line, with most demonstrations."""
    last = rows.groupby(KEY)["iteration"].transform("max")
    return rows[(rows["iteration"] == last) & (rows["demonstrations"] == rows["demonstrations"].max())]


def panels(cells: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """The maps to draw, with their titles."""
    for name, split in product(ROWS, ("training", "held-out")):
        of = cells[(cells["row"] == name) & (cells["split"] == split)]
        if len(of) and (split == "training" or name == "gail"):
            yield ROWS[name] + (",\nheld-out map" if split == "held-out" else ""), of


def drawn_maps(count: int) -> tuple[Figure, list[Axes]]:
    """A figure of so many maps, four in a row."""
    lines = -(-count // 4)
    figure = Figure(figsize=(style.WIDTH, 2.5 * lines))
    axes = list(figure.subplots(lines, 4, squeeze=False).flat)
    for ax in axes:
        ax.set_axis_off()
    return figure, axes


def draw_map(ax: Axes, title: str, of: pd.DataFrame) -> None:
    """Walls, start and goal."""
    walls = np.ones(SIDE * SIDE)
    walls[of["cell"]] = np.nan
    ax.imshow(walls.reshape(SIDE, SIDE), cmap="gray", vmin=1, vmax=2, zorder=3)
    for kind, text in (("start", "S"), ("goal", "G")):
        (cell,) = of.loc[of["kind"] == kind, "cell"].unique()
        ax.text(cell % SIDE, cell // SIDE, text, ha="center", va="center", fontsize=8, fontweight="bold", zorder=5)
    ax.set_title(title)
    ax.set_xlim(-0.5, SIDE - 0.5)
    ax.set_ylim(SIDE - 0.5, -0.5)
    ax.set_aspect("equal")


def path_figure(cells: pd.DataFrame) -> Figure:
    """A map per row: where its policy goes and what it would do elsewhere."""
    shown = list(panels(cells))
    figure, axes = drawn_maps(len(shown))
    for ax, (title, of) in zip(axes, shown, strict=False):
        draw_map(ax, title, of)
        visits = np.zeros(SIDE * SIDE)
        np.add.at(visits, of["cell"], of["visits"])
        ax.imshow(np.sqrt(visits).reshape(SIDE, SIDE), cmap="Blues", vmin=0, vmax=0.5, zorder=1)
        met = of.groupby("cell")["expert_visits"].sum()
        for cell in met.index[met > 0]:
            x, y = cell % SIDE, cell // SIDE
            ax.add_patch(_frame(x, y))
        acting = of[(of["kind"] != "goal") & (of["policy"] > 0.05)]
        x, y = acting["cell"] % SIDE, acting["cell"] // SIDE
        along = ARROWS[acting["action"]] * 0.45 * acting["policy"].to_numpy()[:, None]
        colour = np.where(acting["expert"] > 0, PALETTE[1], PALETTE[2])
        ax.quiver(x, y, *along.T, color=colour, angles="xy", scale_units="xy", scale=1, width=0.012, zorder=4)
    return figure


def _frame(x: int, y: int) -> Polygon:
    return Polygon(CORNERS * 0.92 + (x, y), facecolor="none", edgecolor="#222222", linewidth=0.8, zorder=4)


def logit_figure(cells: pd.DataFrame) -> Figure:
    """A map per row, a triangle per action; the first row's optimal logits come first."""
    shown = [(title, of, "logit") for title, of in panels(cells)]
    title, of, _ = shown[0]
    shown = [(f"{title}, optimal", of, "best_logit"), *shown]
    figure, axes = drawn_maps(len(shown))
    for ax, (title, of, column) in zip(axes, shown, strict=False):
        acting = of[of["kind"] != "goal"]
        draw_map(ax, title, of)
        middle = np.stack([acting["cell"] % SIDE, acting["cell"] // SIDE], -1)
        triangles = [
            np.stack([at, *(at + CORNERS[list(EDGES[action])])])
            for at, action in zip(middle, acting["action"], strict=True)
        ]
        values = np.ma.masked_invalid(acting[column].replace(-np.inf, -CLEAR).to_numpy())
        painted = PolyCollection(triangles, array=values, cmap=LOGITS, clim=(-CLEAR, CLEAR), linewidths=0.2)
        painted.set_edgecolor("white")
        ax.add_collection(painted)
    figure.colorbar(painted, ax=axes, shrink=0.6, label="logit")
    return figure


def map_figure(rows: pd.DataFrame) -> Figure:
    """A panel per method: success against the number of maps."""
    last = final(rows)
    figure, axes = row(len(METHODS))
    for ax, (name, colour) in zip(axes, colours(METHODS).items(), strict=True):
        for split, face in (("training", colour), ("held-out", "white")):
            of = last[(last["row"] == name) & (last["split"] == split)]
            means = of.groupby("maps")["success"].mean()
            ax.plot(means.index, means, color=colour, linewidth=1.6, zorder=1)
            ax.plot(of["maps"], of["success"], "o", ms=5, color=colour, mfc=face)
        ax.axhline(first(rows, "success"), **style.RANDOM)
        ax.set_xscale("log")
        numbers = sorted(set(last.loc[last["row"] == name, "maps"]))
        ax.set_xticks(numbers, [f"{number:,}" for number in numbers])
        ax.xaxis.minorticks_off()
        ax.set_ylim(0, 1.03)
        ax.set_title(ROWS[name])
        ax.set_xlabel("training maps")
    axes[0].set_ylabel("success")
    handles = [
        Line2D([], [], marker="o", color="#555555", mfc=face, label=text)
        for text, face in (("training maps", "#555555"), ("held-out maps", "white"))
    ]
    figure.legend(handles=handles, loc="outside upper center", ncols=2)
    return figure


def first(rows: pd.DataFrame, measure: str) -> float:
    """What the first policies of GAIL are worth."""
    return float(rows.loc[(rows["row"] == "gail") & (rows["iteration"] == 0), measure].mean())


def of_smallest_pool(rows: pd.DataFrame) -> pd.DataFrame:
    """The final lines of the smallest pool's training maps."""
    last = final(rows[~rows["row"].str.startswith("table") & (rows["row"] != "pixels")])
    return last[(last["maps"] == last["maps"].min()) & (last["split"] == "training")]


def off_figure(rows: pd.DataFrame) -> Figure:
    """A line per row: agreement on the path and off it."""
    last = of_smallest_pool(rows)
    names = [name for name in ROWS if name in set(last["row"])]
    figure = Figure(figsize=(style.WIDTH, 0.7 + 0.32 * len(names)))
    ax = figure.subplots()
    coloured = colours(WHERE)
    for shift, (where, colour) in zip((-0.2, 0, 0.2), coloured.items(), strict=True):
        means = last.groupby("row")[where].mean()
        places = np.arange(len(names)) + shift
        ax.barh(places, means[names], height=0.18, color=colour, alpha=0.35)
        ax.plot(last[where], last["row"].map(names.index) + shift, "o", ms=4, mew=0, color=colour)
    ax.axvline(first(rows, "off"), **style.RANDOM)
    ax.axvline(1, **TRUTH)
    ax.set_yticks(range(len(names)), [ROWS[name] for name in names])
    ax.set_ylim(len(names) - 0.5, -0.5)
    ax.set_xlabel("probability of an optimal action")
    legend(figure, {WHERE[where]: colour for where, colour in coloured.items()}, marker="o", linestyle="none")
    return figure


def learning_figure(rows: pd.DataFrame) -> Figure:
    """A panel per pool: success against iterations."""
    most = rows[rows["demonstrations"] == rows["demonstrations"].max()]
    numbers = sorted(set(most.loc[most["row"] == "gail", "maps"]))
    figure, axes = row(len(numbers))
    coloured = colours(METHODS)
    for ax, maps in zip(axes, numbers, strict=True):
        for name, colour in coloured.items():
            for split, line in (("training", "-"), ("held-out", "--")):
                of = most[(most["row"] == name) & (most["maps"] == maps) & (most["split"] == split)]
                means = of.groupby("iteration")["success"].mean()
                ax.plot(means.index, means, line, color=colour, marker="o", ms=3, linewidth=1.5)
        ax.set_title(f"{maps:,} training maps")
        ax.set_xlabel("iteration")
        ax.set_ylim(0, 1.03)
    axes[0].set_ylabel("success")
    legend(figure, {ROWS[name]: colour for name, colour in coloured.items()})
    return figure


def claims(rows: pd.DataFrame, size: Size) -> Table:
    """What must hold, what was measured, and whether it holds."""
    last, small = final(rows), of_smallest_pool(rows)
    training = last[last["split"] == "training"]
    worst = training.groupby("row")[["success", "js"]].agg({"success": "min", "js": "max"})
    gail = last[last["row"] == "gail"].groupby(["maps", "split"])["success"].mean().unstack()
    gaps = gail["training"] - gail["held-out"]
    fewest, most = gaps.index.min(), gaps.index.max()
    lines = []

    def line(says: str, measured: str, holds: bool | None) -> None:
        lines.append((says, minus(measured), NONE if holds is None else "yes" if holds else "no"))

    for name, says in (
        ("table", "a table imitates the expert"),
        ("pixels", "and so does a network that sees pictures"),
        ("table_no_action", "and a table whose discriminator sees no action"),
    ):
        success, js = worst.loc[name, ["success", "js"]]
        says = f"one map: {says}: success 1, divergence to 0"
        line(says, f"worst seed: success {success:.3f}, {js:.4f} nats", success >= ALWAYS and js <= ALIKE)
    line(
        "success on training maps is at least that on new ones",
        "; ".join(f"{maps:,} maps: {_pair(gail, maps)}" for maps in gaps.index),
        bool((gaps >= 0).all()),
    )
    falls = f"{gaps[fewest]:.2f} with {fewest:,} maps, {gaps[most]:.2f} with {most:,}"
    line("the gap falls with more training maps", falls, bool(most > fewest and gaps[most] < gaps[fewest]))
    of = small.groupby("row")[list(WHERE)].mean()
    nearer, arrives = (beside(training, measure) for measure in ("js", "success"))
    line(
        "GAIL is nearer to the expert than a reward of −1, which knows nothing of it",
        "; ".join(f"{x.maps:,} maps: {x.gail:.4f} and {x.gail_minus_one:.4f} nats" for x in nearer.itertuples()),
        bool((nearer["gail"] < nearer["gail_minus_one"]).all()),
    )
    line(
        "and reaches the goal more often",
        "; ".join(f"{x.maps:,} maps: {x.gail:.2f} and {x.gail_minus_one:.2f}" for x in arrives.itertuples()),
        bool((arrives["gail"] > arrives["gail_minus_one"]).all()),
    )
    for name in ("gail", "bc"):
        on, slipped, off = of.loc[name, ["on", "slipped", "off"]]
        says = f"{ROWS[name]}: the action is right far less often off the expert's path"
        line(says, f"{on:.2f} on it, {slipped:.2f} where one slips to, {off:.2f} off it", on - off >= WIDE)
    for name, without in (
        ("gail_anywhere", "gail"),
        ("gail_slippery", "gail"),
        ("bc_anywhere", "bc"),
        ("bc_slippery", "bc"),
        ("dagger", "bc"),
    ):
        for where in ("slipped", "off"):
            before, after = of.loc[without], of.loc[name]
            gap, rise = before["on"] - before[where], after[where] - before[where]
            says = f"{ROWS[name]}: at least half of {ROWS[without]}'s gap closes, {WHERE[where]}"
            line(
                says,
                f"gap {gap:.2f}; {before[where]:.2f} to {after[where]:.2f}; on the path {_from_to(before, after)}",
                bool(rise >= CLOSED * gap) if gap > SOME else None,
            )
    cured, idle = of.loc["gail_anywhere", "off"], of.loc["gail_minus_one_anywhere", "off"]
    line(
        "GAIL, from anywhere: right more often off the path than a reward of −1 with such walks",
        f"{cured:.2f} and {idle:.2f}",
        bool(cured > idle),
    )
    stalls = training[training["row"].isin(["table_positive", "table_plus_one"])]["success"].max()
    line("a reward that is positive stalls (success 0)", f"best seed: {stalls:.3f}", stalls <= 1 - ALWAYS)
    minus_one, js = worst.loc["table_minus_one", ["success", "js"]]
    line(
        "a constant reward of −1 finds the goal, knowing nothing of the expert",
        f"worst seed: success {minus_one:.3f}, {js:.4f} nats from the expert",
        minus_one >= ALWAYS,
    )
    data = pd.DataFrame(lines, columns=["says", "measured", "holds"])
    return Table(
        "Imitation from pictures: what must hold",
        f"After the last iteration, {max(size.demonstrations):,} demonstrations; means over {_seeds(size)} "
        f"where no seed is named. Off the path: on {min(size.maps)} training maps. Success 1 is {ALWAYS} or more in "
        f"every seed, divergence to 0 is {ALIKE} nats or less, far less often is by {WIDE} or more. A gap is from the "
        "path to off it, and closes by what is right more often off it, whatever happens on the path; of a gap below "
        f"{SOME} there is no verdict.",
        data,
        data.set_axis(["Must hold", "Measured", "Holds"], axis=1),
    )


def beside(training: pd.DataFrame, measure: str) -> pd.DataFrame:
    """A measure of GAIL and of the reward −1 by the number of training maps, means over seeds."""
    rows = training[training["row"].isin(["gail", "gail_minus_one"])]
    return rows.pivot_table(measure, "maps", "row").reset_index()


def _seeds(size: Size) -> str:
    return f"{len(size.seeds)} seeds" if len(size.seeds) > 1 else "one seed"


def _from_to(before: pd.Series, after: pd.Series) -> str:
    return f"{before['on']:.2f} to {after['on']:.2f}"


def _pair(success: pd.DataFrame, maps: int) -> str:
    return f"{success.loc[maps, 'training']:.2f} and {success.loc[maps, 'held-out']:.2f}"


def _of_discriminator(name: str, value: float) -> str:
    return f"{value:.3f}" if name.startswith(("gail", "table", "pixels")) else NONE


def results_table(rows: pd.DataFrame) -> Table:
    """Means over seeds of every row after its last iteration."""
    ended = rows[rows["iteration"] == rows.groupby(KEY)["iteration"].transform("max")]
    data = ended.groupby(KEY, sort=False)[[*MEASURES, "logit_on", "logit_off", "pairs"]].mean().reset_index()
    order = data["row"].map(list(ROWS).index)
    data = data.iloc[np.lexsort((data["split"].map(["training", "held-out"].index), data["maps"], order))]
    data = data.reset_index(drop=True)
    shown = {
        "Row": data["row"].map(ROWS),
        "Maps": [f"{maps:,}, {split}" for maps, split in zip(data["maps"], data["split"], strict=True)],
        "Demonstrations": data["demonstrations"].map("{:,}".format),
        "Success": data["success"].map("{:.3f}".format),
        "slipping": data["success_slips"].map("{:.3f}".format),
        "Divergence": data["js"].map("{:.4f}".format),
        "Right on the path": data["on"].map("{:.3f}".format),
        "where one slips to": data["slipped"].map("{:.3f}".format),
        "off it": data["off"].map("{:.3f}".format),
        "D's choice, on": [_of_discriminator(*x) for x in zip(data["row"], data["logit_on"], strict=True)],
        "D's choice, off": [_of_discriminator(*x) for x in zip(data["row"], data["logit_off"], strict=True)],
        "Labels of a map": data["pairs"].map("{:,.0f}".format),
    }
    return Table(
        "Imitation from pictures: numbers",
        "Means over seeds, of the policies as they are (stochastic). Success: the probability of reaching the goal "
        "within 32 steps; slipping: where a fifth of the actions is random. Divergence (Jensen-Shannon): of discounted "
        "occupancies from the expert's, nats, at most 0.6931. Right: probability of an optimal action. D's choice: how "
        "often the action with the highest logit is optimal, on the path and off it. Labels: pairs by the expert; "
        "DAgger asks for more.",
        data,
        pd.DataFrame(shown),
    )
