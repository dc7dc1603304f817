"""What the report says of claims beside the main tables: by hand, where all is computed, a part, and nothing."""

import dataclasses
from collections.abc import Sequence

import pandas as pd

from tests import synthetic
from threefold.report import claims, contents, inputs, tables
from threefold.report.takeaways import takeaways
from threefold.tables import schema

Final = dict[tuple[str, str, int, int], list[float] | None]


def given(path, final: Final, missing: Sequence[tuple[str, str, int, int]] = ()) -> inputs.Inputs:
    """Results by hand, and learners that are not computed."""
    lacking = pd.DataFrame([(*key, "missing", 0, 0, "not computed yet") for key in missing], columns=[*schema.LEARNERS])
    return dataclasses.replace(synthetic.by_hand(path, final), missing=lacking.astype(schema.LEARNERS))


def returned(found: inputs.Inputs) -> pd.DataFrame:
    return tables.returns(found).data


# Figure 1(b) of Ho & Ermon (2016). Random is 0 and the expert 100.

REACHER = "Reacher-v5"
ENDS: Final = {(REACHER, "random", 0, 0): [0], (REACHER, "expert", 0, 0): [100]}
RETURNS = {  # from 4 trajectories the weight 0.001 is above GAIL's own row, 0.1 below it
    ("gail", 4): [50, 52, 54],
    ("gail_entropy_1e-3", 4): [70, 72, 74],
    ("gail_entropy_1e-1", 4): [10, 12, 14],
    ("gail", 18): [90, 92, 94],
    ("gail_entropy_1e-3", 18): [91, 92, 95],
    ("gail_entropy_1e-1", 18): [89, 93, 94],
}
THEIRS = (
    "in its own runs it helps nowhere, costs GAIL, entropy 1e-1 on Reacher-v5 from 4, 11 and 18, and in 3 of 6 pairs "
    "of a weight and a number of trajectories intervals overlap."
)


def reacher(folder):
    weights = {"gail_entropy_1e-3": 0.001, "gail_entropy_1e-1": 0.1}
    variants = {
        name: {"method": "gail", "tasks": [REACHER], "config": {"entropy_weight": weight}}
        for name, weight in weights.items()
    }
    budget = {REACHER: {"env_steps": 1000, "parallel_episodes": 4, "demonstrations": [4, 18]}}
    return synthetic.design(folder, tasks=[REACHER], methods=["gail"], budget=budget, variants=variants)


def test_causal_entropy_helps_where_intervals_lie_apart_and_nowhere_else(tmp_path):
    path = reacher(tmp_path)

    def said(returns, missing=()) -> list[str]:
        final: Final = {(REACHER, *key, seed): [x] for key, each in returns.items() for seed, x in enumerate(each)}
        found = given(path, final | ENDS, missing)
        return list(claims.entropy(found, returned(found)))

    head = "Causal entropy, figure 1(b) of Ho & Ermon (2016), with 95 % intervals apart from those of GAIL without it: "
    assert said(RETURNS) == [
        f"{head}here it helps GAIL, entropy 1e-3 on Reacher-v5 from 4, costs GAIL, entropy 1e-1 on Reacher-v5 from 4, "
        f"and in 2 of 4 pairs of a weight and a number of trajectories intervals overlap; {THEIRS}"
    ]
    (alike,) = said(dict.fromkeys(RETURNS, [50, 52, 54]))
    assert "here it helps nowhere, costs nowhere, and in 4 of 4 pairs" in alike
    assert said({key: each[:1] for key, each in RETURNS.items()}) == []  # one seed has no interval

    lacking = [key for key in RETURNS if key not in (("gail", 4), ("gail", 18), ("gail_entropy_1e-3", 4))]
    missing = [(REACHER, *key, seed) for key in lacking for seed in range(3)]
    (some,) = said({key: each for key, each in RETURNS.items() if key not in lacking}, missing)
    assert f"{head}here it helps GAIL, entropy 1e-3 on Reacher-v5 from 4, costs nowhere, and in 0 of 1 pairs" in some
    told = (
        " Not computed yet: GAIL, entropy 1e-1 on Reacher-v5 from 4 and 18; GAIL, entropy 1e-3 on Reacher-v5 from 18."
    )
    assert some.endswith(told)
    missing = [(REACHER, *key, seed) for key in RETURNS for seed in range(3)]
    (none,) = said({("gail", 11): [50, 52]}, missing)
    assert none.startswith(f"{head}{THEIRS} Not computed yet: GAIL on Reacher-v5 from 4 and 18; GAIL, entropy 1e-3 on")


