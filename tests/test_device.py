"""Where a cell trains: the choice, what is said of it, and whether it fits."""

import dataclasses
import json

import pytest
import torch

import algorithms
import envs
from algorithms.core.policy import GaussianPolicy
from algorithms.core.population import Generators
from envs import device
from tests import synthetic
from tests.test_run import PARAMS, TASK, cell, evaluations, project, train
from threefold.base.errors import InputError
from threefold.base.workers import Team
from threefold.cells import memory, run
from threefold.cells.cell import Cell
from threefold.profile import rollout
from threefold.profile.design import load
from threefold.tables import schema

ONE_PART = {"budget": {TASK: PARAMS["budget"][TASK] | {"demonstrations": [1]}}}
HERE = "cuda" if torch.cuda.is_available() else "cpu"
needs_cuda = pytest.mark.skipif(HERE == "cpu", reason="needs a CUDA device")


def test_the_choice(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert [device.choose(wanted) for wanted in ("auto", "cpu", "cuda")] == ["cuda", "cpu", "cuda"]
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert [device.choose(wanted) for wanted in ("auto", "cpu")] == ["cpu", "cpu"]
    with pytest.raises(InputError, match="device: cuda: torch finds no CUDA device; write auto or cpu"):
        device.choose("cuda")


@pytest.mark.parametrize(
    ("where", "groups"),
    [("cpu", [["1_0-1"], ["1_3"], ["2_0-1"], ["2_3"]]), ("cuda", [["1_0-1", "1_3", "2_0-1", "2_3"]])],
)
def test_on_a_gpu_all_parts_of_a_cell_train_together(tmp_path, monkeypatch, where, groups):
    found = []

    class Recorded(Team):
        def __init__(self, do, work, workers, apart=False):
            found.extend(work)
            super().__init__(lambda job, watch: [], work, workers)

    monkeypatch.setattr(run, "Team", Recorded)
    monkeypatch.setattr(device, "choose", lambda wanted: where)
    monkeypatch.setattr(device, "describe", lambda chosen: chosen)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (10**12, 10**12))
    monkeypatch.setattr(memory, "refuse_too_many", lambda *sizes: None)
    monkeypatch.setattr(Cell, "demonstrations", lambda cell, learners, on: (learners, on))
    design = load(project(tmp_path, seeds=[0, 1, 3]))
    wanted = Cell(design, TASK, "gail")
    run.compute(wanted, wanted.parts)
    assert [[part.name for part in work.parts] for work in found] == groups
    for work in found:
        assert work.demonstrations == ([learner for part in work.parts for learner in part.learners], where)
        assert (work.device, work.shown) == (where, design.learners(TASK, "gail"))


def test_versions_name_what_the_steps_rest_on():
    assert set(device.versions("native")) == {"python", "torch", "mujoco", "gymnasium"}
    assert set(device.versions("warp")) == {"python", "torch", "mujoco", "gymnasium", "mujoco-warp", "warp-lang"}


def check(params, capsys, where, engine):
    """One cell: what its first line, its card and its sidecar say."""
    assert train(params, "gail") == 0
    first = capsys.readouterr().err.splitlines()[0]
    assert first.startswith("gail InvertedPendulum-v5 on ")
    assert f" (engine {engine}): " in first
    for part in load(params).parts(TASK, "gail"):
        card = schema.read_part(cell(params, "gail") / part.name / schema.PART)
        assert (card["engine"], card["device"]) == (engine, where)
        assert ("mujoco-warp" in card["versions"]) == (engine == "warp")
        sidecar = json.loads((load(params).results / "provenance" / TASK / "gail" / f"{part.name}.json").read_text())
        assert (sidecar["device"], sidecar["gpu"] is not None) == (where, where == "cuda")
    assert set(evaluations(params, "gail")["env_steps"]) == {128, 256, 384}


def test_a_cell_on_the_cpu(tmp_path, capsys):
    check(project(tmp_path), capsys, "cpu", "native")


def test_a_cell_on_warp(tmp_path, capsys, monkeypatch):
    """On its CPU back end, a part in this process as on a GPU: 32 bits throughout, evaluated by `native`."""
    monkeypatch.setitem(device.ENGINES, "cpu", "warp")
    engines, make = list[str](), envs.make

    def watched(*given, **more):
        env = make(*given, **more)
        engines.append(type(env._physics).__name__)
        return env

    monkeypatch.setattr(envs, "make", watched)
    check(project(tmp_path, **ONE_PART), capsys, "cpu", "warp")
    assert engines.count("Warp") == 1
    assert set(engines) == {"Warp", "Native"}


@pytest.mark.parametrize("name", [name for name in algorithms.names() if name != "bc"])
@pytest.mark.parametrize("steps", [256, 1024, 30])  # the last is not divisible by four
def test_a_rollout_on_a_gpu_has_more_worlds_and_as_many_transitions(name, steps, tmp_path):
    design, config = load(project(tmp_path)), algorithms.load(name).Config()
    config = dataclasses.replace(config, ppo=dataclasses.replace(config.ppo, steps=steps))
    shaped, there = rollout.on_device(design, TASK, config, "cuda")
    worlds, more = (d.budget[TASK].parallel_episodes for d in (design, shaped))
    assert more / worlds == (2 if steps == 30 else 4)
    assert more * there.ppo.steps == worlds * config.ppo.steps
    assert there.ppo.minibatches == config.ppo.minibatches
    kept = [(c.loop.recent * c.ppo.steps, c.loop.recent) for c in (config, there)]
    assert kept[0][not config.loop.trajectories] == kept[1][not config.loop.trajectories]
    assert rollout.on_device(design, TASK, config, "cpu") == (design, config)


