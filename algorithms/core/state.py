"""What a training run carries from one iteration to the next, so that it can stop after any one and go on exactly.

A state is a tree of dicts and lists with tensors, numbers, strings and None as leaves, as of PyTorch's `state_dict()`s.
Saved, it is one safetensors file, in which a tensor of bytes holds the tree as JSON: reading one runs no code.
"""

import json
from types import SimpleNamespace
from typing import Any

import safetensors.torch
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from algorithms.core.population import Generators

TREE = "tree"  # the tensor that holds the JSON; the others are numbered


class State(SimpleNamespace):
    """Its attributes are what a run carries on.

    They are modules, optimisers, `Generators`, other objects with `state_dict()` and `load_state_dict()`, tensors,
    numbers, lists of those, and None. Of a module these are the parameters, the buffers and the `Generators` among its
    attributes: anything else it holds must be made anew in every iteration.
    """

    def state_dict(self) -> dict[str, Any]:
        """Return the tree; its tensors are the live ones."""
        return {name: _captured(part) for name, part in vars(self).items()}

    def load_state_dict(self, saved: dict[str, Any]) -> None:
        """Go back to a saved state: objects are changed in place, attributes replaced.

        Raises KeyError, RuntimeError, TypeError or ValueError if `saved` is of another kind of run.
        """
        _same(set(saved), set(vars(self)))
        for name, part in vars(self).items():
            setattr(self, name, _restored(part, saved[name]))


def _captured(part: Any) -> Any:
    if isinstance(part, nn.Module):
        return {"tensors": part.state_dict(), "generators": State(**_generators(part)).state_dict()}
    if hasattr(part, "state_dict"):
        return part.state_dict()
    return [_captured(item) for item in part] if isinstance(part, list) else part


def _restored(part: Any, saved: Any) -> Any:
    if isinstance(part, nn.Module):
        part.load_state_dict(saved["tensors"])
        State(**_generators(part)).load_state_dict(saved["generators"])
    elif isinstance(part, Optimizer):
        state = {int(number): values for number, values in saved["state"].items()}  # JSON made text of the numbers
        part.load_state_dict({"state": state, "param_groups": saved["param_groups"]})
    elif hasattr(part, "load_state_dict"):
        part.load_state_dict(saved)
    elif isinstance(part, list):
        return [_restored(old, new) for old, new in zip(part, saved, strict=True)]
    else:
        _same(type(saved), type(part))
        if isinstance(part, Tensor):
            _same((saved.shape, saved.dtype), (part.shape, part.dtype))
            return saved.to(part.device)
        return saved
    return part


def _generators(module: nn.Module) -> dict[str, Generators]:
    return {
        f"{where}.{name}": value
        for where, part in module.named_modules()
        for name, value in vars(part).items()
        if isinstance(value, Generators)
    }


def _same(found: Any, expected: Any) -> None:
    if found != expected:
        raise ValueError(f"found {found}, expected {expected}")


def pack(tree: Any) -> bytes:
    """Return a tree as bytes."""
    tensors: dict[str, Tensor] = {}

    def placeholder(leaf: Any) -> dict[str, str]:
        if not isinstance(leaf, Tensor):
            raise TypeError(f"{type(leaf).__name__} cannot be part of a state")
        name = str(len(tensors))
        # Copies: safetensors refuses tensors that share memory.
        tensors[name] = leaf.detach().cpu().clone(memory_format=torch.contiguous_format)
        return {"tensor": name}

    text = json.dumps(tree, default=placeholder)
    tensors[TREE] = torch.frombuffer(bytearray(text.encode()), dtype=torch.uint8)
    return safetensors.torch.save(tensors)


def unpack(data: bytes) -> Any:
    """Return the tree that `pack` made these bytes of; SafetensorError, KeyError or ValueError if it did not."""
    tensors = safetensors.torch.load(data)

    def leaf(item: dict[str, Any]) -> Any:
        # Copies: memory as torch lays it out, on which the last bits of a sum may depend.
        return tensors[item["tensor"]].clone() if set(item) == {"tensor"} else item

    return json.loads(bytes(tensors[TREE].tolist()), object_hook=leaf)
