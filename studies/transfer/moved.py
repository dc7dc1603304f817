"""Rewards that are learnt on one task, frozen, and optimised by new policies on another (section 7.2).

The demonstrations are those of the first task's expert. A new policy starts from nothing and is trained by PPO on the
frozen reward alone, without the entropy that learning had in it; what counts is its true return on the second task.
The reward transferred is the last one, as said beforehand; those of earlier iterations show what that choice is worth.

Rows: airl_state and airl (g), gcl (minus the cost), gail (softplus of the logit). Beside each reward its imitator,
which plays on the second task as it is. References on the second task: oracle (PPO on the true reward), expert (the
first task's, as it is), random, still (no action), and stuck (straight towards the goal, into the barrier).

In the authors' file of the disabled ant the motors have another order than in the one that rewards are learnt on, so
whatever depends on actions meets permuted ones there. Both orders are measured, the other one with the last reward.
"""

from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from typing import Any, NamedTuple

import pandas as pd
import torch
from torch import Tensor

import algorithms
import envs
from algorithms import gail
from algorithms.core.experience import Batch, Experience
from algorithms.core.policy import Policy
from algorithms.core.ppo import PPO, PPOConfig
from algorithms.core.progress import Progress
from envs.batch import BatchEnv, Step
from envs.episodes import play
from envs.monitor import Monitor
from studies.core.parts import Frames
from studies.transfer import schema
from studies.transfer.schema import Moved, Size
from threefold.experts import demonstrations, policies
from threefold.profile.constants import replaced
from threefold.store import code

DATA = code.ROOT / "data"
EPISODES = 16  # parallel ones of a learner
EVALUATION = 20  # episodes
EVALUATION_SEEDS = 1_000_000

Act = Callable[[Tensor], Tensor]
FrozenReward = Callable[[Tensor, Tensor], Tensor]  # of obs [P, N, O] and action [P, N, A], in the task's units: [P, N]


class Pair(NamedTuple):
    """Where rewards are learnt, where they are taken to, and the orders of the motors there (`Permuted`).

    shares: of the training, after which a reward is frozen. The last one, 1, counts; it alone meets other orders.
    """

    source: str
    target: str
    orders: dict[str, tuple[int, ...] | None]
    shares: tuple[float, ...]


PAIRS = {
    "point_maze": Pair("PointMazeRight-v0", "PointMazeLeft-v0", {"same": None}, (0.25, 0.5, 0.75, 1.0)),
    "ant": Pair("CustomAnt-v0", "DisabledAnt-v0", {"same": None, "authors": (6, 7, 0, 1, 2, 3, 4, 5)}, (0.5, 1.0)),
}
ROWS: dict[str, tuple[str, dict[str, Any]]] = {
    "airl_state": ("airl", {"state_only": True}),
    "airl": ("airl", {}),
    "gcl": ("gcl", {}),
    "gail": ("gail", {}),
}
REWARDS: dict[str, Callable[[Any, Batch, Any], Tensor]] = {
    "airl": lambda model, batch, config: model.g(batch.inputs()),
    "gcl": lambda model, batch, config: -model(batch),
    "gail": gail.reward,
}
REFERENCES = "references"


def parts(size: Size) -> list[str]:
    """Return the names of the study's parts that move rewards: a pair of tasks and a row."""
    return [f"{name}-{row}" for name in PAIRS if getattr(size, name) for row in (REFERENCES, *ROWS)]


def work(part: str, size: Size) -> Frames:
    """Return a part's rows."""
    name, row = part.split("-")
    rows = (_references if row == REFERENCES else _moved)(PAIRS[name], row, getattr(size, name))
    return {f"{name}_moved": pd.DataFrame(rows, columns=list(schema.MOVED))}


def _moved(pair: Pair, row: str, size: Moved) -> Iterator[tuple]:
    """Yield the imitator's returns on both tasks, and those of policies trained on its rewards."""
    rewards, policy = learn(pair, row, size)
    yield from _lines(row, "imitator", "source", 1.0, size, returns(pair.source, size.seeds, policy))
    for order, permutation in pair.orders.items():
        moved = returns(pair.target, size.seeds, policy, permutation)
        yield from _lines(row, "imitator", order, 1.0, size, moved)
        for share, reward in rewards.items() if permutation is None else [(1.0, rewards[1.0])]:
            trained = optimise(pair.target, size.seeds, size.transfer_steps, reward, permutation)
            yield from _lines(row, "reward", order, share, size, returns(pair.target, size.seeds, trained, permutation))


