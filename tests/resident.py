"""Fails when torch code waits for its device: what makes a GPU stand still, found on a CPU."""

import sys
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

CALLS = {"item", "tolist", "numpy", "cpu", "__bool__", "__int__", "__float__", "__index__", "__array__", "nonzero"}
# Operations that read a value back, or whose result has a size that only its values tell.
OPERATIONS = {
    "_local_scalar_dense",
    "_unique2",
    "bincount",
    "equal",
    "is_nonzero",
    "item",
    "masked_select",
    "nonzero",
    "unique_consecutive",
    "unique_dim",
}


class WaitsError(AssertionError):
    pass


class _Calls(TorchFunctionMode):
    def __init__(self, allowed: Collection[str]) -> None:
        super().__init__()
        self.allowed, self.reads = allowed, list[str]()

    def __torch_function__(
        self, function: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        if getattr(function, "__name__", "") not in CALLS:
            return function(*args, **(kwargs or {}))
        caller = sys._getframe(1).f_code.co_name
        if caller not in self.allowed:
            raise WaitsError(f"Tensor.{function.__name__} waits for the device")
        self.reads.append(caller)
        with torch.utils._python_dispatch._disable_current_modes():
            return function(*args, **(kwargs or {}))


class _Operations(TorchDispatchMode):
    def __torch_dispatch__(self, function: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        name = function._schema.name.split("::")[1]
        indices = args[1] if name.startswith("index") and len(args) > 1 and isinstance(args[1], (list, tuple)) else []
        by_mask = any(isinstance(index, Tensor) and index.dtype in (torch.bool, torch.uint8) for index in indices)
        # Overwriting with one value is a masked fill: the number of places does not matter.
        if name in OPERATIONS or (by_mask and not (name == "index_put_" and args[2].numel() == 1)):
            raise WaitsError(f"{name} waits for the device")
        return function(*args, **(kwargs or {}))


@contextmanager
def resident(allowed: Collection[str] = ()) -> Iterator[list[str]]:
    """Raise `WaitsError` at whatever waits, but in the functions `allowed`; gives the names of those that did."""
    calls = _Calls(allowed)
    with calls, _Operations():
        yield calls.reads
