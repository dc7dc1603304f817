"""Of the chapter on transfer: rewards taken from one maze to another, and from an ant to one with disabled legs."""

from collections.abc import Callable, Mapping
from functools import partial

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from studies.transfer import schema
from studies.transfer.schema import Size
from threefold.report import style
from threefold.report.chapter import TRUTH, Read, colours, legend
from threefold.report.inputs import PUBLISHED
from threefold.report.plot import Plot
from threefold.report.tables import NONE, Table, number_text, score_text

PAIRS = {"point_maze": "the point maze", "ant": "the ant with two disabled legs"}
ROWS = {
    "airl_state": "AIRL, g(s)",
    "airl": "AIRL, g(s, a)",
    "gcl": "GCL, c(s, a)",
    "gail": "GAIL",
}
KINDS = {"reward": "a new policy, trained on the reward", "imitator": "the imitator as it is"}
MARKERS = {"reward": "o", "imitator": "D"}
SIZES = {"reward": 5, "imitator": 4, "reference": 9}
ORDERS = {"same": "motors in the same order", "authors": "motors in the order of the authors' file"}
REFERENCES = {
    "oracle": "PPO on the true reward",
    "expert": "the first task's expert, as it is",
    "random": "random actions",
    "still": "no action",
    "stuck": "straight into the barrier",
}
# Table 1 of the paper by our rows; its GAN-GCL is GCL on trajectories.
TABLE = {"airl_state": ("AIRL", "yes"), "airl": ("AIRL", "no"), "gcl": ("GAN-GCL", "no")}
TASKS = {"point_maze": "PointMaze-Shift", "ant": "Ant-Disabled"}
ORDER_UNKNOWN = {
    "point_maze": "",
    "ant": " Whether it was made with the order of motors in the authors' file is not said: it stands beside both.",
}
UNKNOWN = (float("nan"), float("nan"))
STILL = {"point_maze": -50.0, "ant": 0.0}  # what no action returns on the paper's tasks
# The level that a claim of table 1 is about: on the maze the way straight into the barrier, on the ant no action.
LEVEL = {"point_maze": "stuck", "ant": "still"}
PASSED = 1.0  # more than it, in return: it is above


def plots(read: Read, size: Size) -> dict[str, Plot]:
    """Return two figures of each pair of tasks that the profile has."""
    found = {}
    for name in _pairs(size):
        rows = partial(read, f"{name}_moved.csv.gz", schema.MOVED)
        source = (f"studies/transfer/{name}_moved.csv.gz",)
        found[f"transfer_{name}"] = Plot(
            partial(_drawn, scores_figure, rows, name),
            f"Rewards on {PAIRS[name]}",
            "Score on the second task: 0 is no action, 1 (dashed) PPO on its true reward. Points: a learner each. "
            "Circles: published (Fu et al. 2018, table 1), between the same two levels there; of GAIL the policy.",
            source,
        )
        found[f"transfer_{name}_shares"] = Plot(
            partial(_drawn, shares_figure, rows, name),
            f"Rewards on {PAIRS[name]}, by when they were frozen",
            "Score of a new policy on the second task against the share of the training after which its reward was "
            "frozen; the last one is what counts. Thin: a learner each; thick: their mean.",
            source,
        )
    return found


def lead(size: Size) -> str:
    """Return what the chapter says of the pairs of tasks that the profile has."""
    if not (names := [PAIRS[name] for name in _pairs(size)]):
        return ""
    return (
        f" On MuJoCo tasks, {' and '.join(names)}, rewards are learnt by imitation of the first task's expert, frozen, "
        "and new policies are trained on them by PPO, from nothing. The reward that counts is the last one, as was "
        "said beforehand; those of earlier iterations show what that choice is worth."
    )


def tables(read: Read, size: Size) -> dict[str, Table]:
    """Return a table of each pair of tasks that the profile has."""
    found = {}
    for name in _pairs(size):
        rows = read(f"{name}_moved.csv.gz", schema.MOVED)
        found[f"transfer_{name}_table"] = table(rows, name, size)
        found[f"transfer_{name}_claims"] = claims(rows, name)
    return found


def differences(read: Read, size: Size) -> list[str]:
    """Return what table 1 of the paper has on another side of its level than some learner here."""
    frames = {name: read(f"{name}_moved.csv.gz", schema.MOVED) for name in _pairs(size)}
    return [text for name, rows in frames.items() for text in _differences(rows, name)]


def _differences(rows: pd.DataFrame, name: str) -> list[str]:
    levels = rows[rows["kind"] == "reference"].groupby("row")["episode_return"].mean()
    level, short = levels[LEVEL[name]], levels["oracle"] <= levels[LEVEL[name]] + PASSED
    found = []
    for x in claims(rows, name).data.query("share < 1").itertuples():
        motors = f", {ORDERS[x.where]}" if name == "ant" else ""
        ours = dict.fromkeys(map(number_text, (x.return_min, x.return_max)))
        told = (
            f"{PAIRS[name].capitalize()}, {(ROWS | REFERENCES)[x.row]}{motors}: the {number_text(x.published)} of "
            f"Fu et al. (2018) is {x.side} the level, {REFERENCES[LEVEL[name]]}, {number_text(level)} here; "
            f"{f'{100 * x.share:.0f} % of ours are' if x.share else 'none of ours is'} ({' to '.join(ours)})."
        )
        if short and x.side == "above" and x.row != "oracle":
            told += " Nor is the oracle, in so few steps: this size shows that all runs, no more."
        found.append(told)
    return found


