"""The chain itself, on a tiny profile in a copy of the project: real `dvc repro`, from the demonstrations to the report."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
TASK = "InvertedPendulum-v5"
PARAMS = {
    "root": ".",
    "folder": ".",
    "profile": "tiny",
    "tasks": [TASK],
    "algorithms": ["bc", "gail"],
    "seeds": [0],
    "evaluation": {"episodes": 2, "points": 1, "episodes_during_training": 1},
    "budget": {TASK: {"env_steps": 64, "episodes": 2, "demonstrations": [1]}},
    "overrides": {TASK: {"batch": 16, "steps": 3, "ppo.steps": 32, "ppo.epochs": 1, "ppo.minibatches": 1}},
}


def shell(folder, *command):
    environment = os.environ | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",  # of `python` in dvc.yaml
        "DVC_SITE_CACHE_DIR": str(folder / ".dvc" / "site"),
        "DVC_GLOBAL_CONFIG_DIR": str(folder / ".dvc" / "global"),
        "MPLBACKEND": "Agg",
    }
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def repro(folder, *options):
    """Run `dvc repro`; the stages that it runs, or with --dry would run."""
    said = shell(folder, sys.executable, "-m", "dvc", "repro", *options)
    return sorted(re.findall(r"^Running stage '(.+)'", said, re.MULTILINE))


def copy(folder):
    """Copy the working tree, less what git ignores, and commit it there."""
    listed = shell(ROOT, "git", "ls-files", "--cached", "--others", "--exclude-standard", "-z")
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    shell(folder, "git", "init", "--quiet")
    commit(folder)


def commit(folder):
    shell(folder, "git", "add", "--all")
    shell(folder, "git", "-c", "user.name=t", "-c", "user.email=t@localhost", "commit", "--quiet", "-m", "a commit")


def change(folder, **changes):
    params = folder / "params.yaml"
    params.write_text(yaml.safe_dump(yaml.safe_load(params.read_text()) | changes))


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """The project with a tiny profile of which everything has run."""
    folder = tmp_path_factory.mktemp("project")
    copy(folder)
    (folder / "dvc.lock").unlink(missing_ok=True)
    (folder / "params.yaml").write_text(yaml.safe_dump(PARAMS))
    commit(folder)
    stages = [f"reference@{TASK}", f"run@{TASK}-bc", f"run@{TASK}-gail", "collect", "report"]
    assert repro(folder) == sorted(stages)
    return folder
