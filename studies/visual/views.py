"""What is seen in every state of a map: the map's own picture, and what an agent in a cell changes of it.

Pictures of one map differ in a cell. A convolution of 3 x 3 pixels and stride 2 carries that cell's 4 x 4 pixels to
3 x 3 places of its output, and a second one carries those to 3 x 3 of its own; everywhere else both outputs are the
map's. So a map is filtered once and not once a state (networks.py), which is exact and a fifth of the work.

A picture shows black walls, white free cells, the green goal and the red agent. It may be moved by some pixels, each
learner's by its own; what comes into view is wall.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import one_hot, pad

from studies.visual.worlds import SIDE, STATES, Worlds, take

SCALE = 4  # pixels of a cell
PIXELS = SCALE * SIDE
WALL, FREE, GOAL, AGENT = range(4)
COLOURS = torch.tensor([[0.0, 0, 0], [1, 1, 1], [0, 1, 0], [1, 0, 0]])  # black, white, green, red
KERNEL = REACH = 3  # pixels of a filter's side, and of the side of what the agent changes in its output


class Places(NamedTuple):
    """Where in a layer's output the agent may change something, `[P, B, S, 9]` each."""

    at: Tensor  # side row + column; of the nearest pixel for one beyond the edge
    inside: Tensor  # 1, and 0 beyond the edge


class Views(NamedTuple):
    """What P learners see in S states of B maps each."""

    empty: Tensor  # [P, B, 3, 32, 32] a map without an agent
    change: Tensor  # [P, B, S, 9, 27] by which an agent changes the pixels under the first layer's filters
    first: Places  # the first layer's output, 16 x 16
    second: Places  # 8 x 8
    odd: Tensor  # [P, 2] whether the first changed row, and column, of the first layer's output is an odd one

    def take(self, index: Tensor) -> "Views":
        """Return each learner's own choice `[P, n]` of its maps."""
        first, second = (Places(*(take(part, index) for part in places)) for places in (self.first, self.second))
        return Views(take(self.empty, index), take(self.change, index), first, second, self.odd)


def views(worlds: Worlds, shift: Tensor) -> Views:
    """Return what is seen in all states of worlds `[P, B, ...]`, moved up and left by `shift` `[P, 2]` pixels."""
    corner = torch.stack([worlds.cells // SIDE, worlds.cells % SIDE], -1) * SCALE - shift[:, None, None]
    near = torch.arange(REACH, device=shift.device)
    first = corner[..., None] // 2 + near  # [P, B, S, 2, 3] rows and columns
    second = first[..., :1] // 2 + near
    pixel = 2 * first[..., None] - 1 + near  # [P, B, S, 2, 3, 3] under a filter at each
    of_agent = pixel - corner[..., None, None]
    red = ((of_agent >= 0) & (of_agent < SCALE) & (pixel >= 0) & (pixel < PIXELS)).float()
    colours = COLOURS.to(shift.device)
    under = torch.where(one_hot(worlds.goal, STATES).bool(), GOAL, FREE)
    turned = colours[AGENT] - colours[under]
    change = torch.einsum("...kt,...lu,...c->...klctu", *red.unbind(-3), turned)
    return Views(
        empty(worlds, shift),
        change.flatten(-3).flatten(-3, -2),
        places(first, 16),
        places(second, 8),
        first[:, 0, 0, :, 0] % 2,
    )


def places(rows_and_columns: Tensor, side: int) -> Places:
    """Return the nine places of three rows and three columns `[..., 2, 3]` of a square."""
    inside = (rows_and_columns >= 0) & (rows_and_columns < side)
    row, column = rows_and_columns.clamp(0, side - 1).unbind(-2)
    in_row, in_column = inside.unbind(-2)
    at = side * row[..., None] + column[..., None, :]
    return Places(at.flatten(-2), (in_row[..., None] & in_column[..., None, :]).flatten(-2).float())


def empty(worlds: Worlds, shift: Tensor) -> Tensor:
    """Return pictures `[P, B, 3, 32, 32]` in [0, 1] of maps without an agent."""
    of_goal = worlds.cells.gather(-1, worlds.goal[..., None])
    kind = torch.full((*worlds.goal.shape, SIDE * SIDE), WALL, device=shift.device)
    kind = pad(
        kind.scatter(-1, worlds.cells, FREE).scatter(-1, of_goal, GOAL).unflatten(-1, (SIDE, SIDE)), (1, 1, 1, 1)
    )
    pixel = torch.arange(PIXELS, device=shift.device) + SCALE
    row, column = ((pixel + by[:, None]) // SCALE for by in shift.unbind(-1))
    learner = torch.arange(len(shift), device=shift.device)[:, None, None]
    seen = kind[learner, :, row[:, :, None], column[:, None]]  # [P, 32, 32, B]
    return COLOURS.to(shift.device)[seen].permute(0, 3, 4, 1, 2)
