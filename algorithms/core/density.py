"""A density model of observations: a Gaussian mixture per learner, fitted by expectation maximisation."""

import math

import torch
from torch import Tensor, nn

from algorithms.core.population import Generators

PRIOR = 1.0  # rows of evidence for a standard Gaussian that each component starts from: none dies or collapses


class GaussianMixture(nn.Module):
    """K Gaussians with full covariances for each of P learners, over standardised points `[P, N, D]`.

    Dimensions where `kept` `[P, D]` is 0 do not count: points have 0 there, and the density is one over the others.
    """

    log_share: Tensor
    mean: Tensor
    factor: Tensor
    kept: Tensor

    def __init__(self, components: int, size: int, generators: Generators) -> None:
        """Start from means drawn from a standard Gaussian: the first fit starts there."""
        super().__init__()
        mean = generators.normal(components, size)
        self.register_buffer("log_share", torch.full_like(mean[..., 0], -math.log(components)))  # [P, K]
        self.register_buffer("mean", mean)  # [P, K, D]
        self.register_buffer("factor", torch.ones_like(mean).diag_embed())  # [P, K, D, D], Cholesky
        self.register_buffer("kept", torch.ones_like(mean[:, 0]))  # [P, D]

    def log_prob(self, x: Tensor) -> Tensor:
        """Return log densities `[P, N]` (nats) of `x` `[P, N, D]`."""
        return self._joint(x).logsumexp(1)

    def sample(self, uniform: Tensor, normal: Tensor) -> Tensor:
        """Return points `[P, n, D]` made of `uniform` `[P, n]` in [0, 1) and standard `normal` `[P, n, D]` numbers."""
        edges = self.log_share.exp().cumsum(1)[:, :-1].contiguous()
        which = torch.searchsorted(edges, uniform.contiguous(), right=True)
        learner = torch.arange(len(which), device=which.device)[:, None]
        x = self.mean[learner, which] + (self.factor[learner, which] @ normal[..., None])[..., 0]
        return x * self.kept[:, None]

    @torch.no_grad()
    def fit(self, x: Tensor, weight: Tensor, steps: int) -> None:
        """Take EM steps from the current parameters, on rows `x` `[P, N, D]` that count `weight` `[P, N]` each.

        They raise the likelihood times a conjugate prior, `PRIOR` rows a component (Fraley & Raftery 2007).
        """
        x, both = x * self.kept[:, None], self.kept[:, :, None] * self.kept[:, None]
        for _ in range(steps):
            share = self._joint(x).softmax(1) * weight[:, None]  # [P, K, N]
            n = share.sum(2) + PRIOR  # [P, K]
            moment = torch.stack([(s[..., None] * x).mT @ x for s in share.unbind(1)], 1)  # [P, K, D, D]
            moment = (moment + PRIOR * both.new_ones(x.shape[2]).diag()) / n[..., None, None]
            self.mean = share @ x / n[..., None]
            covariance = (moment - self.mean[..., None] * self.mean[..., None, :]) * both[:, None]
            # Not `cholesky`, which raises: a learner that has become NaN must not stop the others.
            self.factor = torch.linalg.cholesky_ex(covariance + (1 - self.kept).diag_embed()[:, None])[0]
            self.log_share = (n / n.sum(1, keepdim=True)).log()

    def _joint(self, x: Tensor) -> Tensor:
        """Return log densities of point and component, `[P, K, N]`."""
        # The inverse makes one matrix product of all components; dimensions left out have columns of 0.
        identity = torch.eye(x.shape[2], dtype=x.dtype, device=x.device)
        whiten = torch.linalg.solve_triangular(self.factor, identity, upper=False) * self.kept[:, None, None]
        middle = whiten @ self.mean[..., None]  # [P, K, D, 1]
        z = torch.baddbmm(middle.flatten(1, 2), whiten.flatten(1, 2), x.mT, beta=-1).unflatten(1, middle.shape[1:3])
        log_volume = self.factor.diagonal(dim1=-2, dim2=-1).log().sum(-1)
        log_volume = log_volume + _HALF_LOG_2PI * self.kept.sum(1, keepdim=True)
        return -0.5 * z.square().sum(2) + (self.log_share - log_volume)[..., None]


_HALF_LOG_2PI = 0.5 * math.log(2 * math.pi)
