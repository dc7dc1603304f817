import json
import shutil

import pytest

from tests import synthetic
from tests.command import threefold
from tests.test_run import ROOT
from threefold.base.errors import InputError
from threefold.base.files import write_bytes, write_json
from threefold.profile.design import load
from threefold.store import code
from threefold.store.inputs import fingerprint
from threefold.tables import schema
from threefold.tables.collect import collect, gather, stage

OUTPUTS = ("evaluations.csv", "training.csv", "learners.csv", "cells.json")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("made")
    synthetic.fill(synthetic.design(folder))
    return folder


@pytest.fixture
def params(made, tmp_path):
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    return tmp_path / "params.yaml"


@pytest.fixture
def results(params):
    return params.parent / "results" / "made-up"


def missing(params):
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
    synthetic.seal(path.parent)


def test_complete_profile_is_collected(params, results):
    collect(load(params))
    learners = schema.read_csv(results / "learners.csv", schema.LEARNERS)
    methods = learners[~learners["row"].isin(schema.REFERENCES)]
    assert len(methods) == 2 * 2 * 2 * 3  # tasks, methods, numbers of demonstrations, seeds
    assert len(learners) - len(methods) == 2 * 3
    evaluations = schema.read_csv(results / "evaluations.csv", schema.EVALUATIONS)
    paths = sorted((results / "cells").rglob("evaluations.csv.gz"))
    parts = [schema.read_csv(path, schema.EVALUATIONS) for path in paths]
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
    collect(load(synthetic.design(tmp_path, seeds=[0, 1, 2])))
    for name, columns in (("evaluations", schema.EVALUATIONS), ("training", schema.TRAINING)):
        rows = schema.read_csv(results / f"{name}.csv", columns)
        rows = rows[~rows["row"].isin(schema.REFERENCES)]
        assert set(rows["seed"]) == {0, 1, 2}
        assert set(rows["row"]) == {"bc", "gail"}


@pytest.fixture
def gail(results):
    return results / "cells" / "Hopper-v5" / "gail"


def damage(results, gail):
    """Take away a cell, a learner and an episode."""
    shutil.rmtree(results / "cells" / "Hopper-v5" / "bc")
    drop(gail / "11_0-1-2" / "learners.csv", schema.LEARNERS, seed=1)
    drop(gail / "4_0-1-2" / "evaluations.csv.gz", schema.EVALUATIONS, seed=2, env_steps=100000, episode=3)


def test_everything_that_is_missing_is_named(params, results, gail):
    damage(results, gail)
    shutil.rmtree(results / "cells" / "InvertedPendulum-v5" / "reference")
    bc = results / "cells" / "Hopper-v5" / "bc"
    lines = missing(params)
    for line, parts in zip(
        sorted(lines),
        [
            (str(bc / "11_0-1-2"), "not computed yet"),
            (str(bc / "4_0-1-2"), "not computed yet"),
            (str(results / "cells" / "InvertedPendulum-v5" / "reference" / "all"), "not computed yet"),
            ("Hopper-v5, gail, 11 demonstrations, seed 1", "learners.csv"),
            ("Hopper-v5, gail, 4 demonstrations, seed 2", "3 finite final episodes of 4"),
        ],
        strict=True,
    ):
        assert all(part in line for part in parts)
        assert "dvc repro" in line