def _no_score(rows: pd.DataFrame) -> bool:
    """Return whether some oracle stays where going straight ends: its return is no unit then."""
    lowest = rows[rows["kind"] == "reference"].groupby("row")["episode_return"].min()
    return "stuck" in lowest.index and bool(lowest["oracle"] < lowest["stuck"] + PASSED)


def _pairs(size: Size) -> list[str]:
    return [name for name in PAIRS if getattr(size, name)]


def _drawn(figure: Callable[..., Figure], rows: Callable[[], pd.DataFrame], name: str) -> Figure:
    return figure(with_score(rows()), name)


def with_score(rows: pd.DataFrame) -> pd.DataFrame:
    """Return rows on the second task with their score between no action and the oracle's mean.

    There is none where an oracle has not passed the barrier.
    """
    ends = rows[rows["kind"] == "reference"].groupby("row")["episode_return"].mean()
    there = rows[rows["where"] != "source"]
    unit = float("nan") if _no_score(rows) else ends["oracle"] - ends["still"]
    return there.assign(score=(there["episode_return"] - ends["still"]) / unit)


def published(name: str) -> dict[str, tuple[float, float]]:
    """Return the paper's mean return and its score of each of our rows; of `gail` the policy's."""
    frame = pd.read_csv(PUBLISHED / "airl_table1_transfer.csv").fillna("")
    frame = frame[frame["task"] == TASKS[name]].set_index(["method", "state_only"])["mean"]
    oracle = frame["TRPO on the true reward", ""]
    means = {row: frame[key] for row, key in TABLE.items()}
    means |= {"gail": frame["GAIL policy transfer", ""], "oracle": oracle}
    return {row: (mean, (mean - STILL[name]) / (oracle - STILL[name])) for row, mean in means.items()}


def scores_figure(rows: pd.DataFrame, name: str) -> Figure:
    """A panel per order of the motors, a line per row of a method or reference."""
    orders = [order for order in ORDERS if order in set(rows["where"])]
    names = ROWS | {row: text for row, text in REFERENCES.items() if row in set(rows["row"])}
    figure = Figure(figsize=(style.WIDTH, 0.8 + 0.32 * len(names)))
    axes = figure.subplots(1, len(orders), sharey=True, sharex=True, squeeze=False)[0]
    coloured = colours(KINDS)
    for ax, order in zip(axes, orders, strict=True):
        _scores(ax, rows[(rows["where"] == order) & (rows["share"] == 1.0)], list(names), coloured)
        for row, (_, score) in published(name).items():
            ax.plot([score], [list(names).index(row)], "o", ms=7, fillstyle="none", color="#444444", zorder=1)
        if len(orders) > 1:
            ax.set_title(ORDERS[order])
        ax.set_xlabel("score")
    axes[0].set_yticks(range(len(names)), list(names.values()))
    axes[0].set_ylim(len(names) - 0.5, -0.5)
    handles = [Line2D([], [], marker=MARKERS[k], ls="none", color=coloured[k], label=t) for k, t in KINDS.items()]
    handles.append(Line2D([], [], marker="o", ls="none", fillstyle="none", color="#444444", label="published"))
    figure.legend(handles=handles, loc="outside upper center", ncols=len(handles))
    return figure


def _scores(ax: Axes, rows: pd.DataFrame, names: list[str], coloured: Mapping[str, str]) -> None:
    ax.axvline(0, **style.RANDOM)
    ax.axvline(1, **TRUTH)
    for kind, shift in (("reward", -0.15), ("imitator", 0.15), ("reference", 0.0)):
        of = rows[rows["kind"] == kind]
        colour, marker = coloured.get(kind, "#444444"), MARKERS.get(kind, "|")
        ax.plot(
            of["score"], of["row"].map(names.index) + shift, marker, ls="none", ms=SIZES[kind], color=colour, alpha=0.7
        )


def shares_figure(rows: pd.DataFrame, _: str) -> Figure:
    """A line per row and learner, with the motors in the same order."""
    figure = Figure(figsize=(style.WIDTH, 2.9))
    ax, coloured = figure.subplots(), colours(ROWS)
    for row, colour in coloured.items():
        of = rows[(rows["where"] == "same") & (rows["kind"] == "reward") & (rows["row"] == row)]
        for _, learner in of.groupby("seed"):
            ax.plot(learner["share"], learner["score"], color=colour, linewidth=0.7, alpha=0.5)
        mean = of.groupby("share")["score"].mean()
        ax.plot(mean.index, mean, color=colour, linewidth=2)
    ax.axhline(0, **style.RANDOM)
    ax.axhline(1, **TRUTH)
    ax.set_xlabel("share of the training")
    ax.set_ylabel("score of a new policy")
    legend(figure, {ROWS[row]: colour for row, colour in coloured.items()})
    return figure


