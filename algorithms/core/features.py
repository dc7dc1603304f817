"""Features whose expectations are matched, for costs that are linear in them."""

import torch
from torch import Tensor

from algorithms.core.experience import Batch

SQUARE_SCALE = 0.01  # Ho & Ermon 2016, the authors' code (`sqscale`)


def features(batch: Batch) -> Tensor:
    """Return `[x, (0.01 x)^2, 1]`, `[P, N, 2 (O + 1 + A) + 1]`, of the inputs x: observation, absorbing flag, action.

    These are Ho & Ermon's (arXiv 1606.03476, the authors' code) plus the flag, which says how often the task ended.
    """
    x = batch.inputs()
    return torch.cat([x, (SQUARE_SCALE * x).square(), torch.ones_like(x[..., :1])], -1)