def test_keep_going_marks_what_is_missing_and_takes_the_rest(params, results, gail):
    damage(results, gail)
    path = results / "cells" / "InvertedPendulum-v5" / "gail" / "4_0-1-2" / "training.csv.gz"
    path.write_bytes(path.read_bytes()[:-3])
    lines = collect(load(synthetic.design(params.parent, keep_going=True)))
    assert len(lines) == 5
    missing = f"{results / 'cells' / 'Hopper-v5' / 'bc' / '4_0-1-2'}: not computed yet"
    assert f"{missing}; run `dvc repro`, or for it alone `dvc repro run@Hopper-v5-bc`" in lines
    learners = schema.read_csv(results / "learners.csv", schema.LEARNERS)
    absent = learners[learners["status"] == "missing"]
    found = absent.groupby(["task", "row", "reason"]).size().to_dict()
    assert found == {
        ("Hopper-v5", "bc", "not computed yet"): 6,
        ("Hopper-v5", "gail", "3 finite final episodes of 4 in evaluations.csv"): 1,
        ("Hopper-v5", "gail", "not in learners.csv with status ok or failed"): 1,
        ("InvertedPendulum-v5", "gail", "training.csv.gz: missing, cut or altered"): 3,
    }
    assert len(learners[~learners["row"].isin(schema.REFERENCES)]) == 2 * 2 * 2 * 3
    lost = set(absent[list(schema.LEARNER)].itertuples(index=False, name=None))
    for name, columns in (("evaluations", schema.EVALUATIONS), ("training", schema.TRAINING)):
        rows = schema.read_csv(results / f"{name}.csv", columns)
        assert not lost & set(rows[list(schema.LEARNER)].itertuples(index=False, name=None))
    assert list(json.loads((results / "cells.json").read_text())) == [
        "Hopper-v5/gail", "Hopper-v5/reference", "InvertedPendulum-v5/bc", "InvertedPendulum-v5/gail",
        "InvertedPendulum-v5/reference",
    ]  # fmt: skip


@pytest.mark.parametrize("keep_going", [False, True])
def test_a_part_that_is_made_from_something_else_is_not_taken(params, results, gail, keep_going):
    part = gail / "4_0-1-2"
    card = schema.read_part(part / schema.PART)
    synthetic.edit(part, made_from=card["made_from"] | {"config": {"made_up": False}})
    design = load(synthetic.design(params.parent, keep_going=keep_going))
    said = f"{part}: made from other code, settings or data than planned; run `dvc repro`"
    if keep_going:
        (line,) = collect(design)
        learners = schema.read_csv(results / "learners.csv", schema.LEARNERS)
        assert len(learners[learners["status"] == "missing"]) == 3
        evaluations = schema.read_csv(results / "evaluations.csv", schema.EVALUATIONS)
        hopper = evaluations[(evaluations["row"] == "gail") & (evaluations["task"] == "Hopper-v5")]
        assert set(hopper["demonstrations"]) == {11}
    else:
        (line,) = missing(params)
    assert line.startswith(said)


DAMAGES = {
    "cut": lambda path: path.write_bytes(path.read_bytes()[:-1]),
    "altered": lambda path: path.write_bytes(path.read_bytes().replace(b"0,\n", b"1,\n")),  # env_steps
    "missing": lambda path: path.unlink(),
}


@pytest.mark.parametrize("row", ["gail", "reference"])
@pytest.mark.parametrize("how", DAMAGES)
def test_a_file_that_has_another_checksum_is_not_taken_and_nothing_is_lost(params, results, row, how):
    """A table that is altered reads like a sound one: only its checksum tells."""
    part = sorted((results / "cells" / "Hopper-v5" / row).iterdir())[0]
    kept = {path: path.read_bytes() for path in results.rglob("*.*") if path.name != "learners.csv"}
    DAMAGES[how](part / "learners.csv")
    (line,) = missing(params)
    assert line == (
        f"{part / 'learners.csv'}: missing, cut or altered; put it back with `git restore` or `threefold store "
        "deliver`, or make it again with `dvc repro`"
    )
    assert all(path.read_bytes() == data for path, data in kept.items())


def test_a_part_without_checksums_is_not_taken(params, gail):
    synthetic.edit(gail / "4_0-1-2", sha256=None)
    (line,) = missing(params)
    assert line.startswith(f"{gail / '4_0-1-2' / 'part.json'}: no proper 'sha256'; ")


