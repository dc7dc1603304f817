"""The tasks: Gymnasium's MuJoCo v5 and classic control tasks, stepped as one batch of P learners x E parallel episodes.

One module of this folder is one task, and `names()` finds it by looking: there is no list to keep. A task module has

    ID, XML            its id, and the file name of its model, in envs/assets or among Gymnasium's own
    FRAME_SKIP, DT     physics steps per environment step, and the seconds they last
    HORIZON            environment steps after which an episode is truncated
    PRESET             constants of learning, by dotted names, that differ on this task; it may be left out
    FIELDS             the physics fields that its functions read, by MuJoCo's names in mjData
    reset(uniform [..., nq + nv], qpos0 [nq]) -> qpos [..., nq], qvel [..., nv]      from uniform numbers in [0, 1)
    observation(x) -> [..., O]      reward(before, after, action [..., A]) -> [...]      terminal(x) -> [...] bool

whose functions are batched torch over a `State` and never look at a value: on a GPU they are part of a CUDA graph.

A task with discrete actions brings its own equations of motion: in the place of XML and FRAME_SKIP it has

    ACTIONS            how many actions there are; one is a one-hot vector of so many numbers
    COORDINATES        nq = nv
    advance(x, action [...] from 0 on) -> qpos [..., nq], qvel [..., nv]
"""

import re
from collections.abc import Sequence
from difflib import get_close_matches
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

import mujoco
import torch

from envs.batch import BatchEnv, Step
from envs.physics import Physics
from envs.physics.equations import Equations
from envs.physics.native import Native
from threefold.base.errors import InputError

__all__ = ["BatchEnv", "Step", "load", "make", "model", "model_files", "names", "preset"]


def names() -> list[str]:
    """Ids of all tasks, sorted."""
    return sorted(_modules())


def load(name: str) -> ModuleType:
    """The task's module; raises `InputError` with the closest id when there is no such task."""
    modules = _modules()
    if name not in modules:
        closest = get_close_matches(str(name), modules, n=1, cutoff=0)[0]
        known = ", ".join(sorted(modules))
        raise InputError(
            f"task {name!r} does not exist; did you mean {closest!r}? Known: {known}; "
            f'a file of your own in envs/ needs the line ID = "{name}"'
        )
    return import_module(modules[name])


def preset(name: str) -> dict[str, Any]:
    """The constants of learning that differ on a task, for its expert and its learners alike."""
    return getattr(load(name), "PRESET", {})


def model_files(task: ModuleType) -> list[Path]:
    """The task's MJCF file: its own in envs/assets, or else Gymnasium's, inside the installed package.

    A task that brings its own equations has none.
    """
    if not hasattr(task, "XML"):
        return []
    own = Path(__file__).parent / "assets" / task.XML
    if own.exists():
        return [own]
    spec = find_spec("gymnasium")  # finds the folder without importing the package
    assert spec is not None
    assert spec.origin is not None
    return [Path(spec.origin).parent / "envs" / "mujoco" / "assets" / task.XML]


def model(task: ModuleType) -> mujoco.MjModel:
    """The task's physics, compiled from its MJCF file."""
    (file,) = model_files(task)
    return mujoco.MjModel.from_xml_path(str(file))


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
    the number of cores to use (see `physics.native`), and `warp` on the device "cuda" or, for tests, "cpu". A task with
    equations of its own needs neither and goes by them with both. Raises `InputError` for an unknown task or engine,
    and for a device that is not there or too small.
    """
    task, worlds = load(name), len(seeds) * episodes
    return BatchEnv(task, _physics(task, worlds, engine, torch.device(device), threads), seeds, episodes)


def _physics(task: ModuleType, worlds: int, engine: str, device: torch.device, threads: int | None) -> Physics:
    if engine == "native" and device.type != "cpu":
        raise InputError(f"engine 'native' runs on the CPU, not on {device.type!r}; use engine 'warp'")
    if engine not in ("native", "warp"):
        raise InputError(f"engine {engine!r} does not exist; use 'native' or 'warp'")
    if device.type == "cuda" and not torch.cuda.is_available():
        raise InputError("device 'cuda': torch finds no CUDA device here; use device 'cpu' or a CUDA build of torch")
    if hasattr(task, "advance"):
        return Equations(task, worlds, device)
    if engine == "native":
        return Native(model(task), worlds, task.FRAME_SKIP, task.FIELDS, threads)
    from envs.physics.warp import Warp  # takes seconds to import, which only its users should pay for

    return Warp(model(task), worlds, task.FRAME_SKIP, task.FIELDS, device)


@cache
def _modules() -> dict[str, str]:
    """The module of each task by its id, found without importing any: a task depends on no other."""
    found = ((path, ID.search(path.read_text())) for path in Path(__file__).parent.glob("*.py"))
    return {match[1]: f"{__name__}.{path.stem}" for path, match in found if match}


ID = re.compile(r"""^ID\s*=\s*["']([^"']+)["']""", re.MULTILINE)
