"""The words a task file is written in: the state it reads, and noise made from uniform numbers."""

from math import sqrt
from types import SimpleNamespace

import torch
from torch import Tensor


class State(SimpleNamespace):
    """Physics fields of all worlds by MuJoCo's names, in its units: `x.qpos` [P, E, nq], `x.xpos` [P, E, nbody, 3]."""

    def clone(self) -> "State":
        return State(**{name: field.clone() for name, field in vars(self).items()})


def box(uniform: Tensor, scale: float) -> Tensor:
    """Uniform on [-scale, scale) from uniform numbers on [0, 1)."""
    return (2 * uniform - 1) * scale


def normal(uniform: Tensor, scale: float) -> Tensor:
    """Normal with this standard deviation, by the inverse distribution function."""
    centred = box(uniform, 1.0).clamp(min=torch.finfo(uniform.dtype).eps - 1.0)  # -1 would become -inf
    return torch.erfinv(centred) * (scale * sqrt(2.0))
