"""The chapter on transfer: what AIRL's rewards are worth where the dynamics are new."""

from functools import partial

import pandas as pd
from matplotlib.figure import Figure

from studies.transfer import chapter_moved, schema
from studies.transfer.schema import Size
from threefold.report import style
from threefold.report.chapter import PALETTE, TRUTH, Chapter, Read, colours, legend, minus
from threefold.report.plot import Plot
from threefold.report.tables import NONE, Table

ROUNDING = 1e-6  # an error that size is none
WORTHLESS = 0.5  # a score below it is hardly better than the uniform policy's
ROWS = {
    "deterministic": "deterministic,\nall states linked",
    "unlinked": "deterministic,\nsome never met",
    "periodic": "deterministic,\nperiodic",
    "stochastic": "stochastic",
    "expected": "stochastic,\nmean of h(s')",
}
STAYING = {"same": "the same action stays at the goal", "other": "another action stays"}
REWARDS = {"state": "g(s)", "state-action": r"g(s, a) = log $\pi_E$"}
# What the paper says of each case; a verdict is on that alone.
PUBLISHED = {
    "deterministic": "g is r up to a constant (theorem 5.1, appendix C)",
    "unlinked": "nothing: the condition fails",
    "periodic": "nothing: the condition fails",
    "stochastic": "g is r up to a constant, and its policy optimal (section 7.1)",
    "expected": "nothing: f is not the paper's",
}


def chapter(read: Read, size: Size) -> Chapter:
    """Figures and tables of the study."""
    learnt = partial(read, "tabular_learnt.csv.gz", schema.LEARNT)
    moved = partial(read, "tabular_transferred.csv.gz", schema.TRANSFERRED)
    rewards = partial(read, "tabular_rewards.csv.gz", schema.REWARDS)
    plots = {
        "transfer_tabular_rewards": Plot(
            lambda: tabular_rewards(rewards()),
            "Rewards that AIRL learns in finite MDPs",
            "The best discriminator's g(s) and the true reward (dashed), both less their mean, by state; the first MDP "
            "of each kind. The expert starts in state 1 and is paid in state 0.",
            ("studies/transfer/tabular_rewards.csv.gz",),
        ),
        "transfer_tabular_scores": Plot(
            lambda: tabular_scores(moved()),
            "Policies under new dynamics",
            "Return of the policy that is optimal, with entropy, for the learnt reward under new transitions: 0 is the "
            "uniform policy, 1 (dashed) the optimum for the true reward. Points: one MDP under one of its new "
            "dynamics. A score above 1 is no better policy: a reward that is wrong and large leaves less entropy.",
            ("studies/transfer/tabular_transferred.csv.gz",),
        ),
    }
    return Chapter(
        "Rewards under new dynamics",
        "Fu, Luo & Levine (2018) let AIRL learn a reward, freeze it, and train a new policy on it where the dynamics "
        f"are others. In finite MDPs that is exact: the best discriminator of {size.tabular.draws} random MDPs of each "
        f"kind, and the optimal policy for its reward under {size.tabular.moves} new transitions each."
        + chapter_moved.lead(size),
        plots | chapter_moved.plots(read, size),
        lambda: {
            "transfer_tabular_table": tabular_table(learnt(), moved()),
            "transfer_tabular_claims": tabular_claims(learnt(), moved()),
            **chapter_moved.tables(read, size),
        },
        lambda: tabular_differences(learnt(), moved()) + chapter_moved.differences(read, size),
    )


def tabular_rewards(rows: pd.DataFrame) -> Figure:
    """A panel per kind of MDP."""
    names = [name for name in ROWS if name in set(rows["row"])]
    figure = Figure(figsize=(style.WIDTH, 2.4))
    axes = figure.subplots(1, len(names), sharey=True, squeeze=False)[0]
    for ax, name in zip(axes, names, strict=True):
        of = rows[rows["row"] == name]
        ax.plot(of["state"], of["learnt"], "o", ms=3.5, color=PALETTE[0])
        ax.step(of["state"], of["true"], where="mid", **TRUTH)
        ax.set_title(ROWS[name])
        ax.set_xlabel("state")
    axes[0].set_ylabel("reward less its mean")
    return figure


def tabular_scores(rows: pd.DataFrame) -> Figure:
    """A panel per reward, a line of points per kind of MDP and action that stays."""
    names = [name for name in ROWS if name in set(rows["row"])]
    figure = Figure(figsize=(style.WIDTH, 3.6))
    axes = figure.subplots(1, len(REWARDS), sharey=True)
    coloured = colours(STAYING)
    for ax, (reward, title) in zip(axes, REWARDS.items(), strict=True):
        for shift, (staying, colour) in zip((-0.15, 0.15), coloured.items(), strict=True):
            of = rows[(rows["reward"] == reward) & (rows["staying"] == staying)]
            places = of["row"].map(names.index) + shift
            ax.plot(of["score"], places, "o", ms=3.5, mew=0, alpha=0.4, color=colour)
        ax.axvline(0, **style.RANDOM)
        ax.axvline(1, **TRUTH)
        ax.set_title(title)
        ax.set_xlabel("score under new dynamics")
    axes[0].set_yticks(range(len(names)), [ROWS[name] for name in names])
    axes[0].set_ylim(len(names) - 0.5, -0.5)
    legend(figure, {STAYING[staying]: colour for staying, colour in coloured.items()}, marker="o", linestyle="none")
    return figure


