"""`threefold videos`: which learners are shown, that their own actions move them, and what is said where it fails."""

import shutil
from typing import Any

import pytest
import safetensors.torch
import torch
from PIL import Image

from algorithms.core.policy import GaussianPolicy
from algorithms.core.population import Generators
from tests import synthetic
from tests.command import threefold
from threefold.cells import videos
from threefold.profile.design import load
from threefold.tables import schema, statistics
from threefold.tables.collect import collect

TASK = "Hopper-v5"


@pytest.fixture(scope="module")
def params(tmp_path_factory):
    """A profile with made-up results, and policies of its learners that have never been trained."""
    path = synthetic.design(tmp_path_factory.mktemp("project"), methods=["bc", "gail"])
    synthetic.fill(path)
    design = load(path)
    collect(design)
    shutil.copytree(f"data/experts/{TASK}", design.root / "data" / "experts" / TASK)
    for row in design.methods:
        for part in design.parts(TASK, row):
            policy = GaussianPolicy(11, torch.ones(3), (8,), Generators(part.seeds, row))
            tensors = {f"policy.{name}": tensor for name, tensor in policy.state_dict().items()}
            folder = design.cell(TASK, row) / part.name
            safetensors.torch.save_file(tensors, folder / "policies.safetensors")
    return path


def test_the_best_and_the_worst_learner_are_shown(params):
    design = load(params)
    rows = schema.read_csv(design.results / "evaluations.csv", schema.EVALUATIONS)
    means = statistics.learner_means(rows[(rows["task"] == TASK) & rows["row"].isin(["bc", "gail"])])
    last = means[means["env_steps"] == means.groupby("row")["env_steps"].transform("max")]
    ordered = last.sort_values("episode_return")[["row", "demonstrations", "seed"]]
    ends = videos._ends(design, TASK)
    assert ends == {"best": tuple(ordered.iloc[-1]), "worst": tuple(ordered.iloc[0])}


def test_a_learners_own_policy_is_loaded(params):
    design = load(params)
    part = design.parts(TASK, "gail")[1]
    own = GaussianPolicy(11, torch.ones(3), (8,), Generators(part.seeds, "gail")).select(1)
    found = videos._policy(design, TASK, "gail", part.demonstrations, part.seeds[1])
    obs = torch.randn(1, 5, 11)
    assert torch.equal(found(obs), own(obs))


def test_videos_are_drawn(params, monkeypatch):
    monkeypatch.setattr(videos, "SECONDS", 0.2)
    monkeypatch.setenv("MUJOCO_GL", "egl")
    try:
        folder = videos.videos(load(params), TASK)
    except videos.InputError as error:
        pytest.skip(str(error))
    names = sorted(path.name for path in folder.iterdir())
    assert [name.split("-")[0] for name in names] == ["best", "expert.webp", "worst"]
    for name in names:
        film: Any = Image.open(folder / name)
        assert film.size == videos.SIZE
        assert film.n_frames >= 2


def test_a_policy_moves_what_is_seen_in_real_time(monkeypatch):
    """Frames are 1/20 s of the task's time apart: of Hopper's steps of 8 ms, the 0th, 7th, 13th, 19th and 25th."""
    seen = []

    class Env:
        metadata = {"render_fps": 125}
        action_space = type("Box", (), {"low": -1.0, "high": 1.0})
        steps = 0

        def reset(self, seed):
            return [0.0] * 11, {}

        def render(self):
            seen.append(self.steps)
            return torch.zeros(3, 4, 3, dtype=torch.uint8).numpy()

        def step(self, action):
            assert action.tolist() == [1.0, -1.0, 0.5]  # clipped as Gymnasium's env wants it
            self.steps += 1
            return [0.0] * 11, 0.0, False, False, {}

        def close(self):
            pass

    monkeypatch.setattr(videos, "SECONDS", 0.24)
    monkeypatch.setattr(videos.gymnasium, "make", lambda *args, **options: Env())
    frames = list(videos._frames(TASK, lambda obs: torch.tensor([3.0, -3.0, 0.5]).expand(1, 1, 3)))
    assert seen == [0, 7, 13, 19, 25, 30]
    assert len(frames) == 6


def test_a_fault_of_a_policy_is_not_taken_for_one_of_drawing(monkeypatch):
    class Env:
        metadata = {"render_fps": 125}

        def reset(self, seed):
            return [0.0] * 11, {}

        def render(self):
            return torch.zeros(3, 4, 3, dtype=torch.uint8).numpy()

    def act(obs):
        raise RuntimeError("shapes cannot be multiplied")

    monkeypatch.setattr(videos.gymnasium, "make", lambda *args, **options: Env())
    with pytest.raises(RuntimeError, match="^shapes cannot be multiplied"):
        list(videos._frames(TASK, act))


def test_where_nothing_can_be_drawn_one_line_says_so(params, monkeypatch, capsys):
    def make(*args, **options):
        raise RuntimeError("no OpenGL")

    monkeypatch.setattr(videos.gymnasium, "make", make)
    before = sorted((load(params).results / "videos").rglob("*"))
    assert threefold("videos", "--params", params, "--task", TASK) == 2
    said = capsys.readouterr().err
    assert f"{TASK}: MuJoCo cannot draw here (no OpenGL); set MUJOCO_GL=egl" in said
    assert sorted((load(params).results / "videos").rglob("*")) == before


def test_without_collected_tables_it_says_what_to_do(tmp_path, capsys):
    path = synthetic.design(tmp_path)
    shutil.copytree(f"data/experts/{TASK}", tmp_path / "data" / "experts" / TASK)
    assert threefold("videos", "--params", path, "--task", TASK) == 2
    assert "run `threefold collect --params" in capsys.readouterr().err


def test_a_task_without_a_model_is_one_line(params):
    with pytest.raises(videos.InputError, match=r"^CartPole-v1: has no MuJoCo model to draw; choose"):
        videos.videos(load(params), "CartPole-v1")


@pytest.mark.parametrize("task", ["PointMazeRight-v0", "CustomAnt-v0"])
def test_a_task_that_gymnasium_does_not_have_is_one_line(params, task):
    with pytest.raises(videos.InputError, match=rf"^{task}: has no env of Gymnasium's to draw; choose[^\n]+$"):
        videos.videos(load(params), task)


def test_without_a_task_those_that_can_be_drawn_are_and_the_others_are_said_once(tmp_path, monkeypatch, capsys):
    tasks = ["CartPole-v1", TASK, "PointMazeRight-v0"]
    path = synthetic.design(tmp_path, tasks=tasks, budget=dict.fromkeys(tasks, synthetic.BUDGET[TASK]))
    monkeypatch.setattr(videos, "videos", lambda design, task: f"drawn: {task}")
    assert threefold("videos", "--params", path) == 0
    out, err = capsys.readouterr()
    assert out == f"drawn: {TASK}\n"
    assert [line for line in err.splitlines() if "left out" in line] == [
        "left out, as they have no MuJoCo model or no env of Gymnasium's to draw: CartPole-v1, PointMazeRight-v0"
    ]
