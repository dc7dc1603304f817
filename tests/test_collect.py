import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests import synthetic
from threefold.base.errors import InputError
from threefold.profile.design import load
from threefold.tables import schema
from threefold.tables.collect import collect

ROOT = Path(__file__).parent.parent
OUTPUTS = ("evaluations.csv", "training.csv", "learners.csv", "cells.json")


@pytest.fixture
def params(tmp_path):
    path = synthetic.design(tmp_path)
    synthetic.fill(path)
    return path


@pytest.fixture
def results(params):
    return params.parent / "results" / "made-up"


def holes(params):
    with pytest.raises(InputError) as caught:
        collect(load(params))
    assert not any((params.parent / "results" / "made-up" / name).exists() for name in OUTPUTS)
    return str(caught.value).splitlines()


def drop(path, columns, **which):
    """Remove the rows of a CSV where every column has the given value."""
    frame = schema.read_csv(path, columns)
    rows = frame[list(which)].eq(which).all(axis=1)
    assert rows.any()
    schema.write_csv(frame[~rows], path, columns)


def test_complete_profile_is_collected(params, results):
    collect(load(params))
    learners = schema.read_csv(results / "learners.csv", schema.LEARNERS)
    methods = learners[~learners["row"].isin(schema.REFERENCES)]
    assert len(methods) == 2 * 2 * 2 * 3  # tasks, methods, numbers of demonstrations, seeds
    assert len(learners) - len(methods) == 2 * 3
    evaluations = schema.read_csv(results / "evaluations.csv", schema.EVALUATIONS)
    parts = [schema.read_csv(path, schema.EVALUATIONS) for path in sorted((results / "cells").rglob("evaluations.csv"))]
    assert len(evaluations) == sum(map(len, parts))
    assert evaluations["episode_return"].sum() == pytest.approx(sum(part["episode_return"].sum() for part in parts))
    assert list(json.loads((results / "cells.json").read_text())) == sorted(
        f"{task}/{cell}" for task in ("InvertedPendulum-v5", "Hopper-v5") for cell in ("bc", "gail", "reference")
    )


def test_collecting_twice_gives_the_same_bytes(params, results):
    collect(load(params))
    before = [(results / name).read_bytes() for name in OUTPUTS]
    collect(load(params))
    assert before == [(results / name).read_bytes() for name in OUTPUTS]


def test_only_what_the_design_asks_for(tmp_path):
    params = synthetic.design(tmp_path, seeds=[0, 1, 2, 3], methods=["bc", "gail", "airl"])
    results = synthetic.fill(params)
    (results / "cells" / "Swimmer-v5" / "gail").mkdir(parents=True)
    collect(load(synthetic.design(tmp_path, seeds=[1, 2])))
    for name, columns in (("evaluations", schema.EVALUATIONS), ("training", schema.TRAINING)):
        rows = schema.read_csv(results / f"{name}.csv", columns)
        rows = rows[~rows["row"].isin(schema.REFERENCES)]
        assert set(rows["seed"]) == {1, 2}
        assert set(rows["row"]) == {"bc", "gail"}


def test_every_hole_is_named(params, results):
    shutil.rmtree(results / "cells" / "Hopper-v5" / "bc")
    shutil.rmtree(results / "cells" / "InvertedPendulum-v5" / "reference")
    gail = results / "cells" / "Hopper-v5" / "gail"
    drop(gail / "learners.csv", schema.LEARNERS, demonstrations=11, seed=1)
    drop(gail / "evaluations.csv", schema.EVALUATIONS, demonstrations=4, seed=2, env_steps=100000, episode=3)
    lines = holes(params)
    assert len(lines) == 4
    for line, parts in zip(
        sorted(lines),
        [
            (str(results / "cells" / "Hopper-v5" / "bc"), "missing cell"),
            (str(results / "cells" / "InvertedPendulum-v5" / "reference"), "missing cell"),
            ("Hopper-v5, gail, 11 demonstrations, seed 1", "learners.csv"),
            ("Hopper-v5, gail, 4 demonstrations, seed 2", "3 finite final episodes of 4"),
        ],
        strict=True,
    ):
        assert all(part in line for part in parts)
        assert "dvc repro" in line


def test_keep_going_marks_what_is_missing_and_takes_the_rest(params, results):
    shutil.rmtree(results / "cells" / "Hopper-v5" / "bc")
    gail = results / "cells" / "Hopper-v5" / "gail"
    drop(gail / "learners.csv", schema.LEARNERS, demonstrations=11, seed=1)
    drop(gail / "evaluations.csv", schema.EVALUATIONS, demonstrations=4, seed=2, env_steps=100000, episode=3)
    path = results / "cells" / "InvertedPendulum-v5" / "gail" / "training.csv"
    path.write_bytes(path.read_bytes()[:-3])
    lines = collect(load(synthetic.design(params.parent, keep_going=True)))
    assert len(lines) == 4
    assert f"{results / 'cells' / 'Hopper-v5' / 'bc'}: missing cell; run `dvc repro`" in lines
    learners = schema.read_csv(results / "learners.csv", schema.LEARNERS)
    missing = learners[learners["status"] == "missing"]
    found = missing.groupby(["task", "row", "reason"]).size().to_dict()
    cut = [reason for _, _, reason in found if reason.startswith("training.csv: truncated or altered")]
    assert found == {
        ("Hopper-v5", "bc", "missing cell"): 6,
        ("Hopper-v5", "gail", "3 finite final episodes of 4 in evaluations.csv"): 1,
        ("Hopper-v5", "gail", "not in learners.csv with status ok or failed"): 1,
        ("InvertedPendulum-v5", "gail", cut[0]): 6,
    }
    assert len(learners[~learners["row"].isin(schema.REFERENCES)]) == 2 * 2 * 2 * 3
    lost = set(missing[list(schema.LEARNER)].itertuples(index=False, name=None))
    for name, columns in (("evaluations", schema.EVALUATIONS), ("training", schema.TRAINING)):
        rows = schema.read_csv(results / f"{name}.csv", columns)
        assert not lost & set(rows[list(schema.LEARNER)].itertuples(index=False, name=None))
    assert list(json.loads((results / "cells.json").read_text())) == [
        "Hopper-v5/gail", "Hopper-v5/reference", "InvertedPendulum-v5/bc", "InvertedPendulum-v5/reference"
    ]  # fmt: skip


