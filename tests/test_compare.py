"""`threefold compare`: the numbers, what is left out, and what is said of both."""

import itertools
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from tests import synthetic
from tests.command import threefold
from threefold.base.errors import InputError
from threefold.base.files import write_json
from threefold.profile import profiles
from threefold.profile.design import load
from threefold.report.compare import compare, write
from threefold.report.inputs import read
from threefold.tables import schema
from threefold.tables.collect import collect

ROOT = Path(__file__).parents[1]
HOPPER, PENDULUM = "Hopper-v5", "InvertedPendulum-v5"
VARIANTS = {"gail_idle_expert": {"method": "gail", "tasks": [HOPPER], "demonstrations": [4], "expert": "idle"}}
# Tasks and what is compared there, of the made-up profile.
STRATA = [(PENDULUM, "1"), (PENDULUM, "4"), (HOPPER, "4"), (HOPPER, "11")]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A profile with results, not collected, in which one learner failed."""
    folder = tmp_path_factory.mktemp("made")
    results = synthetic.fill(synthetic.design(folder, methods=["bc", "gail", "airl"], variants=VARIANTS))
    (folder / "dvc.yaml").write_text("")
    synthetic.fail(results, HOPPER, "gail", 11, 2, "not finite: loss_1 & 100 %")
    return folder


@pytest.fixture
def params(made, tmp_path):
    """A copy of it."""
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    return tmp_path / "params.yaml"


@pytest.fixture
def cells(params):
    return params.parent / "results" / "made-up" / "cells"


def compared(params, *rows):
    return compare(load(params), rows)


def keyed(found):
    return found.data.set_index(["task", "demonstrations", "row"]).sort_index()


def test_scores_and_improvement_by_hand(params):
    data = keyed(compared(params, "gail", "bc"))
    collect(load(params))
    learners = read(params).learners
    scores = {key: list(rows["score"]) for key, rows in learners.groupby(["task", "demonstrations", "row"])}
    shares = []
    for task, number in STRATA:
        ours, theirs = (scores[task, int(number), row] for row in ("gail", "bc"))
        shares.append(np.mean([(a > b) + (a == b) / 2 for a, b in itertools.product(ours, theirs)]))
        assert data.loc[(task, number, "gail"), "score_iqm"] == pytest.approx(np.mean(ours))  # three: none is dropped
        assert data.loc[(task, number, "bc"), "probability"] == pytest.approx(shares[-1])
    assert 0.0 in scores[HOPPER, 11, "gail"]  # the failed one
    for row in ("gail", "bc"):
        pooled = [score for key, values in scores.items() if key[2] == row for score in values]
        line = data.loc[("all", "all", row)]
        assert line["score_iqm"] == pytest.approx(stats.trim_mean(pooled, 0.25))
        assert line["score_low"] < line["score_iqm"] < line["score_high"]
        assert line["learners"] == 12
    better = data.loc[("all", "all", "bc")]
    assert better["probability"] == pytest.approx(np.mean(shares))
    assert better["probability_low"] <= better["probability"] <= better["probability_high"]
    assert data.loc[("all", "all", "gail"), ["failed", "missing", "env_steps"]].tolist() == [1, 0, 120000 + 550000]
    assert np.isnan(data.loc[("all", "all", "gail"), "probability"])


def test_the_first_row_is_held_against_the_others(params):
    found = compared(params, "gail", "bc", "airl")
    assert found.data["row"].tolist() == ["gail", "bc", "airl"] * 5  # in the order given, which is no ranking
    one, other = keyed(found), keyed(compared(params, "airl", "gail"))
    for task, number in [*STRATA, ("all", "all")]:
        ours, theirs = one.loc[(task, number, "airl")], other.loc[(task, number, "gail")]
        assert ours["probability"] == pytest.approx(1 - theirs["probability"])
        assert one.loc[(task, number, "gail"), "score_low"] == theirs["score_low"]


def test_only_what_all_have_is_compared_and_the_rest_is_said(params, cells):
    shutil.rmtree(cells / HOPPER / "airl" / "4_0-1-2")
    part = cells / HOPPER / "bc" / "11_0-1-2"
    rows = schema.read_csv(part / "learners.csv", schema.LEARNERS)
    schema.write_csv(rows[rows["seed"] != 1], part / "learners.csv", schema.LEARNERS)
    synthetic.seal(part)
    found = compared(params, "gail", "bc", "airl")
    data = keyed(found)
    assert list(dict.fromkeys(zip(found.data["task"], found.data["demonstrations"], strict=True))) == [
        *(stratum for stratum in STRATA if stratum != (HOPPER, "4")),
        ("all", "all"),
    ]
    assert data.loc[(HOPPER, "11", "bc"), ["learners", "missing"]].tolist() == [2, 1]
    assert data.loc["all", ["learners", "missing"]].to_numpy().tolist() == [[9, 0], [8, 1], [9, 0]]  # airl, bc, gail
    assert "Left out, because AIRL has no results there: Hopper-v5 (trajectories: 4)." in found.notes
    assert "8 of 9" in found.tables[-1].shown["Learners"].tolist()
    assert len(compared(params, "gail", "bc").data) == 2 * 5  # without it, nothing is left out


def test_a_stale_part_is_not_taken(params, cells):
    made_from = schema.read_part(cells / PENDULUM / "bc" / "1_0-1-2" / schema.PART)["made_from"]
    synthetic.edit(cells / PENDULUM / "bc" / "1_0-1-2", made_from=made_from | {"config": {"made_up": False}})
    found = compared(params, "gail", "bc")
    assert (PENDULUM, "1", "bc") not in keyed(found).index
    assert f"Left out, because BC has no results there: {PENDULUM} (trajectories: 1)." in found.notes


@pytest.mark.parametrize("verb", [["compare", "gail", "bc", "--profile", "made-up"], ["report"], ["figures"]])
def test_results_of_other_settings_than_the_profile_has_are_not_shown(params, monkeypatch, capsys, verb):
    budget = {task: dict(facts) for task, facts in synthetic.BUDGET.items()}
    budget[HOPPER]["env_steps"] = 200000
    synthetic.design(params.parent, methods=["bc", "gail", "airl"], variants=VARIANTS, budget=budget)
    monkeypatch.chdir(params.parent)
    assert threefold(*verb) == 2
    assert capsys.readouterr() == (
        "",
        f"error: params.yaml: budget.{HOPPER}.env_steps: 200000, but 100000 when plan.json was made; "
        "run `threefold plan --params params.yaml`\n",
    )
    assert not (params.parent / "reports").exists()


def test_settings_of_rows_that_are_not_compared_do_not_matter(params):
    variants = {name: variant | {"expert": "own"} for name, variant in VARIANTS.items()}
    synthetic.design(params.parent, methods=["bc", "gail", "airl"], variants=variants)
    assert len(compared(params, "gail", "bc").data) == 2 * 5
    with pytest.raises(InputError, match="variants.gail_idle_expert.expert: own, but idle when .*plan.json was made"):
        compared(params, "gail", "gail_idle_expert")


def test_results_collected_before_do_not_count(params, cells):
    """They may be those of other code: the parts are read."""
    before = keyed(compared(params, "gail", "bc"))
    collect(load(params))
    for name in ("evaluations.csv", "learners.csv"):
        (cells.parent / name).write_text("old\n")
    pd.testing.assert_frame_equal(keyed(compared(params, "gail", "bc")), before)


def test_a_variant_is_compared_where_it_runs(params):
    found = compared(params, "gail", "gail_idle_expert")
    assert found.data[["task", "demonstrations"]].drop_duplicates().to_numpy().tolist() == [
        [HOPPER, "4"],
        ["all", "all"],
    ]
    assert "Left out, because GAIL, idle expert has no results there: Hopper-v5 (trajectories: 11)." in found.notes
    assert "InvertedPendulum-v5 is left out: the profile does not run gail_idle_expert there." in found.notes
    assert found.tables[-1].shown["Method"].tolist() == ["GAIL", "GAIL, idle expert"]


def test_a_task_without_reference_is_left_out(params, cells):
    shutil.rmtree(cells / PENDULUM / "reference")
    found = compared(params, "gail", "bc")
    assert set(found.data["task"]) == {HOPPER, "all"}
    assert any(note.startswith(f"{PENDULUM} is left out: ") and "reference" in note for note in found.notes)


def test_seeds_of_a_task_count(params):
    budget = {task: dict(facts) for task, facts in synthetic.BUDGET.items()}
    budget[HOPPER]["seeds"] = [0, 1, 2, 3, 4]
    synthetic.fill(synthetic.design(params.parent, methods=["bc", "gail"], budget=budget))
    data = keyed(compared(params, "gail", "bc"))
    assert data.loc[(PENDULUM, "1"), "learners"].tolist() == [3, 3]
    assert data.loc[(HOPPER, "4"), "learners"].tolist() == [5, 5]
    assert data["missing"].sum() == 0
    collect(load(params))
    assert len(read(params).learners) == 2 * 2 * (3 + 5)


def test_costs_are_those_of_the_sidecars(params, cells):
    """On a GPU parts train together and have the time of all; other work on a core is not counted."""
    common = {"started": "then", "learners": 3}
    for part, facts in {
        f"{PENDULUM}/bc/1_0-1-2": {"wall_s": 900.0, "cpu_s": 360.0, "cpu": "A"},
        f"{PENDULUM}/bc/4_0-1-2": {"wall_s": 360.0, "cpu_s": 360.0, "cpu": "A"},
        f"{PENDULUM}/gail/1_0-1-2": {"wall_s": 3600.0, "device": "cuda", "gpu": "B"},
        f"{PENDULUM}/gail/4_0-1-2": {"wall_s": 3600.0, "device": "cuda", "gpu": "B"},
        f"{HOPPER}/gail/4_0-1-2": {"wall_s": 1800.0, "device": "cuda", "gpu": "B"},
    }.items():
        write_json(common | facts, cells.parent / "provenance" / f"{part}.json")
    found = compared(params, "gail", "bc")
    data = keyed(found)
    assert data.loc[(PENDULUM, "1", "bc"), "hours"] == pytest.approx(0.1)
    assert np.isnan(data.loc[(PENDULUM, "1", "bc"), "env_steps_per_s"])  # it uses none
    assert data.loc[PENDULUM, "hours"].tolist() == pytest.approx([0.1, 0.5, 0.1, 0.5])
    assert data.loc[(PENDULUM, "4", "gail"), "env_steps_per_s"] == pytest.approx(60000 / 1800)
    assert data.loc[(HOPPER, "4", "gail"), "hours"] == pytest.approx(0.5)
    assert data.loc[[(HOPPER, "11", "gail"), ("all", "all", "gail")], "hours"].isna().all()  # one is not known
    assert any(note == "Hours and speed are of processors that differ: A; B." for note in found.notes)
    (cells.parent / "provenance" / PENDULUM / "bc" / "1_0-1-2.json").write_text("{")
    said = rf"1_0-1-2\.json: truncated or altered; make it again with `dvc repro -f -s run@{PENDULUM}-bc`"
    with pytest.raises(InputError, match=said):
        compared(params, "gail", "bc")


def test_rows_are_ranked_where_intervals_are_apart_alone(params):
    found = compared(params, "gail", "airl", "bc")
    data = keyed(found).loc[("all", "all")]
    assert data.at["bc", "score_high"] < data.at["gail", "score_low"]
    assert data.at["airl", "score_high"] > data.at["gail", "score_low"]
    assert "Overall, with intervals apart: GAIL above BC; AIRL above BC." in found.notes
    assert "Overall, intervals overlap, so these are not ranked: GAIL and AIRL." in found.notes


def test_one_seed_has_no_interval_and_no_rank(params):
    synthetic.fill(synthetic.design(params.parent, seeds=[0]))
    found = compared(params, "gail", "bc")
    assert (
        "No overall interval (fewer than two learners somewhere), so these are not ranked: GAIL and BC." in found.notes
    )
    assert not any("apart" in note or "overlap" in note for note in found.notes)
    assert not found.tables[-1].shown.map(lambda text: "nan" in text).any(axis=None)


@pytest.mark.parametrize("words", [("--methods", "gail", "bc"), ("gail", "bc"), ("gail", "--methods", "bc")])
def test_the_command_prints_and_writes(params, monkeypatch, capsys, words):
    monkeypatch.chdir(params.parent)
    assert threefold("compare", *words, "--profile", "made-up") == 0
    said = capsys.readouterr().out
    for text in (
        "Hopper-v5 (short budget)",
        "P(GAIL is better)",
        "Learners",
        "3 (1 failed)",
        "Overall, with intervals",
    ):
        assert text in said
    folder = params.parent / "reports" / "made-up" / "compare"
    assert sorted(path.name for path in folder.iterdir()) == ["compare.csv", "compare.tex"]
    expected = compared(Path("params.yaml"), "gail", "bc").data
    pd.testing.assert_frame_equal(pd.read_csv(folder / "compare.csv"), expected)
    assert threefold("compare", *words, "--profile", "made-up", "--out", "elsewhere") == 0
    assert (params.parent / "elsewhere" / "compare.tex").read_bytes() == (folder / "compare.tex").read_bytes()


def test_what_is_wrong_with_another_profile_stops_nobody(params, tmp_path):
    """A project of its own in a folder of this one is none of its profiles."""
    faulty, apart = (params.parent / name / "params.yaml" for name in ("faulty", "apart"))
    for path, text in ((faulty, b"root: ..\nprofile: other\nno: key\n\xff"), (apart, b"root: .\nprofile: apart\n")):
        path.parent.mkdir()
        path.write_bytes(text)
        (path.parent / "dvc.yaml").write_text("stages: {}\n")
    assert profiles.find(params.parent, "made-up").params == params
    assert profiles.files(params.parent) == [params, faulty]


def test_the_latex_is_whole(params, tmp_path):
    found = compared(params, "gail", "airl", "bc")
    write(found, tmp_path / "out")
    text = (tmp_path / "out" / "compare.tex").read_text()
    assert text.isascii()
    assert text.count(r"\begin{table}") == text.count(r"\toprule") == text.count(r"\end{table}") == 3
    lines = [line for line in text.splitlines() if line.endswith(r"\\")]
    assert len(lines) == 3 + 3 * 5  # a head for each table, and a line for each stratum and row
    assert {len(re.findall(r"(?<!\\)&", line)) for line in lines} == {7}
    assert "so these are not ranked" in text
    assert not re.search(r"(?<!\\)[_%#]", text)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["gail"], "gail: one row alone is no comparison"),
        (["gail", "gail"], "gail: named twice"),
        (["gial", "bc"], "gial: not one of the methods and variants in params.yaml; did you mean gail?"),
        (["mine", "bc"], "mine: not one of the methods and variants in params.yaml; choose from bc, gail, airl"),
        (["gail", "bc", "--profile", "papper"], "--profile papper: not one of made-up"),
        (["gail", "bc", "--root", "results"], "--root results: no profile here"),
        (
            ["airl", "bc"],
            "airl: no results in results/made-up; make them with `dvc repro run@InvertedPendulum-v5-airl",
        ),
    ],
)
def test_wrong_input_is_one_line(params, cells, monkeypatch, capsys, words, message):
    for task in (HOPPER, PENDULUM):
        shutil.rmtree(cells / task / "airl")
    monkeypatch.chdir(params.parent)
    assert threefold("compare", *([] if "--profile" in words else ["--profile", "made-up"]), *words) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith(f"error: {message}")
    assert captured.err.count("\n") == 1
    assert captured.out == ""
    assert not (params.parent / "reports").exists()


def test_nothing_computed_is_one_line(tmp_path, monkeypatch, capsys):
    results = synthetic.fill(synthetic.design(tmp_path))
    (tmp_path / "dvc.yaml").write_text("")
    shutil.rmtree(results)
    monkeypatch.chdir(tmp_path)
    assert threefold("compare", "gail", "bc", "--profile", "made-up") == 2
    assert capsys.readouterr().err == (
        f"error: results/made-up: nothing to compare; {PENDULUM} is left out: results/made-up/cells/{PENDULUM}/"
        f"reference/all: not computed yet; run `dvc repro`, or for it alone `dvc repro reference@{PENDULUM}` "
        "(tasks left out: 2)\n"
    )
    (tmp_path / "plan.json").unlink()
    assert threefold("compare", "gail", "bc", "--profile", "made-up") == 2
    assert capsys.readouterr().err == "error: plan.json: missing; run `threefold plan --params params.yaml`\n"


def test_it_needs_neither_torch_nor_mujoco(params):
    code = (
        "import sys; from threefold.__main__ import application; "
        "application()(standalone_mode=False); print(json.dumps(sorted({'torch', 'mujoco'} & set(sys.modules))))"
    )
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            f"import json; {code}",
            "compare",
            "gail",
            "bc",
            "--profile",
            "made-up",
            "--root",
            params.parent,
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(done.stdout.splitlines()[-1]) == []


@pytest.mark.parametrize(("row", "said"), [("airl", "4 pairs of a task"), ("gail_idle_expert", "1 pair of a task")])
def test_the_last_table_says_of_how_many_pairs_it_is(params, row, said):
    assert compared(params, "gail", row).tables[-1].title.startswith(f"All: {said}")