def _references(pair: Pair, row: str, size: Moved) -> Iterator[tuple]:
    expert, _ = policies.load(pair.source, DATA / "experts" / pair.source)
    env = envs.make(pair.target, size.seeds, EVALUATION)
    still = torch.zeros(env.P, env.E, env.action_size)
    up = torch.tensor([0.0, 1.0]).expand(env.P, env.E, 2)
    behaviours: dict[str, Act] = {
        "oracle": optimise(pair.target, size.seeds, size.transfer_steps),
        "expert": lambda obs: expert(obs.flatten(0, 1)[None]).view(*obs.shape[:2], -1),
        "random": policies.uniform(env, EVALUATION_SEEDS),
        "still": lambda obs: still,
    }
    if pair.target.startswith("PointMaze"):
        behaviours["stuck"] = lambda obs: up
    for name, act in behaviours.items():
        yield from _lines(name, "reference", "same", 1.0, size, returns(pair.target, size.seeds, act))


def _lines(row: str, kind: str, where: str, share: float, size: Moved, found: Tensor) -> Iterator[tuple]:
    return ((row, kind, where, share, seed, value) for seed, value in zip(size.seeds, found.tolist(), strict=True))


def learn(pair: Pair, row: str, size: Moved) -> tuple[dict[float, FrozenReward], Policy]:
    """Imitate the expert of the first task; return the reward after each share of the training, and the imitator."""
    task, (method, changes) = pair.source, ROWS[row]
    module = algorithms.load(method)
    preset = {key: value for key, value in envs.preset(task).items() if key.startswith("ppo.")}
    config = replaced(module.Config(), preset | changes, row)
    env = Monitor(envs.make(task, size.seeds, EPISODES))
    counts = [size.trajectories] * len(size.seeds)
    expert = demonstrations.load(DATA / "demonstrations" / task, task, counts)
    rewards: dict[float, FrozenReward] = {}
    for progress in module.train(env, expert, size.seeds, config):
        env.take_rewards(), env.take_episodes()  # untaken they would pile up
        for share in pair.shares[len(rewards) :]:
            if progress.env_steps >= share * size.imitation_steps:
                rewards[share] = frozen(method, progress, config)
        if len(rewards) == len(pair.shares):
            break
    return rewards, progress.policy


def frozen(method: str, progress: Progress, config: Any) -> FrozenReward:
    """Return what a method has learnt so far as a reward of its own, without the policy's entropy."""
    model, normalizer = deepcopy(progress.models["reward"]), deepcopy(progress.policy.normalizer)
    scale = progress.policy.action_scale.clone()

    @torch.no_grad()
    def reward(obs: Tensor, action: Tensor) -> Tensor:
        x, zero = normalizer(obs), torch.zeros_like(obs[..., 0])
        return REWARDS[method](model, Batch(x, action / scale, x, zero, zero, zero), config)

    return reward


def optimise(
    task: str,
    seeds: Sequence[int],
    env_steps: int,
    reward: FrozenReward | None = None,
    order: tuple[int, ...] | None = None,
) -> Policy:
    """Train new policies by PPO on a frozen reward, or on the true one; `order` permutes the motors."""
    env = Monitor(_made(task, seeds, EPISODES, order))
    preset = {key.removeprefix("ppo."): value for key, value in envs.preset(task).items() if key.startswith("ppo.")}
    ppo = PPO(env, seeds, replaced(PPOConfig(), preset, "ppo"))

    def learnt(experience: Experience) -> Tensor:
        true = env.take_rewards().transpose(0, 1).float()
        if reward is None:
            return true
        rows = experience.transitions()
        return reward(rows.obs.float(), rows.action).view_as(true)

    taken = 0
    while taken < env_steps:
        experience = ppo.collect()
        ppo.improve(learnt, experience)
        taken += experience.steps
        env.take_episodes()
    return ppo.policy


def returns(task: str, seeds: Sequence[int], act: Act, order: tuple[int, ...] | None = None) -> Tensor:
    """Return each learner's mean true return over EVALUATION episodes, `[P]`."""
    env = _made(task, [EVALUATION_SEEDS + seed for seed in seeds], EVALUATION, order)
    return play(env, act).episode_return.mean(1)


def _made(task: str, seeds: Sequence[int], episodes: int, order: tuple[int, ...] | None) -> BatchEnv:
    env = envs.make(task, seeds, episodes)
    return env if order is None else Permuted(env, order)


class Permuted(BatchEnv):
    """An env whose motors are numbered differently: its motor k obeys number `order[k]` of an action."""

    def __init__(self, env: BatchEnv, order: tuple[int, ...]) -> None:
        self.__dict__ |= env.__dict__
        self._order = torch.tensor(order)

    def step(self, action: Tensor, active: Tensor | None = None) -> Step:
        """Apply an action `[P, E, A]` in the other order."""
        return super().step(action[..., self._order], active)
