"""AIRL in finite MDPs by other routes: value iteration, sums over time, scipy's minimiser, and the code that trains."""

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.optimize import brentq, minimize
from torch.nn.functional import softplus

from algorithms import airl
from algorithms.core.experience import Batch
from algorithms.core.population import Generators
from algorithms.core.ppo import PPOConfig
from studies.transfer import schema, tabular
from studies.transfer.chapter import tabular_claims, tabular_differences, tabular_table
from studies.transfer.schema import Tabular
from tests import synthetic
from threefold.base.errors import InputError
from threefold.cells.study import run


def small(seed=0, states=4, actions=3):
    """A stochastic MDP with all transitions, and a reward of states."""
    rng = np.random.default_rng(seed)
    moves = rng.dirichlet(np.ones(states), (states, actions))
    return moves, np.repeat(rng.normal(size=(states, 1)), actions, 1)


def of(kind, seed):
    """Transitions, the expert's log pi, and its occupancy."""
    moves = tabular.dynamics(kind, seed, 0, seed % 4)
    log_pi = tabular.plan(moves, tabular.TRUE)
    return moves, log_pi, tabular.occupancy(moves, log_pi)


def test_the_optimum_with_entropy_of_two_states_by_hand():
    """State 1 pays 2 for ever: V = (2 + log 2) / (1 - 0.9). State 0 pays 0 and may stay or go."""
    moves = np.zeros((2, 2, 2))
    moves[0, 0, 0] = moves[0, 1, 1] = moves[1, :, 1] = 1
    log_pi = tabular.plan(moves, np.array([[0.0, 0], [2, 2]]))
    beyond = (2 + np.log(2)) / 0.1
    here = brentq(lambda v: v - np.logaddexp(0.9 * v, 0.9 * beyond), 0, 100, xtol=1e-13)
    assert np.exp(log_pi[0]) == pytest.approx(np.exp(0.9 * np.array([here, beyond]) - here), abs=1e-9)
    assert np.exp(log_pi[1]) == pytest.approx([0.5, 0.5])


def test_policy_iteration_ends_where_value_iteration_does():
    moves, reward = small()
    value = np.zeros(4)
    for _ in range(500):
        q = reward + 0.9 * moves @ value
        value = np.log(np.exp(q).sum(1))
    log_pi = tabular.plan(moves, reward)
    assert log_pi == pytest.approx(q - value[:, None], abs=1e-9)
    assert tabular.evaluate(moves, reward, log_pi) == pytest.approx(value, abs=1e-9)


def test_occupancy_is_the_discounted_sum_over_time():
    moves, reward = small(1)
    log_pi = tabular.plan(moves, reward)
    here, total = np.eye(4)[tabular.START], np.zeros((4, 3))
    for t in range(400):
        pairs = here[:, None] * np.exp(log_pi)
        total += 0.1 * 0.9**t * pairs
        here = sum(pairs[s, a] * moves[s, a] for s in range(4) for a in range(3))
    assert tabular.occupancy(moves, log_pi) == pytest.approx(total, abs=1e-12)


def test_random_dynamics_are_as_the_paper_says():
    for kind in ("stochastic", "deterministic", "periodic"):
        moves = tabular.dynamics(kind, 3, 0, 2)
        assert moves.sum(-1) == pytest.approx(np.ones((16, 4)))
        assert not np.array_equal(moves, tabular.dynamics(kind, 3, 1, 2))
        if kind != "periodic":
            assert moves[0, 2, 0] == 1
        if kind != "stochastic":
            assert ((moves > 0).sum(-1) == 1).all()
    assert not moves[::2, :, ::2].any()
    assert not moves[1::2, :, 1::2].any()
    barred = np.mean([(tabular.dynamics("stochastic", seed, 0, 0) == 0).mean() for seed in range(20)])
    assert barred == pytest.approx(1 - (15 / 16) ** 12, abs=0.02)  # 12 draws of 16 with replacement


