"""A Ray cluster of a few workers on this machine, and what may happen to it."""

import json
import os
import signal
import subprocess
import sys
import time
from importlib.util import find_spec

import pytest

from tests.test_run import PARAMS, ROOT, TASK, contents, project, train
from threefold.cells.grid import grid, status
from threefold.profile.design import load
from threefold.store.entries import Entry, location

# Imported by who uses it alone: every worker of the tests reads every file.
pytestmark = [pytest.mark.slow, pytest.mark.skipif(find_spec("ray") is None, reason="needs Ray")]


@pytest.fixture(scope="module")
def head():
    """A cluster without workers."""
    from ray.cluster_utils import Cluster

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_worker_niceness", "0")  # or on a busy machine nothing ever happens
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("RAY_prestart_worker_first_driver", "0")  # those have not the launcher's environment: nobody's
        cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
        yield cluster
        cluster.shutdown()


@pytest.fixture
def cluster(head):
    """The cluster with two workers: one may be lost while the other goes on."""
    for _ in range(2):
        head.add_node(wait=False, num_cpus=1)
    head.wait_for_nodes()
    yield head
    empty(head)


@pytest.fixture
def far_away(head, monkeypatch, tmp_path):
    """The cluster with one worker that has a store of its own, as on another machine."""
    monkeypatch.setenv("THREEFOLD_STORE", str(tmp_path / "far"))  # the worker's node inherits it
    head.add_node(num_cpus=1)
    monkeypatch.delenv("THREEFOLD_STORE")
    yield head
    empty(head)


def empty(cluster):
    """Take the workers away as an administrator does: one that is lost counts as there for half a minute."""
    for node in list(cluster.worker_nodes):
        cluster.remove_node(node, allow_graceful=True)


def start(params, cluster):
    command = [sys.executable, "-m", "threefold", "launch", "--root", str(params.parent), "--profile", "tiny"]
    command += ["--executor", "ray", "--address", cluster.address, "--cpus", "1"]
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    return subprocess.Popen(command, cwd=ROOT, env=os.environ | {"PYTHONPATH": path}, stderr=subprocess.PIPE, text=True)


def running(places):
    """The process that computes one of the parts, once there is one."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        for folder in (place.entry.folder for place in places):
            if (folder / "holder.json").exists() and status(folder) == "running":
                return json.loads((folder / "holder.json").read_text())["pid"]
        time.sleep(0.05)
    raise AssertionError("nothing is computed")


def parent(process):
    with open(f"/proc/{process}/stat") as file:
        return int(file.read().rpartition(")")[2].split()[1])


def test_a_worker_lost_a_client_killed_and_a_worker_added(tmp_path, cluster):
    parts = {
        "methods": ["gail"],
        "seeds": [0],
        "budget": {TASK: PARAMS["budget"][TASK] | {"demonstrations": [1, 2, 3]}},
    }
    here, there = (project(tmp_path / where, **parts) for where in ("here", "there"))
    (there.parent / "dvc.yaml").write_text("stages: {}\n")
    places = grid(load(there))

    first = start(there, cluster)
    lost = running(places)
    worker = parent(lost)
    os.kill(worker, signal.SIGKILL)
    os.kill(lost, signal.SIGKILL)
    first.kill()
    first.wait()

    second = start(there, cluster)
    cluster.add_node(num_cpus=1)
    _, said = second.communicate(timeout=300)
    assert second.returncode == 0, said
    assert said.splitlines()[-1].startswith("3 of 3 parts done, 0 running, 0 failed")
    assert train(here, "gail") == 0
    for place, other in zip(places, grid(load(here)), strict=True):
        assert place.entry.finished()
        lines = (place.entry.folder / "log").read_text().splitlines()
        assert len([line for line in lines if "nothing to compute" in line]) <= 1
        assert contents(place.entry.result) == contents(other.entry.result)


def test_results_return_from_a_worker_with_a_store_of_its_own(tmp_path, far_away):
    params = project(tmp_path / "here", methods=["bc"], seeds=[0])  # two parts
    (params.parent / "dvc.yaml").write_text("stages: {}\n")
    entries = [place.entry for place in grid(load(params))]
    launched = start(params, far_away)
    _, said = launched.communicate(timeout=300)
    assert launched.returncode == 0, said
    store = location(params.parent)
    for entry in entries:
        there = tmp_path / "far" / entry.folder.relative_to(store)
        assert entry.finished()
        assert Entry.files(entry.folder) == Entry.files(there)
        assert (there / "log").exists()
        assert not (entry.folder / "log").exists()
