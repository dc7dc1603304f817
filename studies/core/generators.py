"""Generators with a density: a Gaussian mixture (one component: a Gaussian) and a flow, P learners at once.

Both give `log_density`, `draw`, and `reverse_kl`, the generator's loss of claim 3 without its log Z:

    E_q[E(x)] + E_q[log q(x)] = KL(q || p_theta) - log Z,

differentiable in the generator's parameters along the path of its samples.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from algorithms.core.population import Generators, mlp

EnergyFunction = Callable[[Tensor], Tensor]  # [P, N, 2] -> [P, N]
LOG_2PI = math.log(2 * math.pi)


class Mixture(nn.Module):
    """K Gaussians of full covariance in the plane, per learner."""

    def __init__(self, components: int, spread: float, generators: Generators, middle: float = 0.0) -> None:
        """Start with round components of width and scatter `spread` around `middle` on the first axis."""
        super().__init__()
        shape = len(generators), components
        self.logits = nn.Parameter(torch.zeros(shape))
        scatter = generators.normal(components, 2) * spread
        self.mean = nn.Parameter(scatter - scatter.mean(1, keepdim=True) + torch.tensor([middle, 0.0]))
        self.log_scale = nn.Parameter(torch.full((*shape, 2), math.log(spread)))
        self.shear = nn.Parameter(torch.zeros(shape))

    def cholesky(self) -> Tensor:
        """Return the lower factors `[P, K, 2, 2]` of the covariances."""
        a, d = self.log_scale.exp().unbind(-1)
        return torch.stack([torch.stack([a, torch.zeros_like(a)], -1), torch.stack([self.shear, d], -1)], -2)

    def log_density(self, x: Tensor) -> Tensor:
        """Return log q, `[P, N]`, of `[P, N, 2]`."""
        gap = x[:, :, None] - self.mean[:, None]  # [P, N, K, 2]
        a, d = self.log_scale.exp()[:, None].unbind(-1)
        first = gap[..., 0] / a
        second = (gap[..., 1] - self.shear[:, None] * first) / d
        log_normal = -(first.square() + second.square()) / 2 - self.log_scale.sum(-1)[:, None] - LOG_2PI
        return (log_normal + self.logits.log_softmax(-1)[:, None]).logsumexp(-1)

    def components(self, n: int, noise: Generators) -> Tensor:
        """Return n samples of every component, `[P, K, n, 2]`, differentiable."""
        z = noise.normal(self.mean.shape[1], n, 2).to(self.mean)
        return self.mean[:, :, None] + z @ self.cholesky().mT

    def reverse_kl(self, energy: EnergyFunction, n: int, noise: Generators) -> Tensor:
        """Return `[P]`, over about n samples: the sum over components is exact, so its weights have gradients."""
        x = self.components(-(-n // self.logits.shape[1]), noise).flatten(1, 2)
        value = (energy(x) + self.log_density(x)).view(*self.logits.shape, -1)
        return (self.logits.softmax(-1) * value.mean(-1)).sum(-1)

    @torch.no_grad()
    def draw(self, n: int, noise: Generators) -> tuple[Tensor, Tensor]:
        """Return samples `[P, n, 2]` and their log q `[P, n]`."""
        edges = self.logits.softmax(-1).cumsum(-1)[..., :-1].contiguous()
        which = torch.searchsorted(edges, noise.uniform(n))[..., None]  # [P, n, 1]
        z = noise.normal(n, 2)
        factor = self.cholesky().flatten(2).gather(1, which.expand(-1, -1, 4)).unflatten(2, (2, 2))
        x = self.mean.gather(1, which.expand(-1, -1, 2)) + (factor @ z[..., None])[..., 0]
        return x, self.log_density(x)


class Flow(nn.Module):
    """Affine couplings (Dinh et al. 2017, arXiv 1605.08803) that move one coordinate at a time, from a Gaussian."""

    def __init__(self, couplings: int, hidden: int, spread: float, generators: Generators) -> None:
        """Start as a Gaussian of width `spread`."""
        super().__init__()
        self.spread = spread
        self.nets = nn.ModuleList(mlp(1, (hidden, hidden), 2, generators, last_gain=0.0) for _ in range(couplings))

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Map standard normal `[P, N, 2]` to samples and their log q `[P, N]`."""
        fixed, moved = (z * self.spread).unbind(-1)
        log_q = -(z.square().sum(-1) / 2) - LOG_2PI - 2 * math.log(self.spread)
        for net in self.nets:
            log_scale, shift = self.coupling(net, fixed)
            fixed, moved = moved * log_scale.exp() + shift, fixed
            log_q = log_q - log_scale
        return torch.stack([fixed, moved], -1), log_q

    def log_density(self, x: Tensor) -> Tensor:
        """Return log q, `[P, N]`, of `[P, N, 2]`."""
        fixed, moved = x.unbind(-1)
        log_scales = torch.zeros_like(fixed)
        for net in reversed(self.nets):
            log_scale, shift = self.coupling(net, moved)
            fixed, moved = moved, (fixed - shift) * (-log_scale).exp()
            log_scales = log_scales + log_scale
        squares = (fixed.square() + moved.square()) / self.spread**2
        return -squares / 2 - LOG_2PI - 2 * math.log(self.spread) - log_scales

    @staticmethod
    def coupling(net: nn.Module, fixed: Tensor) -> tuple[Tensor, Tensor]:
        """Return the log scale, bounded so that no sample flies away, and the shift, `[P, N]` each."""
        log_scale, shift = net(fixed[..., None]).unbind(-1)
        return 2 * torch.tanh(log_scale / 2), shift

    def reverse_kl(self, energy: EnergyFunction, n: int, noise: Generators) -> Tensor:
        """Return `[P]`, over n samples."""
        x, log_q = self(noise.normal(n, 2))
        return (energy(x) + log_q).mean(-1)

    @torch.no_grad()
    def draw(self, n: int, noise: Generators) -> tuple[Tensor, Tensor]:
        """Return samples `[P, n, 2]` and their log q `[P, n]`."""
        return self(noise.normal(n, 2))


class Fused:
    """A generator and a fixed wide Gaussian in equal parts.

    Guided cost learning (Finn et al. 2016, arXiv 1603.00448) draws from all its samplers so far, weighed by their mean
    density; the first and widest of them is the one that keeps every mode in sight.
    """

    def __init__(self, generator: Mixture | Flow, std: float) -> None:
        self.generator, self.std = generator, std

    def log_density(self, x: Tensor) -> Tensor:
        """Return log q, `[P, N]`, of `[P, N, 2]`."""
        wide = -(x / self.std).square().sum(-1) / 2 - LOG_2PI - 2 * math.log(self.std)
        return torch.logaddexp(self.generator.log_density(x), wide) - math.log(2)

    @torch.no_grad()
    def draw(self, n: int, noise: Generators) -> tuple[Tensor, Tensor]:
        """Return samples `[P, n, 2]`, the generator's first, and their log q `[P, n]`."""
        x = torch.cat([self.generator.draw(n - n // 2, noise)[0], self.std * noise.normal(n // 2, 2)], 1)
        return x, self.log_density(x)
