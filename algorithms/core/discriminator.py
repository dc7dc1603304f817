"""A classifier of expert against policy, kept smooth by a gradient penalty: what GAIL's family learns."""

from typing import Any

import torch
from torch import Tensor, nn

from algorithms.core.population import Generators, mlp


class Discriminator(nn.Module):
    """The discriminator's logit, high for the expert."""

    def __init__(self, obs_size: int, action_size: int, generators: Generators, config: Any) -> None:
        super().__init__()
        self.logit = mlp(obs_size + 1 + action_size, config.hidden, 1, generators)
        self._mix = Generators(generators.seeds, "penalty", generators.device)
        self.diagnostics: dict[str, Tensor] = {}

    def forward(self, inputs: Tensor) -> Tensor:
        """Return logits `[P, N]` of inputs `[P, N, O + 1 + A]` (see `Batch.inputs`)."""
        return self.logit(inputs)[..., 0]

    def gradient_penalty(self, a: Tensor, b: Tensor) -> Tensor:
        """Return `[P]`: mean of (|d logit / dx| - 1)^2 at random mixtures of inputs a and b `[P, N, D]`.

        Gulrajani et al. 2017 (arXiv 1704.00028, equation 3).
        """
        mix = self._mix.uniform(a.shape[1], 1)
        x = (mix * a + (1 - mix) * b).requires_grad_()
        (slope,) = torch.autograd.grad(self(x).sum(), x, create_graph=True)
        return (slope.norm(dim=-1) - 1).square().mean(1)
