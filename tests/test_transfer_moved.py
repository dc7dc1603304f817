"""Rewards taken to another task: what is frozen, whose motors are permuted, and how scores are read."""

from typing import Any

import pandas as pd
import pytest
import torch

import envs
from algorithms import airl, gail, gcl
from algorithms.core.policy import GaussianPolicy
from algorithms.core.population import Generators
from algorithms.core.progress import Progress
from studies.transfer import chapter_moved, moved, schema
from studies.transfer.schema import Moved, Size, Tabular

SIZE = Moved(seeds=[0, 1], trajectories=4, imitation_steps=8192, transfer_steps=4096)
SCALE = torch.tensor([2.0, 0.5])


def progress(kind, config):
    """A learner that knows nothing, but whose statistics and scale are not 0 and 1."""
    generators = Generators([3, 4], "weights")
    policy = GaussianPolicy(3, SCALE, (8,), generators)
    policy.normalizer.update(torch.randn(2, 50, 3, generator=torch.Generator().manual_seed(0)) * 3 + 1)
    model = kind(3, 2, generators, config)
    return Progress(1, 100, policy, {}, {}, {"reward": model})


def samples():
    draw = torch.Generator().manual_seed(1)
    return torch.randn(2, 5, 3, generator=draw), torch.randn(2, 5, 2, generator=draw)


@pytest.mark.parametrize("state_only", [True, False])
def test_airls_frozen_reward_is_g_alone(state_only):
    config = airl.Config(state_only=state_only)
    learnt = progress(airl.Reward, config)
    obs, action = samples()
    found = moved.frozen("airl", learnt, config)(obs, action)
    model, policy = learnt.models["reward"], learnt.policy
    x, u = policy.normalizer(obs), action / SCALE
    inputs = torch.cat([x, torch.zeros(2, 5, 1), *[u] * (not state_only)], -1)
    effort = 0 if state_only else config.torque * u.square().sum(-1)
    torch.testing.assert_close(found, model.g.network(inputs)[..., 0] - effort)
    kept = airl.LearntReward(model.g, policy.normalizer, policy.action_scale)  # the route of the method's own
    torch.testing.assert_close(found, kept(obs, action))
    changed = moved.frozen("airl", learnt, config)(obs, -action)
    assert torch.equal(found, changed) == state_only


def test_gcls_frozen_reward_is_minus_the_cost_without_entropy():
    config = gcl.Config()
    learnt = progress(gcl.Reward, config)
    obs, action = samples()
    x, u = learnt.policy.normalizer(obs), action / SCALE
    model = learnt.models["reward"]
    cost = model.cost(torch.cat([x, torch.zeros(2, 5, 1), u], -1))[..., 0] + config.torque * u.square().sum(-1)
    torch.testing.assert_close(moved.frozen("gcl", learnt, config)(obs, action), -cost)


def test_gails_frozen_reward_is_softplus_of_the_logit():
    config = gail.Config()
    learnt = progress(gail.Discriminator, config)
    obs, action = samples()
    inputs = torch.cat([learnt.policy.normalizer(obs), torch.zeros(2, 5, 1), action / SCALE], -1)
    expected = torch.log1p(learnt.models["reward"](inputs).exp())
    torch.testing.assert_close(moved.frozen("gail", learnt, config)(obs, action), expected)


def test_a_frozen_reward_does_not_learn_on():
    config = airl.Config()
    learnt = progress(airl.Reward, config)
    reward = moved.frozen("airl", learnt, config)
    before = reward(*samples())
    with torch.no_grad():
        for parameter in learnt.models["reward"].parameters():
            parameter.add_(1.0)
    learnt.policy.normalizer.update(torch.randn(2, 500, 3) + 9)
    assert torch.equal(reward(*samples()), before)


def test_the_authors_motors_are_ours_in_another_order():
    """Theirs are numbered by the legs 1 to 4, ours 4, 1, 2, 3: their first two numbers drive leg 1, front left."""
    pair = moved.PAIRS["ant"]
    plain, permuted = (moved._made(pair.target, [0], 1, order) for order in pair.orders.values())
    names = ["back_right", "front_left", "front_right", "back_left"]
    model: Any = plain._physics.model
    joints = [model.joint(j).name for j in model.actuator_trnid[:, 0]]
    assert joints == [f"{joint}_{name}" for name in names for joint in ("hip", "ankle")]
    theirs = torch.arange(8.0).view(1, 1, 8) / 8
    ours = torch.cat([theirs[..., 6:], theirs[..., :6]], -1)
    for _ in range(3):
        a, b = permuted.step(theirs), plain.step(ours)
        assert torch.equal(a.next_obs, b.next_obs)
        assert torch.equal(a.reward, b.reward)
    assert not torch.equal(permuted.step(theirs).next_obs, plain.step(theirs).next_obs)
    assert permuted.action_size == 8


