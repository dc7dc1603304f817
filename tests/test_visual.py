"""Visual imitation on grid worlds by other routes: scipy's shortest paths, walks, loops, pixels by hand."""

import itertools
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.sparse.csgraph import shortest_path
from torch.nn.functional import conv2d

from algorithms.core.population import Generators
from algorithms.core.state import pack
from studies.core import parts
from studies.visual import chapter, exact, gail, networks, rollouts, schema, study, training, views, worlds
from studies.visual.schema import Size
from studies.visual.training import Learners, Row
from tests import fresh, synthetic
from threefold.base.errors import InputError
from threefold.cells.study import run
from threefold.store.checkpoints import Checkpoints
from threefold.tables.schema import read_csv, write_csv

SIZE: dict[str, Any] = {
    "seeds": [0, 1],
    "pools": [{"maps": maps, "iterations": 1, "cloning_iterations": 6} for maps in (1, 2)],
    "demonstrations": [2],
    "held_out": 2,
    "one_map_iterations": 1,
    "records": 1,
    "taken_apart": False,
}


@cache
def some(count, seeds=(0, 1)):
    return worlds.draw(count, Generators(seeds, "maps"))


def learn_from(patch, sight, **little):
    """Change constants of a network, for what does not depend on how much an iteration learns from."""
    patch.setitem(training.CONFIGS, sight, replace(training.CONFIGS[sight], **little))


def hurry(patch):
    """Let an iteration be short."""
    for sight in training.CONFIGS:
        learn_from(patch, sight, walks=48, epochs=2, reward_steps=3)


def random_policy(shape=(2, 3), seed=0):
    return torch.randn(*shape, 48, 4, generator=torch.Generator().manual_seed(seed)).softmax(-1)


# Worlds


