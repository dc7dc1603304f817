"""Gradients of a population's losses, and how far two vectors are apart."""

import torch
from torch import Tensor, nn


def gradient(loss: Tensor, model: nn.Module) -> Tensor:
    """Return the gradient of each learner's loss `[P]` by its own parameters, `[P, D]`."""
    return torch.cat(
        [g.flatten(1) for g in torch.autograd.grad(loss.sum(), list(model.parameters()), retain_graph=True)], 1
    )


def relative(found: Tensor, expected: Tensor) -> Tensor:
    """Return |found - expected| / |expected| of vectors `[P, D]`, `[P]`."""
    return (found - expected).norm(dim=-1) / expected.norm(dim=-1)
