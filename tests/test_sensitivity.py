"""Sensitivity to constants: which rows have a place in it, and what stands there."""

from dataclasses import replace

import numpy as np
import pytest

from tests import synthetic
from threefold.profile.design import load
from threefold.report import contents, figures, inputs, sensitivity
from threefold.report.sensitivity import Change
from threefold.tables.collect import collect
from threefold.tables.statistics import interquartile_mean

HOPPER = "Hopper-v5"
OWN = {"rate": 0.1, "deep": {"batch": 64, "on": False}, "size": None}
CONFIGS = {
    "gail_slow": OWN | {"rate": 0.01},
    "gail_small": OWN | {"deep": {"batch": 16, "on": False}},
    "gail_both": OWN | {"rate": 0.01, "deep": {"batch": 16, "on": False}},
    "gail_on": OWN | {"deep": {"batch": 64, "on": True}},
    "gail_sized": OWN | {"size": 3},
    "gail_idle": OWN | {"rate": 0.3},
    "constant_high": {"value": 2.0},
}


@pytest.fixture(scope="module")
def given(tmp_path_factory):
    """GAIL and variants of it on Hopper; the constant has no row of its own."""
    variants = {
        name: {"method": name.split("_")[0], "tasks": [HOPPER]} | ({"expert": "idle"} if name == "gail_idle" else {})
        for name in CONFIGS
    }
    path = synthetic.design(tmp_path_factory.mktemp("project"), variants=variants)
    synthetic.fill(path)
    collect(load(path))
    found = inputs.read(path)
    cells = {name: dict(cell) for name, cell in found.cells.items()}
    for name, config in {"gail": OWN, **CONFIGS}.items():
        cells[f"{HOPPER}/{name}"] |= {"config": config, "expert": "idle" if name == "gail_idle" else "trained"}
    return replace(found, cells=cells)


def test_a_variant_that_changes_one_number_stands_beside_its_methods_own(given):
    """Not one that changes two, a switch, or what is no number, nor another expert, nor a control without a method."""
    assert sensitivity.changes(given) == [
        Change(HOPPER, "gail", "deep.batch", 16, "gail_small"),
        Change(HOPPER, "gail", "deep.batch", 64, "gail"),
        Change(HOPPER, "gail", "rate", 0.01, "gail_slow"),
        Change(HOPPER, "gail", "rate", 0.1, "gail"),
    ]


def test_the_table_has_a_line_for_each_value_and_number_of_trajectories(given):
    table = contents.every_table(given)["sensitivity"]
    assert table.shown["Value"].tolist() == ["16", "16", "64 *", "64 *", "0.01", "0.01", "0.1 *", "0.1 *"]
    assert table.shown["Trajectories"].tolist() == ["4", "11"] * 4
    slow = table.data[(table.data["row"] == "gail_slow") & (table.data["demonstrations"] == 11)].iloc[0]
    scores = given.stratum(HOPPER, "gail_slow", 11)["score"].to_numpy()
    assert slow["score"] == pytest.approx(interquartile_mean(scores))
    assert slow["low"] < slow["score"] < slow["high"]


def test_the_figure_has_a_panel_for_each_constant_and_a_mark_for_each_learner(given):
    plot = figures.plots(given)["sensitivity"]
    drawn = plot.draw()
    batch, rate = drawn.axes
    assert [ax.get_title().splitlines()[1] for ax in (batch, rate)] == ["deep.batch", "rate"]
    assert [tick.get_text() for tick in rate.get_xticklabels()] == ["0.01", "0.1 *"]
    marks = [line for line in rate.lines if line.get_marker() == "o"]
    heights = np.sort(np.concatenate([line.get_ydata() for line in marks]))
    rows = [given.stratum(HOPPER, row, number)["score"] for row in ("gail_slow", "gail") for number in (4, 11)]
    np.testing.assert_allclose(heights, np.sort(np.concatenate(rows)))


def test_a_profile_without_such_rows_has_neither(given):
    cells = {name: cell | {"config": {}} for name, cell in given.cells.items()}
    other = replace(given, cells=cells)
    assert "sensitivity" not in contents.every_table(other)
    assert "sensitivity" not in figures.plots(other)
