"""AIRL in finite MDPs, exactly: the reward that the best discriminator learns, and its policy under new dynamics.

Section 7.1 of Fu, Luo & Levine 2018 (arXiv 1710.11248): 16 states, 4 actions, a reward of 1 for every action in state
0, where one action stays for ever; start in state 1. As in the authors' code, 12 draws with replacement bar successors
in every row of the transitions, the discount is 0.9 and the entropy's weight is 1. A deterministic MDP keeps each row's
likeliest successor alone; a periodic one has moves between even and odd states alone, and no action that stays.

The expert is optimal with entropy: log pi_E = Q - V. Where the generator is the expert, D = sigmoid(f - log pi_E) is
best at the f that minimises E[softplus(-l) + softplus(l)], l = f - log pi_E, over the transitions that the expert
meets. With f(s, s') = g(s) + gamma h(s') - h(s) that is a convex problem of 32 numbers, solved by Newton's method.
Nothing is sampled.

Where f can be log pi_E, g = r and h = V is a solution. So is any other h that differs by a constant on each group of
linked states (`linked`), with a g to match, and any g where the expert never goes. One group of all states is the
paper's decomposability condition. Of all solutions the smallest is taken.

A g(s, a) is best as log pi_E itself, with h = 0. In any dynamics the soft value of that reward is 0, so its optimal
policy is pi_E again: to transfer it is to transfer the policy.

Shapes: S states, A actions; transitions `[S, A, S]`; rewards, policies and occupancies `[S, A]`.
"""

from collections.abc import Iterator
from itertools import count, islice
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse.csgraph import connected_components
from scipy.special import expit, logsumexp

from studies.core.tables import Tables
from studies.transfer import schema
from studies.transfer.schema import Tabular

Array = NDArray[np.float64]
Kind = Literal["stochastic", "deterministic", "periodic"]

STATES, ACTIONS = 16, 4
BARRED = 12
GOAL, START = 0, 1
DISCOUNT = 0.9
MET = 1e-12  # the least weight of what the expert meets
ROUNDING = 1e-10

TRUE = np.zeros((STATES, ACTIONS))
TRUE[GOAL] = 1.0
UNIFORM = np.full((STATES, ACTIONS), -np.log(ACTIONS))  # log pi


class Learnt(NamedTuple):
    """The best discriminator's g and h `[S]`, and the root mean square of its l over what the expert meets."""

    g: Array
    h: Array
    misfit: float


def dynamics(kind: Kind, seed: int, draw: int, staying: int) -> Array:
    """Return the transitions of a random MDP; at the goal the action `staying` stays."""
    rng = np.random.default_rng((seed, draw))
    moves = np.exp(rng.random((STATES, ACTIONS, STATES)))
    np.put_along_axis(moves, rng.integers(STATES, size=(STATES, ACTIONS, BARRED)), 0, -1)
    if kind == "periodic":
        state = np.arange(STATES)
        moves = (moves + 1) * ((state[:, None] + state) % 2)[:, None]  # what is barred comes last
    else:
        moves[GOAL, staying] = np.eye(STATES)[GOAL]
    return moves / moves.sum(-1, keepdims=True) if kind == "stochastic" else np.eye(STATES)[moves.argmax(-1)]


def plan(moves: Array, reward: Array) -> Array:
    """Return log pi of the policy that is optimal with entropy, by policy iteration to rounding."""
    states, _ = reward.shape
    value = np.zeros(states)
    while True:
        q = reward + DISCOUNT * moves @ value
        log_policy = q - logsumexp(q, axis=1, keepdims=True)
        value, before = evaluate(moves, reward, log_policy), value
        if np.abs(value - before).max() < ROUNDING:
            return log_policy


def evaluate(moves: Array, reward: Array, log_policy: Array) -> Array:
    """Return the value `[S]` of a policy: its discounted reward and entropy."""
    policy = np.exp(log_policy)
    between = np.einsum("sa,sat->st", policy, moves)
    return np.linalg.solve(np.eye(len(moves)) - DISCOUNT * between, (policy * (reward - log_policy)).sum(1))


def occupancy(moves: Array, log_policy: Array) -> Array:
    """Return the normalised discounted occupancy of states and actions from the start."""
    policy, one = np.exp(log_policy), np.eye(len(moves))
    between = np.einsum("sa,sat->st", policy, moves)
    return np.linalg.solve(one - DISCOUNT * between.T, (1 - DISCOUNT) * one[START])[:, None] * policy


def linked(moves: Array, visits: Array) -> int:
    """Return how many groups of linked states there are: all successors of a state that is met are linked."""
    successors = (moves > 0).any(1) & (visits.sum(1) > MET)[:, None]
    return int(connected_components(successors.T.astype(float) @ successors, directed=False)[0])


