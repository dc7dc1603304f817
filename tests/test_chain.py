"""The whole chain, from experts to report, killed at any moment: `dvc repro` in copies of the project.

The chain that is killed has DVC's processes and its stages' as a user has them; the one that it is held against, and
what completes the killed one, start by fork (see tests/fresh.py). THREEFOLD_KILLS says how often, as in
tests/test_faults.py.
"""

import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import pytest
import yaml

from tests import test_dvc
from tests.test_faults import KILLS
from tests.test_run import TASK
from threefold.cells.grid import status
from threefold.store.entries import entries, location

EXPERT = {"seeds": [0, 1], "env_steps": 4096, "parallel_episodes": 8, "required_return": 1}
EXPERT["ppo"] = {"steps": 64, "epochs": 4}
FEWER = {"methods": ["gail"], "variants": {}, "studies": {}}  # a stage of each kind that has checkpoints
DEMONSTRATIONS = {"trajectories": 2, "every": 5, "seed": 0, "whole": True}


@pytest.mark.slow
def test_the_chain_from_experts_to_report_killed_at_any_moment_ends_with_the_same_bytes(tmp_path, monkeypatch):
    """`dvc repro` is killed alone, so that its child goes on and meets the next one's, or with all its children."""
    monkeypatch.setenv("DVC_SITE_CACHE_DIR", str(tmp_path / "dvc"))
    folders = [tmp_path / "whole", tmp_path / "killed"]
    folders[0].mkdir()
    test_dvc.copy(folders[0])
    (folders[0] / "dvc.lock").unlink(missing_ok=True)
    (folders[0] / "params.yaml").write_text(yaml.safe_dump(test_dvc.PARAMS | FEWER))
    data = folders[0] / "data" / "params.yaml"
    design = yaml.safe_load(data.read_text())
    design["experts"][TASK], design["demonstrations"][TASK] = EXPERT, DEMONSTRATIONS
    data.write_text(yaml.safe_dump(design))
    shutil.copytree(*folders)
    with test_dvc.quick():
        stages = set(test_dvc.repro(folders[0]))
    rng, kills = random.Random(0), max(2, KILLS // 2)
    for number in range(kills):
        place = 0.1 + 0.7 * (number + rng.random()) / kills  # early ones and late ones
        kill(folders[1], place * len(stages), stages, everything=bool(number % 2))
    with test_dvc.quick():
        test_dvc.repro(folders[1])
        assert test_dvc.repro(folders[1]) == ["plan"]
    whole, killed = (outputs(folder) for folder in folders)
    assert len(whole) > 20
    assert json.loads(whole[f"data/experts/{TASK}/card.json"])["design"].items() >= EXPERT.items()
    assert killed == whole
    for entry in entries(location(folders[1])):
        assert status(entry) == "done"
    left = [path for room in ("results", "reports", "data") for path in (folders[1] / room).rglob(".*")]
    assert not [path for path in left if path.name not in (".gitkeep", ".gitignore")]


def kill(folder, place, stages, everything):
    """Kill a `dvc repro` at a place among the stages, 2.5 being halfway through the third; or it and its children."""
    with tempfile.NamedTemporaryFile() as file, open(file.name) as said:
        process = subprocess.Popen(
            [sys.executable, "-u", "-m", "dvc", "repro"],
            cwd=folder,
            env=test_dvc.environment(),
            stdout=file,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        start, text = time.monotonic(), ""
        while len(stages.intersection(re.findall(r"^(?:Running stage|Stage) '(.+?)'", text, re.MULTILINE))) <= place:
            assert process.poll() is None
            time.sleep(0.05)
            text += said.read()
    time.sleep(place % 1 * (time.monotonic() - start) / text.count("Running stage"))  # as long as a stage takes
    (os.killpg if everything else os.kill)(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL


def outputs(folder):
    """All that the chain makes but for provenance, and what DVC records of it."""
    kinds = ("data/experts", "data/demonstrations", "results/quick", "reports/quick")
    paths = [path for kind in kinds for path in (folder / kind).rglob("*")]
    locks = {name: yaml.safe_load((folder / name).read_text()) for name in ("dvc.lock", "data/dvc.lock")}
    return locks | {  # in which the stages stand in the order they ran
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in paths
        if path.is_file() and "provenance" not in path.as_posix()
    }
