"""A convolutional representation of pictures, P learners at once, and the networks that stand on one."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, relu

from algorithms.core.population import Generators, Linear
from studies.visual.worlds import ACTIONS, PIXELS, STATES

CHANNELS = (3, 16, 32)
FEATURES = 64


class Convolution(nn.Module):
    """P convolutions of 3 x 3 pixels and stride 2 as one with groups, `[N, P n_in, H, W] -> [N, P n_out, H/2, W/2]`."""

    def __init__(self, n_in: int, n_out: int, generators: Generators) -> None:
        """Draw orthogonal weights from each learner's own generator; biases are zero."""
        super().__init__()
        weight = torch.empty(len(generators), n_out, n_in, 3, 3, device=generators.device)
        for w, generator in zip(weight, generators, strict=True):
            nn.init.orthogonal_(w, math.sqrt(2), generator=generator)
        self.weight = nn.Parameter(weight)
        self.bias = nn.Parameter(weight.new_zeros(len(generators), n_out))

    def forward(self, x: Tensor) -> Tensor:
        """Filter; what is beyond the edge counts as black."""
        weight, bias = self.weight.flatten(0, 1), self.bias.flatten()
        return conv2d(x, weight, bias, stride=2, padding=1, groups=len(self.weight))


class Pixels(nn.Module):
    """The representation of a picture: two convolutions and a dense layer, `[P, N, 3, 32, 32] -> [P, N, 64]`."""

    size = FEATURES

    def __init__(self, generators: Generators) -> None:
        super().__init__()
        pairs = zip(CHANNELS[:-1], CHANNELS[1:], strict=True)
        self.convolutions = nn.ModuleList(Convolution(n_in, n_out, generators) for n_in, n_out in pairs)
        self.dense = Linear((PIXELS // 4) ** 2 * CHANNELS[-1], FEATURES, generators)

    def forward(self, x: Tensor) -> Tensor:
        """Represent."""
        P, N = x.shape[:2]
        x = x.transpose(0, 1).flatten(1, 2)
        for layer in self.convolutions:
            x = relu(layer(x))
        return relu(self.dense(x.reshape(N, P, -1).transpose(0, 1)))


class Table(nn.Module):
    """No representation: a one-hot state `[P, N, 48]` as it is, so that a linear head is a table."""

    size = STATES

    def __init__(self, generators: Generators) -> None:
        super().__init__()

    def forward(self, x: Tensor) -> Tensor:
        """Return it."""
        return x


class Heads(nn.Module):
    """Linear outputs on a representation that may be shared with another network."""

    def __init__(self, body: Pixels | Table, gains: Sequence[tuple[int, float]], generators: Generators) -> None:
        """`gains`: how many outputs each head has, and the gain of its first weights."""
        super().__init__()
        self.body = body
        self.heads = nn.ModuleList(Linear(body.size, outputs, generators, gain) for outputs, gain in gains)

    def forward(self, x: Tensor) -> list[Tensor]:
        """Return each head's outputs `[P, N, outputs]`."""
        features = self.body(x)
        return [head(features) for head in self.heads]


def policy(body: Pixels | Table, generators: Generators) -> Heads:
    """Return logits of actions, and a value."""
    return Heads(body, [(ACTIONS, 0.01), (1, 1.0)], generators)


def discriminator(body: Pixels | Table, generators: Generators) -> Heads:
    """Return a logit for each action; they start at 0, as Ho & Ermon's do."""
    return Heads(body, [(ACTIONS, 0.0)], generators)