def tabular_table(learnt: pd.DataFrame, moved: pd.DataFrame) -> Table:
    """What is learnt and what it is worth, by kind of MDP: smallest and largest."""
    measures = ["misfit", "error", "error_met"]
    data = learnt.groupby("row", sort=False)[measures].agg(["min", "max"])
    counts = learnt["row"].value_counts()
    scores = moved.groupby(["row", "reward", "staying"])[["score", "regret"]].agg(["min", "max"])
    names = [name for name in ROWS if name in counts.index]
    shown = {
        "Dynamics": [_line(name) for name in names],
        "MDPs": [str(counts[name]) for name in names],
        "Misfit": [_range(data.loc[name, "misfit"]) for name in names],
        "Error of g": [_range(data.loc[name, "error"]) for name in names],
        "where met": [_range(data.loc[name, "error_met"]) for name in names],
        "Score, g(s)": [_range(scores.loc[(name, "state", "other"), "score"]) for name in names],
        "Regret, g(s)": [_range(scores.loc[(name, "state", "other"), "regret"]) for name in names],
        "Score, g(s, a)": [_range(scores.loc[(name, "state-action", "other"), "score"]) for name in names],
        "the same action stays": [_range(scores.loc[(name, "state-action", "same"), "score"]) for name in names],
    }
    flat = scores.reset_index()
    flat.columns = pd.Index(["_".join(filter(None, column)) for column in flat.columns])
    return Table(
        "Rewards in finite MDPs: numbers",
        "Smallest and largest over random MDPs and new dynamics. Misfit: root mean square of f − log π_E, in nats. "
        "Error of g: largest distance from the true reward after the best constant, over all states and over those "
        "that the expert meets. Score: 0 = uniform policy, 1 = optimum; regret: what reward and entropy fall short of "
        "the optimum, in nats. Another action stays at the goal than where the reward was learnt, but in the last "
        "column.",
        flat,
        pd.DataFrame(shown),
    )


def tabular_claims(learnt: pd.DataFrame, moved: pd.DataFrame) -> Table:
    """The paper's claims beside what was measured, and whether they hold."""
    lines = []
    for name in (name for name in ROWS if name in set(learnt["row"])):
        error = learnt.loc[learnt["row"] == name, "error"]
        of = moved[(moved["row"] == name) & (moved["reward"] == "state")]
        measured = f"g is off by {_range(error)}; score {_range(of['score'])}"
        claimed = name in ("deterministic", "stochastic")
        lines.append((f"g(s), {_line(name)}", PUBLISHED[name], measured, _verdict(error.max() < ROUNDING) * claimed))
    of = moved[(moved["row"] == "stochastic") & (moved["reward"] == "state-action")]
    for staying, text in STAYING.items():
        score = of.loc[of["staying"] == staying, "score"]
        claim = "hardly better than the uniform policy (section 7.1)"
        verdict = _verdict(score.max() < WORTHLESS)
        lines.append((f"g(s, a), stochastic, {text}", claim, f"score {_range(score)}", verdict))
    data = pd.DataFrame(lines, columns=["case", "published", "measured", "holds"])
    shown = data.replace({"holds": {"": NONE}}).set_axis(["Case", "The paper says", "Measured", "Holds"], axis=1)
    return Table(
        "Rewards in finite MDPs: claims",
        "What Fu, Luo & Levine (2018) claim and what the best discriminator does. In a stochastic MDP f(s, a, s') sees "
        "the noise of s', and r with its value function is not where the cross-entropy is least; with the mean of "
        "h(s') in its place it is. The best g(s, a) is log π_E, whose optimal policy is π_E whatever the dynamics: it "
        "is worth what the old policy still is.",
        data,
        shown,
    )


def tabular_differences(learnt: pd.DataFrame, moved: pd.DataFrame) -> list[str]:
    """What the paper claims and is not found, by the same rules as the table of claims."""
    errors, found = learnt.set_index("row")["error"], []
    scores = moved.set_index(["row", "reward", "staying"])["score"].sort_index()
    if errors["stochastic"].max() >= ROUNDING:
        found.append(
            f"In stochastic MDPs g(s) is off by {_range(errors['stochastic'])} and its policy scores "
            f"{_range(scores['stochastic', 'state'])}, where section 7.1 of Fu, Luo & Levine (2018) has it right up to "
            "a constant: f(s, a, s') sees the noise of s'. With the mean of h(s') in its place g(s) is off by "
            f"{_range(errors['expected'])} and its policy scores {_range(scores['expected', 'state'])}."
        )
    same, other = (scores["stochastic", "state-action", staying] for staying in STAYING)
    if same.max() >= WORTHLESS:
        found.append(
            f"g(s, a) is worth more than the uniform policy where the same action stays at the goal as before: it "
            f"scores {_range(same)}; where another one does, {_range(other)}. It is log π_E, so its policy is the old "
            "one, and it is worth what that still is."
        )
    return found


def _line(name: str) -> str:
    return ROWS[name].replace("\n", " ")


def _verdict(holds: bool) -> str:
    return "yes" if holds else "no"


def _range(values: pd.Series) -> str:
    """The smallest and the largest; 0 within rounding."""
    low, high = (minus(f"{0.0 if abs(value) < ROUNDING else value:.2f}") for value in (values.min(), values.max()))
    return low if low == high else f"{low} to {high}"
