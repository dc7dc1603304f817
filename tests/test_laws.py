"""What holds for every method: each test runs over every file that `algorithms.names()` finds."""

import ast
import dataclasses
import inspect
import io
import itertools
import math
import re
import tokenize
from collections.abc import Sequence
from functools import cache, partial
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor

import algorithms
from algorithms.core.policy import CategoricalPolicy, GaussianPolicy
from algorithms.core.ppo import Env
from algorithms.core.progress import Progress
from algorithms.core.state import pack, unpack
from tests.toy import Kicked, Puck, demonstrations

SEEDS, COUNTS = [5, 2, 11], [4, 1, 6]
EPISODES, ITERATIONS = 3, 4
# Rounding after four iterations is 1e-7 or so; a mean over learners, one clip for all or shared noise is 1e-3 or more.
equal = partial(torch.testing.assert_close, rtol=1e-5, atol=1e-5)
# Of other models: the gradient by a constant in a cost is rounding alone, and Adam takes steps on it.
nearly_equal = partial(torch.testing.assert_close, rtol=1e-5, atol=1e-4)

pytestmark = pytest.mark.parametrize("name", algorithms.names())
both_kinds = pytest.mark.parametrize("kind", [Puck, Kicked])  # continuous actions, and discrete ones


CONTINUOUS = {"mgail"}  # these refuse discrete actions


@pytest.fixture(autouse=True)
def _able(request, name):
    if name in CONTINUOUS and request.node.callspec.params.get("kind") is Kicked:
        pytest.skip("it differentiates through continuous actions")


SIZES = {
    "actions": 4,
    "batch": 32,
    "epochs": 2,
    "hidden": (8,),
    "length": 4,
    "minibatches": 3,
    "model_steps": 3,
    "preparation": 5,
    "reward_steps": 3,
    "segments": 8,
    "steps": 24,
    "trajectories": 4,
    "validate_every": 8,
}


def small(config: Any) -> Any:
    """The Config with little work to do: those of the constants above that it has, in all its parts."""
    changes = {}
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if dataclasses.is_dataclass(value):
            changes[field.name] = small(value)
        elif field.name in SIZES and type(value) is type(SIZES[field.name]):
            changes[field.name] = SIZES[field.name]
    return dataclasses.replace(config, **changes)


@dataclasses.dataclass(frozen=True)
class Look:
    """What is kept of a `Progress`, whose policy will change: of every learner, `[P, ...]`."""

    progress: Progress
    policy: dict[str, Tensor]  # its parameters, its statistics and its mean actions
    models: dict[str, Tensor]  # what else was learnt


def look(progress: Progress) -> Look:
    policy = progress.policy
    g = torch.Generator().manual_seed(0)
    obs = (torch.rand(20, 2, generator=g) - 0.5).expand(len(policy.normalizer.mean), -1, -1)
    state = {k: v.clone() for k, v in policy.state_dict().items() if k != "action_scale"}  # that is the task's
    models = {f"{name}.{k}": v.clone() for name, m in progress.models.items() for k, v in m.state_dict().items()}
    return Look(progress, state | {"head": policy.head(obs).detach()}, models)


def run(
    method: ModuleType,
    kind: type[Puck] = Puck,
    learners: Sequence[int] = (0, 1, 2),
    poison: int | None = None,
    saved: list[bytes] | None = None,
) -> list[Look]:
    """Train these of the three learners; `poison` makes NaN of that learner's policy after the first iteration.

    `saved` gets the states from which training goes on after all iterations but the last.
    """
    seeds, counts = [SEEDS[p] for p in learners], [COUNTS[p] for p in learners]
    env = kind(seeds, EPISODES)
    training = method.train(env, demonstrations(counts, kind.discrete), seeds, small(method.Config()))
    looks = []
    for progress in itertools.islice(training, ITERATIONS):
        looks.append(look(progress))
        if saved is not None and len(looks) < ITERATIONS:
            saved.append(pack({"state": progress.state.state_dict(), "env": env.state_dict()}))
        if poison is not None and len(looks) == 1:
            for parameter in progress.policy.parameters():
                parameter.data[poison] = math.nan
    return looks


