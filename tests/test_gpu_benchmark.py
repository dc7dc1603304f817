"""benchmarks/gpu.py in tiny sizes on Warp's CPU back end: everything once, and nothing twice."""

import json
import sys

import pandas as pd
import pytest
import yaml

from benchmarks import gpu
from envs import device
from tests.test_run import TASK, project
from threefold.profile.design import load

EXPERT = {"seeds": [0], "env_steps": 8192, "episodes": 8, "required_return": 1, "ppo": {"steps": 128}}
DEMONSTRATIONS = {"trajectories": 2, "every": 5, "seed": 0, "whole": True}


@pytest.fixture
def arguments(tmp_path, monkeypatch):
    """A project with a profile of one cell and an expert that is missing."""
    params = project(tmp_path / "project", methods=["bc"], root=str(tmp_path / "project"))
    data = tmp_path / "data" / "params.yaml"
    data.parent.mkdir()
    content = {"tasks": [TASK], "experts": {TASK: EXPERT}, "demonstrations": {TASK: DEMONSTRATIONS}}
    data.write_text(yaml.safe_dump(content))
    monkeypatch.setenv("THREEFOLD_STORE", str(tmp_path / "store"))
    given = ["--tiny", "--params", str(params), "--data", str(data), "--out", str(tmp_path / "out")]
    monkeypatch.setattr(sys, "argv", ["gpu", *given])
    return tmp_path, params


@pytest.mark.slow
def test_everything_once_and_nothing_twice(arguments, monkeypatch):
    folder, params = arguments
    gpu.main()
    pieces = {path.relative_to(folder / "out").as_posix() for path in (folder / "out").rglob("*.json")}
    assert pieces == {
        "machine/machine.json",
        "tests/tests.json",
        "throughput/Hopper-v5-1.json",
        "throughput/Hopper-v5-2.json",
        "profile/Hopper-v5.json",
        f"experts/{TASK}.json",
        f"cells/{TASK}-bc.json",
    }
    assert json.loads((folder / "out" / "tests" / "tests.json").read_text())["passed"] > 5
    table = pd.read_csv(folder / "out" / "throughput.csv")
    assert table["learners"].tolist() == [1, 2]
    assert set(table["device"]) == {"CPU (engine warp)"}
    assert (table["physics_alone_steps_per_s"] > table["steps_per_s"]).all()
    (row,) = pd.read_csv(folder / "out" / "profile.csv").to_dict("records")
    assert min(row["physics_s"], row["policy_s"], row["learning_s"]) > 0
    assert 0 <= row["idle_share"] < 1
    assert (folder / "data" / "demonstrations" / TASK / "card.json").exists()
    assert (load(params).cell(TASK, "bc") / load(params).parts(TASK, "gail")[0].name / "part.json").exists()
    assert json.loads((folder / "out" / "cells" / f"{TASK}-bc.json").read_text())["returncode"] == 0

    def refuse(*_, **__):
        raise AssertionError("done twice")

    for name in ("machine", "tests", "throughput", "profile", "cell"):
        monkeypatch.setattr(gpu, name, refuse)
    card = folder / "data" / "experts" / TASK / "card.json"
    card.write_text(json.dumps(json.loads(card.read_text()) | {"reached": True}))
    gpu.main()


def test_a_piece_that_failed_is_done_again_and_one_of_a_killed_run_is_kept(tmp_path):
    pieces, codes = gpu.Pieces(tmp_path), iter([3, 0, 7])
    for _ in range(3):
        pieces.do("cells", "one", lambda: {"returncode": next(codes)})
    assert json.loads((tmp_path / "cells" / "one.json").read_text())["returncode"] == 0
    assert next(codes) == 7


def test_a_command_ends_at_its_time():
    result = gpu.command("timeit", "-n", "1", "-r", "1", "import time; time.sleep(60)", timeout=1.0)
    assert result["returncode"] != 0


def test_without_a_gpu_it_says_so(monkeypatch, capsys):
    monkeypatch.setattr(device.torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(sys, "argv", ["gpu"])
    with pytest.raises(ValueError, match="torch finds no CUDA device"):
        gpu.main()
