"""Networks, normalisers and random numbers of a whole population: every tensor is `[P, ...]`, one slice a learner.

Four laws keep a learner's result independent of who trains beside it, up to float rounding (tested over every method):
losses are `[P]` and backward runs on their sum; gradients are clipped per learner; each seed has its own generators;
nothing is reduced or branched on across learners.

Axis letters in shape comments: P learners, E parallel episodes, T time, N flat transitions, O observation, A action.
"""

import hashlib
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn


class Generators:
    """One random generator per learner, so that a learner draws the same numbers whichever others train beside it.

    `stream` names the purpose ("actions", "minibatches", ...): streams of one seed are independent of each other.
    """

    def __init__(self, seeds: Sequence[int], stream: str, device: torch.device | str = "cpu") -> None:
        self.seeds, self.stream, self.device = list(seeds), stream, torch.device(device)
        self._generators = [torch.Generator(self.device).manual_seed(_mix(seed, stream)) for seed in seeds]

    def __len__(self) -> int:
        """Return P."""
        return len(self._generators)

    def __iter__(self) -> Iterator[torch.Generator]:
        """Iterate over the learners' generators."""
        return iter(self._generators)

    def state_dict(self) -> dict[str, Tensor]:
        """Return the state of each learner's generator, `[P, bytes]`."""
        return {"generators": torch.stack([g.get_state() for g in self._generators])}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Restore saved states."""
        for generator, where in zip(self._generators, state["generators"], strict=True):
            generator.set_state(where.clone())  # given a view, torch 2.13 reads beyond it

    def normal(self, *shape: int) -> Tensor:
        """Return standard normal numbers `[P, *shape]`."""
        return torch.stack([torch.randn(shape, generator=g, device=self.device) for g in self._generators])

    def uniform(self, *shape: int) -> Tensor:
        """Return numbers uniform in [0, 1), `[P, *shape]`."""
        return torch.stack([torch.rand(shape, generator=g, device=self.device) for g in self._generators])

    def permutations(self, times: int, n: int) -> Tensor:
        """Return `times` random orders of n items per learner, `[P, times, n]`."""
        return torch.stack(
            [
                torch.stack([torch.randperm(n, generator=g, device=self.device) for _ in range(times)])
                for g in self._generators
            ]
        )


def _mix(seed: int, stream: str) -> int:
    return int.from_bytes(hashlib.sha256(f"{stream}:{seed}".encode()).digest()[:8], "little") >> 1


class Linear(nn.Module):
    """P affine maps at once, `[P, N, n_in] -> [P, N, n_out]`."""

    def __init__(self, n_in: int, n_out: int, generators: Generators, gain: float = math.sqrt(2)) -> None:
        """Draw orthogonal weights of the given gain from each learner's own generator; biases are zero."""
        super().__init__()
        weight = torch.empty(len(generators), n_in, n_out, device=generators.device)
        for w, generator in zip(weight, generators, strict=True):
            nn.init.orthogonal_(w, gain, generator=generator)
        self.weight = nn.Parameter(weight)  # [P, n_in, n_out]
        self.bias = nn.Parameter(weight.new_zeros(len(generators), 1, n_out))  # [P, 1, n_out]

    def forward(self, x: Tensor, tanh: bool = False) -> Tensor:
        """Map `[P, N, n_in]` to `[P, N, n_out]`; `tanh` takes the hyperbolic tangent of it."""
        return affine(x, self.weight, self.bias, tanh)


class Tanh(nn.Module):
    """The hyperbolic tangent; a `Perceptron` makes it part of the affine map before it, which is faster."""

    def forward(self, x: Tensor) -> Tensor:
        """Map any shape."""
        return torch.tanh(x)


NARROW = 8  # columns of a product, up to which a CPU is four times as fast with both factors transposed


def affine(x: Tensor, weight: Tensor, bias: Tensor, tanh: bool = False) -> Tensor:
    """Return x W + b, or its tanh, of `x` `[P, N, n_in]`, `weight` `[P, n_in, n_out]` and `bias` `[P, 1 or N, n_out]`.

    The tangent is 2 sigmoid(2 (x W + b)) - 1, equal to 1e-7: on a CPU `torch.tanh` takes four times as long.
    """
    return _Affine.apply(x, weight, bias, tanh) if torch.is_grad_enabled() else _affine(x, weight, bias, tanh)


def _affine(x: Tensor, weight: Tensor, bias: Tensor, tanh: bool) -> Tensor:
    if tanh:
        return torch.baddbmm(bias, x, weight, beta=2, alpha=2).sigmoid_().mul_(2).sub_(1)
    if weight.shape[2] > NARROW:
        return torch.baddbmm(bias, x, weight)
    return torch.baddbmm(bias.mT, weight.mT, x.mT).mT.contiguous()