def test_the_best_discriminator_is_scipys():
    """The cross-entropy as a sum over s, a and s', one at a time, for a reward that f cannot hold."""
    moves, reward = small(2)
    log_pi = tabular.plan(moves, reward)
    visits = tabular.occupancy(moves, log_pi)

    def loss(x):
        g, h = x[:4], x[4:]
        total = 0.0
        for s, a, after in np.ndindex(moves.shape):
            logit = g[s] + 0.9 * h[after] - h[s] - log_pi[s, a]
            total += visits[s, a] * moves[s, a, after] * (np.logaddexp(0, -logit) + np.logaddexp(0, logit))
        return total

    best = minimize(loss, np.zeros(8), method="BFGS", options={"gtol": 1e-8})
    found = tabular.discriminate(moves, visits, log_pi)
    assert loss(np.concatenate([found.g, found.h])) <= best.fun + 1e-12
    assert np.ptp(found.g - best.x[:4]) < 1e-4
    assert found.misfit > 0.01


@pytest.mark.parametrize(("kind", "seed"), [("deterministic", 0), ("stochastic", 1)])
def test_it_is_where_the_loss_that_trains_has_no_slope(kind, seed):
    """algorithms/airl.py with linear g(s) and h(s), at every transition at once, weighted by the expert's occupancy."""
    moves, log_pi, visits = of(kind, seed)
    found = tabular.discriminate(moves, visits, log_pi)
    config = airl.Config(hidden=(), state_only=True, ppo=PPOConfig(discount=0.9))
    model = airl.Reward(16, 1, Generators([0], "weights"), config).double()
    for net, values in ((model.g, found.g), (model.h, found.h)):
        slopes, bias = net.parameters()
        slopes.data[0, :16, 0], bias.data[:] = torch.from_numpy(values), 0
    line = np.argwhere(moves > 0)
    one, zero = torch.eye(16).double(), torch.zeros(1, len(line)).double()
    obs, after = (one[line[:, column]][None] for column in (0, 2))
    taken = torch.from_numpy(log_pi[line[:, 0], line[:, 1]])[None]
    logit = airl.logit(model, Batch(obs, zero[..., None], after, zero, taken, zero))
    visited = torch.from_numpy(visits[:, :, None] * moves)[tuple(line.T)]
    assert (visited * logit[0] ** 2).sum().sqrt().item() == pytest.approx(found.misfit, abs=1e-9)
    (visited * (softplus(-logit) + softplus(logit))[0]).sum().backward()
    for net in (model.g, model.h):
        slope = next(net.parameters()).grad
        assert slope is not None
        assert slope.abs().max() < 1e-10


@pytest.mark.parametrize("kind", ["deterministic", "periodic"])
def test_what_is_left_free_is_a_constant_a_group_and_what_is_never_met(kind):
    """The rank of f's features, which numpy counts, is 2 S less the groups of linked states and the states not met."""
    seen = set()
    for seed in range(12):
        moves, _, visits = of(kind, seed)
        met = [(s, moves[s, a].argmax()) for s in range(16) for a in range(4) if visits[s, a] > 0]
        features = np.array([np.append(np.eye(16)[s], 0.9 * np.eye(16)[after] - np.eye(16)[s]) for s, after in met])
        free = 32 - np.linalg.matrix_rank(features)
        groups = tabular.linked(moves, visits)
        assert free == groups + (visits.sum(1) == 0).sum()
        seen.add(groups)
    assert len(seen) > 1


def test_the_reward_is_recovered_just_where_the_theorem_says():
    r = tabular.TRUE[:, 0]
    for seed in range(6):
        moves, log_pi, visits = of("deterministic", seed)
        found = tabular.discriminate(moves, visits, log_pi)
        assert found.misfit < 1e-10
        assert (tabular.error(found.g, r) < 1e-9) == (tabular.linked(moves, visits) == 1)
        moves, log_pi, visits = of("stochastic", seed)
        assert tabular.linked(moves, visits) == 1
        assert tabular.error(tabular.discriminate(moves, visits, log_pi).g, r) > 0.2
        assert tabular.error(tabular.discriminate(moves, visits, log_pi, expected=True).g, r) < 1e-9


def test_the_reward_log_pi_transfers_the_policy_itself():
    _, log_pi, _ = of("stochastic", 0)
    for kind in ("stochastic", "deterministic"):
        assert tabular.plan(tabular.dynamics(kind, 5, 1, 3), log_pi) == pytest.approx(log_pi, abs=1e-9)


