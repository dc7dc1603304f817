"""Recurrent networks of P learners at once: on a tree of all sequences, or along given ones.

A state is that of a prefix, `[P, N, H]`; what it says of each next token is `[P, N, V]`.
"""

import torch
from torch import Tensor, nn

from algorithms.core.population import Generators, Linear

State = tuple[Tensor, ...]


class Recurrent(nn.Module):
    """A cell, what it hears of a token, and a linear map of its state."""

    gates: int

    def __init__(self, kinds: int, hidden: int, generators: Generators) -> None:
        """Start with weights of unit gain, and an output near zero."""
        super().__init__()
        self.kinds, self.hidden = kinds, hidden
        self.token = nn.Parameter(generators.normal(kinds + 1, self.gates * hidden) / 2)  # the last is the start
        self.recurrent = Linear(hidden, self.gates * hidden, generators, gain=1.0)
        self.head = Linear(hidden, kinds, generators, gain=0.1)

    def cell(self, heard: Tensor, state: State) -> State:
        """Return the states after tokens that were heard as `[P, N, gates H]`; `state` is `[P, N, H]` each."""
        raise NotImplementedError

    def start(self) -> State:
        """Return the state of the empty prefix, `[P, 1, H]`."""
        raise NotImplementedError

    def follow(self, state: State, tokens: Tensor) -> State:
        """Return the states after one token more, `[P, N]`."""
        index = tokens[..., None].expand(-1, -1, self.token.shape[-1])
        return self.cell(self.token.gather(1, index), state)

    def branch(self, state: State) -> State:
        """Return the states after every token, `[P, N V, H]`."""
        n = state[0].shape[1]
        heard = self.token[:, None, :-1].expand(-1, n, -1, -1).flatten(1, 2)
        return self.cell(heard, tuple(x.repeat_interleave(self.kinds, 1) for x in state))

    def levels(self, length: int) -> list[Tensor]:
        """Return what every prefix says, on the tree of sequences of so many tokens."""
        state, found = self.start(), []
        for _ in range(length):
            found.append(self.head(state[0]))
            if len(found) < length:
                state = self.branch(state)
        return found

    def along(self, tokens: Tensor) -> Tensor:
        """Return what the prefixes of sequences `[P, N, T]` say, `[P, N, T, V]`."""
        state, found = tuple(x.expand(-1, tokens.shape[1], -1) for x in self.start()), []
        for t in range(tokens.shape[2]):
            if t:
                state = self.follow(state, tokens[..., t - 1])
            found.append(self.head(state[0]))
        return torch.stack(found, 2)


class LSTM(Recurrent):
    """Hochreiter & Schmidhuber's cell: gates in the order input, forget, cell, output."""

    gates = 4

    def start(self) -> State:
        """Return h and c of the empty prefix."""
        zero = self.token.new_zeros(self.token.shape[0], 1, self.hidden)
        return self.cell(self.token[:, -1:], (zero, zero))

    def cell(self, heard: Tensor, state: State) -> State:
        """Return h and c."""
        h, c = state
        i, f, g, o = (self.recurrent(h) + heard).chunk(4, -1)
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        return o.sigmoid() * c.tanh(), c


class GRU(Recurrent):
    """Cho et al.'s cell: gates in the order reset, update, new."""

    gates = 3

    def start(self) -> State:
        """Return h of the empty prefix."""
        return self.cell(self.token[:, -1:], (self.token.new_zeros(self.token.shape[0], 1, self.hidden),))

    def cell(self, heard: Tensor, state: State) -> State:
        """Return h."""
        (h,) = state
        reset, update, new = self.recurrent(h).chunk(3, -1)
        r, z, n = heard.chunk(3, -1)
        update = (update + z).sigmoid()
        return ((1 - update) * (n + (reset + r).sigmoid() * new).tanh() + update * h,)