def test_a_part_of_code_that_was_edited_since_the_plan_is_not_taken(params, gail, monkeypatch, tmp_path):
    """A plan made before the edit says what the part says; the file says something else."""
    part, files = gail / "4_0-1-2", {"algorithms/gail.py": "", "algorithms/core/ppo.py": "x = 1"}
    monkeypatch.setattr(code, "ROOT", tmp_path / "code")
    for name, text in files.items():
        write_bytes(tmp_path / "code" / name, text.encode())
    made_from = json.loads((part / "part.json").read_text())["made_from"]
    made_from["code"] = {name: code._checksum(text.encode()) for name, text in files.items()}
    synthetic.edit(part, made_from=made_from)
    planned_as = json.loads(load(params).plan.read_text())
    planned_as["cells"]["Hopper-v5"]["gail"]["4_0-1-2"] = fingerprint(made_from)
    write_json(planned_as, load(params).plan)
    gather(load(params), planned_as)
    (tmp_path / "code" / "algorithms" / "core" / "ppo.py").write_text("x = 1  # as before")
    gather(load(params), planned_as)
    (tmp_path / "code" / "algorithms" / "core" / "ppo.py").write_text("x = 2")
    (line,) = missing(params)
    assert line.startswith(f"{part}: made before the last change of algorithms/core/ppo.py; run `dvc repro` (or first ")
    (tmp_path / "code" / "algorithms" / "gail.py").unlink()
    (line,) = missing(params)
    assert line.startswith(f"{part}: made before the last change of algorithms/gail.py; ")


HOPPER = synthetic.BUDGET["Hopper-v5"]
IDLE = {"method": "gail", "tasks": ["Hopper-v5"], "expert": "idle"}
BEFORE = {"overrides": {"Hopper-v5": {"ppo.discount": 0.99}}, "variants": {"gail_idle": IDLE}}


@pytest.fixture(scope="module")
def configured(tmp_path_factory):
    folder = tmp_path_factory.mktemp("configured")
    synthetic.fill(synthetic.design(folder, **BEFORE))
    return folder


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"budget": synthetic.BUDGET | {"Hopper-v5": HOPPER | {"env_steps": 90000}}},
            "budget.Hopper-v5.env_steps: 90000, but 100000",
        ),
        (
            {"budget": synthetic.BUDGET | {"Hopper-v5": HOPPER | {"parallel_episodes": 8}}},
            "budget.Hopper-v5.parallel_episodes: 8, but 16",
        ),
        (
            {"evaluation": {"episodes": 4, "points": 3, "episodes_during_training": 1}},
            "evaluation.episodes_during_training: 1, but 2",
        ),
        ({"overrides": {"Hopper-v5": {"ppo.discount": 0.9}}}, "overrides.Hopper-v5.ppo.discount: 0.9, but 0.99"),
        ({"overrides": {"Hopper-v5": {}}}, "overrides.Hopper-v5.ppo.discount: nothing, but 0.99"),
        ({"overrides": {}}, "overrides.Hopper-v5: nothing, but {'ppo.discount': 0.99}"),
        ({"variants": {"gail_idle": IDLE | {"expert": "own"}}}, "variants.gail_idle.expert: own, but idle"),
        (
            {"variants": {"gail_idle": IDLE | {"config": {"batch": 9}}}},
            "variants.gail_idle.config.batch: 9, but nothing",
        ),
        ({"demonstrations_from": {"Hopper-v5": "mine"}}, "demonstrations_from.Hopper-v5: mine, but nothing"),
    ],
)
def test_settings_that_were_edited_since_the_plan_are_named(configured, tmp_path, changes, said):
    """The plan has the results' fingerprints still: no part of theirs says that the profile asks for something else."""
    shutil.copytree(configured, tmp_path, dirs_exist_ok=True)
    params = synthetic.design(tmp_path, **BEFORE | changes)
    (line,) = missing(params)
    assert line == f"{params}: {said} when {tmp_path / 'plan.json'} was made; run `threefold plan --params {params}`"


