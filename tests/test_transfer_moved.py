"""Rewards taken to another task: what is frozen, whose motors are permuted, and how scores are read."""

import json
from types import SimpleNamespace
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
from studies.transfer.inputs import DATA, PAIRS, data
from studies.transfer.schema import Moved, Size, Tabular
from threefold.base.errors import InputError
from threefold.cells import plan

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
    rows = ["airl_state", "airl", "gcl", "gail", "references"]
    found = moved.parts(size)
    assert list(found) == [f"point_maze-{row}-{seed}" for row in rows for seed in SIZE.seeds]
    assert [part.seeds for part in found.values()] == 5 * [[0], [1]]
    assert moved.parts(Size(tabular=Tabular(draws=1, moves=1))) == {}


def test_a_seed_more_leaves_the_others_parts_alone():
    more = SIZE.model_copy(update={"seeds": [0, 1, 2]})
    before, after = (
        moved.parts(Size(tabular=Tabular(draws=k, moves=1), point_maze=m)) for k, m in ((1, SIZE), (2, more))
    )
    assert {name: after[name] for name in before} == before
    assert len(after) == 15


def test_what_a_part_trains_and_reads_counts():
    """Its methods and tasks by their code, the experts, demonstrations and MJCF files by their bytes."""
    size = Size(tabular=Tabular(draws=1, moves=1), point_maze=SIZE)
    given: Any = SimpleNamespace(sizes={"transfer": size})
    made_from = plan.study_made_from(given, "transfer")
    methods, tasks = ("airl", "gail", "gcl"), ("point_maze_left", "point_maze_right", "disabled_ant", "custom_ant")
    assert {f"algorithms/{name}.py" for name in methods} | {f"envs/{name}.py" for name in tasks} <= set(
        made_from["code"]
    )
    read = {f"envs/assets/point_maze_{side}.xml" for side in ("left", "right")}
    read |= {f"data/demonstrations/PointMazeRight-v0/{name}" for name in ("card.json", "trajectories.safetensors")}
    assert set(made_from["data"]) == read | {"data/experts/PointMazeRight-v0/policy.safetensors"}
    given.sizes["transfer"] = Size(tabular=Tabular(draws=1, moves=1))
    assert "data" not in plan.study_made_from(given, "transfer")


def test_demonstrations_that_there_are_not_are_refused_before_anything_is_computed():
    many = Size(tabular=Tabular(draws=1, moves=1), point_maze=SIZE.model_copy(update={"trajectories": 99}))
    with pytest.raises(InputError, match=r"studies\.transfer\.point_maze: .*99 asked for, there are 25"):
        data(many)


def test_constants_of_a_pair_reach_the_method(monkeypatch):
    given = {}
    config = moved.ROWS["airl_state"].method.Config

    def train(env, expert, seeds, config):
        given[env.P] = config
        raise InterruptedError

    row = moved.ROWS["airl_state"]
    method: Any = SimpleNamespace(Config=config, train=train)
    monkeypatch.setitem(moved.ROWS, "airl_state", row._replace(method=method))
    with pytest.raises(InterruptedError):
        moved.learn(PAIRS["point_maze"], "airl_state", SIZE)
    found = given[2]
    assert (found.noise, found.entropy_weight, found.loop.reward_steps, found.loop.recent) == (0.5, 1.0, 50, 20)
    assert found.state_only
    with pytest.raises(InterruptedError):
        moved.learn(PAIRS["ant"], "airl_state", SIZE)
    assert given[2].noise == config().noise
    assert given[2].ppo.discount == 0.98  # the task's preset


def test_the_same_reward_plus_a_constant_trains_the_same_policy():
    """To rounding: where no episode ends, a constant is no reason to do anything."""

    def trained(constant):
        return moved.optimise("PointMazeLeft-v0", [0], 4096, lambda obs, action: obs[..., 0] + constant)

    low, high = (trained(constant)(torch.ones(1, 1, 3)) for constant in (0.0, -64.0))
    torch.testing.assert_close(low, high, rtol=0, atol=1e-3)


