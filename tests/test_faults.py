"""What real machines do: kills, double starts, edits in the middle, full disks, flipped bits, hostile files.

THREEFOLD_KILLS says how often something is killed: few times here, many in `tox -e faults`.
"""

import os
import random

import pytest

from results.entry import entries, is_locked, location
from tests import crashing
from tests.test_run import TASK, cell, contents, project

KILLS = int(os.environ.get("THREEFOLD_KILLS", "4"))
SMALL = {
    "seeds": [0, 3],
    "evaluation": {"episodes": 2, "points": 3, "episodes_during_training": 1},
    "budget": {TASK: {"env_steps": 500, "episodes": 2, "demonstrations": [1]}},
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The bytes of cells that nothing happened to."""
    params = project(tmp_path_factory.mktemp("whole"), algorithms=["bc", "gail", "gcl"], **SMALL)
    assert [crashing.finish(crashing.start(params, name, TASK)) for name in ("bc", "gail", "gcl")] == [0] * 3
    return {name: contents(cell(params, name)) for name in ("bc", "gail", "gcl")}


@pytest.fixture
def params(tmp_path):
    return project(tmp_path, algorithms=["bc", "gail", "gcl"], **SMALL)


def said(params):
    return params.with_name("said").read_text()


def sound(params, algorithm, whole):
    """The cell is what it would be without any fault, and nothing is left behind."""
    assert contents(cell(params, algorithm)) == whole[algorithm]
    (folder,) = entries(location(params.parent))
    assert {path.name for path in folder.iterdir()} == {
        "inputs.json",
        "holder.json",
        "provenance.json",
        "done",
        "result",
    }
    assert not is_locked(folder)
    assert [path.name for path in cell(params, algorithm).parent.iterdir()] == [algorithm]


@pytest.mark.parametrize("algorithm", ["bc", "gail", "gcl"])
def test_killed_at_any_change_of_a_file_a_cell_ends_with_the_same_bytes(params, whole, algorithm):
    """Each life gets a bit further; some end between two changes that belong together."""
    rng = random.Random(algorithm)
    codes = [crashing.finish(crashing.start(params, algorithm, TASK, rng.randrange(1, 40))) for _ in range(KILLS)]
    assert -9 in codes
    assert set(codes) <= {0, -9}
    assert crashing.finish(crashing.start(params, algorithm, TASK)) == 0
    sound(params, algorithm, whole)


def test_killed_at_any_time(params, whole):
    rng, kills = random.Random(0), 0
    for _ in range(KILLS):
        process = crashing.start(params, "gail", TASK)
        process.join(rng.uniform(0.0, 3.0))
        process.kill()
        kills += crashing.finish(process) == -9
    assert kills
    assert crashing.finish(crashing.start(params, "gail", TASK)) == 0
    sound(params, "gail", whole)
