"""What a profile would cost: `threefold estimate`."""

import pytest

from tests.command import threefold
from tests.test_outlook import record
from tests.test_run import TASK, project
from threefold.cells import estimate, outlook
from threefold.profile.design import load

VARIANT = {"method": "gail", "tasks": [TASK]}


@pytest.fixture
def params(tmp_path):
    return project(tmp_path, methods=["bc", "gail", "fem"], variants={"gail_again": VARIANT})


def test_cells_steps_and_hours(params, monkeypatch):
    """At rates made up here: FEM half as fast as GAIL."""
    asked = []

    def iteration(task, method, config, seeds, episodes, device):
        asked.append((task, method, len(seeds), episodes, config.ppo.steps))
        return {"gail": 2.0, "fem": 4.0}[method]

    monkeypatch.setattr(estimate, "iteration_seconds", iteration)
    monkeypatch.setattr(estimate, "default_threads", lambda: 8)
    monkeypatch.setattr(estimate, "evaluation_seconds", lambda task: 1e-3)
    table = estimate.cells(load(params), "cpu").set_index("row")
    assert list(table.index) == ["bc", "gail", "fem", "gail_again"]
    assert (table["env_steps"]["bc"], table["hours"].isna().tolist()) == (0, [True, False, False, False])
    table = table.drop(index="bc")
    assert asked[0] == (TASK, "gail", 2, 2, 32)  # one of the two parts, in one of two processes
    assert table["env_steps"].tolist() == [4 * 350] * 3
    assert table["steps_per_s"].tolist() == pytest.approx([4 * 2 * 32 / seconds for seconds in (2.0, 4.0, 2.0)])
    evaluations = 4 * (2 * 2 + 4) * 1000 * 1e-3  # s: four learners; two looks of two episodes and one of four
    assert table["hours"]["fem"] == pytest.approx((1400 / 64 + evaluations) / 3600)


def test_evaluations_are_timed():
    assert 1e-7 < estimate.evaluation_seconds(TASK, worlds=4, steps=3) < 1


def test_the_command_measures_and_writes_nothing(params, capsys):
    before = sorted(params.parent.rglob("*"))
    assert threefold("estimate", "--params", params) == 0
    *cells, total = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in cells] == [[TASK, row] for row in ("bc", "gail", "fem", "gail_again")]
    assert total.startswith("4 cells, 4,200 environment steps, ")
    assert " hours on CPU (engine native), " in total
    assert total.endswith("; bc, without environment steps, not counted: no part of it has been timed yet")
    assert sorted(params.parent.rglob("*")) == before


def test_what_uses_no_environment_step_takes_as_long_as_such_parts_took(tmp_path, capsys, monkeypatch):
    """Two parts of two learners, an hour each learner: one part after the other, or side by side."""
    params = project(tmp_path, methods=["bc"])
    record(tmp_path, f"{TASK}/bc/1_0-1-2", 0.0, cpu_s=3 * 3600.0)
    for threads, hours in ((1, "4.0"), (2, "2.0")):
        monkeypatch.setattr(outlook, "default_threads", lambda threads=threads: threads)
        assert threefold("estimate", "--params", params) == 0
        cell, total = capsys.readouterr().out.splitlines()
        assert cell.split() == [TASK, "bc", "4", "learners", "0", "steps", "-", "steps/s", f"{hours}00", "h"]
        assert total.startswith(f"1 cells, 0 environment steps, {hours} hours on CPU")
        assert total.endswith("; bc, without environment steps, at the speed of parts computed earlier")
