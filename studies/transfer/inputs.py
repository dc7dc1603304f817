"""What the study of transfer needs: the pairs of tasks that rewards are taken between, and the files of these tasks."""

from pathlib import Path
from typing import Any, NamedTuple

import envs
from envs import custom_ant, disabled_ant, point_maze_left, point_maze_right
from studies.transfer.schema import Size
from threefold.base.errors import InputError
from threefold.base.files import checksum
from threefold.experts import demonstrations, policies

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT / "data"


class Pair(NamedTuple):
    """Where rewards are learnt, where they are taken to, and the orders of the motors there (`moved.Permuted`).

    shares: of the training, after which a reward is frozen. The last one, 1, counts; it alone meets other orders.
    constants: of learning there, by row; others are the method's own.
    """

    source: str
    target: str
    orders: dict[str, tuple[int, ...] | None]
    shares: tuple[float, ...]
    constants: dict[str, dict[str, Any]] = {}


# Found on seeds 100 to 102, which no profile has. The entropy's weight and samples of 20 iterations are the paper's on
# this maze. With 10 steps of the discriminator an iteration, as on the tasks, 300,000 env steps are 730 of them, which
# is too few; with less noise g is far lower where policies went and the expert never did (docs/notes/studies).
ON_MAZE = {"entropy_weight": 1.0, "loop.recent": 20, "loop.reward_steps": 50, "noise": 0.5}

PAIRS = {
    "point_maze": Pair(
        point_maze_right.ID,
        point_maze_left.ID,
        {"same": None},
        (0.25, 0.5, 0.75, 1.0),
        {"airl_state": ON_MAZE, "airl": ON_MAZE},
    ),
    "ant": Pair(custom_ant.ID, disabled_ant.ID, {"same": None, "authors": (6, 7, 0, 1, 2, 3, 4, 5)}, (0.5, 1.0)),
}


def data(size: Size) -> dict[str, str]:
    """Return the checksums of the files that the study reads, by their names.

    Raises `InputError` where an expert or its demonstrations are missing, or fewer than asked for.
    """
    found: dict[str, str] = {}
    for name, pair in PAIRS.items():
        if (given := getattr(size, name)) is None:
            continue
        shown, expert = (DATA / kind / pair.source for kind in ("demonstrations", "experts"))
        try:
            policies.load(pair.source, expert)
            demonstrations.load(shown, pair.source, [given.trajectories])
        except InputError as error:
            raise InputError(f"studies.transfer.{name}: {error}") from None
        files = [shown / demonstrations.CARD, shown / demonstrations.ARRAYS, expert / policies.WEIGHTS]
        files += [file for task in (pair.source, pair.target) for file in envs.model_files(envs.load(task))]
        found |= {file.relative_to(ROOT).as_posix(): checksum(file) for file in files}
    return found