def test_a_policy_learns_what_a_frozen_reward_pays_and_nothing_else():
    """A reward of the place alone, which pays for going right: the true one, for going up, has no say."""
    policy = moved.optimise("PointMazeLeft-v0", [0], 30_000, lambda obs, action: obs[..., 0])
    env = envs.make("PointMazeLeft-v0", [5], 4)
    with torch.no_grad():
        for _ in range(50):
            step = env.step(policy(env.obs.float()))
    assert (step.next_obs[..., 0] > 0.5).all()


def test_every_reward_meets_the_same_motors_and_the_last_one_the_other_order(monkeypatch):
    monkeypatch.setattr(moved, "learn", lambda pair, row, size: ({share: share for share in pair.shares}, "imitator"))
    monkeypatch.setattr(moved, "optimise", lambda task, seeds, steps, reward, order: reward)
    monkeypatch.setattr(moved, "returns", lambda *_: torch.zeros(len(SIZE.seeds)))
    rows = pd.DataFrame(moved._moved(moved.PAIRS["ant"], "airl", SIZE), columns=list(schema.MOVED))
    rewards = rows[rows["kind"] == "reward"].groupby("where")["share"].unique()
    assert {where: list(shares) for where, shares in rewards.items()} == {"same": [0.5, 1.0], "authors": [1.0]}
    assert set(rows.loc[rows["kind"] == "imitator", "where"]) == {"source", "same", "authors"}


def test_parts_are_those_of_the_tasks_that_a_profile_has():
    size = Size(tabular=Tabular(draws=1, moves=1), point_maze=SIZE)
    rows = ["references", "airl_state", "airl", "gcl", "gail"]
    assert moved.parts(size) == [f"point_maze-{row}" for row in rows]
    assert moved.parts(Size(tabular=Tabular(draws=1, moves=1))) == []


def frame():
    lines = [
        ("oracle", "reference", "same", 1.0, 0, -8.0),
        ("oracle", "reference", "same", 1.0, 1, -12.0),
        ("still", "reference", "same", 1.0, 0, -50.0),
        ("airl", "reward", "same", 0.5, 0, -40.0),
        ("airl", "reward", "same", 1.0, 0, -30.0),
        ("airl", "imitator", "same", 1.0, 0, -20.0),
        ("airl", "imitator", "source", 1.0, 0, -9.0),
    ]
    return pd.DataFrame(lines, columns=list(schema.MOVED))


def test_scores_lie_between_no_action_and_the_oracles_mean():
    scored = chapter_moved.with_score(frame()).set_index(["row", "kind", "share"])["score"]
    assert scored["airl", "reward", 1.0].item() == pytest.approx(20 / 40)
    assert scored["airl", "reward", 0.5].item() == pytest.approx(10 / 40)
    assert scored["oracle", "reference", 1.0].tolist() == pytest.approx([42 / 40, 38 / 40])
    assert "source" not in set(chapter_moved.with_score(frame())["where"])


def test_published_scores_are_between_the_same_two_levels():
    """Table 1: on the maze AIRL with a state-only reward -8.82, TRPO on the true reward -8.45; no action -50."""
    mean, score = chapter_moved.published("point_maze")["airl_state"]
    assert mean == -8.82
    assert score == pytest.approx((50 - 8.82) / (50 - 8.45))
    assert chapter_moved.published("ant")["gail"] == pytest.approx((-58.8, -58.8 / 315.5))


def test_the_table_has_the_last_reward_and_says_what_was_published():
    size = Size(tabular=Tabular(draws=1, moves=1), point_maze=SIZE)
    shown = chapter_moved.table(frame(), "point_maze", size).shown.set_index(["Row", "What plays"])
    line = shown.loc[("AIRL, g(s, a)", chapter_moved.KINDS["reward"])]
    assert line["Return"] == "−30.0 [−30.0, −30.0]"
    assert (line["Score"], line["Published return"]) == ("0.50", "−31.2")
    assert shown.loc[("AIRL, g(s, a)", chapter_moved.KINDS["imitator"]), "Published return"] == "–"
