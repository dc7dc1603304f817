"""What the machinery reads of a method's and of a task's file is there, or the file is refused in a line."""

import sys
from dataclasses import dataclass, make_dataclass
from functools import partial
from types import SimpleNamespace

import pytest

import algorithms
import envs
from algorithms import gail
from algorithms.core.adversarial import LoopConfig, imitate
from algorithms.core.pathwise import PathwiseConfig
from algorithms.core.ppo import PPOConfig
from tests.command import threefold
from tests.test_run import TASK, project
from threefold.base.errors import InputError
from threefold.cells import memory
from threefold.cells.plan import write_plan
from threefold.profile import overrides, tasks
from threefold.profile.design import load
from threefold.profile.methods import check_method
from threefold.profile.rollout import on_device
from threefold.profile.tasks import check_task

TRAIN = (
    "; write `train = partial(imitate, Reward, loss, reward)`, or a generator of your own, as docs/own/method.md shows"
)
NO_LOOP = "Config.loop: no LoopConfig, which imitate reads there; write `loop: LoopConfig = LoopConfig()`"
NO_PPO = "Config.ppo: no PPOConfig, which imitate reads there; write `ppo: PPOConfig = PPOConfig()`"


def a_train(env, demonstrations, seeds, config):
    yield


def config(frozen=True, **defaults):
    """A Config with fields of these defaults."""
    return make_dataclass("Config", [(name, type(x), x) for name, x in defaults.items()], frozen=frozen)


def without_a_default():
    return make_dataclass("Config", [("batch", int)], frozen=True)


@pytest.fixture
def become(monkeypatch):
    """Let the file of GAIL say something else, or lack what is None; nobody keeps what it says meanwhile."""

    def change(**content):
        now = {name: x for name, x in (vars(gail) | content).items() if x is not None}
        monkeypatch.setitem(sys.modules, "algorithms.gail", SimpleNamespace(**now))

    yield change
    overrides._of_any_method.cache_clear()


@pytest.mark.parametrize("name", algorithms.names())
def test_every_method_is_whole(name):
    check_method(name)


@pytest.mark.parametrize("name", envs.names())
def test_every_task_is_whole(name):
    check_task(name)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"train": None}, f"train: missing{TRAIN}"),
        ({"train": "partial(imitate)"}, f"train: no function{TRAIN}"),
        (
            {"train": lambda env, demonstrations: None},
            "train: cannot be called with (env, demonstrations, seeds, {}",
        ),
        ({"train": partial(imitate, gail.Discriminator, gail.loss)}, "train: cannot be called with (env, "),
        ({"Config": config(frozen=False)}, "Config: not frozen, and all learners share it; write `@dataclass(frozen"),
        ({"Config": without_a_default()}, "Config.batch: has no default, which the method's own row runs with; write"),
        ({"Config": config(ppo=PPOConfig())}, NO_LOOP),
        ({"Config": config(loop=LoopConfig())}, NO_PPO),
        ({"Config": config(batch=3)}, NO_LOOP),
        ({"Config": config(loop=LoopConfig(), ppo=PathwiseConfig())}, NO_PPO),
        ({"Config": config(loop=3, ppo=PPOConfig())}, NO_LOOP),
        (
            {"train": a_train, "Config": config(ppo=0.5)},
            "Config.ppo: no PPOConfig or PathwiseConfig, which a profile's plan reads there; write `ppo: PPOConfig",
        ),
    ],
)
def test_a_method_that_could_not_be_trained_is_refused_by_plan_and_run(become, tmp_path, capsys, content, said):
    become(**content)
    params = project(tmp_path)
    for arguments in (["plan"], ["run", "--row", "gail"]):
        assert threefold(*arguments, "--params", params) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith(f"error: {params}: methods: algorithms/gail.py: {said.format('config)')}")
    variant = {"gail_x": {"method": "gail", "tasks": [TASK]}}
    assert threefold("plan", "--params", project(tmp_path, methods=["bc"], variants=variant)) == 2
    assert capsys.readouterr().err.startswith(f"error: {params}: variants.gail_x.method: algorithms/gail.py: ")


@dataclass(frozen=True)
class Looped:
    """Constants of a method with a loop of its own around PPO."""

    batch: int = 512
    ppo: PPOConfig = PPOConfig(steps=64)


def test_a_method_may_use_ppo_without_the_loop_of_the_adversarial_ones(become, tmp_path):
    become(train=a_train, Config=Looped)
    params = project(tmp_path, overrides={})
    assert write_plan(params).plan.exists()
    shaped, there = on_device(load(params), TASK, Looped(), "cuda")
    assert (there.ppo.steps, shaped.budget[TASK].parallel_episodes) == (16, 8)
    assert memory.learning_bytes(Looped(), 4, 1) == memory.learning_bytes(
        gail.Config(loop=LoopConfig(), ppo=Looped().ppo), 4, 1
    )
    with pytest.raises(InputError, match=rf"overrides\.{TASK}\.ppo\.minibatches: 4096, but a rollout"):
        write_plan(project(tmp_path, overrides={TASK: {"ppo.minibatches": 4096}}))


def lacking(task, name):
    return pytest.param(task, name, id=f"{task}-{name}")


@pytest.mark.parametrize(
    ("task", "name"),
    [
        *(lacking(TASK, name) for name in (*tasks.EVERY, *tasks.OF_A_MODEL)),
        *(lacking("CartPole-v1", name) for name in (*tasks.EVERY, *tasks.OF_EQUATIONS)),
    ],
)
def test_a_task_that_lacks_something_is_refused_with_its_file(monkeypatch, tmp_path, capsys, task, name):
    module = envs.load(task)
    file = f"envs/{module.__name__.rpartition('.')[2]}.py"
    if name.islower():
        with monkeypatch.context() as patch:
            patch.setattr(module, name, 3)
            with pytest.raises(InputError, match=f"^{file}: {name}: no function; docs/own/task.md shows what"):
                check_task(task)
    monkeypatch.delattr(module, name)
    budget = {"env_steps": 1, "parallel_episodes": 1, "demonstrations": [1]}
    params = project(tmp_path, tasks=[task], budget={task: budget}, overrides={})
    data = tmp_path / "data" / "params.yaml"
    data.write_text("experts: {}\ndemonstrations: {}\n")
    of_task = ["--task", task]
    for command in (
        ["plan", "--params", params],
        ["minari", "import", *of_task, "--dataset", "a/b-v0", "--name", "mine"],
        *([verb, *of_task, "--params", data] for verb in ("expert", "demonstrate")),
    ):
        assert threefold(*command) == 2
        assert f"{file}: {name}: missing; docs/own/task.md shows what a task has" in capsys.readouterr().err


def test_a_model_that_is_nowhere_is_refused_with_its_name(monkeypatch):
    for model in ("inverted_pendulm.xml", "other/inverted_pendulum.xml"):
        monkeypatch.setattr(envs.load(TASK), "XML", model)
        with pytest.raises(InputError) as refused:
            check_task(TASK)
        assert str(refused.value) == (
            f"envs/inverted_pendulum.py: XML: {model.rpartition('/')[2]}: neither in envs/assets nor among "
            "Gymnasium's models; put it there, or correct it"
        )