def table(rows: pd.DataFrame, name: str, size: Size) -> Table:
    """Returns and scores of every row, ours and published."""
    own = rows[rows["where"] == "source"].groupby("row")["episode_return"].mean()
    last = with_score(rows)
    last = last[last["share"] == 1.0]
    groups = last.groupby(["row", "kind", "where"])
    data = groups.agg(
        return_mean=("episode_return", "mean"),
        return_min=("episode_return", "min"),
        return_max=("episode_return", "max"),
        score_mean=("score", "mean"),
        learners=("seed", "size"),
    ).reset_index()
    order = [*ROWS, *REFERENCES]
    data = data.sort_values(["where", "kind", "row"], key=lambda column: column.map(_place(order)), kind="stable")
    papers = published(name)
    beside = [papers[x.row] if x.row in papers and x.kind == _told(x.row) else UNKNOWN for x in data.itertuples()]
    data["published_return"], data["published_score"] = zip(*beside, strict=True)
    shown = pd.DataFrame(
        {
            "Row": data["row"].map(ROWS | REFERENCES),
            "What plays": data["kind"].map(KINDS).fillna(NONE),
            "Motors": data["where"].map(_motors),
            "Return": [
                f"{number_text(x.return_mean)} [{number_text(x.return_min)}, {number_text(x.return_max)}]"
                for x in data.itertuples()
            ],
            "Score": data["score_mean"].map(score_text),
            "Published return": data["published_return"].map(number_text),
            "Published score": data["published_score"].map(score_text),
        }
    )
    learners = f"{n} learners" if (n := len(getattr(size, name).seeds)) > 1 else "one learner"
    imitated = "; ".join(f"{text} {number_text(own[row])}" for row, text in ROWS.items() if row in own.index)
    expert = f" Their expert returns {number_text(own['expert'])} there." if "expert" in own.index else ""
    unscored = (
        " Some oracle has not passed the barrier in so few steps: there are no scores." if _no_score(rows) else ""
    )
    return Table(
        f"Rewards on {PAIRS[name]}: numbers",
        f"Mean true return over {learners} on the second task [smallest, largest], and its score: 0 is no action, 1 "
        f"PPO on the true reward.{unscored} Published: Fu et al. (2018), table 1, with its own two levels."
        f"{ORDER_UNKNOWN[name]} The imitators' mean returns on the first task: {imitated}.{expert}",
        data,
        shown,
    )


def claims(rows: pd.DataFrame, name: str) -> Table:
    """On which side of a level the paper's numbers are, and whether each of our learners is there too."""
    level = rows.loc[rows["row"] == LEVEL[name], "episode_return"].mean()
    lines = []
    for row, (mean, _) in published(name).items():
        of = rows[(rows["row"] == row) & (rows["kind"] == _told(row)) & (rows["share"] == 1.0)]
        above = mean > level + PASSED
        for order in (order for order in ORDERS if order in set(of["where"])):
            found = of.loc[of["where"] == order, "episode_return"]
            holds = (found > level + PASSED) == above
            lines.append((row, order, "above" if above else "not above", mean, found.min(), found.max(), holds.mean()))
    columns = ["row", "where", "side", "published", "return_min", "return_max", "share"]
    data = pd.DataFrame(lines, columns=columns)
    shown = pd.DataFrame(
        {
            "Row": data["row"].map(ROWS | REFERENCES),
            "What plays": [KINDS.get(_told(row), NONE) for row in data["row"]],
            "Motors": data["where"].map(_motors),
            "Claim": [f"{x.side} the level ({number_text(x.published)})" for x in data.itertuples()],
            "Measured": [f"{number_text(x.return_min)} to {number_text(x.return_max)}" for x in data.itertuples()],
            "Holds": [_holds(share) for share in data["share"]],
        }
    )
    return Table(
        f"Rewards on {PAIRS[name]}: claims",
        f"On which side of a level table 1 of Fu et al. (2018) has a row (its return in brackets), and our learners "
        f"[smallest to largest]. The level is {REFERENCES[LEVEL[name]]}, {number_text(level)} here; above is by more "
        f"than {PASSED:.0f}.",
        data,
        shown,
    )


def _holds(share: float) -> str:
    return {1.0: "yes", 0.0: "no"}.get(share, f"of {share:.0%} of the learners".replace("%", " %"))


def _motors(order: str) -> str:
    return "the authors'" if order == "authors" else order


def _told(row: str) -> str:
    """What of a row the paper takes to the second task: its reward, but of GAIL the policy."""
    return {"gail": "imitator", "oracle": "reference"}.get(row, "reward")


def _place(order: list[str]) -> dict[str, int]:
    every = [*ORDERS, *KINDS, "reference", *order]
    return {name: place for place, name in enumerate(every)}