def test_trpo_is_told_where_it_is_computed_and_else_that_it_is_not(tmp_path):
    trpo = {"method": "gail", "tasks": ["Hopper-v5", "Ant-v5"], "demonstrations": [4], "config": {"loop.inner": "trpo"}}
    budget = {
        task: {"env_steps": 1000, "parallel_episodes": 4, "demonstrations": [4, 11]} for task in ("Hopper-v5", "Ant-v5")
    }
    path = synthetic.design(
        tmp_path, tasks=[*budget], methods=["gail"], seeds=[0, 1], budget=budget, variants={"gail_trpo": trpo}
    )
    ends: Final = {
        (task, *end): [value]
        for task in budget
        for end, value in ((("random", 0, 0), 0.0), (("expert", 0, 0), 100.0), (("gail", 11, 0), 50.0))
    }

    def said(final: Final, missing=()) -> list[str]:
        found = given(path, ends | final, missing)
        return list(claims.trpo(found, returned(found)))

    hopper: Final = {
        ("Hopper-v5", row, 4, seed): [x]
        for row, each in (("gail", (90, 92)), ("gail_trpo", (80, 82)))
        for seed, x in enumerate(each)
    }
    ant = [("Ant-v5", "gail_trpo", 4, seed) for seed in (0, 1)]
    scores = "0.91 [0.90,\u00a00.92] and 0.81 [0.80,\u00a00.82] on Hopper-v5 from 4"
    head = "PPO in the place of the paper's TRPO"
    assert said(hopper) == [f"{head}: GAIL with the one and the other scores {scores}."]
    assert said(hopper, ant) == [
        f"{head}: GAIL with the one and the other scores {scores}. Not computed yet: GAIL, trpo on Ant-v5 from 4."
    ]
    assert said({}, ant) == [f"{head}. Not computed yet: GAIL, trpo on Ant-v5 from 4."]
    assert said({}) == []


def test_cartpole_is_at_its_maximum_where_no_final_episode_ends_at_the_papers_limit_and_at_ours(tmp_path):
    budget = {"CartPole-v1": {"env_steps": 1000, "parallel_episodes": 4, "demonstrations": [1, 4]}}
    path = synthetic.design(tmp_path, tasks=["CartPole-v1"], methods=["bc", "gail"], seeds=[0, 1], budget=budget)
    learners: Final = {
        ("CartPole-v1", "random", 0, 0): [20],
        ("CartPole-v1", "expert", 0, 0): [500],
        ("CartPole-v1", "bc", 1, 0): [500, 199],
        ("CartPole-v1", "bc", 1, 1): [500, 200],
        ("CartPole-v1", "gail", 1, 0): [500, 500],
        ("CartPole-v1", "gail", 1, 1): [500, 500],
        ("CartPole-v1", "bc", 4, 0): [100],
    }

    def said(final: Final) -> list[str]:
        found = given(path, final)
        episodes = found.episodes.assign(terminated=found.episodes["episode_return"] < 500)
        return list(claims.cartpole(dataclasses.replace(found, episodes=episodes)))

    head = (
        "CartPole-v1 from 1 trajectory, at its maximum, the time limit, in every final episode. At the published one, "
        "200 steps: "
    )
    theirs = "(published: GAIL with every run and BC with 0 of 7)"
    assert said(learners) == [
        f"{head}GAIL with every seed and BC with 1 of 2 {theirs}. At today's, which is longer: GAIL with every seed "
        "and BC with 0 of 2."
    ]
    (failed,) = said(learners | {("CartPole-v1", "gail", 1, 1): None})
    assert failed.startswith(
        f"{head}BC with 1 of 2 and GAIL with 1 of 2 {theirs}. At today's, which is longer: BC with 0"
    )
    assert said({key: each for key, each in learners.items() if key[2] != 1}) == []


def test_our_means_are_counted_among_the_published_runs_and_what_is_not_computed_too():
    places = [("A", "within"), ("A", tables.NONE), ("A", "below"), ("B", tables.NONE)]
    runs = pd.DataFrame([(task, "4", "GAIL", mean) for task, mean in places])
    runs.columns = pd.Index(["Task", "Trajectories", "Method", "Our mean"])
    head = "Our mean among the runs of each row that Ho & Ermon (2016) trained several times, rows by task: "
    assert list(claims.spread(runs)) == [
        f"{head}A 1 within, 1 below and 1 not computed yet; B 1 not computed yet. Below: GAIL on A from 4."
    ]
    several = pd.concat([runs[runs["Our mean"] == "below"].assign(Trajectories=number) for number in ("4", "11")])
    assert list(claims.spread(several))[0].endswith(" Below: GAIL on A from 4 and 11.")
    many = pd.concat([several.assign(Method=name) for name in "abcdef"])
    assert list(claims.spread(many))[0].endswith("; d on A from 4 and 11; 2 more.")
    assert list(claims.spread(runs[:1])) == [f"{head}A 1 within."]


def test_every_claim_is_a_takeaway_with_its_table(tmp_path):
    found = given(reacher(tmp_path), ENDS | {(REACHER, "gail", 4, 0): [50.0]}, [(REACHER, "gail_entropy_1e-1", 4, 0)])
    said = {one.text.partition(" ")[0]: one.table for one in takeaways(found, contents.every_table(found))}
    assert (said["Causal"], said["Our"]) == ("returns", "runs")
