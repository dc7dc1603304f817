"""What `threefold plan` says of the parts that are not there yet."""

import json
import shutil

import pytest

from tests.command import threefold
from tests.test_run import TASK, project
from threefold.cells import outlook
from threefold.profile.design import load


@pytest.fixture
def params(tmp_path, monkeypatch):
    monkeypatch.setattr(outlook, "default_threads", lambda: 2)
    return project(tmp_path)


def record(root, place, speed, **more):
    """Write the provenance of a part of some profile: three learners, and so many environment steps a second."""
    path = root / "results" / "another" / "provenance" / f"{place}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    facts = {"device": "cpu", "env_steps": 3 * speed, "learners": 3, "started": "then", "wall_s": 3.0, "cpu_s": 3.0}
    path.write_text(json.dumps(facts | more))


def test_before_anything_was_computed_the_time_is_not_known(params, capsys):
    assert threefold("plan", "--params", params) == 0
    assert capsys.readouterr().out == (
        f"{params.parent / 'plan.json'}: 0 of 4 parts are there, 4 to compute: 1,400 environment steps; how long they "
        f"take is not known yet (`threefold estimate --params {params}` measures it). `threefold launch "
        f"--profile tiny` computes several parts at a time; `threefold report --available --params {params}` shows "
        "those that are there.\n"
    )


@pytest.mark.parametrize(
    ("speed", "threads", "hours"), [(0.1, 1, "3.9"), (0.1, 2, "1.9"), (0.1, 8, "1.9"), (0.19, 1, "2.0")]
)
def test_what_takes_more_than_an_hour_is_announced(params, monkeypatch, speed, threads, hours):
    """1400 steps of GAIL in two parts, beside which the four learners of BC, of a second each, count for little."""
    monkeypatch.setattr(outlook, "default_threads", lambda: threads)
    record(params.parent, f"{TASK}/gail/1_0-1", speed)
    record(params.parent, f"{TASK}/bc/1_0-1", 0.0)
    line = outlook.outlook(load(params))
    assert f"4 to compute: 1,400 environment steps, roughly {hours} hours at the speed of parts" in line
    assert "`threefold launch --profile tiny`" in line
    assert f"`threefold report --available --params {params}`" in line


def test_what_takes_less_is_not(params):
    record(params.parent, f"{TASK}/gail/1_0-1", 0.2)
    record(params.parent, f"{TASK}/bc/1_0-1", 0.0)
    line = outlook.outlook(load(params))
    assert line.endswith("roughly 1.0 hours at the speed of parts computed earlier")


def test_what_uses_no_environment_step_takes_as_long_as_such_parts_took(params):
    """Two parts of two learners, side by side."""
    project(params.parent, methods=["bc"])
    record(params.parent, f"{TASK}/bc/1_0-1", 0.0, cpu_s=3 * 1620.0)
    line = outlook.outlook(load(params))
    assert line.endswith(
        "2 to compute, which learn from demonstrations alone, roughly 0.9 hours at the speed of parts computed earlier"
    )
    record(params.parent, f"{TASK}/bc/1_0-1", 0.0, cpu_s=3 * 3600.0)
    assert "roughly 2.0 hours at the speed of parts computed earlier. `threefold launch" in outlook.outlook(
        load(params)
    )


def test_where_no_such_part_is_there_that_is_said(params):
    """Steps of GAIL say nothing of BC, and learners of BC nothing of GAIL."""
    record(params.parent, f"{TASK}/gail/1_0-1", 0.2)
    line = outlook.outlook(load(params))
    assert line.endswith("hours at the speed of parts computed earlier, without bc: no part of it has been timed yet")
    project(params.parent, methods=["bc"])
    line = outlook.outlook(load(params))
    assert line.endswith("which learn from demonstrations alone; how long they take is not known yet")
    shutil.rmtree(params.parent / "results")
    record(params.parent, f"{TASK}/bc/1_0-1", 0.0)
    project(params.parent)
    assert "1,400 environment steps; how long they take is not known yet (`threefold" in outlook.outlook(load(params))


def test_where_all_parts_are_there_nothing_is_left(params, monkeypatch):
    monkeypatch.setattr(outlook, "is_delivered", lambda cell, part: True)
    assert outlook.outlook(load(params)) == f"{params.parent / 'plan.json'}: 4 of 4 parts are there, nothing to compute"


def test_a_device_that_is_not_here_is_no_error(params):
    project(params.parent, device="cuda")
    record(params.parent, f"{TASK}/gail/1_0-1", 0.1)  # of a CPU
    assert "how long they take is not known yet" in outlook.outlook(load(params))


def test_speeds_are_those_of_the_device(tmp_path):
    """On a GPU parts that trained together each have the time of all of them. A core's other work does not count."""
    record(tmp_path, "a/x/1_0", 10.0)
    record(tmp_path, "a/x/1_1", 20.0, wall_s=9.0)
    record(tmp_path, "a/y/1_0", 0.0)
    for part, run in (("1_0", "now"), ("4_0", "now"), ("9_0", "later")):
        record(tmp_path, f"b/x/{part}", 100.0, device="cuda", started=run)
    damaged = tmp_path / "results" / "another" / "provenance" / "a" / "z"
    damaged.mkdir()
    for number, text in enumerate(("{", "{}", "[]", '{"device": "cpu", "env_steps": 100, "wall_s": 3.0}')):
        (damaged / f"{number}.json").write_text(text)
    assert outlook.measured(tmp_path, "cpu") == ({("a", "x"): [10.0, 20.0]}, {("a", "y"): [1.0]})
    assert outlook.measured(tmp_path, "cuda") == ({("b", "x"): [200.0, 200.0, 100.0]}, {})


@pytest.mark.parametrize(
    ("task", "row", "power"),
    [
        ("a", "x", 1),  # known
        ("b", "y", 7 + 3),  # y is 2^3 times as fast as x
        ("a", "z", 4 - 2.25),  # by hand: the mean is 2^4, the smallest factors a -2.25, b 3.75, x -0.75, y 2.25
        ("c", "x", 4 - 0.75),
        ("c", "z", 4),
    ],
)
def test_a_speed_that_is_not_known_is_by_a_factor_of_the_task_and_one_of_the_row(task, row, power):
    speeds = {("a", "x"): [1.0, 4.0], ("a", "y"): [16.0], ("b", "x"): [128.0]}
    assert outlook.speed(speeds, task, row) == pytest.approx(2**power)
