"""An expert as others use it: its policy, read from its folder, and how it plays; random actions beside it."""

import hashlib
import json
from pathlib import Path
from typing import Any

import safetensors.torch
from safetensors import SafetensorError

import envs
from algorithms.core.policy import Policy
from algorithms.core.population import Generators
from threefold.base.errors import InputError

WEIGHTS, CARD = "policy.safetensors", "card.json"


def load(task: str, folder: Path) -> tuple[Policy, dict[str, Any]]:
    """Return the expert of a task as a population of one, and its card.

    Raises `InputError` when the folder, the card or the weights are missing, altered or of another task.
    """
    make = f"make it with `threefold expert --task {task}`"
    remake = f"restore it from git, or {make}"
    try:
        card = json.loads((folder / CARD).read_text())
        weights = (folder / WEIGHTS).read_bytes()
    except FileNotFoundError as error:
        raise InputError(f"{error.filename}: the expert of {task} is missing; {make}") from None
    except ValueError:
        raise InputError(f"{folder / CARD}: not valid JSON; {remake}") from None
    if not isinstance(card, dict):
        raise InputError(f"{folder / CARD}: {json.dumps(card)[:20]} is no card; {remake}")
    if card.get("task") != task:
        raise InputError(f"{folder / CARD}: task is {card.get('task')!r}, expected {task!r}; {remake}")
    if hashlib.sha256(weights).hexdigest() != card.get("sha256"):
        raise InputError(f"{folder / WEIGHTS}: sha256 differs from the card's (altered or cut); {remake}")
    try:
        return Policy.from_tensors(safetensors.torch.load(weights)), card
    except (IndexError, KeyError, RuntimeError, SafetensorError, TypeError, ValueError):
        raise InputError(f"{folder / WEIGHTS}: no policy's weights; {remake}") from None


def deterministic(policy: Policy) -> Any:
    """Return `act(obs [P, E, O])` that plays the mean action."""
    return lambda obs: policy(obs)


def stochastic(policy: Policy, seed: int) -> Any:
    """Return `act(obs [P, E, O])` that draws actions from one generator per learner."""
    population, device = len(policy.normalizer.mean), policy.action_scale.device
    generators = Generators([seed] * population, "evaluation", device)
    return lambda obs: policy.act(obs, generators.normal(*obs.shape[1:-1], policy.action_scale.numel()))


def uniform(env: envs.BatchEnv, seed: int) -> Any:
    """Return `act(obs [P, E, O])` that draws actions uniformly from the action space: the `random` reference."""
    generators = Generators([seed] * env.P, "evaluation", env.obs.device)
    low, high = env.action_low, env.action_high
    return lambda obs: low + (high - low) * generators.uniform(env.E, env.action_size)
