"""Short videos of a task, played in Gymnasium's own env and drawn by MuJoCo without a screen.

Three tell a task: its expert, and the best and the worst learner of the profile's methods. A learner's name says which.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gymnasium
import mujoco
import numpy as np
import pandas as pd
import safetensors.torch
import torch
from PIL import Image

import envs
from algorithms.core.policy import Policy
from threefold.base.errors import InputError
from threefold.base.files import replacing
from threefold.base.messages import inform
from threefold.cells.record import EVALUATION_SEEDS
from threefold.experts import policies
from threefold.profile.design import Design
from threefold.tables import schema, statistics

SECONDS = 5.0  # at most, of the task's own time
RATE = 20  # frames a second
SIZE = (176, 132)  # pixels
QUALITY = 40  # of WebP, of 100

Act = Callable[[torch.Tensor], torch.Tensor]


def drawable(design: Design) -> list[str]:
    """Return the tasks of a profile that can be drawn; say of the others, once, that they are left out."""
    found = [task for task in design.tasks if not _lacks(task)]
    if left := [task for task in design.tasks if task not in found]:
        inform(f"left out, as they have no MuJoCo model or no env of Gymnasium's to draw: {', '.join(left)}")
    return found


def videos(design: Design, task: str) -> Path:
    """Write results/<profile>/videos/<task>/*.webp anew; return the folder.

    Raises `InputError` for a task that is not MuJoCo's or not Gymnasium's, without collected results, without the
    policies of the learners shown, or where MuJoCo finds no way to draw.
    """
    if lacking := _lacks(task):
        raise InputError(f"{task}: has no {lacking} to draw; choose a task that has one")
    shown = {"expert": policies.load(task, design.root / "data" / "experts" / task)[0]}
    for which, learner in _ends(design, task).items():
        shown["-".join(map(str, (which, *learner)))] = _policy(design, task, *learner)
    folder = design.results / "videos" / task
    with replacing(folder) as fresh:
        for name, policy in shown.items():
            _write(list(_frames(task, policies.deterministic(policy))), fresh / f"{name}.webp")
    return folder


def _lacks(task: str) -> str:
    """Return what a task would need in order to be drawn, or nothing."""
    if not envs.model_files(envs.load(task)):
        return "MuJoCo model"
    return "" if task in gymnasium.registry else "env of Gymnasium's"


def _ends(design: Design, task: str) -> dict[str, tuple[str, int, int]]:
    """Return the row, number of demonstrations and seed of the best and the worst learner."""
    path = design.results / "evaluations.csv"
    if not path.exists():
        raise InputError(f"{path}: missing; run `threefold collect --params {design.params}`")
    rows = schema.read_csv(path, schema.EVALUATIONS)
    last = statistics.final_episodes(rows[(rows["task"] == task) & rows["row"].isin(design.methods)])
    if last.empty:
        raise InputError(f"{path}: has no learner of {task}")
    returns = last.groupby(["row", "demonstrations", "seed"])["episode_return"].mean()
    return {"best": returns.idxmax(), "worst": returns.idxmin()}


def _policy(design: Design, task: str, row: str, demonstrations: int, seed: int) -> Policy:
    part = next(part for part in design.parts(task, row) if (demonstrations, seed) in part.learners)
    path = design.cell(task, row) / part.name / "policies.safetensors"
    tensors = {name.removeprefix("policy."): t for name, t in safetensors.torch.load_file(path).items()}
    ended = pd.read_csv(path.parent / "learners.csv")["seed"].tolist()
    return Policy.from_tensors(tensors).select(ended.index(seed))


@torch.no_grad()
def _frames(task: str, act: Act) -> Iterator[Image.Image]:
    """Play one episode, and yield a frame for each 1/RATE s of it."""
    env, obs, first = _begin(task)
    yield first
    every = env.metadata["render_fps"] / RATE
    for step in range(round(SECONDS * env.metadata["render_fps"])):
        if step and step // every > (step - 1) // every:
            yield Image.fromarray(env.render())
        action = act(torch.as_tensor(obs, dtype=torch.float32)[None, None])[0, 0].double().numpy()
        obs, _, terminated, truncated, _ = env.step(np.clip(action, env.action_space.low, env.action_space.high))
        if terminated or truncated:
            break
    yield Image.fromarray(env.render())
    env.close()


def _begin(task: str) -> tuple[Any, np.ndarray, Image.Image]:
    """Return a task's env, its first observation and its first frame: if nothing can be drawn here, it shows now."""
    try:
        env: Any = gymnasium.make(task, render_mode="rgb_array", width=SIZE[0], height=SIZE[1])
        obs, _ = env.reset(seed=EVALUATION_SEEDS)  # as an evaluation's first episode
        return env, obs, Image.fromarray(env.render())
    except (AttributeError, ImportError, RuntimeError, mujoco.FatalError) as error:  # of OpenGL and its loaders
        raise InputError(
            f"{task}: MuJoCo cannot draw here ({error}); set MUJOCO_GL=egl or MUJOCO_GL=osmesa and install what that "
            "needs (on Debian libegl1 and libgl1-mesa-dri, or libosmesa6)"
        ) from None


def _write(frames: list[Image.Image], path: Path) -> None:
    first, *rest = frames
    first.save(path, save_all=True, append_images=rest, duration=1000 // RATE, loop=0, quality=QUALITY, method=6)
