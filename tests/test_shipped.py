"""What is shipped is what the code makes: first iterations of one part of results/paper, drawn by the commit's hash.

On the kind of CPU and with the versions that made a part, its rows of training.csv.gz are the same to the last digit.
Elsewhere bytes are not promised, and the first iteration alone is compared, to a thousandth.
"""

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from algorithms import gail
from envs.device import versions
from tests import test_run
from tests.test_run import PARAMS, TASK, project
from threefold.cells.grid import Place, grid
from threefold.cells.prefix import whole
from threefold.cells.training import Evaluation, train
from threefold.profile.design import load
from threefold.store.inputs import differences
from threefold.store.origin import commit, origin
from threefold.tables import schema

ROOT = Path(__file__).parents[1]
ITERATIONS = 3
ROUNDING = 1e-3
SHORT = Evaluation(episodes=1, points=1, episodes_during_training=1)


def folder(place: Place) -> Path:
    return place.cell.folder / place.part.name


def is_this_machine(place: Place) -> bool:
    """Whether it was made on this kind of CPU, with the versions that are installed here."""
    path = place.cell.provenance(place.part)
    cpu = json.loads(path.read_text())["cpu"] if path.exists() else None
    return cpu == origin()["cpu"] and schema.read_part(folder(place) / schema.PART)["versions"] == versions("native")


def training(place: Place) -> pd.DataFrame:
    return schema.read_csv(folder(place) / schema.FILES["training"], schema.TRAINING)


def is_comparable(place: Place) -> bool:
    """Whether a part is there, made on a CPU, and says what this machine can compute again."""
    path = folder(place) / schema.PART
    if not path.exists() or schema.read_part(path)["device"] != "cpu":
        return False
    first = training(place)["iteration"].min()  # NaN if every learner failed at once
    return first <= 1 or (first > 1 and is_this_machine(place))


def draw(places: Sequence[Any], head: str, comparable: Callable[[Any], bool]) -> Any:
    """Return the part that a commit's hash falls on, or the next one that can be compared."""
    start = int(head, 16) % len(places)
    return next((place for place in [*places[start:], *places[:start]] if comparable(place)), None)


def check(place: Place) -> int:
    """Compute the first iterations of a part again; return how many rows are as shipped. AssertionError for others."""
    name = place.entry.name
    shipped, exact = training(place), is_this_machine(place)
    made_from = schema.read_part(folder(place) / schema.PART)["made_from"]
    other = differences(made_from | {"code": {}}, place.entry.inputs | {"code": {}})
    assert other == [], f"{name}: shipped with other {', '.join(other)}; compute it again"
    first = max(1, int(shipped["iteration"].min()))
    iterations = max(ITERATIONS, first) if exact else 1
    outcome = train(replace(whole(place), iterations=iterations, evaluation=SHORT), lambda step: None)
    found = pd.DataFrame(outcome.training, columns=list(schema.TRAINING)).astype(schema.TRAINING)
    expected = shipped[shipped["iteration"] <= found["iteration"].max()]
    error = 0.0 if exact else ROUNDING
    pd.testing.assert_frame_equal(
        found, expected, check_exact=exact, rtol=error, atol=error, obj=f"{name}, {iterations} iterations"
    )
    return len(found)


def test_a_shipped_part_is_what_the_code_makes():
    head = commit(ROOT)["commit"]
    if head is None:
        pytest.skip("no commit, whose hash draws the part")
    place = draw(grid(load(ROOT / "paper" / "params.yaml")), head, is_comparable)
    if place is None:
        pytest.skip("results/paper has no part yet that this machine can compute again")
    assert check(place) > 0


# That it can fail, on parts of a tiny profile.


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    params = project(tmp_path_factory.mktemp("shipped"))
    assert test_run.train(params, "bc") == test_run.train(params, "gail") == 0
    return params.parent


@pytest.fixture
def parts(finished, tmp_path):
    """Shipped parts, by row, of 1 trajectory."""
    shutil.copytree(finished, tmp_path, dirs_exist_ok=True, ignore=shutil.ignore_patterns(".store"))
    return {place.cell.row: place for place in reversed(grid(load(tmp_path / "params.yaml")))}


def change(place, iteration, factor):
    rows = training(place)
    rows.loc[rows.index[rows["iteration"] == iteration][0], "value"] *= factor
    schema.write_csv(rows, folder(place) / schema.FILES["training"], schema.TRAINING)


