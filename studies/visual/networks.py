"""A convolutional representation of pictures, P learners at once, and the networks that stand on one."""

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, embedding, relu

from algorithms.core.population import Generators, Linear
from studies.visual.views import KERNEL, PIXELS, REACH, Places, Views
from studies.visual.worlds import ACTIONS, STATES

CHANNELS = (3, 16, 32)
FEATURES = 64


class Convolution(nn.Module):
    """P convolutions of 3 x 3 pixels and stride 2 as one with groups, `[N, P n_in, H, W] -> [N, P n_out, H/2, W/2]`."""

    def __init__(self, n_in: int, n_out: int, generators: Generators) -> None:
        """Draw orthogonal weights from each learner's own generator; biases are zero."""
        super().__init__()
        weight = torch.empty(len(generators), n_out, n_in, KERNEL, KERNEL, device=generators.device)
        for w, generator in zip(weight, generators, strict=True):
            nn.init.orthogonal_(w, math.sqrt(2), generator=generator)
        self.weight = nn.Parameter(weight)
        self.bias = nn.Parameter(weight.new_zeros(len(generators), n_out))

    def forward(self, x: Tensor) -> Tensor:
        """Filter; what is beyond the edge counts as black."""
        weight, bias = self.weight.flatten(0, 1), self.bias.flatten()
        return conv2d(x, weight, bias, stride=2, padding=1, groups=len(self.weight))


class Pixels(nn.Module):
    """The representation of a picture: two convolutions and a dense layer, of `Views` `[P, B, S, 64]`."""

    size = FEATURES

    def __init__(self, generators: Generators) -> None:
        super().__init__()
        self.first, self.second = (Convolution(*sizes, generators) for sizes in pairwise(CHANNELS))
        self.dense = Linear((PIXELS // 4) ** 2 * CHANNELS[-1], FEATURES, generators)

    def forward(self, seen: Views) -> Tensor:
        """Represent every state: what the maps' outputs are, and what an agent changes of them."""
        learners, maps, states = seen.change.shape[:3]
        first = self.first(seen.empty.transpose(0, 1).flatten(1, 2))
        second = self.second(relu(first))
        first, second = (x.unflatten(1, (learners, -1)).permute(1, 0, 3, 4, 2).flatten(2, 3) for x in (first, second))
        change = risen(first, seen.first, seen.change.flatten(1, 3) @ self.first.weight.flatten(2).mT)
        change = risen(second, seen.second, change.flatten(3).flatten(1, 2) @ around(self.second.weight, seen.odd))
        everywhere = relu(second)[:, :, None].expand(-1, -1, states, -1, -1).flatten(0, 3)
        at = rows(seen.second.at.flatten(0, 2), second.shape[2])
        whole = everywhere.index_add(0, at.flatten(), change.flatten(0, 3))
        return relu(self.dense(whole.view(learners, maps * states, -1))).unflatten(1, (maps, states))


def risen(before: Tensor, places: Places, change: Tensor) -> Tensor:
    """Return by how much relu rises where a map's values `[P, B, n, C]` change, `[P, B, S, 9, C]`."""
    at = rows(places.at.flatten(0, 1), before.shape[2])
    here = embedding(at, before.flatten(0, 2)).view(*places.at.shape, -1)  # whose backward pass is a fast one
    return (relu(here + change.view_as(here)) - relu(here)) * places.inside[..., None]


def rows(at: Tensor, size: int) -> Tensor:
    """Return the rows, in n tables of `size` rows each that stand below each other, of places `[n, ...]` in each."""
    return at + size * torch.arange(len(at), device=at.device).view(-1, *[1] * (at.dim() - 1))


def around(weight: Tensor, odd: Tensor) -> Tensor:
    """Return filters as a matrix `[P, 9 n_in, 9 n_out]` from 3 x 3 places of an input to 3 x 3 of the output.

    Output a has the inputs 2a - 1, 2a and 2a + 1 under it, in a direction; the first place of the input is 0, or 1
    where it is `odd` `[P, 2]`, and that of the output 0.
    """
    place = torch.arange(REACH, device=odd.device)
    under = odd[..., None, None] + place[:, None] - 2 * place + 1  # [P, 2, inputs, outputs] which of a filter's pixels
    of_row, of_column = (under[..., None] == place).float().unbind(1)
    matrix = torch.einsum("pkat,plbu,poctu->pklcabo", of_row, of_column, weight)
    return matrix.flatten(1, 3).flatten(2)


class Table(nn.Module):
    """No representation: the one-hot state `[P, B, S, S]`, so that a linear head is a table."""

    size = STATES

    def __init__(self, generators: Generators) -> None:
        super().__init__()

    def forward(self, seen: Views) -> Tensor:
        """Return it, whatever is seen."""
        return torch.eye(STATES, device=seen.change.device).expand(*seen.change.shape[:2], -1, -1)


class Heads(nn.Module):
    """Linear outputs on a representation that may be shared with another network."""

    def __init__(self, body: Pixels | Table, gains: Sequence[tuple[int, float]], generators: Generators) -> None:
        """`gains`: how many outputs each head has, and the gain of its first weights."""
        super().__init__()
        self.body = body
        self.heads = nn.ModuleList(Linear(body.size, outputs, generators, gain) for outputs, gain in gains)

    def forward(self, seen: Views) -> list[Tensor]:
        """Return each head's outputs in every state, `[P, B, S, outputs]`."""
        features = self.body(seen)
        return [head(features.flatten(1, 2)).unflatten(1, features.shape[1:3]) for head in self.heads]


def policy(body: Pixels | Table, generators: Generators) -> Heads:
    """Return logits of actions, and a value."""
    return Heads(body, [(ACTIONS, 0.01), (1, 1.0)], generators)


def discriminator(body: Pixels | Table, generators: Generators) -> Heads:
    """Return a logit for each action; they start at 0, as Ho & Ermon's do."""
    return Heads(body, [(ACTIONS, 0.0)], generators)