@cache
def together_and_saved(name: str, kind: type[Puck]) -> tuple[list[Look], list[bytes]]:
    saved: list[bytes] = []
    return run(algorithms.load(name), kind, saved=saved), saved


def together(name, kind=Puck):
    return together_and_saved(name, kind)[0]


def same(one: Look, other: Look, which: Sequence[int], others: Sequence[int]) -> None:
    """Learners `which` of one run are learners `others` of the other."""
    equal(only(which, one.policy), only(others, other.policy))
    nearly_equal(only(which, one.models), only(others, other.models))


def only(learners: Sequence[int], tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor[list(learners)] for name, tensor in tensors.items()}


@both_kinds
def test_a_learner_trains_as_if_alone(name, kind):
    for p in range(3):
        same(together(name, kind)[-1], run(algorithms.load(name), kind, [p])[-1], [p], [0])


@both_kinds
def test_a_further_seed_changes_no_old_result(name, kind):
    """Nor does it matter where a learner stands."""
    same(together(name, kind)[-1], run(algorithms.load(name), kind, [0, 1])[-1], [0, 1], [0, 1])
    same(together(name, kind)[-1], run(algorithms.load(name), kind, [2, 0])[-1], [2, 0], [0, 1])


@both_kinds
def test_learners_differ_and_learn(name, kind):
    """Or the tests above would show nothing."""
    first, last = together(name, kind)[0], together(name, kind)[-1]
    before, after = (at.policy["head"] for at in (first, last))
    for p, q in ((0, 1), (1, 2), (0, 2)):
        assert (after[p] - after[q]).abs().max() > 1e-3
    assert ((after - before).abs().amax((1, 2)) > 1e-3).all()


@both_kinds
def test_the_same_seeds_give_the_same_bits(name, kind):
    for a, b in zip(together(name, kind), run(algorithms.load(name), kind), strict=True):
        torch.testing.assert_close(a.policy | a.models, b.policy | b.models, rtol=0, atol=0)
        torch.testing.assert_close(a.progress.metrics, b.progress.metrics, rtol=0, atol=0, equal_nan=True)


@both_kinds
def test_a_run_stopped_after_any_iteration_and_resumed_gives_the_same_bits(name, kind):
    """Whatever a method carries from one iteration to the next must be in `Progress.state`."""
    method, (whole, states) = algorithms.load(name), together_and_saved(name, kind)
    config = small(method.Config())
    for stop in range(1, ITERATIONS):
        env = kind(SEEDS, EPISODES)
        training = method.train(env, demonstrations(COUNTS, kind.discrete), SEEDS, config)
        fresh, saved = next(training), unpack(states[stop - 1])  # any iteration makes the objects that are put back
        fresh.state.load_state_dict(saved["state"])
        env.load_state_dict(saved["env"])
        for a, progress in zip(whole[stop:], training, strict=False):
            b = look(progress)
            assert (b.progress.iteration, b.progress.env_steps) == (a.progress.iteration, a.progress.env_steps)
            torch.testing.assert_close(a.policy | a.models, b.policy | b.models, rtol=0, atol=0)
            torch.testing.assert_close(a.progress.metrics, b.progress.metrics, rtol=0, atol=0, equal_nan=True)


@both_kinds
def test_a_learner_that_becomes_nan_is_reported_and_its_neighbours_do_not_notice(name, kind):
    sound, spoilt = together(name, kind), run(algorithms.load(name), kind, poison=1)
    for a, b in zip(sound, spoilt, strict=True):
        same(a, b, [0, 2], [0, 2])
        metrics = (only([0, 2], at.progress.metrics) for at in (a, b))
        equal(*metrics, equal_nan=True)
    assert [alive(at).tolist() for at in sound] == [[True, True, True]] * ITERATIONS
    assert [alive(at).tolist() for at in spoilt] == [[True, True, True]] + [[True, False, True]] * (ITERATIONS - 1)