class _Affine(torch.autograd.Function):
    """One step instead of five; its backward pass is made of differentiable ones, for gradient penalties."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, tanh: bool) -> Tensor:
        y = _affine(x, weight, bias, tanh)
        ctx.save_for_backward(x, weight, *[y] * tanh)
        ctx.bias_shape = bias.shape
        return y

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, *y = ctx.saved_tensors
        if y:
            slope = torch.ops.aten.tanh_backward(slope, *y)
        of_x = of_weight = None
        if ctx.needs_input_grad[0]:
            of_x = slope * weight.mT if weight.shape[2] == 1 else slope @ weight.mT
        if ctx.needs_input_grad[1]:
            of_weight = x.mT @ slope if weight.shape[2] > NARROW else (slope.mT @ x).mT.contiguous()
        return of_x, of_weight, slope.sum_to_size(ctx.bias_shape), None


class Perceptron(nn.Sequential):
    """Layers in turn, `[P, N, n_in] -> [P, N, n_out]`."""

    def forward(self, x: Tensor) -> Tensor:
        """Map through the layers, a `Linear` and a `Tanh` after it in one step."""
        layers = list(self)
        while layers:
            layer = layers.pop(0)
            if isinstance(layer, Linear) and layers and isinstance(layers[0], Tanh):
                x, layers = layer(x, tanh=True), layers[1:]
            else:
                x = layer(x)
        return x


def mlp(n_in: int, hidden: Sequence[int], n_out: int, generators: Generators, last_gain: float = 1.0) -> Perceptron:
    """Return P multilayer perceptrons with tanh units, `[P, N, n_in] -> [P, N, n_out]`."""
    layers: list[nn.Module] = []
    for width in hidden:
        layers += [Linear(n_in, width, generators), Tanh()]
        n_in = width
    return Perceptron(*layers, Linear(n_in, n_out, generators, last_gain))


class Normalizer(nn.Module):
    """Running mean and variance per learner; normalised values are clipped to +-10 standard deviations."""

    count: Tensor
    mean: Tensor
    var: Tensor

    def __init__(self, population: int, size: int, device: torch.device | str = "cpu") -> None:
        super().__init__()
        shape = (population, 1, size)
        self.register_buffer("count", torch.zeros(population, 1, 1, dtype=torch.float64, device=device))
        self.register_buffer("mean", torch.zeros(shape, dtype=torch.float64, device=device))
        self.register_buffer("var", torch.ones(shape, dtype=torch.float64, device=device))
        self._refresh()

    @torch.no_grad()
    def update(self, x: Tensor, weight: Tensor | None = None) -> None:
        """Merge `[P, N, size]` into the moments (Chan et al. 1979); rows of weight 0 (`[P, N]`) do not count."""
        x = x.double()
        w = x.new_ones(x.shape[:2]) if weight is None else weight.double()
        n = w.sum(1)[:, None, None]
        mean = torch.einsum("pn,pnd->pd", w, x)[:, None] / n
        var = torch.einsum("pn,pnd->pd", w, (x - mean).square())[:, None] / n
        total, delta = self.count + n, mean - self.mean
        self.var = (self.count * self.var + n * var + delta.square() * self.count * n / total) / total
        self.mean = self.mean + delta * n / total
        self.count = total
        self._refresh()

    def forward(self, x: Tensor) -> Tensor:
        """Normalise `[P, N, size]`."""
        return ((x - self._shift) * self._scale).clamp(-10, 10)

    def _refresh(self) -> None:
        # float32 copies: what every forward pass reads
        self._shift = self.mean.float()
        self._scale = (self.var + 1e-8).rsqrt().float()

    def _load_from_state_dict(self, *args: object) -> None:
        super()._load_from_state_dict(*args)
        self._refresh()


def descend(optimizer: torch.optim.Optimizer, loss: Tensor, max_norm: float = math.inf) -> None:
    """Take one step down `loss` `[P]`, every learner's gradient clipped to `max_norm` by itself.

    The sum, not the mean, is differentiated: a mean would change Adam's steps with P. A learner whose loss is NaN
    spoils its own slices only.
    """
    optimizer.zero_grad(set_to_none=True)
    loss.sum().backward()
    if max_norm < math.inf:
        clip_gradients([p for group in optimizer.param_groups for p in group["params"]], max_norm)
    optimizer.step()


@torch.no_grad()
def clip_gradients(parameters: Sequence[nn.Parameter], max_norm: float) -> None:
    """Scale each learner's gradient, over all parameters `[P, ...]` together, to a norm of at most `max_norm`."""
    gradients = [p.grad for p in parameters if p.grad is not None]
    norm = torch.cat([g.flatten(1) for g in gradients], 1).norm(dim=1)
    scale = (max_norm / (norm + 1e-6)).clamp(max=1.0)
    for g in gradients:
        g.mul_(scale.view(-1, *[1] * (g.dim() - 1)))


def adam(parameters: Iterable[nn.Parameter], rate: float) -> torch.optim.Adam:
    """Return Adam with its fused kernel (one call for all parameters; elementwise, so learners stay apart)."""
    return torch.optim.Adam(parameters, lr=rate, eps=1e-5, fused=True)


@torch.no_grad()
def finite(*modules: nn.Module) -> Tensor:
    """Return `[P]`: whether all of a learner's parameters are finite."""
    return torch.stack([p.flatten(1).isfinite().all(1) for m in modules for p in m.parameters()]).all(0)