def elsewhere(place, how):
    """Let another machine have made it."""
    if how == "cpu":
        test_run.edit(place.cell.provenance(place.part), cpu="another")
    elif how == "versions":
        test_run.edit(folder(place) / schema.PART, versions=versions("native") | {"torch": "1.0"})
    else:
        place.cell.provenance(place.part).unlink()


def test_on_the_same_machine_every_digit_counts(parts):
    assert check(parts["gail"]) == 2 * 3 * 7  # learners, iterations, metrics
    assert check(parts["bc"]) == 2 * 3
    change(parts["gail"], 3, 1 + 1e-5)
    with pytest.raises(AssertionError, match=f"{TASK}/gail/1_0-1, 3 iterations"):
        check(parts["gail"])
    change(parts["bc"], 0, 1 + 1e-5)
    with pytest.raises(AssertionError, match=f"{TASK}/bc/1_0-1, 3 iterations"):
        check(parts["bc"])


@pytest.mark.parametrize("how", ["cpu", "versions", "no provenance"])
def test_elsewhere_the_first_iteration_counts_to_a_thousandth(parts, how):
    elsewhere(parts["gail"], how)
    change(parts["gail"], 2, 2.0)
    change(parts["gail"], 1, 1 + 1e-4)
    assert check(parts["gail"]) == 2 * 7
    change(parts["gail"], 1, 1 + 1e-2)
    with pytest.raises(AssertionError, match=f"{TASK}/gail/1_0-1, 1 iterations"):
        check(parts["gail"])


def test_a_row_that_is_missing_is_found(parts):
    rows = training(parts["gail"])
    schema.write_csv(rows.drop(index=5), folder(parts["gail"]) / schema.FILES["training"], schema.TRAINING)
    with pytest.raises(AssertionError, match="shape mismatch"):
        check(parts["gail"])


def test_other_code_that_makes_the_same_passes_and_other_constants_do_not(parts, monkeypatch):
    place = parts["gail"]
    made_from = schema.read_part(folder(place) / schema.PART)["made_from"]
    test_run.edit(folder(place) / schema.PART, made_from=made_from | {"code": {"algorithms/gail.py": "older"}})
    assert check(place) == 42
    loss = gail.loss
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            gail, "train", lambda *a: gail.imitate(gail.Discriminator, lambda *b: 1.5 * loss(*b), gail.reward, *a)
        )
        with pytest.raises(AssertionError, match="gail/1_0-1, 3 iterations"):
            check(place)
    test_run.edit(folder(place) / schema.PART, made_from=made_from | {"env_steps": 351})
    with pytest.raises(AssertionError, match="gail/1_0-1: shipped with other env_steps; compute it again"):
        check(place)


def test_metrics_kept_at_few_points_are_compared_at_the_first_one(tmp_path):
    """With 13 iterations to a point, 13 are computed, on a machine of the same kind alone."""
    budget = {TASK: PARAMS["budget"][TASK] | {"env_steps": 80_000, "demonstrations": [1]}}
    params = project(tmp_path, methods=["gail"], budget=budget)
    (place,) = grid(load(params))
    outcome = train(replace(whole(place), iterations=30, evaluation=SHORT), lambda step: None)
    rows = pd.DataFrame(outcome.training, columns=list(schema.TRAINING)).astype(schema.TRAINING)
    assert sorted(set(rows["iteration"])) == [13, 25]
    schema.write_csv(rows, folder(place) / schema.FILES["training"], schema.TRAINING)
    card = {"made_from": place.entry.inputs, "versions": versions("native"), "engine": "native", "device": "cpu"}
    (folder(place) / schema.PART).write_text(json.dumps(card))
    assert not is_comparable(place)
    place.cell.provenance(place.part).parent.mkdir(parents=True)
    place.cell.provenance(place.part).write_text(json.dumps(origin()))
    assert is_comparable(place)
    assert check(place) == len(rows) // 2
    change(place, 13, 1 + 1e-5)
    with pytest.raises(AssertionError, match="gail/1_0-1, 13 iterations"):
        check(place)


def test_what_can_be_compared(parts):
    assert is_comparable(parts["gail"])
    assert is_comparable(parts["bc"])
    test_run.edit(folder(parts["gail"]) / schema.PART, device="cuda")
    assert not is_comparable(parts["gail"])
    shutil.rmtree(folder(parts["bc"]))
    assert not is_comparable(parts["bc"])


def test_the_commit_draws_the_part(parts):
    places = list(range(10))
    assert draw(places, "0d", lambda place: True) == 3
    assert draw(places, "0d", lambda place: place in (1, 2)) == 1
    assert draw(places, "0d", lambda place: place == 3) == 3
    assert draw(places, "0d", lambda place: False) is None
