"""An installed copy: what it takes and brings, its command, and a training from another project."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors.torch import load_file

from algorithms.core.policy import GaussianPolicy

ROOT = Path(__file__).parents[1]
NAMES = {"algorithms", "envs", "studies", "threefold"}
PIP = ["-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--no-compile"]
# A project of a user with modules of these names.
THEIRS = ("errors", "data", "files")
# The example with too few and too many arguments, in one process: to import torch takes longer than to refuse them.
WRONG = """
import runpy, sys
for arguments in [], ["data"], ["data", "1", "2"]:
    sys.argv[1:] = arguments
    try:
        runpy.run_path("train_gail.py", run_name="__main__")
    except SystemExit as stopped:
        print(stopped)
"""


def run(*command, cwd, **environment):
    environment = {**{k: v for k, v in os.environ.items() if k != "PYTHONPATH"}, **environment}
    done = subprocess.run([*map(str, command)], cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """A copy, for building leaves files behind; with a task that brings its own MJCF."""
    folder = tmp_path_factory.mktemp("source")
    for name in (*NAMES, "tests"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder)
    (folder / "envs" / "assets").mkdir(exist_ok=True)
    (folder / "envs" / "assets" / "mine.xml").write_text("<mujoco/>")
    return folder


@pytest.fixture(scope="module")
def installed(source, tmp_path_factory):
    target = tmp_path_factory.mktemp("installed")
    run(sys.executable, *PIP, source, "--target", target, cwd=target)
    return target


@pytest.fixture
def project(tmp_path):
    for name in THEIRS:
        (tmp_path / f"{name}.py").write_text('raise RuntimeError("a module of another project")\n')
    return tmp_path


def files(folder):
    return {path.relative_to(folder).as_posix() for name in NAMES for path in (folder / name).rglob("*.*")}


def test_an_installation_takes_four_names_and_brings_every_file(source, installed):
    assert {path.name for path in installed.iterdir() if path.suffix != ".dist-info"} == NAMES | {"bin"}
    assert files(installed) == files(source)
    assert {"envs/assets/mine.xml", "threefold/report/report.html.j2"} <= files(installed)


def test_an_editable_installation_takes_the_same_four_names(source, tmp_path):
    run(sys.executable, *PIP, "--editable", source, "--target", tmp_path / "site", cwd=tmp_path)
    places = "; ".join(f"import {name}; print({name}.__file__)" for name in sorted(NAMES))
    code = f"import site, sys; site.addsitedir('{tmp_path / 'site'}'); {places}; import tests"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.stdout.split() == [str(source / name / "__init__.py") for name in sorted(NAMES)]
    assert "No module named 'tests'" in done.stderr


def test_the_command_and_its_completion(installed, tmp_path):
    command, environment = installed / "bin" / "threefold", {"PYTHONPATH": str(installed)}
    assert "compare" in run(command, "--help", cwd=tmp_path, **environment)
    # The shell is named here, and found by looking at the processes otherwise.
    shell = {"_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}
    script = run(command, "--show-completion", "bash", cwd=tmp_path, **shell, **environment)
    assert "complete -o default -F _threefold_completion threefold" in script
    asked = {"_THREEFOLD_COMPLETE": "complete_bash", "COMP_WORDS": "threefold com", "COMP_CWORD": "1"}
    assert run(command, cwd=tmp_path, **asked, **environment).split() == ["compare"]


def test_the_example_trains_from_another_project(installed, project):
    example = ROOT / "examples" / "train_gail.py"
    assert len(example.read_text().splitlines()) <= 30
    shutil.copy(example, project)
    usage = run(sys.executable, "-c", WRONG, cwd=project, PYTHONPATH=str(installed))
    assert usage.splitlines() == 3 * ["usage: train_gail.py data/demonstrations STEPS"]
    said = run(
        sys.executable, "train_gail.py", ROOT / "data" / "demonstrations", 2000, cwd=project, PYTHONPATH=str(installed)
    )
    lines = said.splitlines()
    assert [line.partition(":")[0] for line in lines] == ["1024 steps", "2048 steps", "mean return of each learner"]
    returns = [float(number) for number in re.findall(r"-?\d+\.\d+", lines[-1])]
    assert len(returns) == 3
    assert all(3 <= value <= 1000 for value in returns)  # steps upright
    assert GaussianPolicy.from_tensors(load_file(project / "policy.safetensors")).log_std.shape == (3, 1, 1)