@pytest.mark.parametrize(
    "changes",
    [
        {"seeds": [0, 1, 2], "keep_going": True},
        {"methods": ["gail"]},
        {"tasks": ["Hopper-v5"], "budget": {"Hopper-v5": HOPPER}},
        {"variants": {}},
        {"budget": synthetic.BUDGET | {"Hopper-v5": HOPPER | {"short_budget": False, "demonstrations": [4]}}},
    ],
)
def test_what_decides_no_result_may_be_edited(configured, tmp_path, changes):
    shutil.copytree(configured, tmp_path, dirs_exist_ok=True)
    assert collect(load(synthetic.design(tmp_path, **BEFORE | changes))) == []


def test_a_reference_that_is_made_from_something_else_is_not_taken(params, results):
    part = results / "cells" / "Hopper-v5" / "reference" / "all"
    synthetic.edit(part, made_from={"task": "Hopper-v5"})
    (line,) = missing(params)
    assert line.startswith(f"{part}: made from other")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "missing"),
        ("{", "truncated or altered"),
        ("[]", "truncated or altered"),
        ('{"cells": {}}', "truncated or altered"),
        ('{"cells": [], "variants": {}, "references": {}}', "truncated or altered"),
        ('{"cells": {"Hopper-v5": {"gail": 1}}, "variants": {}, "references": {}}', "truncated or altered"),
        ('{"cells": {}, "variants": {}, "references": {}, "studies": {}}', "truncated or altered"),
    ],
)
def test_without_a_sound_plan_nothing_is_collected(params, text, said):
    plan = load(params).plan
    plan.unlink() if text is None else plan.write_text(text)
    (line,) = missing(params)
    assert line == f"{plan}: {said}; run `threefold plan --params {params}`"


def test_keep_going_refuses_contradictions_and_a_missing_reference(params, results):
    synthetic.design(params.parent, keep_going=True)
    gail = results / "cells" / "Hopper-v5" / "gail" / "4_0-1-2"
    synthetic.edit(gail, versions={**synthetic.VERSIONS, "mujoco": "0.1"})
    assert len(missing(params)) == 1
    shutil.rmtree(results / "cells" / "Hopper-v5" / "reference")
    assert "reference/all: not computed yet" in missing(params)[0]


def test_keep_going_changes_nothing_where_nothing_is_missing(params, results):
    collect(load(params))
    before = [(results / name).read_bytes() for name in OUTPUTS]
    assert collect(load(synthetic.design(params.parent, keep_going=True))) == []
    assert before == [(results / name).read_bytes() for name in OUTPUTS]


def test_episodes_during_training_are_no_final_evaluation(params, results):
    drop(
        results / "cells" / "Hopper-v5" / "gail" / "4_0-1-2" / "evaluations.csv.gz",
        schema.EVALUATIONS,
        seed=0,
        env_steps=100000,
    )
    assert "2 finite final episodes of 4" in missing(params)[0]


def test_returns_that_are_not_finite_are_missing(params, results):
    path = results / "cells" / "Hopper-v5" / "bc" / "4_0-1-2" / "evaluations.csv.gz"
    frame = schema.read_csv(path, schema.EVALUATIONS)
    frame.loc[0, "episode_return"] = float("nan")
    schema.write_csv(frame, path, schema.EVALUATIONS)
    synthetic.seal(path.parent)
    assert ["3 finite final episodes of 4" in line for line in missing(params)] == [True]


def test_failed_learner_is_not_missing(params, results):
    synthetic.fail(results, "Hopper-v5", "gail", 4, 1, "not finite: loss")
    collect(load(params))
    learners = schema.read_csv(results / "learners.csv", schema.LEARNERS)
    assert learners.loc[learners["status"] == "failed", ["row", "seed", "reason"]].to_numpy().tolist() == [
        ["gail", 1, "not finite: loss"]
    ]