def test_every_world_has_16_walls_and_distances_are_scipys():
    found = some(20)
    for p, m in itertools.product(range(2), range(20)):
        cells, start, goal = found.cells[p, m].tolist(), found.start[p, m].item(), found.goal[p, m].item()
        assert len(set(cells)) == 48
        assert start != goal
        beside = [[abs(a // 8 - b // 8) + abs(a % 8 - b % 8) == 1 for b in cells] for a in cells]
        steps = shortest_path(np.array(beside, dtype=float), unweighted=True)[goal]
        assert found.distance[p, m].tolist() == steps.tolist()


def test_moves_are_those_of_the_grid_and_a_bump_stays():
    found = some(5)
    for m, s, a in itertools.product(range(5), range(48), range(4)):
        cells = found.cells[0, m].tolist()
        row, column = divmod(cells[s], 8)
        row, column = row + (-1, 1, 0, 0)[a], column + (0, 0, -1, 1)[a]
        inside = 0 <= row < 8 and 0 <= column < 8 and 8 * row + column in cells
        assert found.moves[0, m, s, a] == (cells.index(8 * row + column) if inside else s)


def test_the_expert_is_uniform_over_the_actions_that_come_nearer():
    found = some(5)
    expert = found.expert()
    for m, s in itertools.product(range(5), range(48)):
        nearer = [bool(found.distance[0, m, t] == found.distance[0, m, s] - 1) for t in found.moves[0, m, s]]
        share = 1 / max(sum(nearer), 1)
        assert expert[0, m, s].tolist() == pytest.approx([share * x for x in nearer])


def test_pools_are_nested_and_held_out_maps_are_others():
    few, many, new = some(3), some(300), worlds.draw(300, Generators((0, 1), "held-out maps"))
    assert all(a.equal(b[:, :3]) for a, b in zip(few, many, strict=True))
    assert not few.cells[0].equal(few.cells[1])
    keys = [
        {tuple(x) for x in torch.cat([w.cells[0], w.start[0][:, None], w.goal[0][:, None]], 1).tolist()}
        for w in (many, new)
    ]
    assert len(keys[0]) == len(keys[1]) == 300
    assert not keys[0] & keys[1]


def picture(world, state, shift=(0, 0)):
    """One picture `[3, 32, 32]` of a state of one world, numpy."""
    colours = np.zeros((10, 10, 3))  # of walls, also around
    cells = world.cells.tolist()
    for cell in cells:
        colours[cell // 8 + 1, cell % 8 + 1] = 1
    for of, colour in ((world.goal.item(), (0, 1, 0)), (state, (1, 0, 0))):
        colours[cells[of] // 8 + 1, cells[of] % 8 + 1] = colour
    pixels = colours.repeat(4, 0).repeat(4, 1)
    top, left = 4 + shift[0], 4 + shift[1]
    return pixels[top : top + 32, left : left + 32].transpose(2, 0, 1)


def test_an_empty_map_pixel_by_pixel():
    """But for the agent; what comes into view is wall."""
    found, shift = some(3), torch.tensor([[2, -1], [0, 0]])
    empty = views.empty(found, shift)
    for p, m in itertools.product(range(2), range(3)):
        world = worlds.Worlds(*(part[p, m] for part in found))
        expected = picture(world, world.goal.item(), shift[p].tolist())
        red = (expected == np.array([1, 0, 0])[:, None, None]).all(0)
        expected[:, red] = np.array([0, 1, 0])[:, None]
        assert (empty[p, m].numpy() == expected).all()


SHIFTS = list(itertools.product(range(-2, 3), repeat=2))


@pytest.mark.parametrize("shift", [(0, 0), (1, -2), (-1, 2), (-2, -2), (2, 1)])
def test_every_state_is_represented_as_its_own_picture_is(shift):
    """Whole pictures through whole convolutions: values and gradients, at every edge and every shift."""
    found, shifts = some(3), torch.tensor([shift, SHIFTS[5]])
    body = networks.Pixels(Generators((0, 1), "weights"))
    for layer in (body.first, body.second):
        torch.nn.init.normal_(layer.bias)
    features = body(views.views(found, shifts))
    slope = torch.randn_like(features)
    gradients = torch.autograd.grad((features * slope).sum(), list(body.parameters()))
    whole = []
    for p in range(2):
        each = [worlds.Worlds(*(part[p, m] for part in found)) for m in range(3)]
        x = torch.tensor(np.stack([picture(w, s, shifts[p].tolist()) for w in each for s in range(48)])).float()
        for layer in (body.first, body.second):
            x = conv2d(x, layer.weight[p], layer.bias[p], stride=2, padding=1).relu()
        x = x.flatten(2).mT.flatten(1) @ body.dense.weight[p] + body.dense.bias[p]
        whole.append(x.relu().view(3, 48, 64))
    expected = torch.stack(whole)
    assert torch.allclose(features, expected, atol=1e-5)
    for found_one, one in zip(
        gradients, torch.autograd.grad((expected * slope).sum(), list(body.parameters())), strict=True
    ):
        assert torch.allclose(found_one, one, atol=1e-4 * one.abs().max().item())


# What is exact


def test_occupancy_is_the_discounted_sum_over_time():
    found, policy = some(3), random_policy()
    total, here = torch.zeros(2, 3, 48, 4).double(), found.at_start().double()
    for t in range(600):
        pairs = (here * (found.distance > 0))[..., None] * policy
        total += 0.05 * 0.95**t * pairs
        here = torch.zeros(2, 3, 48).double().scatter_add_(-1, found.moves.flatten(2), pairs.flatten(2))
    assert torch.allclose(exact.occupancy(found, policy, found.at_start()), total, atol=1e-12)


def test_success_and_shares_are_those_of_many_walks():
    found, policy = some(3), random_policy(seed=1)
    walked = rollouts.walk(found, policy, rollouts.Way(), 20_000, 32, Generators((5, 6), "walks"))
    arrived = walked.arrived.any(-1).double().mean(-1)
    assert torch.allclose(exact.success(found, policy, found.at_start()), arrived, atol=0.015)
    counts = walked.counts(torch.ones_like(walked.arrived)) / (20_000 * 32)
    assert torch.allclose(exact.shares(found, policy, found.at_start()).float(), counts, rtol=0.1, atol=2e-3)
    expert = found.expert()
    assert torch.allclose(exact.success(found, expert, found.at_start()), torch.ones(2, 3).double())


def test_the_divergence_by_hand():
    p, q = torch.zeros(3, 48, 4).double(), torch.zeros(3, 48, 4).double()
    p[0, 0, 0] = q[0, 0, 0] = 0.3  # the same, with 0.7 after the goal
    p[1, 0, 0] = q[1, 1, 0] = 1.0  # disjoint
    p[2, 0, 0] = 1.0  # against what is all after the goal but for a half
    q[2, 0, 0] = 0.5
    half = 0.5 * np.log(1 / 0.75) + 0.5 * (0.5 * np.log(0.5 / 0.75) + 0.5 * np.log(0.5 / 0.25))
    assert exact.divergence(p, q).tolist() == pytest.approx([0, np.log(2), half])


def test_what_is_on_the_path_and_what_is_right():
    found = some(4)
    walked = rollouts.walk(found, rollouts.acting_expert(found), rollouts.Way(), 3000, 32, Generators((0, 1), "walks"))
    met = walked.counts(walked.first()).sum(-1) > 0
    assert exact.on_path(found).equal(met)
    assert (exact.on_path(found).int() + exact.off_path(found).int()).equal(found.alive().int())
    assert torch.allclose(exact.agreement(found, found.expert())[found.alive()], torch.ones(1))
    liked = exact.preferred(found, found.optimal().float())
    assert (liked[found.alive()] == 1).all()
    even = exact.preferred(found, torch.zeros(2, 4, 48, 4))
    assert torch.allclose(even, found.optimal().float().mean(-1))


# Walks


def test_numbers_are_inverted_without_a_probability_of_zero():
    weight = torch.tensor([0.0, 1, 1, 1, 0])
    edges = rollouts.cumulated(weight)
    uniform = torch.tensor([0.0, 0.3333, 0.3334, 0.7, 1 - 2**-24])
    assert rollouts.invert(edges.expand(5, -1), uniform).tolist() == [1, 1, 2, 3, 3]


def test_walks_follow_the_moves_and_start_again():
    found, policy = some(2), random_policy((2, 2))
    walked = rollouts.walk(found, policy, rollouts.Way(), 50, 64, Generators((0, 1), "walks"))
    for p, m in itertools.product(range(2), repeat=2):
        state, action, after, arrived = (part[p, m] for part in walked)
        assert (found.moves[p, m][state, action] == after).all()
        assert (arrived == (after == found.goal[p, m])).all()
        start = found.start[p, m]
        assert (state[:, 0] == start).all()
        assert torch.where(arrived[:, :-1], start, after[:, :-1]).equal(state[:, 1:])
    assert walked.arrived.any()
    before = torch.cat([torch.zeros_like(walked.arrived[..., :1]), walked.arrived.cumsum(-1)[..., :-1] > 0], -1)
    assert walked.first().equal(~before)


def test_slips_are_a_fifth_of_the_actions_three_quarters_of_them_seen():
    found, policy = some(1), torch.full((2, 1, 48, 4), 0.25)
    walked = rollouts.walk(found, policy, rollouts.WAYS["slippery"], 2000, 32, Generators((0, 1), "walks"))
    meant = torch.take_along_dim(found.moves.flatten(2), walked.pair(), -1).view_as(walked.after)
    distinct = torch.take_along_dim(found.moves.sort(-1).values.diff(dim=-1).ne(0).all(-1), walked.state.flatten(2), 2)
    other = (meant != walked.after).flatten(2)[distinct].float().mean()
    assert other.item() == pytest.approx(0.2 * 0.75, abs=0.01)


@pytest.mark.parametrize("way", ["start", "anywhere", "slippery"])
def test_demonstrations_are_optimal_and_as_many_whatever_the_way(way):
    found = some(6)
    counts = rollouts.demonstrate(found, way, 10, Generators((0, 1), "demonstrations"))
    assert not counts[~found.optimal()].any()
    plain = rollouts.demonstrate(found, "start", 10, Generators((0, 1), "demonstrations"))
    assert counts.sum((-2, -1)).equal(plain.sum((-2, -1)))
    off = counts.sum(-1)[exact.off_path(found)].any()
    assert off == (way != "start")
    if way == "start":
        distance = found.distance.gather(-1, found.start[..., None])[..., 0]
        assert counts.sum((-2, -1)).equal(10.0 * distance)


def test_pairs_weigh_as_they_are_counted_and_worlds_alike():
    counts = torch.zeros(1, 2, 48, 4)
    counts[0, 0, 3, 1], counts[0, 0, 7, 2], counts[0, 1, 9, 0] = 3, 1, 100
    weights = rollouts.weights(counts)
    assert [weights[0, w, s, a].item() for w, s, a in ((0, 3, 1), (0, 7, 2), (1, 9, 0))] == [0.375, 0.125, 0.5]
    assert weights.sum() == 1


def test_dagger_adds_what_the_expert_would_do_where_the_policy_goes():
    learners = Learners(Row(method="dagger", sight="table"), [0, 1], some(2), 5, 10)
    before = learners.counts
    learners.ask()
    added = learners.counts - before
    assert (added.sum((-2, -1)) >= 5).all()
    assert not added[~learners.worlds.optimal()].any()
    assert added.sum(-1)[exact.off_path(learners.worlds)].any()


# Networks and learning


def test_a_grouped_convolution_is_one_a_learner():
    layer = networks.Convolution(3, 5, Generators((0, 1, 2), "weights"))
    layer.bias.data.normal_()
    x = torch.randn(3, 7, 3, 8, 8)
    found = layer(x.transpose(0, 1).flatten(1, 2)).view(7, 3, 5, 4, 4).transpose(0, 1)
    for p in range(3):
        assert torch.allclose(found[p], conv2d(x[p], layer.weight[p], layer.bias[p], stride=2, padding=1), atol=1e-5)


@pytest.mark.parametrize("row", [Row(), Row(method="bc"), Row(sight="table"), Row(shared=True, walks="anywhere")])
def test_a_learner_learns_the_same_whoever_is_beside_it(row, monkeypatch):
    hurry(monkeypatch)
    both, alone = (Learners(row, seeds, some(3, seeds), 4, 3) for seeds in ((0, 1), (1,)))
    for learners in (both, alone):
        for iteration in range(2):
            study.iterate(learners, iteration)
    beside, by_itself = both.tables(some(3))[0][1], alone.tables(some(3, (1,)))[0][0]
    assert torch.allclose(beside, by_itself, atol=1e-5)
    first = Learners(row, (1,), some(3, (1,)), 4, 3).tables(some(3, (1,)))[0][0]
    assert (by_itself - first).abs().max() > 1e-3


def test_a_step_on_demonstrations_sees_some_worlds_moved_by_up_to_two_pixels(monkeypatch):
    learners = Learners(Row(), [0, 1], some(6), 1, 1)
    moved: list[torch.Tensor] = []

    def unseen(worlds, shift):
        moved.append(shift)
        return worlds

    monkeypatch.setattr(training, "views", unseen)
    for _ in range(200):
        seen: Any
        index, seen = learners.glance(learners.worlds)
        assert seen.start.equal(learners.worlds.start.gather(1, index))
        assert [len(set(of.tolist())) for of in index] == [4, 4]
    shifts = torch.stack(moved)
    assert {tuple(shift) for shift in shifts[:, 0].tolist()} == set(SHIFTS)
    assert not shifts[:, 0].equal(shifts[:, 1])
    learners.see(learners.worlds)
    assert not moved[-1].any()


def test_the_discriminator_becomes_the_exact_log_ratio():
    """Against the roll-outs of a fixed policy, a table's logits are log rho_E - log rho_pi, both exact."""
    learners = Learners(Row(sight="table"), [0, 1], some(1), 4000, 100)
    policy = learners.worlds.expert() * 0.6 + 0.1
    way = rollouts.Way()
    walked = rollouts.walk(learners.worlds, policy, way, 4000, 32, learners.noise)
    counts = walked.counts(torch.ones_like(walked.arrived))
    for iteration in range(100):
        learners.cool(iteration)
        gail.discriminate(learners, learners.worlds, learners.counts, counts)
    _, logits = learners.tables(learners.worlds)
    best = exact.best_logit(learners.worlds, policy, learners.worlds.at_start())
    often = (learners.counts / learners.counts.sum() > 0.01) & (counts / counts.sum() > 0.01)
    assert often.sum() > 8
    assert (logits - best)[often].abs().max() < 0.35
    never = (learners.counts == 0) & (counts / counts.sum() > 0.01)
    assert (best[never] == -torch.inf).all()
    assert (logits[never] < -2).all()


def test_a_discriminator_without_actions_gives_all_of_them_one_logit(monkeypatch):
    hurry(monkeypatch)
    learners = Learners(Row(sees_action=False), [0], some(2, (0,)), 2, 2)
    study.iterate(learners, 0)
    _, logits = learners.tables(learners.worlds)
    assert (logits.amax(-1) - logits.amin(-1)).max() < 1e-6
    assert logits.std() > 1e-6


def test_rewards_by_hand():
    logit = torch.tensor([-1.0, 0.0, 2.0])
    sigmoid = 1 / (1 + np.exp(-logit.numpy()))
    found = {name: reward(logit).numpy() for name, reward in gail.REWARDS.items()}
    assert found["log_d"] == pytest.approx(np.log(sigmoid))
    assert found["positive"] == pytest.approx(-np.log(1 - sigmoid), rel=1e-5)
    assert found["minus_one"].tolist() == [-1] * 3
    assert found["plus_one"].tolist() == [1] * 3


def test_what_ppo_learns_from_in_loops(monkeypatch):
    """Advantages step by step, one walk after the other; a roll-out's end is a time limit, the goal is none."""
    learners = Learners(Row(sight="table"), [0, 1], some(2), 1, 1)
    monkeypatch.setattr(learners.scale, "forward", lambda reward, ended: reward)
    policy = learners.worlds.expert() * 0.8 + 0.05
    walked = rollouts.walk(learners.worlds, policy, rollouts.Way(), 3, 9, learners.noise)
    reward, value = torch.randn(2, 2, 48, 4), torch.randn(2, 2, 48)
    known = gail.batch(learners, walked, reward, value, policy.log())
    assert known.old.equal(policy.log())
    for p in range(2):
        advantages, pairs = [], []
        target = np.zeros((2, 48))
        for b, k in itertools.product(range(2), range(3)):
            following = 0.0
            for t in reversed(range(9)):
                s, a, n, arrived = (int(part[p, b, k, t]) for part in walked)
                beyond = 0.0 if arrived else 0.95 * value[p, b, n].item()
                error = reward[p, b, s, a].item() + beyond - value[p, b, s].item()
                following = error + (0.0 if arrived or t == 8 else 0.95 * 0.95 * following)
                advantages.append(following)
                pairs.append((b, s, a))
                target[b, s] += (following + value[p, b, s].item()) / 27
        centred = (np.array(advantages) - np.mean(advantages)) / np.std(advantages, ddof=1)
        sums = np.zeros((3, 2, 48, 4))
        for (b, s, a), advantage in zip(pairs, centred, strict=True):
            sums[:, b, s, a] += np.array([1, max(advantage, 0), min(advantage, 0)]) / 27
        for found, expected in zip((known.often, known.better, known.worse), sums, strict=True):
            assert found[p].numpy() == pytest.approx(expected, abs=1e-5)
        assert known.target[p].numpy() == pytest.approx(target, abs=1e-5)
    assert walked.arrived.any()


def test_the_loss_of_ppo_is_a_mean_over_steps():
    """Of step after step in every world, each clipped by itself; what no network changes is left out."""
    random = torch.Generator().manual_seed(0)
    config = replace(training.CONFIGS["table"], entropy_weight=0.3)
    logits, old = (torch.randn(1, 2, 48, 4, generator=random, requires_grad=True) for _ in range(2))
    value = torch.randn(1, 2, 48, generator=random, requires_grad=True)
    world, state, action = (torch.randint(n, (200,), generator=random) for n in (1, 5, 4))
    world = torch.arange(200) % 2
    advantage, target = torch.randn(2, 200, generator=random)
    pair = (torch.zeros(200, dtype=torch.long), world, state, action)
    log_policy, before = logits.log_softmax(-1), old.detach().log_softmax(-1)
    ratio = (log_policy - before)[pair].exp()
    gain = torch.minimum(ratio * advantage, ratio.clamp(0.8, 1.2) * advantage)
    error = (value[pair[:3]] - target).square()
    entropy = -(log_policy.exp() * log_policy).sum(-1)[pair[:3]]
    expected = (0.5 * error - gain - 0.3 * entropy).mean()
    columns = torch.ones(200), advantage.clamp(min=0), advantage.clamp(max=0), target
    often, better, worse, aim = (torch.zeros(1, 2, 48, 4).index_put(pair, x / 100, accumulate=True) for x in columns)
    found = gail.loss(logits, value, gail.Batch(often, better, worse, before, aim.sum(-1)), config)
    assert found.shape == (1,)
    assert found.item() + 0.5 * target.square().mean().item() == pytest.approx(expected.item(), abs=1e-5)
    for a, b in zip(
        torch.autograd.grad(found.sum(), [logits, value]), torch.autograd.grad(expected, [logits, value]), strict=True
    ):
        assert torch.allclose(a, b, atol=1e-6)


def test_ppo_steps_towards_actions_of_high_advantage():
    learners = Learners(Row(sight="table"), [0], some(1, (0,)), 1, 1)
    often = torch.full((1, 1, 48, 4), 1 / 192)
    advantage = torch.tensor([-0.3, -0.3, 1.0, -0.3]) * often
    known = gail.Batch(
        often, advantage.clamp(min=0), advantage.clamp(max=0), torch.full_like(often, 0.25).log(), torch.zeros(1, 1, 48)
    )
    gail.improve(learners, learners.see(learners.worlds), known)
    policy, _ = learners.tables(learners.worlds)
    assert (policy.argmax(-1) == 2).all()


# What must hold, small


@pytest.mark.parametrize(
    ("row", "success", "divergence"),
    [
        (Row(sight="table"), (0.99, 1), (0, 0.04)),
        (Row(sight="table", reward="minus_one"), (0.99, 1), (0, 0.2)),
        (Row(sight="table", reward="positive"), (0, 0.05), (0.2, 0.7)),
        (Row(sight="table", reward="plus_one"), (0, 0.05), (0.5, 0.7)),
    ],
)
def test_a_table_imitates_and_a_positive_reward_stalls(row, success, divergence, monkeypatch):
    learn_from(monkeypatch, "table", walks=64)
    maps = some(1)
    learners = Learners(row, [0, 1], maps, 1000, 80)
    for iteration in range(80):
        study.iterate(learners, iteration)
    policy, _ = learners.tables(maps)
    start = maps.at_start()
    reached = exact.success(maps, policy, start)
    apart = exact.divergence(*(exact.occupancy(maps, each, start) for each in (policy, maps.expert())))
    assert success[0] <= reached.min() <= reached.max() <= success[1] + 1e-9
    assert divergence[0] <= apart.min() <= apart.max() <= divergence[1]


@pytest.mark.slow
def test_pixels_imitate_as_a_table_does():
    """Policy and discriminator see pictures; the goal is 4 steps off, which the first policy finds in 22 % of walks."""
    maps = some(1, (0,))
    learners = Learners(Row(), [0], maps, 1000, 40)
    first = study.measure(learners, study.reference(maps))[0, study.METRICS.index("success")]
    for iteration in range(40):
        study.iterate(learners, iteration)
    found = dict(zip(study.METRICS, study.measure(learners, study.reference(maps))[0].tolist(), strict=True))
    assert first < 0.3
    assert found["success"] > 0.98  # 0.997, and a table's 1.000 (test_a_table_imitates_and_a_positive_reward_stalls)
    assert found["js"] < 0.04


def test_cloning_is_right_on_the_path_and_guesses_off_it():
    maps = some(2, (0,))
    found = {}
    for way in ("start", "anywhere"):
        learners = Learners(Row(method="bc", demonstrations=way), [0], maps, 100, 20)
        for iteration in range(20):
            study.iterate(learners, iteration)
        found[way] = dict(zip(study.METRICS, study.measure(learners, study.reference(maps))[0].tolist(), strict=True))
    assert found["start"]["on"] > 0.85
    assert found["start"]["off"] < 0.6
    assert found["anywhere"]["off"] > found["start"]["off"] + 0.1


# Files, resuming, chapter


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("THREEFOLD_STORE", str(tmp_path_factory.mktemp("store")))
        yield


@pytest.fixture(scope="module")
def found(store):
    with pytest.MonkeyPatch.context() as patch:
        hurry(patch)
        patch.setattr(parts, "get_context", lambda _: fresh.CONTEXT)  # such a worker hurries too, and is loaded
        return {name: rows for name, (rows, _) in study.study(Size(**SIZE)).items()}


def test_files_have_every_row_and_learner(found, tmp_path):
    learnt, cells = found["learnt"], found["cells"]
    for name, rows in found.items():
        write_csv(rows, tmp_path / f"{name}.csv", study.FILES[name])
    names = [(name, maps) for name in study.POOLS for maps in (1, 2)]
    names += [(name, maps) for name in study.ANY_POOL for maps in (1, 2)]
    names += [(name, 1) for name in study.SMALLEST_POOL | study.ONE_MAP]
    assert set(zip(learnt["row"], learnt["maps"], strict=True)) == set(names)
    assert not learnt.duplicated(["row", "maps", "demonstrations", "seed", "iteration", "split"]).any()
    tables = sum(name.startswith("table") for name, _ in names)
    assert len(learnt) == (2 * len(names) - tables) * 2 * 2
    assert set(learnt["row"]) <= set(chapter.ROWS)
    exact_ones = learnt[["success", "success_off", "success_slips", "on", "off", "slipped", "logit_on", "logit_off"]]
    assert exact_ones.stack().between(0, 1.000001).all()
    assert (cells.groupby(["row", "split"])["cell"].nunique() == 48).all()
    assert (cells.groupby(["row", "split", "cell"])["policy"].sum() - 1).abs().max() < 1e-5
    assert list(found) == list(study.FILES)


class Memory(Checkpoints):
    """Keeps the state after the first iteration, and begins with one that is given."""

    def __init__(self, first=None):
        super().__init__(Path(), "")
        self.first = first

    def offer(self, iteration, state):
        if iteration == 1:
            self.first = pack(state())

    def _last(self):
        return self.first


def test_the_same_size_gives_the_same_bytes(found, tmp_path, monkeypatch):
    hurry(monkeypatch)
    size = Size(**SIZE)
    job = next(job for job in study.jobs(size) if job.name == "gail_slippery")
    write_csv(study.learn(job, size, "cpu", Memory())["learnt"], tmp_path / "again.csv", schema.LEARNT)
    write_csv(found["learnt"], tmp_path / "all.csv", schema.LEARNT)
    again, every = ((tmp_path / f"{name}.csv").read_text().splitlines() for name in ("again", "all"))
    assert len(again) > 1
    assert set(again) <= set(every)


@pytest.mark.parametrize("name", ["gail", "dagger", "table"])
def test_an_interrupted_row_goes_on_exactly(name, monkeypatch):
    hurry(monkeypatch)
    pools = [{"maps": maps, "iterations": 2, "cloning_iterations": 10} for maps in (1, 2)]
    size = Size(**SIZE | {"pools": pools, "one_map_iterations": 2, "records": 2})
    job = next(job for job in study.jobs(size) if job.name == name)
    memory = Memory()
    whole = study.learn(job, size, "cpu", memory)
    assert memory.first
    rest = study.learn(job, size, "cpu", Memory(memory.first))
    for file in study.FILES:
        pd.testing.assert_frame_equal(whole[file], rest[file])


def test_a_finished_row_is_not_computed_again(found, monkeypatch):
    monkeypatch.setattr(study, "learn", lambda *_: pytest.fail("computed again"))
    size = Size(**SIZE)
    job = study.jobs(size)[0]
    again = parts.kept("visual", next(iter(study.parts(size))), size, study.FILES, study.part)["learnt"]
    mine = found["learnt"][(found["learnt"]["row"] == job.name) & (found["learnt"]["maps"] == job.maps)]
    pd.testing.assert_frame_equal(again, mine.reset_index(drop=True))


def test_every_figure_is_drawn_and_every_row_is_in_the_table(found, tmp_path):
    size = Size(**SIZE)
    for name, rows in found.items():
        write_csv(rows, tmp_path / f"{name}.csv.gz", study.FILES[name])
    made = chapter.chapter(lambda name, columns: read_csv(tmp_path / name, columns), size)
    for plot in made.plots.values():
        assert plot.caption.endswith(".")
        assert plot.draw().axes
    tables = made.tables()
    learnt = found["learnt"]
    keys = learnt[["row", "maps", "demonstrations", "split"]].drop_duplicates()
    assert len(tables["visual_table"].shown) == len(keys)


def test_verdicts_follow_the_numbers(found):
    size, learnt = Size(**SIZE), found["learnt"].copy()
    last = learnt["iteration"] == learnt.groupby(["row", "maps", "split"])["iteration"].transform("max")

    def holds(**values):
        rows = learnt.copy()
        for column, by_row in values.items():
            for (name, split, maps), value in by_row.items():
                which = last & (rows["row"] == name) & (rows["split"] == split) & ((rows["maps"] == maps) | (maps == 0))
                rows.loc[which, column] = value
        return dict(chapter.claims(rows, size).data[["says", "holds"]].itertuples(index=False, name=None))

    first = "one map: a table imitates the expert: success 1, divergence to 0"
    train, new = ("gail", "training"), ("gail", "held-out")
    good = holds(
        success={("table", "training", 0): 1.0, (*train, 1): 0.9, (*new, 1): 0.2, (*train, 2): 0.8, (*new, 2): 0.4},
        js={("table", "training", 0): 0.001},
        on={(*train, 0): 0.9},
        off={(*train, 0): 0.4},
    )
    assert good[first] == "yes"
    assert good["the gap falls with more training maps"] == "yes"
    assert good["success on training maps is at least that on new ones"] == "yes"
    assert good["GAIL: the action is right far less often off the expert's path"] == "yes"
    bad = holds(
        success={("table", "training", 0): 1.0, (*train, 1): 0.9, (*new, 1): 0.8, (*train, 2): 0.1, (*new, 2): 0.4},
        js={("table", "training", 0): 0.1},
        on={(*train, 0): 0.5},
        off={(*train, 0): 0.4},
    )
    assert bad[first] == "no"
    assert bad["success on training maps is at least that on new ones"] == "no"
    assert bad["GAIL: the action is right far less often off the expert's path"] == "no"
    nearer = "GAIL is nearer to the expert than a reward of −1, which knows nothing of it"
    more, minus_one = "and reaches the goal more often", ("gail_minus_one", "training")
    cure = "GAIL, from anywhere: right more often off the path than a reward of −1 with such walks"
    alike = {(*train, 0): 0.5, (*minus_one, 0): 0.5}
    one_pool = {(*train, 0): 0.5, (*minus_one, 1): 0.6, (*minus_one, 2): 0.4}
    assert [holds(js=x)[nearer] for x in (alike, one_pool, alike | {(*minus_one, 0): 0.6})] == ["no", "no", "yes"]
    assert [holds(success=x)[more] for x in (alike, one_pool, alike | {(*minus_one, 0): 0.4})] == ["no", "no", "yes"]
    walks = ("gail_minus_one_anywhere", "training", 0)
    for off, verdict in ((0.7, "yes"), (0.6, "no")):
        assert holds(off={("gail_anywhere", "training", 0): off, walks: 0.65})[cure] == verdict
    no_action = ("table_no_action", "training", 0)
    second = "one map: and a table whose discriminator sees no action: success 1, divergence to 0"
    for success, js, verdict in ((1.0, 0.001, "yes"), (0.9, 0.001, "no"), (1.0, 0.1, "no")):
        assert holds(success={no_action: success}, js={no_action: js})[second] == verdict
    turned = holds(
        success={(*train, 1): 0.9, (*new, 1): 0.8, (*train, 2): 0.9, (*new, 2): 0.4},
    )
    assert turned["the gap falls with more training maps"] == "no"


@pytest.mark.parametrize("where", ["slipped", "off"])
@pytest.mark.parametrize(
    ("low", "on_path", "cured", "verdict"),
    [
        (0.4, 0.9, 0.7, "yes"),
        (0.4, 0.9, 0.6, "no"),
        (0.4, 0.5, 0.42, "no"),  # the difference from the path shrinks from 0.5 to 0.08, by forgetting the path
        (0.4, 0.99, 0.66, "yes"),  # better on the path too: the difference shrinks to 0.33 only
        (0.88, 0.9, 0.9, "–"),
    ],
)
def test_a_gap_closes_by_what_rises_off_the_path(found, where, low, on_path, cured, verdict):
    """And not by what falls on it."""
    rows, training = found["learnt"].copy(), found["learnt"]["split"] == "training"
    for name, values in (("gail", {"on": 0.9, where: low}), ("gail_anywhere", {"on": on_path, where: cured})):
        for column, value in values.items():
            rows.loc[training & (rows["row"] == name), column] = value
    said = dict(chapter.claims(rows, Size(**SIZE)).data[["says", "holds"]].itertuples(index=False, name=None))
    assert said[f"GAIL, from anywhere: at least half of GAIL's gap closes, {chapter.WHERE[where]}"] == verdict


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            {"demonstrations": [3]},
            "studies.visual: demonstrations: 3 are not spread evenly over 2 maps; write a multiple of 2",
        ),
        (
            {"pools": [pool | {"maps": 2 * pool["maps"]} for pool in SIZE["pools"]], "demonstrations": [3, 4]},
            "studies.visual: demonstrations: 3 are not spread evenly over 2 maps; write a multiple of 2",
        ),
        (
            {"pools": [*SIZE["pools"], SIZE["pools"][0] | {"iterations": 9}]},
            "studies.visual: pools: two of them have as many maps; leave one of [1, 2, 1] out",
        ),
        ({"pools": []}, "studies.visual.pools: List should have at least 1 item"),
        ({"record": 3}, "studies.visual.record: no such key; did you mean 'records'?"),
        ({"device": "gpu"}, "studies.visual.device: Input should be 'auto', 'cpu' or 'cuda'"),
        ({"held_out": 10**9}, "studies.visual.held_out: Input should be less than or equal to 100000"),
        ({"records": 0}, "studies.visual.records: Input should be greater than 0"),
    ],
)
def test_a_wrong_size_is_one_line(tmp_path, change, said):
    path = synthetic.design(tmp_path, studies={"visual": SIZE | change})
    with pytest.raises(InputError) as caught:
        run("visual", path)
    assert str(caught.value).startswith(f"{path}: {said}")
    assert "\n" not in str(caught.value)


def test_without_a_gpu_asking_for_one_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    path = synthetic.design(tmp_path, studies={"visual": SIZE | {"device": "cuda"}})
    with pytest.raises(InputError, match=r"device: cuda: torch finds no CUDA device; write auto or cpu"):
        run("visual", path)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("name", ["gail", "dagger", "table"])
def test_a_row_is_learnt_on_a_gpu(name, monkeypatch):
    hurry(monkeypatch)
    size = Size(**SIZE)
    job = next(job for job in study.jobs(size) if job.name == name)
    there, here = (study.learn(job, size, device, Memory())["learnt"] for device in ("cuda", "cpu"))
    key = ["row", "seed", "iteration", "split"]
    assert there[key].equals(here[key])
    assert there["success"].between(0, 1.000001).all()


def test_constants_stand_in_one_place():
    assert training.CONFIGS.keys() == training.BODIES.keys()
    rows = study.ONE_MAP | study.POOLS | study.ANY_POOL | study.SMALLEST_POOL | study.TAKEN_APART
    assert set(chapter.ROWS) == set(rows)
    assert {row.reward for row in rows.values()} == set(gail.REWARDS)
    assert {row.demonstrations for row in rows.values()} == set(rollouts.WAYS)