def discriminate(moves: Array, visits: Array, log_policy: Array, *, expected: bool = False) -> Learnt:
    """Return the best g(s) with f = g(s) + gamma h(s') - h(s), or, `expected`, the mean of h(s') in its place."""
    states, actions = visits.shape
    one, after = np.eye(states), moves.reshape(-1, states)
    state, target, weight = np.repeat(np.arange(states), actions), log_policy.ravel(), visits.ravel()
    if not expected:  # a line for each transition
        line, successor = np.nonzero(after)
        state, target, weight = state[line], target[line], weight[line] * after[line, successor]
        after = one[successor]
    met = weight > MET
    features = np.hstack([one[state], DISCOUNT * after - one[state]])[met]
    found = minimise(features, target[met], weight[met])
    miss = features @ found - target[met]
    return Learnt(found[:states], found[states:], float(np.sqrt(np.average(miss**2, weights=weight[met]))))


def minimise(features: Array, target: Array, weight: Array) -> Array:
    """Return the x that minimises sum w [softplus(-l) + softplus(l)], l = features x - target, by Newton's method.

    It starts from the smallest least squares solution, and no step leaves the span of the features: of all minima it
    finds the smallest.
    """
    x, *_ = np.linalg.lstsq(features * np.sqrt(weight)[:, None], target * np.sqrt(weight), rcond=ROUNDING)
    for _ in range(50):
        share = expit(features @ x - target)
        curve = np.sqrt(2 * weight * share * (1 - share))
        step, *_ = np.linalg.lstsq(features * curve[:, None], weight * (2 * share - 1) / curve, rcond=ROUNDING)
        x = x - step
        if np.abs(step).max() < ROUNDING:
            return x
    raise ArithmeticError("50 Newton steps did not find the discriminator's optimum")


def error(g: Array, true: Array) -> float:
    """Return the largest |g - r| after the best constant."""
    return float(np.ptp(g - true) / 2)


# What is learnt where: the dynamics, and whether f has the mean of h(s') for h(s').
ROWS: dict[str, tuple[Kind, bool]] = {
    "deterministic": ("deterministic", False),
    "periodic": ("periodic", False),
    "stochastic": ("stochastic", False),
    "expected": ("stochastic", True),
}
SPLIT = {True: "deterministic", False: "unlinked"}  # by whether all states are one group


def tables(size: Tabular) -> Tables:
    """Return the files of this part."""
    learnt, moved, g = [], [], []
    for name, (kind, expected) in ROWS.items():
        for seed in range(size.draws):
            moves = dynamics(kind, seed, 0, seed % ACTIONS)
            log_expert = plan(moves, TRUE)
            visits = occupancy(moves, log_expert)
            found, groups = discriminate(moves, visits, log_expert, expected=expected), linked(moves, visits)
            met = visits.sum(1) > MET
            row = {"row": SPLIT[groups == 1] if name == "deterministic" else name, "seed": seed}
            r = TRUE[:, 0]
            errors = {"error": error(found.g, r), "error_met": error(found.g[met], r[met])}
            learnt.append(row | {"groups": groups, "unmet": int((~met).sum()), "misfit": found.misfit} | errors)
            g += [
                row | {"state": s, "true": r[s] - r.mean(), "learnt": found.g[s] - found.g.mean()}
                for s in range(STATES)
            ]
            moved += [row | line for line in transfer(kind, seed, found.g, log_expert, size.moves)]
    rewards = pd.DataFrame(g).drop_duplicates(["row", "state"])  # the first MDP of each row
    return {
        "tabular_learnt": (pd.DataFrame(learnt), schema.LEARNT),
        "tabular_transferred": (pd.DataFrame(moved), schema.TRANSFERRED),
        "tabular_rewards": (rewards, schema.REWARDS),
    }


def transfer(kind: Kind, seed: int, g: Array, log_expert: Array, draws: int) -> Iterator[dict[str, Any]]:
    """Yield what each reward is worth under each of the new dynamics: those in which the goal can be reached."""
    rewards = {"state": np.repeat(g[:, None], ACTIONS, 1), "state-action": log_expert}
    anew: Kind = "stochastic" if kind == "stochastic" else "deterministic"
    for draw in islice((draw for draw in count(1) if reachable(dynamics(anew, seed, draw, 0))), draws):
        for staying, shift in (("same", 0), ("other", 1)):
            moves = dynamics(anew, seed, draw, (seed + shift) % ACTIONS)
            best = plan(moves, TRUE)
            for reward, values in rewards.items():
                policy = plan(moves, values)
                score, regret = worth(moves, policy, best)
                yield {"draw": draw, "staying": staying, "reward": reward, "score": score, "regret": regret}


def reachable(moves: Array) -> bool:
    """Return whether the goal can be reached from the start."""
    return bool(occupancy(moves, UNIFORM)[GOAL].sum() > MET)


def worth(moves: Array, policy: Array, best: Array) -> tuple[float, float]:
    """Return the score of a policy's return, 0 = uniform, 1 = the optimum's, and its regret with entropy, nats."""
    low, here, high = ((occupancy(moves, each) * TRUE).sum() for each in (UNIFORM, policy, best))
    regret = evaluate(moves, TRUE, best)[START] - evaluate(moves, TRUE, policy)[START]
    return float((here - low) / (high - low)), float(regret)
