"""Whether a cell fits a GPU's memory."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

import envs
from algorithms.core.adversarial import LoopConfig
from threefold.base.errors import InputError
from threefold.profile.design import Design
from threefold.profile.rollout import WORLDS

FLOAT = 4  # bytes
# Copies of a rollout that are alive at once, at most, measured over the methods: of each kept one, with and without
# its trajectories, and of what rewards, advantages and the first epoch make of it.
KEPT, KEPT_WHOLE, MADE = 4, 8, 10


def refuse_too_many(design: Design, task: str, learners: int, config: Any, free: int) -> None:
    """Raise `InputError`, with the number that fits, unless a cell's physics and learning fit into `free` bytes."""
    env, episodes = envs.make(task, [0], 1), design.budget[task].parallel_episodes
    each = learning_bytes(config, env.obs_size, env.action_size)
    if envs.model_files(env.task):  # a task's own equations need next to nothing
        from envs.physics import warp  # takes seconds to import, which only its users should pay for

        each += WORLDS["cuda"] * warp.bytes_per_world(envs.model(env.task))
    if learners * episodes * each > free:
        raise InputError(
            f"{_key(design, task)}: {episodes} episodes of {learners} learners need about "
            f"{learners * episodes * each / 1e9:.0f} GB on the GPU, where {free / 1e9:.0f} GB are free; "
            f"{free // (learners * each)} fit"
        )


@contextmanager
def explained(design: Design, task: str, learners: int) -> Iterator[None]:
    """Turn the error of a GPU whose memory is full all the same into an `InputError` with the cure."""
    episodes = design.budget[task].parallel_episodes
    try:
        yield
    except torch.OutOfMemoryError:
        raise InputError(
            f"{_key(design, task)}: {episodes} episodes of {learners} learners fill the GPU's memory; write "
            f"{max(1, episodes // 2)}, or free what other programs hold of it"
        ) from None


def _key(design: Design, task: str) -> str:
    return f"{design.params}: budget.{task}.parallel_episodes"


def learning_bytes(config: Any, obs_size: int, action_size: int) -> int:
    """Return the memory that learning takes for each world, at most; 0 for a method without a rollout."""
    if not hasattr(config, "ppo"):
        return 0
    loop, ppo = getattr(config, "loop", LoopConfig()), config.ppo
    row = 2 * obs_size + action_size + 1
    kept = loop.recent * row * (KEPT_WHOLE if loop.trajectories else KEPT)
    return FLOAT * ppo.steps * (kept + MADE * (row + max(ppo.hidden)))
