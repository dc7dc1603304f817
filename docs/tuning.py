"""The trials of constants (benchmarks/tuning.csv), as the documentation shows them."""

from pathlib import Path

import pandas as pd
import seaborn
from matplotlib.figure import Figure

from threefold.report import style
from threefold.report.cost import BAR
from threefold.tables.statistics import interquartile_mean

TABLE = Path(__file__).parents[1] / "benchmarks" / "tuning.csv"
TRIAL = ["task", "method", "constants", "budget", "commit"]


def trials() -> pd.DataFrame:
    """Return one row for each look at each learner of every trial."""
    return pd.read_csv(TABLE, keep_default_na=False).astype({"score": float})


def rows(task: str, of: pd.DataFrame) -> list[list[str]]:
    """Return a task's trials, by method: what was tried, each learner's last score, when most had learnt, the cost."""
    found = []
    for (_, method, constants, budget, commit), trial in of[of["task"] == task].groupby(TRIAL, sort=False):
        looks = trial.pivot_table(index="env_steps", columns="seed", values="score")
        middle = pd.Series(interquartile_mean(looks.to_numpy()), looks.index)
        learnt = middle.index[middle >= BAR]
        found.append(
            [
                style.label(method),
                f"`{constants}`" if constants else "as it is",
                f"{middle.iloc[-1]:.2f}",
                " ".join(f"{score:.2f}" for score in looks.iloc[-1]),
                style.steps(learnt[0]) if len(learnt) else "–",
                style.steps(budget),
                f"{trial['seconds'].iloc[0] / 60:.0f}",
                f"`{commit}`",
            ]
        )
    return sorted(found, key=lambda row: row[:1])


def cost(of: pd.DataFrame) -> str:
    """Return what all trials together took."""
    each = of.groupby(TRIAL)[["seconds"]].first()
    return f"{len(each)} trials, {each['seconds'].sum() / 3600:.1f} hours of a core"


def curves(of: pd.DataFrame) -> bytes:
    """Draw the scores of every method as it is, over environment steps: a panel for each task."""
    plain = of[of["constants"] == ""]
    last = plain.groupby(["task", "method"])["commit"].transform("last")
    plain = plain[plain["commit"] == last].assign(Method=lambda x: x["method"].map(style.label))
    tasks = list(plain["task"].unique())
    figure = Figure(figsize=(style.WIDTH, style.PANEL_HEIGHT * 1.4), layout="constrained")
    for ax, task in zip(figure.subplots(1, len(tasks), sharey=True, squeeze=False)[0], tasks, strict=True):
        palette = {style.label(name): colour for name, colour in style.colours(plain["method"].unique()).items()}
        shown = plain[plain["task"] == task]
        last_ax = task == tasks[-1]
        seaborn.lineplot(
            shown, x="env_steps", y="score", hue="Method", palette=palette, errorbar=("pi", 100), ax=ax, legend=last_ax
        )
        ax.axhline(1, **style.EXPERT)
        ax.axhline(BAR, **style.RANDOM)
        ax.set(
            title=task, xlabel="environment steps of a learner", ylabel="score (0 random, 1 expert)", ylim=(-0.3, 1.1)
        )
        ax.xaxis.set_major_formatter(style.steps_formatter())
        if last_ax:
            seaborn.move_legend(ax, "center left", bbox_to_anchor=(1, 0.5))
    return style.render(figure, "png")
