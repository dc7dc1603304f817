"""InvertedPendulum-v5 as a camera sees it: frames, what a learner makes of two of them, and an expert's."""

import os
from pathlib import Path
from typing import Any, NamedTuple

import gymnasium
import mujoco
import torch
from torch import Tensor

import envs
from envs.batch import BatchEnv
from threefold.base.errors import InputError
from threefold.experts import policies

TASK = "InvertedPendulum-v5"
PIXELS = 32
CAMERA = {"distance": 1.2, "lookat": [0, 0, 0.25], "elevation": 0, "azimuth": 90, "trackbodyid": -1, "type": 0}


class Camera:
    """Draws states of the task; a process has one, since a second one draws nothing but black."""

    def __init__(self) -> None:
        """Raises `InputError` where MuJoCo cannot draw."""
        if "DISPLAY" not in os.environ:
            os.environ.setdefault("MUJOCO_GL", "egl")  # read when gymnasium begins to draw
        self.frames = 0
        try:
            self._env: Any = gymnasium.make(
                TASK, render_mode="rgb_array", width=PIXELS, height=PIXELS, default_camera_config=CAMERA
            ).unwrapped
            self._env.reset()
            self._env.render()
        except (AttributeError, ImportError, RuntimeError, mujoco.FatalError) as error:  # of OpenGL and its loaders
            raise InputError(
                f"{TASK}: MuJoCo cannot draw here ({error}); set MUJOCO_GL=egl or MUJOCO_GL=osmesa and "
                "install what that needs (on Debian libegl1 and libgl1-mesa-dri, or libosmesa6)"
            ) from None

    def __call__(self, obs: Tensor) -> Tensor:
        """Return grey frames `[..., 32, 32]` in [0, 1] of observations `[..., 4]`, which are positions, velocities."""
        drawn = []
        for position, velocity in obs.flatten(0, -2).double().view(-1, 2, 2).numpy():
            self._env.set_state(position, velocity)
            drawn.append(torch.from_numpy(self._env.render().mean(-1)).float() / 255)
        self.frames += len(drawn)
        return torch.stack(drawn).view(*obs.shape[:-1], PIXELS, PIXELS)


class Scale(NamedTuple):
    """The expert's mean frame, and how much frames and their differences vary."""

    mean: Tensor  # [32, 32]
    std: Tensor  # [2]

    def __call__(self, now: Tensor, before: Tensor) -> Tensor:
        """Return frames and differences `[..., 2, 32, 32]`."""
        return torch.stack([now - self.mean, now - before], -3) / self.std[:, None, None]


class PixelEnv:
    """What learners see of an env: its frames, in units of the expert's."""

    def __init__(self, env: BatchEnv, camera: Camera, scale: Scale) -> None:
        self.env, self.camera, self.scale = env, camera, scale
        self.now = self.before = camera(env.obs)

    def seen(self) -> Tensor:
        """Return what is seen now, `[P, E, 2, 32, 32]`."""
        return self.scale(self.now, self.before)

    def step(self, action: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Act `[P, E, 1]`, in units of half the range; return the true next frames, terminal and truncated."""
        step = self.env.step(action.double() * self.env.action_high)
        after = self.camera(step.next_obs)
        following = self.scale(after, self.now)
        self.before, self.now = self.now, after
        ended = step.terminal | step.truncated
        if ended.any():
            fresh = self.camera(self.env.obs[ended])
            self.now = self.now.index_put((ended,), fresh)
            self.before = self.before.index_put((ended,), fresh)
        return following, step.terminal, step.truncated


class Pairs(NamedTuple):
    """What an expert demonstrates, the same to all learners."""

    seen: Tensor  # [N, 2, 32, 32]
    action: Tensor  # [N, 1] in units of half the action range


def demonstrate(episodes: int, steps: int, camera: Camera, folder: Path) -> tuple[Scale, Pairs]:
    """Play the expert for so many steps, as many as its episodes have at most, and draw it."""
    expert, _ = policies.load(TASK, folder)
    env = envs.make(TASK, [0], episodes, threads=1)
    act = policies.stochastic(expert, 0)
    now = before = camera(env.obs)
    frames, actions = [], []
    with torch.no_grad():
        for _ in range(steps):
            action = act(env.obs.float())
            frames.append((now, before))
            actions.append(action / env.action_high)
            now, before = camera(env.step(action).next_obs), now
    now, before = (torch.stack(column).flatten(0, 2) for column in zip(*frames, strict=True))
    mean = now.mean(0)
    scale = Scale(mean, torch.stack([x.square().mean().sqrt() for x in (now - mean, now - before)]))
    return scale, Pairs(scale(now, before), torch.stack(actions).flatten(0, 2).float())
