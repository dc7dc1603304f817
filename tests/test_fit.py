"""Constants that are each in range and do not fit together: refused before anything of a profile is computed."""

from pathlib import Path

import pytest

from tests import synthetic
from threefold.base.errors import InputError
from threefold.cells.plan import write_plan

ROOT = Path(__file__).parents[1]
TASK = "InvertedPendulum-v5"  # of 1,000 steps
BUDGET = {"env_steps": 64, "parallel_episodes": 4, "demonstrations": [1]}


def plan(tmp_path, method="gail", overrides=None, variant=None, task=TASK, budget=BUDGET):
    """Plan a profile of one method, with a variant where its constants are given; what it refuses, without the path."""
    variants = {f"{method}_x": {"method": method, "tasks": [task], "config": variant}} if variant else {}
    params = synthetic.design(
        tmp_path, root=str(ROOT), tasks=[task], methods=[method], budget={task: budget},
        overrides={task: overrides or {}}, variants=variants,
    )  # fmt: skip
    params.with_name("plan.json").unlink(missing_ok=True)
    try:
        write_plan(params)
    except InputError as error:
        (line,) = str(error).splitlines()
        assert line.startswith(f"{params}: ")
        assert not params.with_name("plan.json").exists()
        return line.removeprefix(f"{params}: ")
    return ""


def test_a_minibatch_for_each_transition_is_the_most(tmp_path):
    assert not plan(tmp_path, overrides={"ppo.steps": 8, "ppo.minibatches": 32})
    assert plan(tmp_path, overrides={"ppo.steps": 8, "ppo.minibatches": 33}) == (
        f"overrides.{TASK}.ppo.minibatches: 33, but a rollout of ppo.steps 8 in 4 parallel episodes has 32 "
        f"transitions; write fewer, or more steps ({TASK}/gail)"
    )


@pytest.mark.parametrize("constants", [{"ppo.minibatches": 1025}, {"ppo.steps": 1}])
def test_the_key_is_the_variants_where_the_variant_says_it(tmp_path, constants):
    said = plan(tmp_path, variant=constants)
    assert said.startswith("variants.gail_x.config.ppo.minibatches: ")
    assert said.endswith(f"({TASK}/gail_x)")


def test_a_trust_region_has_no_minibatches_and_needs_a_transition(tmp_path):
    trust = {"loop.inner": "trpo", "ppo.steps": 1}
    assert not plan(tmp_path, overrides=trust)
    said = plan(tmp_path, overrides=trust | {"loop.trpo.share": 0.0})
    assert said.startswith(f"overrides.{TASK}.loop.trpo.share: 0, ")


@pytest.mark.parametrize("inner", ["ppo", "trpo"])
def test_a_rollout_of_one_transition_has_no_spread(tmp_path, inner):
    one = {"loop.inner": inner, "ppo.steps": 1, "ppo.minibatches": 1}
    said = plan(tmp_path, overrides=one, budget=BUDGET | {"parallel_episodes": 1})
    assert said.startswith(f"overrides.{TASK}.ppo.steps: 1, but a rollout in 1 parallel episode needs 2 transitions")
    assert not plan(tmp_path, overrides=one, budget=BUDGET | {"parallel_episodes": 2})


def test_a_segment_is_no_longer_than_an_episode(tmp_path):
    assert not plan(tmp_path, "gcl", {"segment": 1000})
    assert plan(tmp_path, "gcl", {"segment": 1001}) == (
        f"overrides.{TASK}.segment: 1001, but an episode of {TASK} has 1000 steps; write at most that ({TASK}/gcl)"
    )


def test_discrete_actions_for_a_method_that_differentiates_through_them(tmp_path):
    assert plan(tmp_path, "mgail", task="CartPole-v1") == (
        "tasks: CartPole-v1: its actions are discrete, and mgail differentiates through continuous ones; "
        "leave it out with left_out.CartPole-v1.mgail"
    )
    assert not plan(tmp_path, "mgail", {"ppo.steps": 1, "ppo.minibatches": 999})  # of segments, drawn with replacement
