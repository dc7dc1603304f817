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
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import pandas as pd
import torch
from torch import Tensor

import envs
from algorithms import airl, gail, gcl
from algorithms.core.experience import Batch, Experience
from algorithms.core.policy import Policy
from algorithms.core.ppo import PPO, PPOConfig
from algorithms.core.progress import Progress
from envs.batch import BatchEnv, Step
from envs.episodes import play
from envs.monitor import Monitor
from studies.core.parts import Frames
from studies.transfer import schema
from studies.transfer.inputs import DATA, PAIRS, Pair
from studies.transfer.schema import Moved, Size
from threefold.experts import demonstrations, policies
from threefold.profile.constants import replaced

EPISODES = 16  # parallel ones of a learner
EVALUATION = 20  # episodes
EVALUATION_SEEDS = 1_000_000

Act = Callable[[Tensor], Tensor]
FrozenReward = Callable[[Tensor, Tensor], Tensor]  # of obs [P, N, O] and action [P, N, A], in the task's units: [P, N]


class Row(NamedTuple):
    """How a reward is learnt, and what of it is frozen: of a model, a batch and the constants, `[P, N]`."""

    method: ModuleType
    reward: Callable[[Any, Batch, Any], Tensor]
    config: dict[str, Any] = {}


ROWS = {
    "airl_state": Row(airl, lambda model, batch, config: model.g(batch.inputs()), {"state_only": True}),
    "airl": Row(airl, lambda model, batch, config: model.g(batch.inputs())),
    "gcl": Row(gcl, lambda model, batch, config: -model(batch)),
    "gail": Row(gail, gail.reward),
}
REFERENCES = "references"


def parts(size: Size) -> dict[str, Moved]:
    """Return the sizes of the study's parts that move rewards, by name: a pair of tasks, a row and a seed each."""
    return {
        f"{name}-{row}-{seed}": given.model_copy(update={"seeds": [seed]})
        for name in PAIRS
        if (given := getattr(size, name))
        for row in (*ROWS, REFERENCES)  # the longest first
        for seed in given.seeds
    }


def work(part: str, size: Moved, _: Path) -> Frames:
    """Return a part's rows."""
    name, row = part.split("-")[:2]
    rows = (_references if row == REFERENCES else _moved)(PAIRS[name], row, size)
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
    imitated = returns(pair.source, size.seeds, behaviours["expert"])
    yield from _lines("expert", "reference", "source", 1.0, size, imitated)


def _lines(row: str, kind: str, where: str, share: float, size: Moved, found: Tensor) -> Iterator[tuple]:
    return ((row, kind, where, share, seed, value) for seed, value in zip(size.seeds, found.tolist(), strict=True))


def learn(pair: Pair, row: str, size: Moved) -> tuple[dict[float, FrozenReward], Policy]:
    """Imitate the expert of the first task; return the reward after each share of the training, and the imitator."""
    task, (method, _, changes) = pair.source, ROWS[row]
    preset = {key: value for key, value in envs.preset(task).items() if key.startswith("ppo.")}
    config = replaced(method.Config(), preset | pair.constants.get(row, {}) | changes, row)
    env = Monitor(envs.make(task, size.seeds, EPISODES))
    counts = [size.trajectories] * len(size.seeds)
    expert = demonstrations.load(DATA / "demonstrations" / task, task, counts)
    rewards: dict[float, FrozenReward] = {}
    for progress in method.train(env, expert, size.seeds, config):
        env.take_rewards(), env.take_episodes()  # untaken they would pile up
        for share in pair.shares[len(rewards) :]:
            if progress.env_steps >= share * size.imitation_steps:
                rewards[share] = frozen(row, progress, config)
        if len(rewards) == len(pair.shares):
            break
    return rewards, progress.policy


def frozen(row: str, progress: Progress, config: Any) -> FrozenReward:
    """Return what a row has learnt so far as a reward of its own, without the policy's entropy."""
    model, normalizer = deepcopy(progress.models["reward"]), deepcopy(progress.policy.normalizer)
    scale = progress.policy.action_scale.clone()

    @torch.no_grad()
    def reward(obs: Tensor, action: Tensor) -> Tensor:
        x, zero = normalizer(obs), torch.zeros_like(obs[..., 0])
        return ROWS[row].reward(model, Batch(x, action / scale, x, zero, zero, zero), config)

    return reward


def optimise(
    task: str,
    seeds: Sequence[int],
    env_steps: int,
    reward: FrozenReward | None = None,
    order: tuple[int, ...] | None = None,
) -> Policy:
    """Train new policies by PPO on a frozen reward, or on the true one; `order` permutes the motors.

    Rewards are centred, as in learning: no episode ends here, so a constant changes nothing but what values must reach.
    """
    env = Monitor(_made(task, seeds, EPISODES, order))
    preset = {key.removeprefix("ppo."): value for key, value in envs.preset(task).items() if key.startswith("ppo.")}
    ppo = PPO(env, seeds, replaced(PPOConfig(), preset, "ppo"))

    def learnt(experience: Experience) -> Tensor:
        found = env.take_rewards().transpose(0, 1).float()
        if reward is not None:
            rows = experience.transitions()
            found = reward(rows.obs.float(), rows.action).view_as(found)
        return found - found.mean((1, 2), keepdim=True)

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
