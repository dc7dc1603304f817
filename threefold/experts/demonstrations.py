"""Demonstrations as learners get them: an artefact of trajectories.safetensors and card.json, checked, read, written.

There is no reward inside; the card says what they are. Actions are kept as the policy drew them, not clipped as the env
clips them: so their log_prob means something, and they compare with the actions of a learner, which are unclipped too.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, Protocol

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

import envs
from algorithms.core import experience
from algorithms.core.experience import Demonstrations
from threefold.base.errors import InputError
from threefold.base.files import IMPORTED, refuse_strangers, replacing
from threefold.experts.trajectories import Trajectories, refuse_not_finite, roll_out, used_pairs

ARRAYS, CARD = "trajectories.safetensors", "card.json"
# What reading needs of a card; the writers of cards add other facts.
KEYS = {
    "task": str,
    "obs_size": int,
    "action_size": int,
    "trajectories": int,
    "every": int,
    "whole": bool,
    "sha256": str,
}


class Sizes(Protocol):
    """What demonstrations must fit."""

    obs_size: int
    action_size: int


def load(
    folder: Path, task: str, counts: Sequence[int], device: torch.device | str = "cpu", env: Sizes | None = None
) -> Demonstrations:
    """Read the subsampled demonstrations in `folder` for learners of which number p uses the first `counts[p]`.

    Raises InputError, one line, if they are missing, altered, of another task than `task`, of other sizes than `env`'s,
    longer than its time limit, or fewer than asked for.
    """
    card, arrays = _read(folder)
    path, available = folder / CARD, card["trajectories"]
    if card["task"] != task:
        raise InputError(f"{path}: task: demonstrations of {card['task']}, not of {task}; name the folder of {task}")
    for size in ("obs_size", "action_size"):
        if env is not None and card[size] != getattr(env, size):
            raise InputError(
                f"{path}: {size}: {card[size]}, but {task} has {getattr(env, size)}; make them for this version of it"
            )
    horizon = envs.load(task).HORIZON
    if (longest := int(arrays["lengths"].max())) > horizon:
        raise InputError(f"{folder / ARRAYS}: lengths: {longest} steps, but {task} ends after {horizon}; choose others")
    if max(counts) > available or min(counts) < 1:
        wrong = max(counts) if max(counts) > available else min(counts)
        raise InputError(f"{path}: trajectories: {wrong} asked for, there are {available}; ask for 1 to {available}")
    return _demonstrations(arrays, card["every"], card["whole"], counts, device)


def idle(folder: Path, task: str, counts: Sequence[int], device: torch.device | str = "cpu") -> Demonstrations:
    """Return demonstrations by an expert that always outputs 0, or the first action: a control.

    They are as many and subsampled as those in `folder`.

    A method's score on them shows what the task gives away to an imitator of any expert.
    """
    every, env = read_card(folder)["every"], envs.make(task, [0], 1)
    action = torch.zeros(env.action_size)
    if env.discrete:
        action[0] = 1
    trajectories, _ = roll_out(lambda obs: action.expand(*obs.shape[:-1], -1), task, 0, max(counts), every)
    return _demonstrations(vars(trajectories), every, True, counts, device)


def survivors(folder: Path, counts: Sequence[int], device: torch.device | str = "cpu") -> Demonstrations:
    """Return those trajectories in `folder` that the task did not end, in order: a control.

    A set of n is the first n of them. Raises InputError as `read` does, or if there are fewer than asked for.
    """
    trajectories = read(folder)
    alive = (~trajectories.terminated).nonzero().flatten().tolist()
    if max(counts) > len(alive):
        raise InputError(
            f"{folder / CARD}: trajectories: {max(counts)} that never terminated asked for, there are {len(alive)}; "
            "ask for fewer"
        )
    chosen = trajectories.select(alive[: max(counts)])
    return _demonstrations(vars(chosen), read_card(folder)["every"], True, counts, device)


def _demonstrations(
    arrays: Mapping[str, Tensor], every: int, whole: bool, counts: Sequence[int], device: torch.device | str
) -> Demonstrations:
    """Return what the arrays of an artefact hold, subsampled."""
    lengths, terminated, starts = arrays["lengths"], arrays["terminated"], arrays["starts"]
    trajectory, time = used_pairs(lengths, starts, every)
    if whole:
        trajectories = Trajectories(**arrays)
        obs, action, next_obs = trajectories.used(every)
        last = torch.zeros(int(lengths.sum()), dtype=torch.bool)
        last[lengths.cumsum(0) - 1] = terminated
        steps = experience.Transitions(*(column.to(device) for column in (*trajectories.transitions(), last)))
    else:
        obs, action, next_obs = arrays["obs"], arrays["action"], arrays["next_obs"]
        steps = None
    terminal = terminated[trajectory] & (time == lengths[trajectory] - 1)
    obs, action, next_obs, terminal, trajectory, lengths, terminated = (
        column.to(device) for column in (obs, action, next_obs, terminal, trajectory, lengths, terminated)
    )
    return Demonstrations(obs, action, next_obs, terminal, trajectory, lengths, terminated, counts, steps)


def read(folder: Path) -> Trajectories:
    """Read the whole trajectories in `folder`; raises InputError as `load` does, or if only single pairs are there."""
    card, arrays = _read(folder)
    if not card["whole"]:
        raise InputError(
            f"{folder / CARD}: whole: false, only single pairs are there; make them again with whole: true"
        )
    return Trajectories(**arrays)


def read_card(folder: Path) -> dict[str, Any]:
    """Read the card in `folder`; raises InputError if it is missing or lacks what `load` needs."""
    if not folder.is_dir():
        make = "minari import" if _is_imported(folder) else f"demonstrate --task {folder.name}"
        raise InputError(f"{folder}: missing; make it with `threefold {make}`")
    path = folder / CARD
    try:
        card = json.loads(_bytes(path))
    except ValueError as error:
        raise InputError(f"{path}: not JSON ({error}); {_cure(path)}") from None
    for key, kind in KEYS.items():
        if not isinstance(card, dict) or type(card.get(key)) is not kind or (kind is int and not 0 < card[key] < 2**31):
            raise InputError(f"{path}: {key}: missing or not a proper {kind.__name__}; {_cure(path)}")
    return card


def write(folder: Path, trajectories: Trajectories, every: int, whole: bool, facts: Mapping[str, Any]) -> None:
    """Write an artefact: both files or none. `facts` are added to the card; `task` must be among them.

    Bytes are a pure function of the arguments. Raises InputError for arrays that reading would refuse, and for a folder
    that holds anything else.
    """
    arrays = {field.name: getattr(trajectories, field.name) for field in fields(trajectories)}
    if not whole:
        arrays |= trajectories.used(every)._asdict()
    data = safetensors.torch.save({name: array.contiguous() for name, array in arrays.items()})
    card = {
        **facts,
        "obs_size": trajectories.obs.shape[1],
        "action_size": trajectories.action.shape[1],
        "trajectories": len(trajectories),
        "every": every,
        "whole": whole,
        "lengths": trajectories.lengths.tolist(),
        "terminated": trajectories.terminated.tolist(),
        "sha256": hashlib.sha256(data).hexdigest(),
    }
    refuse_not_finite(str(folder), trajectories, "nothing is written; use a sound expert")
    _check(arrays, card, folder / ARRAYS)
    refuse_strangers(folder, (ARRAYS, CARD), "demonstrations")
    text = json.dumps(card, indent=2, sort_keys=True, allow_nan=False) + "\n"
    with replacing(folder) as fresh:
        (fresh / ARRAYS).write_bytes(data)
        (fresh / CARD).write_text(text)


def _is_imported(folder: Path) -> bool:
    return folder.parent.name == IMPORTED.name


def _cure(path: Path) -> str:
    """Return how to get a damaged file of demonstrations back; no command makes again what a user imported."""
    again = "import it again, under another name" if _is_imported(path.parent) else "make it again with `dvc repro`"
    return f"restore it from git or {again}"


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise InputError(f"{path}: {error.strerror}; {_cure(path)}") from None


def _read(folder: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    card, path = read_card(folder), folder / ARRAYS
    data = _bytes(path)
    if hashlib.sha256(data).hexdigest() != card["sha256"]:
        raise InputError(f"{path}: truncated or altered: its sha256 is not the one in {CARD}; {_cure(path)}")
    try:
        arrays = safetensors.torch.load(data)
    except SafetensorError as error:
        raise InputError(f"{path}: not a safetensors file ({error}); {_cure(path)}") from None
    _check(arrays, card, path)
    return card, arrays


def _check(arrays: Mapping[str, Tensor], card: Mapping[str, Any], path: Path) -> None:
    """Refuse arrays that are not what the card says."""
    number, O, A = card["trajectories"], card["obs_size"], card["action_size"]
    per_trajectory = {"lengths": torch.int64, "terminated": torch.bool, "starts": torch.int64}
    for name, dtype in per_trajectory.items():
        _expect(path, name, arrays, (number,), dtype)
    lengths, starts = arrays["lengths"], arrays["starts"]
    if not ((starts >= 0) & (starts < lengths)).all():
        raise InputError(f"{path}: starts: not within the trajectories' lengths; {_cure(path)}")
    steps = int(lengths.sum()) if card["whole"] else len(used_pairs(lengths, starts, card["every"])[0])
    shapes = {"action": (steps, A)}
    shapes |= {"obs": (steps + number, O)} if card["whole"] else {"obs": (steps, O), "next_obs": (steps, O)}
    for name, shape in shapes.items():
        _expect(path, name, arrays, shape, torch.float32)
        if not arrays[name].isfinite().all():
            raise InputError(f"{path}: {name}: not all values are finite; {_cure(path)}")
    if unknown := set(arrays) - set(shapes) - set(per_trajectory):
        raise InputError(f"{path}: {min(unknown)}: no such array in demonstrations; {_cure(path)}")


def _expect(path: Path, name: str, arrays: Mapping[str, Tensor], shape: tuple[int, ...], dtype: torch.dtype) -> None:
    found = arrays.get(name)
    if found is None:
        raise InputError(f"{path}: {name}: missing; {_cure(path)}")
    if tuple(found.shape) != shape or found.dtype != dtype:
        raise InputError(f"{path}: {name}: {found.dtype} {[*found.shape]}, expected {dtype} {[*shape]}; {_cure(path)}")