def test_a_part_has_its_rows(tmp_path):
    tiny = Moved(seeds=[1], trajectories=2, imitation_steps=2048, transfer_steps=2048)
    rows = moved.work("point_maze-airl_state-1", tiny, tmp_path)["point_maze_moved"]
    assert list(rows["kind"]) == ["imitator", "imitator", *4 * ["reward"]]
    assert list(rows["share"]) == [1.0, 1.0, 0.25, 0.5, 0.75, 1.0]
    of = moved.work("point_maze-references-1", tiny, tmp_path)["point_maze_moved"].set_index(["row", "where"])
    references = of["episode_return"]
    assert references["still", "same"] == pytest.approx(-50, abs=0.1)
    assert references["stuck", "same"] == pytest.approx(-26.3, abs=0.1)
    card = json.loads((DATA / "experts" / "PointMazeRight-v0" / "card.json").read_text())
    assert references["expert", "source"] == pytest.approx(card["return_deterministic"]["mean"], abs=0.1)


def table(*lines):
    return pd.DataFrame(lines, columns=list(schema.MOVED))


def frame():
    return table(
        ("oracle", "reference", "same", 1.0, 0, -8.0),
        ("oracle", "reference", "same", 1.0, 1, -12.0),
        ("still", "reference", "same", 1.0, 0, -50.0),
        ("airl", "reward", "same", 0.5, 0, -40.0),
        ("airl", "reward", "same", 1.0, 0, -30.0),
        ("airl", "imitator", "same", 1.0, 0, -20.0),
        ("airl", "imitator", "source", 1.0, 0, -9.0),
    )


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


def maze(oracle=-8.0):
    """Rows of which AIRL's g(s) passes the barrier with one of two learners, and the others stay before it."""
    return table(
        ("oracle", "reference", "same", 1.0, 0, oracle),
        ("still", "reference", "same", 1.0, 0, -50.0),
        ("stuck", "reference", "same", 1.0, 0, -26.0),
        ("airl_state", "reward", "same", 1.0, 0, -9.0),
        ("airl_state", "reward", "same", 1.0, 1, -26.5),
        ("airl_state", "reward", "same", 0.5, 1, -9.0),
        ("airl", "reward", "same", 1.0, 0, -9.0),
        ("gcl", "reward", "same", 1.0, 0, -40.0),
        ("gail", "reward", "same", 1.0, 0, -9.0),
        ("gail", "imitator", "same", 1.0, 0, -26.0),
    )


def test_a_claim_holds_where_every_learner_is_on_the_papers_side_of_the_level():
    """Published: g(s) -8.82, g(s, a) -31.2, GCL -40.2, GAIL's policy -29.9, and -26 is where straight on ends."""
    holds = chapter_moved.claims(maze(), "point_maze").shown.set_index("Row")["Holds"]
    assert dict(holds) == {
        "AIRL, g(s)": "of 50 % of the learners",
        "AIRL, g(s, a)": "no",
        "GCL, c(s, a)": "yes",
        "GAIL": "yes",
        "PPO on the true reward": "yes",
    }


def test_every_claim_that_does_not_hold_is_told_with_what_shows_it():
    some, none = chapter_moved._differences(maze(), "point_maze")
    assert some == (
        "The point maze, AIRL, g(s): the −8.82 of Fu et al. (2018) is above the level, straight into the barrier, −26.0"
        " here; 50 % of ours are (−26.5 to −9.00)."
    )
    assert none.startswith("The point maze, AIRL, g(s, a): the −31.2 of Fu et al. (2018) is not above the level")
    assert none.endswith("; none of ours is (−9.00).")
    short = chapter_moved._differences(maze(oracle=-25.5), "point_maze")
    assert [text.endswith("this size shows that all runs, no more.") for text in short] == [True, False, False]
    assert ["PPO on the true reward" in text for text in short] == [False, False, True]


def test_an_oracle_before_the_barrier_is_no_unit():
    size = Size(tabular=Tabular(draws=1, moves=1), point_maze=SIZE)
    assert chapter_moved.with_score(maze())["score"].notna().all()
    assert chapter_moved.with_score(maze(oracle=-25.5))["score"].isna().all()
    assert "there are no scores" in chapter_moved.table(maze(oracle=-25.5), "point_maze", size).caption
    assert "there are no scores" not in chapter_moved.table(maze(), "point_maze", size).caption
