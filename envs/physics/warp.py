"""MuJoCo Warp in 32 bit: thousands of worlds on one GPU, in memory that torch shares. It runs on a CPU too, for tests.

The kernels of an environment step are recorded once, as a CUDA graph (on a CPU as Warp's own equivalent), and
replayed: nothing is launched one by one, and nothing is read back. The first run on a machine compiles them, for up to
a minute; Warp keeps them in its cache folder (`WARP_CACHE_PATH`, or `~/.cache/warp`). For a GPU whose driver is older
than Warp's CUDA it compiles to machine code by itself; THREEFOLD_CUDA_OUTPUT=cubin (or ptx) decides it by hand.

What differs from `native`: numbers have 32 bits, so that worlds drift apart from MuJoCo C's by rounding, and after hard
contacts altogether; on a GPU the order of sums is not fixed, so two runs agree in their statistics only; Humanoid's
solver is Newton, because PGS is not supported; and the friction pyramid under a capsule that stands steeply on the
ground (Ant's legs) is turned another way. Equal are the models, the start states of a seed on the same kind of device,
and which forward pass derived quantities (`xpos`, `cvel`, ...) belong to.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields as fields_of
from dataclasses import is_dataclass
from functools import partial
from typing import Any

import mujoco
import mujoco_warp as mjw
import torch
import warp as wp
from torch import Tensor

from envs.graph import launch
from threefold.base.errors import InputError

wp.config.log_level = wp.LOG_ERROR  # it reports every kernel that it loads
wp.config.cuda_output = os.environ.get("THREEFOLD_CUDA_OUTPUT")  # None: by the driver
if wp.config.cuda_output not in (None, "ptx", "cubin"):
    raise InputError(f"THREEFOLD_CUDA_OUTPUT={wp.config.cuda_output!r}: must be ptx or cubin")
wp.init()

# Room for contacts and constraint rows. Bodies thrown about at random in folded poses had at most 25 contacts and 105
# rows (Humanoid; upright 12 and 40). All worlds share the room for contacts, a world's rows are its own.
CONTACTS = 48  # per world, on average
ROWS = 128  # per world
FULL = int(mjw.OverflowType.ALL & ~(mjw.OverflowType.ITERATIONS | mjw.OverflowType.LS_ITERATIONS))  # MuJoCo: as silent

UNSTABLE = float(mujoco.mjMAXVAL)  # of a position or velocity: MuJoCo C then starts again, without a word to the task
KEPT = ("qpos", "qvel", "qacc_warmstart")  # what a step leaves to the next


class Warp:
    """`worlds` copies of `model`, stepped `frame_skip` physics steps at a time; `fields` of mjData are shown."""

    def __init__(
        self,
        model: mujoco.MjModel,
        worlds: int,
        frame_skip: int,
        fields: Sequence[str],
        device: torch.device | str = "cuda",
    ) -> None:
        """Allocate all worlds, compile and record; raises `InputError` if the device's memory is too small for them."""
        if model.opt.solver == mujoco.mjtSolver.mjSOL_PGS:
            model.opt.solver = mujoco.mjtSolver.mjSOL_NEWTON
        self.model, self._fields, self._frame_skip = model, fields, frame_skip
        self._device = wp.device_from_torch(str(device))  # "cuda" is the current one
        if self._device.is_cuda:
            refuse_too_many(worlds, bytes_per_world(model), torch.cuda.mem_get_info(device)[0])
        with wp.ScopedDevice(self._device):
            self._model = mjw.put_model(model)
            self._model.opt.warn_overflow = 0  # `check` tells
            self._data = _data(model, worlds)
            names = (*KEPT, "ctrl", "overflow", *fields)
            self._raw = {name: wp.to_torch(getattr(self._data, name)) for name in names}
            self._derived = {name: self._raw[name].clone() for name in fields if name not in KEPT}
            self._state = {name: self._raw[name] for name in ("qpos", "qvel")} | self._derived
            self._forward = self._record(partial(mjw.forward, self._model, self._data))
            self._initial = {name: field[:1].clone() for name, field in self._passed().items()}
            self._initial |= {name: self._raw[name][:1].clone() for name in KEPT}
            self._advance = self._record(self._frames)
        self._put(torch.ones_like(self._raw["overflow"], dtype=torch.bool), self._initial)

    def state(self) -> dict[str, Tensor]:
        """See `Physics`. `qpos` and `qvel` are Warp's own memory."""
        return self._state

    def reset(self, which: Tensor, qpos: Tensor, qvel: Tensor) -> None:
        """See `Physics`. A forward pass, if the task needs one, is made for all and kept for the worlds in `which`."""
        zeros = {name: torch.zeros_like(self._raw[name]) for name in ("qacc_warmstart", "ctrl")}
        self._put(which, {"qpos": qpos, "qvel": qvel} | zeros)
        if self._derived:
            launch(partial(self._replay, self._forward))
            self._put(which, self._passed())

    def step(self, ctrl: Tensor, which: Tensor | None = None) -> None:
        """See `Physics`. Worlds not in `which` are stepped all the same, and put back."""
        before = None if which is None else self.state_dict()
        self._raw["ctrl"].copy_(ctrl)
        launch(partial(self._replay, self._advance))
        for name, field in self._derived.items():
            field.copy_(self._raw[name])
        moving = torch.cat([self._raw["qpos"], self._raw["qvel"]], 1)
        self._put(~(moving.abs() < UNSTABLE).all(1), self._initial)
        if before is not None and which is not None:
            self._put(~which, before)

    def state_dict(self) -> dict[str, Tensor]:
        """See `Physics`."""
        return {name: self._memory(name).clone() for name in (*KEPT, *self._derived)}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """See `Physics`. Raises ValueError for a state of another number of worlds or another model."""
        for name in (*KEPT, *self._derived):
            memory = self._memory(name)
            if state[name].shape != memory.shape:
                raise ValueError(f"{name}: {list(state[name].shape)} where {list(memory.shape)} belongs")
            memory.copy_(state[name])

    def check(self) -> None:
        """See `Physics`. Waits for the device."""
        full = self._raw["overflow"] & FULL
        if full.any():
            kinds = mjw.OverflowType(int(full.max())).name
            raise InputError(
                f"MuJoCo Warp: contacts or constraints did not fit ({kinds}) in {int((full > 0).sum())} of {len(full)} "
                f"worlds; raise CONTACTS = {CONTACTS} or ROWS = {ROWS} in envs/physics/warp.py"
            )

    def _frames(self) -> None:
        for _ in range(self._frame_skip):
            mjw.step(self._model, self._data)
        if "cfrc_ext" in self._fields:  # mjw.step leaves them out
            mjw.rne_postconstraint(self._model, self._data)

    def _passed(self) -> dict[str, Tensor]:
        """Return the derived fields after a forward pass, which leaves contact forces out: at a reset they are 0."""
        return {
            name: torch.zeros_like(field) if name == "cfrc_ext" else self._raw[name]
            for name, field in self._derived.items()
        }

    def _memory(self, name: str) -> Tensor:
        return self._derived[name] if name in self._derived else self._raw[name]

    def _put(self, which: Tensor, values: dict[str, Tensor]) -> None:
        """Overwrite the rows `which` [W] of the fields named."""
        for name, value in values.items():
            memory = self._memory(name)
            memory.copy_(torch.where(which.view(-1, *[1] * (memory.dim() - 1)), value, memory))

    def _record(self, work: Callable[[], None]) -> Any:
        work()  # compiles and loads the kernels, which cannot be done while a graph is recorded
        with wp.ScopedCapture() as capture:
            work()
        wp.synchronize_device()  # Warp has a stream of its own until then
        return capture.graph

    def _replay(self, graph: Any) -> None:
        stream = wp.stream_from_torch(wp.device_to_torch(self._device)) if self._device.is_cuda else None
        wp.capture_launch(graph, stream)


def bytes_per_world(model: mujoco.MjModel) -> int:
    """Memory that one world takes: its data and as much again, for the scratch space of the two graphs (0.1 to 0.8)."""
    with wp.ScopedDevice("cpu"):
        return 2 * (_size(_data(model, 2)) - _size(_data(model, 1)))


def refuse_too_many(worlds: int, each: int, free: int) -> None:
    """Raise `InputError`, with the number that fits, unless `worlds` of `each` bytes fit into `free` bytes."""
    if worlds * each > free:
        raise InputError(
            f"{worlds:,} worlds (learners x episodes) need {worlds * each / 1e9:.1f} GB of the device's memory, where "
            f"{free / 1e9:.1f} GB are free: {free // each:,} fit; lower the task's episodes in params.yaml"
        )


def _data(model: mujoco.MjModel, worlds: int) -> mjw.Data:
    return mjw.make_data(model, nworld=worlds, naconmax=CONTACTS * worlds, njmax=ROWS)


def _size(data: Any) -> int:
    if isinstance(data, wp.array):
        return int(data.capacity)
    return sum(_size(getattr(data, f.name)) for f in fields_of(data)) if is_dataclass(data) else 0
