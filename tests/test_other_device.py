"""Every method and every task on a device that is not the CPU's: no tensor stays behind, and the numbers are the CPU's.

The device is a CPU in disguise (see tests/elsewhere.py), so that this is known without a GPU.
"""

import dataclasses
import itertools
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map_only

import algorithms
import envs
import envs.hopper
from algorithms import gail
from algorithms.core import adversarial, discriminator, experience, policy, population, ppo
from algorithms.core.experience import Demonstrations
from algorithms.core.progress import Progress
from algorithms.core.state import pack, unpack
from envs.batch import BatchEnv
from envs.monitor import Monitor
from tests import elsewhere, toy
from tests.elsewhere import DEVICE, Elsewhere, MixedDevicesError
from tests.test_laws import COUNTS, EPISODES, SEEDS, small

ITERATIONS = 2


def start(method, task="Hopper-v5", device="cpu"):
    """An env there, and a method in training on it."""
    make = elsewhere.make if torch.device(device) == DEVICE else envs.make
    env = Monitor(make(task, SEEDS, EPISODES))
    return env, method.train(env, demonstrations(env, device), SEEDS, small(method.Config()))


def demonstrations(env, device) -> Demonstrations:
    """As many transitions as the toy's, in the task's sizes."""
    like, g = toy.demonstrations(COUNTS), torch.Generator().manual_seed(0)
    obs, next_obs = torch.randn(2, len(like.obs), env.obs_size, generator=g)
    action = torch.randn(len(like.obs), env.action_size, generator=g)
    trajectory = torch.arange(len(like.lengths)).repeat_interleave(like.lengths)
    columns = {"obs": obs, "action": action, "next_obs": next_obs, "terminal": like.terminal, "trajectory": trajectory}
    columns |= {"lengths": like.lengths, "ended": like.ended}
    return Demonstrations(**{name: x.to(device) for name, x in columns.items()}, counts=COUNTS)


def all_there(progress: Progress) -> dict[str, Tensor]:
    """Return copies of all that came out of an iteration, which must be where its policy is."""
    modules: dict[str, nn.Module] = {"policy": progress.policy, **progress.models}
    found = {f"{name}.{k}": v.clone() for name, module in modules.items() for k, v in module.state_dict().items()}
    found |= progress.metrics | progress.finite
    device = progress.policy.action_scale.device
    assert [name for name, x in found.items() if x.device != device] == []
    return {name: x.cpu() for name, x in found.items()}