def alive(at: Look) -> Tensor:
    return torch.stack(list(at.progress.finite.values())).all(0)


@both_kinds
def test_progress_has_a_number_of_each_learner(name, kind):
    looks = together(name, kind)
    for at in looks:
        assert isinstance(at.progress, Progress)
        assert isinstance(at.progress.policy, CategoricalPolicy if kind.discrete else GaussianPolicy)
        assert at.progress.metrics
        assert all(m.shape == (3,) and not m.requires_grad for m in at.progress.metrics.values())
        assert at.progress.finite
        assert all(f.shape == (3,) and f.dtype == torch.bool for f in at.progress.finite.values())
    iterations, steps = ([getattr(at.progress, key) for at in looks] for key in ("iteration", "env_steps"))
    assert iterations == sorted(set(iterations))
    assert steps == sorted(steps)


class Counting(Puck):
    taken = 0  # steps of each learner

    def step(self, action: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        self.taken += self.E
        return super().step(action)


def test_steps_are_counted_as_the_env_took_them(name):
    """Each learner's, whatever P is."""
    method, env = algorithms.load(name), Counting(SEEDS, EPISODES)
    for progress in itertools.islice(method.train(env, demonstrations(COUNTS), SEEDS, small(method.Config())), 2):
        assert progress.env_steps == env.taken


class Guarded:
    """An env that offers the names of the protocol and fails at any other."""

    def __init__(self, env: Puck) -> None:
        self._env = env

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name not in {*Env.__annotations__, *vars(Env)}:
            pytest.fail(f"a method asks its env for '{name}'")
        return getattr(self._env, name)


def test_a_method_asks_an_env_for_nothing_but_the_protocol(name):
    assert "reward" not in {*Env.__annotations__, *vars(Env)}
    method, env = algorithms.load(name), Guarded(Puck(SEEDS, EPISODES))
    looks = [
        look(p) for p in itertools.islice(method.train(env, demonstrations(COUNTS), SEEDS, small(method.Config())), 2)
    ]
    same(looks[-1], together(name)[1], range(3), range(3))


def test_the_guard_is_awake(name):
    with pytest.raises(pytest.fail.Exception, match="take_rewards"):
        Guarded(Puck(SEEDS, EPISODES)).take_rewards  # noqa: B018


def test_train_is_a_generator_of_the_contracts_arguments(name):
    method = algorithms.load(name)
    assert inspect.isgeneratorfunction(method.train)
    parameters = inspect.signature(method.train).parameters.values()
    assert [p.name for p in parameters if p.default is p.empty][-4:] == ["env", "demonstrations", "seeds", "config"]


def test_config_is_frozen_with_a_default_and_a_comment_for_every_constant(name):
    method = algorithms.load(name)
    config = method.Config()  # so every field has a default
    first, *_ = dataclasses.fields(config)
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(config, first.name, None)
    source = inspect.getsource(method)
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    commented = {token.start[0] for token in tokens if token.type == tokenize.COMMENT}
    body = next(n for n in ast.parse(source).body if isinstance(n, ast.ClassDef) and n.name == "Config").body
    lines = {n.target.id: n.lineno for n in body if isinstance(n, ast.AnnAssign) and isinstance(n.target, ast.Name)}
    own = [f.name for f in dataclasses.fields(config) if not dataclasses.is_dataclass(getattr(config, f.name))]
    assert set(own) <= set(lines), "inherited fields are not seen by DVC"
    assert [field for field in own if lines[field] not in commented] == []


def test_the_docstring_cites_a_paper(name):
    assert re.search(r"\b(arXiv:? ?\d{4}\.\d{4,5}|(19|20)\d\d)\b", algorithms.load(name).__doc__ or "")
