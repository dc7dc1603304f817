"""Random grid worlds and their optimal experts.

A world is 8 x 8 cells, 16 of them walls, and every free cell can reach the goal; beyond the edge is wall. Actions go
up, down, left or right, and a bump stays. Reaching the goal ends the episode. The expert is uniform over the actions
that begin a shortest path.

Shapes: P learners, M worlds of each, S = 48 states (the free cells, in reading order), A = 4 actions.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from algorithms.core.population import Generators

SIDE, WALLS, ACTIONS = 8, 16, 4
CELLS = SIDE * SIDE
STATES = CELLS - WALLS
STEPS = torch.tensor([[-1, 0], [1, 0], [0, -1], [0, 1]])  # of the actions, in rows and columns
CANDIDATES = 256  # drawn at a time, so that the first worlds of a seed are the same however many are asked for


class Worlds(NamedTuple):
    """Worlds `[P, M, ...]`, or of any other leading shape."""

    cells: Tensor  # [S] the cell of each state, 8 row + column
    moves: Tensor  # [S, A] the next state
    distance: Tensor  # [S] steps to the goal
    start: Tensor  # [] a state
    goal: Tensor  # [] a state

    def take(self, index: Tensor) -> "Worlds":
        """Return each learner's own choice `[P, B]` of its worlds."""
        return Worlds(*(take(part, index) for part in self))

    def to(self, device: torch.device | str) -> "Worlds":
        """Return them on a device."""
        return Worlds(*(part.to(device) for part in self))

    def first(self, count: int) -> "Worlds":
        """Return the first worlds of each learner."""
        return Worlds(*(part[:, :count] for part in self))

    def split(self, count: int) -> "list[Worlds]":
        """Return at most `count` worlds of each learner at a time."""
        return [Worlds(*parts) for parts in zip(*(part.split(count, 1) for part in self), strict=True)]

    def optimal(self) -> Tensor:
        """Return which actions begin a shortest path, `[..., S, A]`; none does at the goal."""
        after = torch.take_along_dim(self.distance[..., None, :], self.moves.mT, -1).mT
        return after < self.distance[..., None]

    def expert(self) -> Tensor:
        """Return the expert's probabilities `[..., S, A]`: zeros at the goal, where no one acts."""
        best = self.optimal().float()
        return best / best.sum(-1, keepdim=True).clamp(min=1)

    def alive(self) -> Tensor:
        """Return which states are not the goal, `[..., S]`."""
        return self.distance > 0

    def at_start(self) -> Tensor:
        """Return the distribution of starts `[..., S]` that is all on the start."""
        return one_hot(self.start, STATES).float()

    def anywhere(self) -> Tensor:
        """Return the distribution of starts `[..., S]` that is uniform over all but the goal."""
        return self.alive().float() / (STATES - 1)


def take(table: Tensor, index: Tensor) -> Tensor:
    """Return each learner's own choice `[P, B]` of its part of a table `[P, M, ...]`."""
    return table[torch.arange(len(index), device=index.device)[:, None], index]


def draw(count: int, generators: Generators) -> Worlds:
    """Return `count` random worlds of each learner."""
    drawn = [_draw(count, generator) for generator in generators]
    return Worlds(*(torch.stack(parts) for parts in zip(*drawn, strict=True)))


def _draw(count: int, generator: torch.Generator) -> Worlds:
    found: list[Worlds] = []
    while sum(len(worlds.start) for worlds in found) < count:
        order = torch.rand(CANDIDATES, CELLS, generator=generator).argsort(1)
        ends = torch.stack([torch.randperm(STATES, generator=generator)[:2] for _ in range(CANDIDATES)])
        cells = order[:, WALLS:].sort(1).values
        start, goal = ends.unbind(1)
        moves = neighbours(cells)
        distance = distances(moves, goal)
        whole = (distance < STATES).all(1)
        found.append(Worlds(*(part[whole] for part in (cells, moves, distance, start, goal))))
    return Worlds(*(torch.cat(parts)[:count] for parts in zip(*found, strict=True)))


def neighbours(cells: Tensor) -> Tensor:
    """Return the state after each action, `[M, S, A]`, of worlds with these free cells `[M, S]`."""
    state = torch.full((len(cells), SIDE + 2, SIDE + 2), -1)  # of every cell, with walls around; -1 in a wall
    row, column = cells // SIDE + 1, cells % SIDE + 1
    world = torch.arange(len(cells))[:, None]
    state[world, row, column] = torch.arange(STATES)
    after = state[world[..., None], row[..., None] + STEPS[:, 0], column[..., None] + STEPS[:, 1]]
    return torch.where(after < 0, torch.arange(STATES)[:, None], after)


def distances(moves: Tensor, goal: Tensor) -> Tensor:
    """Return the steps to the goal, `[M, S]`; S where it cannot be reached."""
    distance = torch.where(one_hot(goal, STATES).bool(), 0, STATES)
    while True:
        nearest = torch.take_along_dim(distance[:, None], moves.mT, -1).amin(1)
        nearer = torch.minimum(distance, nearest + 1)
        if nearer.equal(distance):
            return distance
        distance = nearer