def test_stages_have_the_name_that_dvc_takes_in_the_projects_folder():
    assert stage(load(ROOT / "params.yaml"), "Hopper-v5", "gail") == "run@Hopper-v5-gail"
    paper = load(ROOT / "paper" / "params.yaml")
    assert stage(paper, "Hopper-v5", "gail") == "paper/dvc.yaml:run@Hopper-v5-gail"
    assert stage(paper, "Hopper-v5", "gail_trpo") == "paper/dvc.yaml:variant@gail_trpo"
    assert paper.results == ROOT / "results" / "paper"  # without "paper/.."


def test_the_cure_of_a_profile_in_a_folder_is_its_own_chain(tmp_path):
    """`dvc repro` alone, in the project's folder, computes the root's profile."""
    params = synthetic.design(tmp_path / "mine", root="..", folder="mine")
    results = synthetic.fill(params)
    gail, bc = results / "cells" / "Hopper-v5" / "gail", results / "cells" / "Hopper-v5" / "bc"
    drop(gail / "11_0-1-2" / "learners.csv", schema.LEARNERS, seed=1)
    synthetic.edit(gail / "4_0-1-2", made_from={})
    shutil.rmtree(bc / "4_0-1-2")
    (bc / "11_0-1-2" / "learners.csv").unlink()
    lines = missing(params)
    assert len(lines) == 4
    assert [line for line in lines if "`dvc repro mine/dvc.yaml`" not in line] == []


@pytest.mark.parametrize("program", ["gymnasium", "mujoco"])
def test_mixed_versions_of_a_task_are_refused(params, gail, program):
    synthetic.edit(gail / "11_0-1-2", versions={**synthetic.VERSIONS, program: "0.1"})
    (line,) = missing(params)
    assert "cell Hopper-v5/gail/11_0-1-2" in line
    assert f"{program} 0.1" in line
    assert f"`threefold run --again --params {params} --task Hopper-v5 --row gail`" in line


def test_versions_may_differ_between_tasks_and_programs_that_change_no_return(params, results, gail):
    for part in (results / "cells" / "Hopper-v5").glob("*/*"):
        synthetic.edit(part, versions={**synthetic.VERSIONS, "mujoco": "4.1"})
    synthetic.edit(gail / "4_0-1-2", versions={**synthetic.VERSIONS, "mujoco": "4.1", "torch": "2.11"})
    collect(load(params))


def test_learner_that_stands_twice_is_refused(params, results):
    folder = results / "cells" / "Hopper-v5"
    name = "4_0-1-2/evaluations.csv.gz"
    shutil.copy(folder / "gail" / name, folder / "bc" / name)
    synthetic.seal((folder / "bc" / name).parent)
    lines = missing(params)
    assert any("Hopper-v5, gail, 4 demonstrations, seed 0: stands twice in evaluations.csv" in line for line in lines)
    assert any("Hopper-v5, bc, 4 demonstrations, seed 0: 0 finite final episodes" in line for line in lines)


def test_expert_no_better_than_random_is_refused(params, results):
    path = results / "cells" / "Hopper-v5" / "reference" / "all" / "evaluations.csv.gz"
    frame = schema.read_csv(path, schema.EVALUATIONS)
    frame.loc[frame["row"] == "expert", "episode_return"] = 1.0
    schema.write_csv(frame, path, schema.EVALUATIONS)
    synthetic.seal(path.parent)
    assert "Hopper-v5: expert returns 1, random" in missing(params)[0]


def test_command_says_it_in_lines_without_traceback(params, results, capsys):
    shutil.rmtree(results / "cells" / "Hopper-v5" / "bc")
    path = results / "cells" / "Hopper-v5" / "gail" / "4_0-1-2" / "learners.csv"
    path.write_bytes(path.read_bytes()[:-3])
    assert threefold("collect", "--params", params) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert len(said.err.splitlines()) == 3
    assert "bc/4_0-1-2: not computed yet" in said.err
    assert f"{path}: missing, cut or altered; put it back with `git restore`" in said.err