def same(one: Any, other: Any) -> None:
    torch.testing.assert_close(one, other, rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("name", algorithms.names())
def test_a_method_trains_there_as_on_the_cpu(name):
    """And goes on from what was saved, as a training does that was killed."""
    method = algorithms.load(name)
    env, training = start(method)
    expected = [(all_there(p), env.take_episodes()) for p in itertools.islice(training, ITERATIONS)]
    with elsewhere.elsewhere() as device:
        env, training = start(method, device=device)
        progress = next(training)
        same((all_there(progress), env.take_episodes()), expected[0])
        saved = pack({"state": progress.state.state_dict(), "env": env.state_dict()})

        env, training = start(method, device=device)
        tree, progress = unpack(saved), next(training)
        progress.state.load_state_dict(tree["state"])
        env.load_state_dict(tree["env"])
        for on_the_cpu, progress in zip(expected[1:], training, strict=False):
            same((all_there(progress), env.take_episodes()), on_the_cpu)
        policy = progress.policy.on_cpu()
    assert {x.device.type for x in policy.state_dict().values()} == {"cpu"}


@pytest.mark.parametrize("task", envs.names())
def test_gail_trains_there_on_a_task_as_on_the_cpu(task):
    env, training = start(gail, task)
    expected = all_there(next(training)), env.take_episodes(), env.take_rewards()
    with elsewhere.elsewhere() as device:
        env, training = start(gail, task, device)
        found = all_there(next(training)), env.take_episodes(), env.take_rewards()
        assert found[2].device == device
        same(found, (*expected[:2], found[2]))
        same(found[2].cpu(), expected[2])


@pytest.mark.parametrize("task", ["InvertedPendulum-v5", "Reacher-v5"])  # the latter has derived fields
def test_the_torch_code_of_warp_runs_there(task):
    """On Warp's CPU back end, whose arrays are shown as if they were there."""
    from envs.physics import warp  # takes seconds, which no other worker of these tests should wait for

    def episodes() -> tuple[Any, ...]:
        module = envs.load(task)
        env = Monitor(
            BatchEnv(module, warp.Warp(envs.model(module), 6, module.FRAME_SKIP, module.FIELDS, "cpu"), SEEDS, 2)
        )
        action = torch.full((3, 2, env.action_size), 0.5, device=env.obs.device)
        steps = [env.step(action) for _ in range(3)]
        state = unpack(pack(env.state_dict()))
        env.load_state_dict(state)
        steps.append(env.step(action))
        return steps, env.take_episodes(), state

    expected = episodes()
    with elsewhere.elsewhere(), pytest.MonkeyPatch.context() as patch:
        to_torch = warp.wp.to_torch
        patch.setattr(warp.wp, "to_torch", lambda array: Elsewhere(to_torch(array)))
        steps, ended, state = episodes()
        assert {x.device for x in tree_leaves(steps)} == {DEVICE}
        same((tree_map_only(Tensor, Tensor.cpu, steps), ended, state), expected)


PLACES = [
    (population.Generators, "normal"),
    (population.Generators, "uniform"),
    (population.Generators, "permutations"),  # indices
    (population.Normalizer, "forward"),
    (policy.GaussianPolicy, "log_density"),
    (experience.Samples, "transitions"),
    (ppo, "generalized_advantages"),
    (ppo.ReturnScale, "forward"),
    (ppo.PPO, "collect"),
    (ppo.PPO, "improve"),  # metrics alone
    (adversarial, "share_of_steps"),
    (adversarial, "episode_reward"),
    (adversarial, "finite"),
    (gail, "bernoulli_entropy"),
    (discriminator.Discriminator, "gradient_penalty"),
    (envs.hopper, "reset"),
    (envs.hopper, "observation"),
    (envs.hopper, "reward"),
    (envs.hopper, "terminal"),
]


@pytest.mark.parametrize(("where", "name"), PLACES, ids=lambda x: getattr(x, "__name__", x))
def test_a_tensor_left_on_the_cpu_is_found(where, name, monkeypatch):
    """The results of these functions, one at a time."""
    function = getattr(where, name)
    monkeypatch.setattr(where, name, lambda *a, **k: on_the_cpu(function(*a, **k)))
    with elsewhere.elsewhere() as device, pytest.raises(AssertionError, match="of the CPU|^assert \\["):
        train(device)


def train(device: torch.device) -> None:
    _, training = start(gail, device=device)
    for progress in itertools.islice(training, ITERATIONS):
        all_there(progress)


def on_the_cpu(result: Any) -> Any:
    """Return a function's result with its tensors on the CPU."""
    if dataclasses.is_dataclass(result) and not isinstance(result, type):
        return type(result)(**{k: on_the_cpu(v) for k, v in vars(result).items()})
    return tree_map_only(Tensor, Tensor.cpu, result)


def test_the_device_refuses_and_lets_pass():
    with elsewhere.elsewhere() as device:
        x, y = torch.arange(3.0, device=device), torch.ones(3)
        for mix in (
            lambda: x + y,
            lambda: torch.cat([x, y]),
            lambda: torch.where(x > 1, x, y),
            lambda: x.expand(2, 3) @ y,
            lambda: x[y.long()],
            lambda: x.index_select(0, y.long()),
            lambda: x.add_(y),
        ):
            with pytest.raises(MixedDevicesError, match="of the CPU beside tensors elsewhere"):
                mix()
        assert (x + torch.tensor(1.0) + y.to(device)).tolist() == [2.0, 3.0, 4.0]
        assert type(x.cpu()) is Tensor
