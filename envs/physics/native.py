"""MuJoCo C in 64 bit, on all cores by threads, equal to Gymnasium's environments to the last bit.

A world is a row of numbers: its state and the solver's warm start. Each thread has one mjData, into which it loads a
world, steps it, and stores it again; `mj_step` releases Python's lock for all substeps. MuJoCo's own `rollout` works
like that too. With an mjData for every world, 64 HalfCheetahs took a fifth longer: they no longer fit the cache.

Other fields are stored as they are: after `mj_step` derived quantities (`xpos`, `cvel`, ...) belong to its last forward
pass and not to the new `qpos`, here as in Gymnasium. A world that becomes unstable is put back into the model's initial
pose by MuJoCo itself.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import mujoco
import numpy as np
import torch
from torch import Tensor

from threefold.base.workers import default_threads

# MuJoCo's warnings (an unstable world, an old attribute in a model) go to logging. By itself it prints them and
# writes them to a file in the working folder.
mujoco.set_mju_user_warning(logging.getLogger("mujoco").info)


# A world's row: qpos, qvel, ..., qacc_warmstart, ctrl.
STATE = int(mujoco.mjtState.mjSTATE_PHYSICS | mujoco.mjtState.mjSTATE_WARMSTART | mujoco.mjtState.mjSTATE_CTRL)


class Native:
    """`worlds` copies of `model`, stepped `frame_skip` physics steps at a time; `fields` of mjData are shown."""

    def __init__(
        self, model: mujoco.MjModel, worlds: int, frame_skip: int, fields: Sequence[str], threads: int | None = None
    ) -> None:
        self.model = model
        self.threads = min(threads or default_threads(), worlds)
        self._frame_skip = frame_skip
        self._contact_forces = "cfrc_ext" in fields
        self._data = [mujoco.MjData(model) for _ in range(self.threads)]
        self._pool = ThreadPoolExecutor(max(1, self.threads - 1))  # the calling thread works too
        rows = np.zeros((worlds, mujoco.mj_stateSize(model, STATE)))
        self._all_rows, self._rows = rows, list(rows)  # views, made once
        self._derived = {
            name: np.zeros((worlds, *getattr(self._data[0], name).shape))
            for name in fields
            if name not in ("qpos", "qvel")
        }
        self._ctrl = rows[:, -model.nu :]
        qpos, qvel, _ = np.split(rows, [model.nq, model.nq + model.nv], axis=1)
        self._state = {k: torch.from_numpy(v) for k, v in {"qpos": qpos, "qvel": qvel, **self._derived}.items()}

    def state(self) -> dict[str, Tensor]:
        """See `Physics`. Zero copy: the tensors share the memory that the verbs write to."""
        return self._state

    def reset(self, which: Tensor, qpos: Tensor, qvel: Tensor) -> None:
        """See `Physics`. Does what Gymnasium does at a reset."""
        worlds = which.nonzero().flatten().tolist()
        if not worlds:
            return
        all_qpos, all_qvel = qpos.numpy(), qvel.numpy()

        def restart(data: mujoco.MjData, world: int) -> None:
            mujoco.mj_resetData(self.model, data)
            data.qpos[:] = all_qpos[world]
            data.qvel[:] = all_qvel[world]
            mujoco.mj_forward(self.model, data)

        self._spread(restart, worlds)

    def step(self, ctrl: Tensor, which: Tensor | None = None) -> None:
        """See `Physics`. Does what Gymnasium does at a step; worlds not in `which` cost nothing."""
        self._ctrl[:] = ctrl.numpy()
        worlds = range(len(self._rows)) if which is None else which.nonzero().flatten().tolist()

        def advance(data: mujoco.MjData, world: int) -> None:
            mujoco.mj_setState(self.model, data, self._rows[world], STATE)
            mujoco.mj_step(self.model, data, self._frame_skip)
            if self._contact_forces:  # mj_step leaves them out
                mujoco.mj_rnePostConstraint(self.model, data)

        self._spread(advance, worlds)

    def check(self) -> None:
        """See `Physics`. MuJoCo's memory grows as needed."""

    def state_dict(self) -> dict[str, Tensor]:
        """See `Physics`."""
        return {name: torch.from_numpy(values.copy()) for name, values in self._stored().items()}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """See `Physics`. Raises ValueError for a state of another number of worlds or another model."""
        for name, values in self._stored().items():
            if state[name].shape != values.shape:
                raise ValueError(f"{name}: {list(state[name].shape)} where {list(values.shape)} belongs")
            values[:] = state[name].numpy()

    def _stored(self) -> dict[str, np.ndarray]:
        return {"rows": self._all_rows, **self._derived}

    def _spread(self, work: Callable[[mujoco.MjData, int], None], worlds: Sequence[int]) -> None:
        """Do `work` for each world, on all threads, and store what it left in mjData.

        All threads draw from one iterator, so that none waits while another has worlds left.
        """
        waiting = iter(worlds)  # next() on it is one operation under Python's lock

        def drain(data: mujoco.MjData) -> None:
            for world in waiting:
                work(data, world)
                mujoco.mj_getState(self.model, data, self._rows[world], STATE)
                for name, stored in self._derived.items():
                    stored[world] = getattr(data, name)

        helpers = [self._pool.submit(drain, data) for data in self._data[1 : len(worlds)]]
        drain(self._data[0])
        for helper in helpers:
            helper.result()
