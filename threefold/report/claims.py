"""What papers say beyond their main table, beside what is found here, a sentence each; and what is not computed yet."""

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from threefold.report.inputs import PUBLISHED_LIMITS, Inputs
from threefold.report.sentences import MANY, beside_own, listed, together, where
from threefold.report.tables import NONE, estimate_text
from threefold.tables import schema, statistics

CARTPOLE = "CartPole-v1"  # which ends when the pole falls
LIES = {"within": "within", "above": "above", "below": "below", NONE: "not computed yet"}  # our mean, among their runs


def trpo(given: Inputs, returns: pd.DataFrame) -> Iterator[str]:
    """PPO stands in the place of TRPO, a departure of every method here: what it is worth."""
    for row, variant in given.design.variants.items():
        if variant.config.get("loop.inner") != "trpo":
            continue
        both, lacking = beside_own(returns, row, variant.method), _not_computed(given, [row])
        told = [
            f"{estimate_text(x.score_mean_own, x.score_low_own, x.score_high_own)} and "
            f"{estimate_text(x.score_mean, x.score_low, x.score_high)} on {where(given, x)}"
            for x in both.dropna(subset=["score_mean", "score_mean_own"]).itertuples()
        ]
        if told or lacking:
            scores = f": {given.label(variant.method)} with the one and the other scores {listed(told)}" if told else ""
            yield f"PPO in the place of the paper's TRPO{scores}.{lacking}"


def entropy(given: Inputs, returns: pd.DataFrame) -> Iterator[str]:
    """Figure 1(b) of Ho & Ermon (2016): whether its weights of causal entropy help GAIL, here and in its own runs."""
    variants = given.design.variants.items()
    rows = [row for row, variant in variants if variant.method == "gail" and [*variant.config] == ["entropy_weight"]]
    ours, theirs = (_beside_gail(scores, rows) for scores in (returns, _published_scores(given)))
    lacking = _not_computed(given, rows)
    if ours.empty and not lacking:
        return
    found = {"here": ours, "in its own runs": theirs}
    told = [f"{whose} {_helps(given, pairs)}" for whose, pairs in found.items() if len(pairs)]
    yield (
        "Causal entropy, figure 1(b) of Ho & Ermon (2016), with 95 % intervals apart from those of GAIL without it: "
        f"{'; '.join(told)}.{lacking}"
    )


def _beside_gail(scores: pd.DataFrame, rows: Sequence[str]) -> pd.DataFrame:
    """The lines of some variants beside GAIL's own, where both have intervals."""
    beside = [beside_own(scores, row, "gail").dropna(subset=["score_low", "score_low_own"]) for row in rows]
    return pd.concat(beside) if beside else scores.iloc[:0]


def _published_scores(given: Inputs) -> pd.DataFrame:
    """Mean scores of the published runs of each row, with intervals like ours."""
    keys = ["task", "row", "demonstrations"]
    found = [
        (*key, *map(float, statistics.mean([runs["score"].to_numpy()], np.random.default_rng(0))))
        for key, runs in given.runs.groupby(keys)
    ]
    return pd.DataFrame(found, columns=[*keys, "score_mean", "score_low", "score_high"])


def _helps(given: Inputs, pairs: pd.DataFrame) -> str:
    above, below = pairs["score_low"] > pairs["score_high_own"], pairs["score_high"] < pairs["score_low_own"]
    helps, costs = (
        "; ".join(together((f"{given.label(x.row)} on {x.task}", x.demonstrations) for x in pairs[which].itertuples()))
        for which in (above, below)
    )
    alike = len(pairs) - above.sum() - below.sum()
    return (
        f"it helps {helps or 'nowhere'}, costs {costs or 'nowhere'}, and in {alike} of {len(pairs)} pairs of a weight "
        "and a number of trajectories intervals overlap"
    )


def cartpole(given: Inputs) -> Iterator[str]:
    """Who keeps CartPole's pole up in every final episode from one trajectory: to the paper's limit, and to ours."""
    rows, runs = (rows.query("task == @CARTPOLE and demonstrations == 1") for rows in (given.learners, given.runs))
    if rows.empty:
        return
    episodes = statistics.final_episodes(given.episodes).groupby(list(schema.LEARNER))
    lasts = episodes.agg(shortest=("episode_return", "min"), fallen=("terminated", "mean"))  # a step gives 1
    rows = rows.join(lasts, on=list(schema.LEARNER))
    trained, limit = rows["status"] == "ok", PUBLISHED_LIMITS[CARTPOLE]
    published = _always(given, runs, runs["episode_return"] >= limit, "run")
    yield (
        f"{CARTPOLE} from 1 trajectory, at its maximum, the time limit, in every final episode. At the published one, "
        f"{limit:.0f} steps: {_always(given, rows, trained & (rows['shortest'] >= limit), 'seed')}"
        + (f" (published: {published})" if published else "")
        + f". At today's, which is longer: {_always(given, rows, trained & (rows['fallen'] == 0), 'seed')}."
    )


def _always(given: Inputs, rows: pd.DataFrame, which: pd.Series, what: str) -> str:
    """Say which rows do something with all of their learners, or runs, and with how many the others do."""
    counts = which.groupby(rows["row"], sort=False).agg(["sum", "size"])
    every = [given.label(row) for row, count, total in counts.itertuples() if count == total]
    fewer = [
        f"{given.label(row)} with {count} of {total}" for row, count, total in counts.itertuples() if count < total
    ]
    return listed([*([f"{listed(every)} with every {what}"] if every else []), *fewer])


def spread(runs: pd.DataFrame) -> Iterator[str]:
    """Where our means lie among the published runs: `runs` is the table `Run by run` as it is shown."""
    counts = runs.groupby("Task", sort=False)["Our mean"].value_counts()
    told = [
        f"{task} {listed([f'{counts[task, how]} {text}' for how, text in LIES.items() if (task, how) in counts])}"
        for task in dict.fromkeys(runs["Task"])
    ]
    below = runs[runs["Our mean"] == "below"]
    places = together((f"{x.Method} on {x.Task}", x.Trajectories) for x in below.itertuples())
    more = [f"{len(places) - MANY} more"] if len(places) > MANY else []
    yield (
        "Our mean among the runs of each row that Ho & Ermon (2016) trained several times, rows by task: "
        f"{'; '.join(told)}." + (f" Below: {'; '.join(places[:MANY] + more)}." if places else "")
    )


def _not_computed(given: Inputs, variants: Sequence[str]) -> str:
    """A sentence on what variants, and their methods beside them, have no results for yet; empty for nothing."""
    wanted = {
        (name, task, number)
        for row in variants
        for task in given.design.variants[row].tasks
        for number in given.design.numbers(task, row)
        for name in (row, given.design.variants[row].method)
    }
    missing = given.missing.drop_duplicates(["row", "task", "demonstrations"])
    told = together(
        (f"{given.label(x.row)} on {x.task}", x.demonstrations)
        for x in missing.itertuples()
        if (x.row, x.task, x.demonstrations) in wanted
    )
    return f" Not computed yet: {'; '.join(told)}." if told else ""
