"""The chain itself, on a tiny profile in a copy of the project: real `dvc repro`, from demonstrations to report.

DVC's processes and its stages' start by fork; tests/test_chain.py has them as they are.
"""

import os
import re
import shutil
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml

from tests import fresh

ROOT = Path(__file__).parents[1]
PYTHON = Path(sys.executable).parent  # of `python` in dvc.yaml
TASK = "InvertedPendulum-v5"
PARAMS = {
    "root": ".",
    "folder": ".",
    "profile": "quick",
    "device": "cpu",
    "tasks": [TASK],
    "methods": ["bc", "gail"],
    "seeds": [0],
    "keep_going": False,
    "evaluation": {"episodes": 2, "points": 1, "episodes_during_training": 1},
    "budget": {TASK: {"env_steps": 64, "parallel_episodes": 2, "demonstrations": [1]}},
    "variants": {"gail_idle_expert": {"method": "gail", "tasks": [TASK], "expert": "idle"}},
    "overrides": {TASK: {"batch": 16, "steps": 3, "ppo.steps": 32, "ppo.epochs": 1, "ppo.minibatches": 1}},
    "studies": {"connection": {"energies": 1, "points": [8], "repeats": 10}},
}
CELLS = [f"reference@{TASK}", f"run@{TASK}-bc", f"run@{TASK}-gail", "variant@gail_idle_expert"]
STAGES = sorted([*CELLS, "study@connection", "collect", "report"])
PLANNED = sorted(["plan", *STAGES])


def environment():
    return os.environ | {
        "PATH": f"{PYTHON}{os.pathsep}{os.environ['PATH']}",
        "MPLBACKEND": "Agg",
    }