def test_keep_going_refuses_contradictions_and_a_missing_reference(params, results):
    synthetic.design(params.parent, keep_going=True)
    synthetic.edit_cell(results, "Hopper-v5/gail", versions={**synthetic.VERSIONS, "mujoco": "0.1"})
    assert len(holes(params)) == 1
    shutil.rmtree(results / "cells" / "Hopper-v5" / "reference")
    assert "missing cell" in holes(params)[0]


def test_keep_going_changes_nothing_where_nothing_is_missing(params, results):
    collect(load(params))
    before = [(results / name).read_bytes() for name in OUTPUTS]
    assert collect(load(synthetic.design(params.parent, keep_going=True))) == []
    assert before == [(results / name).read_bytes() for name in OUTPUTS]


def test_episodes_during_training_are_no_final_evaluation(params, results):
    drop(
        results / "cells" / "Hopper-v5" / "gail" / "evaluations.csv",
        schema.EVALUATIONS,
        demonstrations=4,
        seed=0,
        env_steps=100000,
    )
    assert "2 finite final episodes of 4" in holes(params)[0]


def test_returns_that_are_not_finite_are_a_hole(params, results):
    path = results / "cells" / "Hopper-v5" / "bc" / "evaluations.csv"
    frame = schema.read_csv(path, schema.EVALUATIONS)
    frame.loc[0, "episode_return"] = float("nan")
    schema.write_csv(frame, path, schema.EVALUATIONS)
    assert ["3 finite final episodes of 4" in line for line in holes(params)] == [True]


def test_failed_learner_is_no_hole(params, results):
    synthetic.fail(results, "Hopper-v5", "gail", 4, 1, "not finite: loss")
    collect(load(params))
    learners = schema.read_csv(results / "learners.csv", schema.LEARNERS)
    assert learners.loc[learners["status"] == "failed", ["row", "seed", "reason"]].to_numpy().tolist() == [
        ["gail", 1, "not finite: loss"]
    ]


@pytest.mark.parametrize("program", ["gymnasium", "mujoco"])
def test_mixed_versions_of_a_task_are_refused(params, results, program):
    synthetic.edit_cell(results, "Hopper-v5/gail", versions={**synthetic.VERSIONS, program: "0.1"})
    (line,) = holes(params)
    assert "Hopper-v5/gail" in line
    assert f"{program} 0.1" in line


def test_versions_may_differ_between_tasks_and_programs_that_change_no_return(params, results):
    for cell in ("reference", "bc", "gail"):
        synthetic.edit_cell(results, f"Hopper-v5/{cell}", versions={**synthetic.VERSIONS, "mujoco": "4.1"})
    synthetic.edit_cell(results, "Hopper-v5/gail", versions={**synthetic.VERSIONS, "mujoco": "4.1", "torch": "2.11"})
    collect(load(params))


def test_cell_of_another_task_is_refused(params, results):
    synthetic.edit_cell(results, "Hopper-v5/gail", task="Hopper-v4")
    assert "task Hopper-v4, but Hopper-v5" in holes(params)[0]


def test_other_demonstrations_are_refused(params, results):
    synthetic.edit_cell(results, "Hopper-v5/gail", demonstrations_sha256="f" * 64)
    assert "demonstrations_sha256" in holes(params)[0]


def test_learner_that_stands_twice_is_refused(params, results):
    folder = results / "cells" / "Hopper-v5"
    shutil.copy(folder / "gail" / "evaluations.csv", folder / "bc" / "evaluations.csv")
    lines = holes(params)
    assert any("Hopper-v5, gail, 4 demonstrations, seed 0: stands twice in evaluations.csv" in line for line in lines)
    assert any("Hopper-v5, bc, 4 demonstrations, seed 0: 0 finite final episodes" in line for line in lines)


def test_expert_no_better_than_random_is_refused(params, results):
    path = results / "cells" / "Hopper-v5" / "reference" / "evaluations.csv"
    frame = schema.read_csv(path, schema.EVALUATIONS)
    frame.loc[frame["row"] == "expert", "episode_return"] = 1.0
    schema.write_csv(frame, path, schema.EVALUATIONS)
    assert "Hopper-v5: expert returns 1, random" in holes(params)[0]


def test_command_says_it_in_lines_without_traceback(params, results):
    shutil.rmtree(results / "cells" / "Hopper-v5" / "bc")
    path = results / "cells" / "Hopper-v5" / "gail" / "training.csv"
    path.write_bytes(path.read_bytes()[:-3])
    command = [sys.executable, "-m", "threefold", "collect", "--params", str(params)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 2
    assert "missing cell" in done.stderr
    assert "its last line is cut off" in done.stderr
