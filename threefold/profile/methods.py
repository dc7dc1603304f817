"""Whether a method exists that a user names, and its file has what the machinery reads of every method."""

import inspect
from dataclasses import MISSING, fields
from functools import partial
from types import ModuleType
from typing import Any, get_type_hints

import algorithms
from algorithms.core import adversarial
from algorithms.core.adversarial import LoopConfig, imitate
from algorithms.core.pathwise import PathwiseConfig
from algorithms.core.ppo import PPOConfig
from threefold.base.errors import InputError
from threefold.profile.nearest import nearest

CALL = ("env", "demonstrations", "seeds", "config")
CURE = "write `train = partial(imitate, Reward, loss, reward)`, or a generator of your own, as docs/own/method.md shows"
LOOPS = {"loop": (LoopConfig,), "ppo": (PPOConfig, PathwiseConfig)}  # fields by which cells know how a method runs


def check_method(name: str) -> None:
    """Raise `InputError` for a method that does not exist, and for one that cannot be trained as every method is."""
    if name not in (there := algorithms.names()):
        near = nearest(name, there)
        cure = f"did you mean {near!r}?" if near else f"choose from {', '.join(there)}"
        raise InputError(f"no method {name!r} (there is no file algorithms/{name}.py); {cure}")
    module = algorithms.load(name)
    if fault := _of_train(getattr(module, "train", None)) or _of_config(module.Config) or _of_loops(module):
        raise InputError(f"algorithms/{name}.py: {fault}")


def _of_train(train: Any) -> str:
    if not callable(train):
        return f"train: {'missing' if train is None else 'no function'}; {CURE}"
    try:
        inspect.signature(train).bind(*CALL)
    except TypeError:
        return f"train: cannot be called with ({', '.join(CALL)}); {CURE}"
    return ""


def _of_config(config: Any) -> str:
    if not config.__dataclass_params__.frozen:
        return "Config: not frozen, and all learners share it; write `@dataclass(frozen=True)`"
    for field in fields(config):
        if field.default is field.default_factory is MISSING:
            return f"Config.{field.name}: has no default, which the method's own row runs with; write one"
    return ""


def _of_loops(module: ModuleType) -> str:
    """Return what keeps the loops from reading their constants in a method's Config, or nothing."""
    config, adversary = module.Config(), isinstance(module.train, partial) and module.train.func is imitate
    for name, kinds in (_read_by_imitate() if adversary else LOOPS).items():
        if not isinstance(getattr(config, name, None), kinds) and (adversary or hasattr(config, name)):
            needed = " or ".join(kind.__name__ for kind in kinds)
            reader = "imitate" if adversary else "a profile's plan"
            kind = kinds[0].__name__
            return f"Config.{name}: no {needed}, which {reader} reads there; write `{name}: {kind} = {kind}()`"
    return ""


def _read_by_imitate() -> dict[str, tuple[type, ...]]:
    """Return the fields that `imitate` reads of a method's Config, as its Protocol has them."""
    properties = {name: value for name, value in vars(adversarial.Config).items() if isinstance(value, property)}
    return {name: (get_type_hints(value.fget)["return"],) for name, value in properties.items()}