def shell(folder, *command):
    done = subprocess.run(command, cwd=folder, env=environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def repro(folder, *options):
    """Run `dvc repro`; the stages that it runs, or with --dry would run."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment().items():
            patch.setenv(name, value)
        exit_code, said, wrong = fresh.dvc(folder, "repro", *options)
    assert exit_code == 0, said + wrong
    return sorted(re.findall(r"^Running stage '(.+)'", said, re.MULTILINE))


def plan(folder, profile="."):
    """Write the plan, without which `dvc repro --dry` cannot tell what a new cell depends on."""
    exit_code, _, said = fresh.threefold(folder, "plan", "--params", f"{profile}/params.yaml")
    assert exit_code == 0, said


def copy(folder):
    """Copy the working tree, less what git ignores, and commit it there."""
    listed = shell(ROOT, "git", "ls-files", "--cached", "--others", "--exclude-standard", "-z")
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    shell(folder, "git", "init", "--quiet")
    shell(folder, "git", "config", "core.compression", "0")  # demonstrations are large, and do not compress
    commit(folder)


def commit(folder):
    shell(folder, "git", "add", "--all")
    shell(
        folder,
        "git",
        "-c",
        "user.name=t",
        "-c",
        "user.email=t@localhost",
        "commit",
        "--quiet",
        "--allow-empty",
        "-m",
        "a commit",
    )


@contextmanager
def quick():
    """Let stages start by fork: they need not import torch anew."""
    with fresh.python() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys.modules[__name__], "PYTHON", folder)
        yield


@pytest.fixture(scope="module", autouse=True)
def _quick():
    with quick():
        yield


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """The project with a tiny profile of which nothing has run."""
    folder = tmp_path_factory.mktemp("project")
    copy(folder)
    (folder / "dvc.lock").unlink(missing_ok=True)
    (folder / "params.yaml").write_text(yaml.safe_dump(PARAMS))
    plan(folder)
    commit(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DVC_SITE_CACHE_DIR", str(tmp_path_factory.mktemp("dvc")))
        yield folder


@pytest.fixture(scope="module")
def finished(project):
    """The project with a tiny profile of which everything has run."""
    assert repro(project) == PLANNED
    return project


def test_experts_and_demonstrations_come_with_the_clone(project):
    """If this fails, data/dvc.lock is not that of the files beside it: `dvc repro` would train the experts again."""
    assert repro(project, "--dry") == PLANNED


def test_the_full_grid_is_ready_to_run(project):
    params = yaml.safe_load((project / "paper" / "params.yaml").read_text())
    names = ["reference@{}", *(f"run@{{}}-{row}" for row in params["methods"])]
    cells = [name.format(task) for task in params["tasks"] for name in names]
    cells += [f"variant@{name}" for name in params["variants"]]
    studies = [f"study@{name}" for name in params["studies"]]
    plan(project, "paper")
    commit(project)
    assert repro(project / "paper", "--dry") == sorted(["plan", *cells, *studies, "collect", "report"])


def test_a_profile_may_have_no_studies(project):
    plan(project, "hopper")
    commit(project)
    stages = repro(project / "hopper", "--dry")
    assert "report" in stages
    assert not [stage for stage in stages if stage.startswith("study")]


@pytest.mark.slow
def test_a_profile_of_ones_own_without_variants_and_studies_ends_in_a_report(tmp_path, monkeypatch):
    """A folder with the two files, as the README has it: no other folder is made by hand."""
    monkeypatch.setenv("DVC_SITE_CACHE_DIR", str(tmp_path / "dvc"))
    (tmp_path / "project").mkdir()
    copy(tmp_path / "project")
    folder = tmp_path / "project" / "mine"
    folder.mkdir()
    shutil.copy(ROOT / "dvc.yaml", folder)
    own = {"root": "..", "folder": "mine", "profile": "mine", "methods": ["bc"], "variants": {}, "studies": {}}
    (folder / "params.yaml").write_text(yaml.safe_dump(PARAMS | own))
    plan(tmp_path / "project", "mine")
    assert repro(folder) == sorted(["plan", f"reference@{TASK}", f"run@{TASK}-bc", "collect", "report"])
    assert TASK in (tmp_path / "project" / "reports" / "mine" / "report.html").read_text()
    assert repro(folder) == ["plan"]


def test_the_profiles_share_one_chain():
    chain = (ROOT / "dvc.yaml").read_bytes()
    profiles = [path.parent for path in ROOT.glob("*/params.yaml") if path.parent.name != "data"]
    assert ROOT / "paper" in profiles
    assert all((folder / "dvc.yaml").read_bytes() == chain for folder in profiles)


@pytest.mark.slow
def test_the_chain_ends_in_a_report_and_git_sees_the_lock_alone(finished):
    assert TASK in (finished / "reports" / "quick" / "report.html").read_text()
    assert list((finished / "reports" / "quick" / "figures").glob("*.pdf"))
    assert shell(finished, "git", "status", "--porcelain") == "?? dvc.lock\n"


@pytest.mark.slow
def test_a_second_time_nothing_is_computed(finished):
    assert repro(finished) == ["plan"]  # which says so
    assert shell(finished, "git", "status", "--porcelain") == "?? dvc.lock\n"


@pytest.mark.slow
def test_a_study_runs_again_for_its_own_size_and_code(finished):
    sizes = {"connection": {"energies": 2, "points": [8], "repeats": 10}}
    (finished / "params.yaml").write_text(yaml.safe_dump(PARAMS | {"studies": sizes}))
    assert "study@connection" in edited(finished)
    (finished / "params.yaml").write_text(yaml.safe_dump(PARAMS))
    modules = [finished / "studies" / name for name in ("connection/study.py", "core/discriminator.py")]
    texts = [code.read_text() for code in modules]
    for code, text in zip(modules, texts, strict=True):
        code.write_text(text + "\nADDED = 1\n")
        assert [stage for stage in edited(finished) if "@" in stage] == ["study@connection"]
        code.write_text(text + "\n# a comment\n")
    assert [stage for stage in edited(finished) if "@" in stage] == []
    for code, text in zip(modules, texts, strict=True):
        code.write_text(text)
    plan(finished)


def edited(folder):
    """The stages that an edit makes stale, once it is planned."""
    plan(folder)
    return repro(folder, "--dry")


@pytest.mark.slow
def test_an_edited_method_and_a_new_one_run_their_own_cells_only(finished):
    """The new one is the tutorial's, so that what it teaches is known to work."""
    method = finished / "algorithms" / "gail.py"
    text = method.read_text()
    changed = text.replace("gradient_penalty: NonNegativeFloat = 1.0", "gradient_penalty: NonNegativeFloat = 2.0")
    assert changed != text
    gail = [f"run@{TASK}-gail", "variant@gail_idle_expert"]
    method.write_text(changed)
    assert [stage for stage in edited(finished) if "@" in stage] == gail

    method.write_text(text)
    page = (finished / "docs" / "own" / "method.md").read_text()
    (example,) = re.findall(r"^:caption: algorithms/example.py\n\n(.+?)^```$", page, re.MULTILINE | re.DOTALL)
    (finished / "algorithms" / "example.py").write_text(example)
    (finished / "params.yaml").write_text(yaml.safe_dump(PARAMS | {"methods": ["bc", "gail", "example"]}))
    stale = edited(finished)
    assert [stage for stage in stale if "@" in stage] == [f"run@{TASK}-example"]
    assert "report" in stale

    method.write_text(changed)
    assert repro(finished, "collect") == sorted(["plan", "collect", f"run@{TASK}-example", *gail])
    learners = (finished / "results" / "quick" / "learners.csv").read_text()
    assert f"{TASK},example,1,0,ok," in learners
    assert f"{TASK},gail_idle_expert,1,0,ok," in learners


@pytest.mark.slow
def test_a_new_task_a_comment_and_a_report_make_no_cell_stale(finished):
    (finished / "envs" / "another.py").write_text((finished / "envs" / "hopper.py").read_text().replace("Hopper", "My"))
    for name in (
        "algorithms/core/ppo.py",
        "envs/batch.py",
        "threefold/cells/training.py",
        "threefold/report/tables.py",
    ):
        path = finished / name
        path.write_text(path.read_text() + "\n# a comment\n")
    assert [stage for stage in edited(finished) if "@" in stage] == []