def test_a_score_is_0_of_the_uniform_policy_and_1_of_the_optimum():
    moves, best, _ = of("stochastic", 0)
    assert tabular.worth(moves, best, best) == (1, 0)
    score, regret = tabular.worth(moves, tabular.UNIFORM, best)
    assert score == 0
    assert regret > 0.1
    steep = tabular.plan(moves, 10 * tabular.TRUE)
    score, regret = tabular.worth(moves, steep, best)
    assert score > 1  # a higher return, bought with entropy
    assert regret > 0.1


def test_new_dynamics_that_never_reach_the_goal_are_left_out(monkeypatch):
    """There a score would be 0 / 0: draws 1 and 3 of these have the start stay where it is."""
    original = tabular.dynamics

    def some_stuck(kind, seed, draw, staying):
        moves = original(kind, seed, draw, staying)
        if draw in (1, 3):
            moves[tabular.START] = np.eye(16)[tabular.START]
        return moves

    monkeypatch.setattr(tabular, "dynamics", some_stuck)
    lines = list(tabular.transfer("stochastic", 0, tabular.TRUE[:, 0], tabular.UNIFORM, 3))
    assert list(dict.fromkeys(line["draw"] for line in lines)) == [2, 4, 5]


# Files and chapter


@pytest.fixture(scope="module")
def found():
    return {name: rows for name, (rows, _) in tabular.tables(Tabular(draws=4, moves=1)).items()}


def test_files_have_every_mdp_and_every_move(found):
    learnt, moved, rewards = (found[f"tabular_{name}"] for name in ("learnt", "transferred", "rewards"))
    assert [list(found[f"tabular_{name}"]) for name in ("learnt", "transferred", "rewards")] == [
        list(columns) for columns in (schema.LEARNT, schema.TRANSFERRED, schema.REWARDS)
    ]
    assert len(learnt) == 4 * 4
    assert set(learnt["row"]) == {"deterministic", "unlinked", "periodic", "stochastic", "expected"}
    assert len(moved) == 4 * 4 * 2 * 2
    assert not moved.duplicated(["row", "seed", "draw", "staying", "reward"]).any()
    assert len(rewards) == 5 * 16
    assert rewards.groupby("row")["learnt"].mean().abs().max() < 1e-9


def test_verdicts_follow_the_numbers(found):
    learnt, moved = found["tabular_learnt"], found["tabular_transferred"]

    def verdicts(learnt, moved):
        return dict(tabular_claims(learnt, moved).data[["case", "holds"]].itertuples(index=False, name=None))

    measured = verdicts(learnt, moved)
    assert measured["g(s), deterministic, all states linked"] == "yes"
    assert measured["g(s), stochastic"] == "no"
    assert measured["g(s), stochastic, mean of h(s')"] == ""
    assert measured["g(s, a), stochastic, the same action stays at the goal"] == "no"
    assert measured["g(s, a), stochastic, another action stays"] == "yes"
    turned = verdicts(learnt.assign(error=0.5 - learnt["error"]), moved.assign(score=0.6 - moved["score"]))
    assert turned["g(s), deterministic, all states linked"] == "no"
    assert turned["g(s, a), stochastic, the same action stays at the goal"] == "yes"
    assert turned["g(s, a), stochastic, another action stays"] == "no"
    published, worth = tabular_differences(learnt, moved)
    assert published.startswith("In stochastic MDPs g(s) is off by 0.")
    assert published.endswith("With the mean of h(s') in its place g(s) is off by 0.00 and its policy scores 1.00.")
    assert worth.startswith("g(s, a) is worth more than the uniform policy where the same action stays")
    assert tabular_differences(learnt.assign(error=0.0), moved.assign(score=0.4)) == []
    table = tabular_table(learnt, moved)
    assert table.shown["MDPs"].astype(int).sum() == len(learnt)
    assert isinstance(table.data, pd.DataFrame)


@pytest.mark.parametrize(
    ("size", "said"),
    [
        ({}, "studies.transfer.tabular: missing; add it"),
        ({"tabular": {"draws": 0, "moves": 1}}, "studies.transfer.tabular.draws: Input should be greater than 0"),
        ({"tabular": {"draw": 1, "draws": 1, "moves": 1}}, "studies.transfer.tabular.draw: no such key"),
    ],
)
def test_a_wrong_size_is_one_line(tmp_path, size, said):
    path = synthetic.design(tmp_path, studies={"transfer": size})
    with pytest.raises(InputError) as caught:
        run("transfer", path)
    assert str(caught.value).startswith(f"{path}: {said}")
    assert "\n" not in str(caught.value)
