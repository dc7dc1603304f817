"""The tasks: Gymnasium's MuJoCo v5 tasks, stepped as one batch of P learners x E parallel episodes.

One module of this folder is one task, and `names()` finds it by looking: there is no list to keep. A task module has

    ID, XML            Gymnasium's id, and the file name of its model among Gymnasium's own assets
    FRAME_SKIP, DT     physics steps per environment step, and the seconds they last
    HORIZON            environment steps after which an episode is truncated
    FIELDS             the physics fields that its functions read, by MuJoCo's names in mjData
    reset(uniform [..., nq + nv], qpos0 [nq]) -> qpos [..., nq], qvel [..., nv]      from uniform numbers in [0, 1)
    observation(x) -> [..., O]      reward(before, after, action [..., A]) -> [...]      terminal(x) -> [...] bool

whose functions are batched torch over a `State` and never look at a value: on a GPU they are part of a CUDA graph.
"""

import pkgutil
from collections.abc import Sequence
from difflib import get_close_matches
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

import mujoco
import torch

from envs.batch import BatchEnv, Step
from envs.physics import Physics
from envs.physics.native import Native
from threefold.base.errors import InputError

__all__ = ["BatchEnv", "Step", "load", "make", "model", "names"]


def names() -> list[str]:
    """Ids of all tasks, sorted."""
    return sorted(_tasks())


def load(name: str) -> ModuleType:
    """The task's module; raises `InputError` with the closest id when there is no such task."""
    tasks = _tasks()
    if name not in tasks:
        closest = get_close_matches(str(name), tasks, n=1, cutoff=0)[0]
        raise InputError(f"task {name!r} does not exist; did you mean {closest!r}? Known: {', '.join(sorted(tasks))}")
    return tasks[name]


def model(task: ModuleType) -> mujoco.MjModel:
    """The task's physics, compiled from the MJCF file inside the installed gymnasium package."""
    spec = find_spec("gymnasium")  # finds the folder without importing the package
    assert spec is not None
    assert spec.origin is not None
    return mujoco.MjModel.from_xml_path(str(Path(spec.origin).parent / "envs" / "mujoco" / "assets" / task.XML))


def make(
    name: str,
    seeds: Sequence[int],
    episodes: int,
    engine: str = "native",
    device: str = "cpu",
    threads: int | None = None,
) -> BatchEnv:
    """P = len(seeds) learners times E = `episodes` parallel copies of a task, already reset.

    A seed decides its learner's start states, whoever runs beside it. Engines: `native` on the CPU, where `threads` is
    the number of cores to use (see `physics.native`), and `warp` on the device "cuda" or, for tests, "cpu". Raises
    `InputError` for an unknown task or engine, and for a device that is not there or too small.
    """
    task, worlds = load(name), len(seeds) * episodes
    return BatchEnv(task, _physics(task, worlds, engine, torch.device(device), threads), seeds, episodes)


def _physics(task: ModuleType, worlds: int, engine: str, device: torch.device, threads: int | None) -> Physics:
    if engine == "native" and device.type == "cpu":
        return Native(model(task), worlds, task.FRAME_SKIP, task.FIELDS, threads)
    if engine == "native":
        raise InputError(f"engine 'native' runs on the CPU, not on {device.type!r}; use engine 'warp'")
    if engine != "warp":
        raise InputError(f"engine {engine!r} does not exist; use 'native' or 'warp'")
    if device.type == "cuda" and not torch.cuda.is_available():
        raise InputError("device 'cuda': torch finds no CUDA device here; use device 'cpu' or a CUDA build of torch")
    from envs.physics.warp import Warp  # takes seconds to import, which only its users shall pay

    return Warp(model(task), worlds, task.FRAME_SKIP, task.FIELDS, device)


def _tasks() -> dict[str, ModuleType]:
    modules = (import_module(f"{__name__}.{found.name}") for found in pkgutil.iter_modules(__path__) if not found.ispkg)
    return {module.ID: module for module in modules if hasattr(module, "ID")}