def test_a_method_without_rollouts_has_no_shape(tmp_path):
    design, config = load(project(tmp_path)), algorithms.load("bc").Config()
    assert rollout.on_device(design, TASK, config, "cuda") == (design, config)


def test_the_shape_of_the_rollout_is_recorded_and_makes_no_other_part(tmp_path, capsys, monkeypatch):
    """What a part is made from names params.yaml's numbers: a result from any device will do."""
    params = project(tmp_path)
    before = [Cell(load(params), TASK, "gail").made_from(part) for part in load(params).parts(TASK, "gail")]
    monkeypatch.setitem(rollout.WORLDS, "cpu", 4)
    assert train(params, "gail") == 0
    for path in sorted(cell(params, "gail").glob("*/part.json")):
        assert schema.read_part(path)["rollout"] == {"parallel_episodes": 8, "steps": 8}  # 2 and 32 in params.yaml
    assert set(evaluations(params, "gail")["env_steps"]) == {128, 256, 384}
    assert [Cell(load(params), TASK, "gail").made_from(part) for part in load(params).parts(TASK, "gail")] == before
    assert train(params, "gail") == 0
    assert capsys.readouterr().err.splitlines()[-1].endswith("nothing to compute")


@needs_cuda
def test_a_cell_on_a_gpu(tmp_path, capsys):
    check(project(tmp_path, device="auto"), capsys, "cuda", "warp")


@needs_cuda
@pytest.mark.parametrize("name", algorithms.names())
def test_every_method_trains_on_a_gpu(name, tmp_path):
    """And its learners are alive afterwards."""
    params = project(tmp_path, device="cuda", methods=[name])
    assert train(params, name) == 0
    tables = sorted(cell(params, name).glob(f"*/{schema.FILES['learners']}"))
    learners = schema.read_csvs(tables, schema.LEARNERS)
    assert len(learners) == len(load(params).learners(TASK, "gail"))
    assert set(learners["status"]) == {"ok"}


def test_a_policy_elsewhere_comes_to_the_cpu():
    policy = GaussianPolicy(3, torch.ones(2), [4], Generators([0, 1], "weights"))
    policy.normalizer.update(torch.randn(2, 50, 3))
    assert policy.on_cpu() is policy
    obs = torch.randn(2, 5, 3)
    elsewhere = GaussianPolicy.from_tensors({k: v.to(HERE) for k, v in policy.state_dict().items()})
    assert torch.equal(elsewhere.on_cpu()(obs), policy(obs))


def test_what_does_not_fit_is_one_line_with_the_number_that_does(tmp_path):
    def refuse(episodes):
        budget = synthetic.BUDGET | {"Hopper-v5": synthetic.BUDGET["Hopper-v5"] | {"parallel_episodes": episodes}}
        design = load(synthetic.design(tmp_path, budget=budget))
        memory.refuse_too_many(design, "Hopper-v5", 40, config, free=80 * 10**9)

    config = algorithms.load("gail").Config()
    each = memory.learning_bytes(config, 11, 3)
    with pytest.raises(InputError) as error:
        refuse(4096)
    found = str(error.value)
    key = f"{tmp_path / 'params.yaml'}: budget.Hopper-v5.parallel_episodes"
    assert found.startswith(f"{key}: 4096 episodes of 40 learners need about ")
    assert "\n" not in found
    fits = int(found.split()[-2])
    assert 0 < fits * 40 * each < 80 * 10**9
    refuse(fits)
    with pytest.raises(InputError):
        refuse(fits + 1)


@pytest.mark.parametrize(("changes", "learners"), [(ONE_PART, 2), ({}, 4)])
def test_memory_that_is_full_all_the_same_is_one_line(tmp_path, capsys, monkeypatch, changes, learners):
    def full(*_):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(run, "train", full)
    params = project(tmp_path, **changes)
    assert train(params, "gail") == 2
    said = f"error: {params}: budget.InvertedPendulum-v5.parallel_episodes: 2 episodes of "
    said += f"{learners} learners fill the GPU's memory; "
    assert capsys.readouterr().err.startswith(said)


def test_learning_takes_what_a_method_keeps():
    sizes = {name: memory.learning_bytes(algorithms.load(name).Config(), 11, 3) for name in ("bc", "gail", "gcl")}
    assert sizes["bc"] == 0 < sizes["gail"] < sizes["gcl"]  # which keeps eight rollouts


def test_the_device_of_a_design_reaches_the_run(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    params = project(tmp_path, device="cuda")
    assert train(params, "gail") == 2
    assert capsys.readouterr().err.startswith("error: device: cuda: torch finds no CUDA device; write auto or cpu, or")
