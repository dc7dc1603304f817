"""A device that is not the CPU, on a CPU: tensors that say they are elsewhere and refuse to meet the CPU's.

They call themselves `meta`, which every build of torch takes through autograd, but they hold numbers: each wraps a CPU
tensor, on which the work is done. Only a copy that is asked for crosses from one device to the other (`to`, `cpu`,
`copy_`, reading a value); any other operation on tensors of both is an error, as on a GPU. A single number (a tensor
without dimensions) may come from the CPU, as on a GPU; indices may not, because a GPU would wait for them.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from importlib import import_module
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode, return_and_correct_aliasing

import envs
from envs.batch import BatchEnv
from envs.physics.equations import Equations
from envs.physics.native import Native

DEVICE = torch.device("meta")
COPIES = {"copy_", "_to_copy"}


class MixedDevicesError(AssertionError):
    pass


class _Type(type(Tensor)):  # type: ignore[misc]
    """As on a GPU, a tensor there is of the same type as one on the CPU."""

    def __eq__(cls, other: object) -> bool:
        return other is Tensor or other is cls

    __hash__ = type.__hash__


class Elsewhere(Tensor, metaclass=_Type):
    """A CPU tensor in disguise."""

    here: Tensor
    is_meta = False  # torch.nn.init leaves those alone

    @staticmethod
    def __new__(cls, here: Tensor) -> "Elsewhere":
        made = Tensor._make_wrapper_subclass(
            cls, here.shape, here.stride(), here.storage_offset(), dtype=here.dtype, device=DEVICE
        )
        made.here = here
        return made

    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
        cls, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        return compute(function, args, kwargs or {})

    def tolist(self) -> Any:  # which torch refuses to subclasses
        return self.cpu().tolist()

    def __repr__(self, **_: Any) -> str:  # type: ignore[override]
        return f"Elsewhere({self.here!r})"


def compute(function: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """Do an operation on the CPU; its results are where its tensors are, or where they are asked for."""
    name, aliases = _known(function)
    tensors = [x for one in (*args, *kwargs.values()) for x in _parts(one) if isinstance(x, Tensor)]
    away = any(isinstance(x, Elsewhere) for x in tensors)
    if away and name not in COPIES:
        for x in tensors:
            if not isinstance(x, Elsewhere) and x.dim():
                raise MixedDevicesError(f"{name}: a tensor {list(x.shape)} of the CPU beside tensors elsewhere")
    if name == "copy_":
        away = isinstance(args[0], Elsewhere)
    elif kwargs.get("device") is not None:
        away = torch.device(kwargs["device"]) == DEVICE
    here_kwargs = {key: _here(one) for key, one in kwargs.items()} | ({"device": "cpu"} if "device" in kwargs else {})
    result = function(*map(_here, args), **here_kwargs)
    if not away or result is None:
        return result
    wrapped = _wrapped(result)
    return return_and_correct_aliasing(function, args, kwargs, wrapped) if aliases else wrapped


@cache
def _known(function: Any) -> tuple[str, bool]:
    """Return the name of an operation, and whether it returns memory that it was given."""
    return function._schema.name.split("::")[1], any(x.alias_info is not None for x in function._schema.returns)


# Operations take tensors and lists of them: torch's walks through any tree took longer than the work itself.
def _parts(argument: Any) -> Sequence[Any]:
    return argument if isinstance(argument, (list, tuple)) else (argument,)


def _here(argument: Any) -> Any:
    if isinstance(argument, Elsewhere):
        return argument.here
    return [_here(x) for x in argument] if isinstance(argument, (list, tuple)) else argument


def _wrapped(result: Any) -> Any:
    if isinstance(result, Tensor):
        return Elsewhere(result)
    return type(result)(map(_wrapped, result)) if isinstance(result, (list, tuple)) else result


class _Creations(TorchDispatchMode):
    """Whatever is made on the device from nothing."""

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return compute(function, args, kwargs or {})


class _Literals(TorchFunctionMode):
    """`torch.tensor`, which no dispatch mode sees: made on the CPU and copied."""

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if function is torch.tensor and kwargs.get("device") is not None:
            return torch.tensor(*args, **kwargs | {"device": "cpu"}).to(kwargs["device"])
        return function(*args, **kwargs)


class Generator(torch.Generator):
    """The CPU's, for any device."""

    def __new__(cls, device: torch.device | str = "cpu") -> "Generator":
        return super().__new__(cls, "cpu")  # type: ignore[call-arg]


@contextmanager
def elsewhere() -> Iterator[torch.device]:
    """Offer the device, with random generators and Adam's fused kernel for it."""
    with pytest.MonkeyPatch.context() as patch, _Literals(), _Creations():
        patch.setattr(torch, "Generator", Generator)
        optimizers = import_module("torch.optim.optimizer")  # the package hides it
        patch.setattr(optimizers, "_get_fused_kernels_supported_devices", lambda: [DEVICE.type, "cpu"])
        yield DEVICE


class Physics:
    """MuJoCo C with its memory elsewhere."""

    def __init__(self, *arguments: Any) -> None:
        self._native = Native(*arguments)
        self.model = self._native.model

    def state(self) -> dict[str, Tensor]:
        return {name: Elsewhere(field) for name, field in self._native.state().items()}

    def reset(self, which: Tensor, qpos: Tensor, qvel: Tensor) -> None:
        self._native.reset(*_taken(which, qpos, qvel))

    def step(self, ctrl: Tensor, which: Tensor | None = None) -> None:
        self._native.step(*_taken(ctrl) if which is None else _taken(ctrl, which))

    def check(self) -> None:
        self._native.check()

    def state_dict(self) -> dict[str, Tensor]:
        return {name: Elsewhere(field) for name, field in self._native.state_dict().items()}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        self._native.load_state_dict(state)


def _taken(*tensors: Tensor) -> list[Tensor]:
    """Return the CPU tensors within; an engine's kernels read no other device's memory."""
    for x in tensors:
        if not isinstance(x, Elsewhere):
            raise MixedDevicesError(f"physics: a tensor {list(x.shape)} of the CPU")
    return [x.here for x in tensors if isinstance(x, Elsewhere)]


def make(name: str, seeds: Sequence[int], episodes: int) -> BatchEnv:
    """Return a task's env there, as `envs.make` returns it on the CPU."""
    task = envs.load(name)
    worlds = len(seeds) * episodes
    if hasattr(task, "advance"):
        return BatchEnv(task, Equations(task, worlds, DEVICE), seeds, episodes)
    return BatchEnv(task, Physics(envs.model(task), worlds, task.FRAME_SKIP, task.FIELDS, 1), seeds, episodes)
