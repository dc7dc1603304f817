"""Minari datasets as demonstrations, and demonstrations as Minari datasets (needs the optional extra `minari`).

Datasets lie in Minari's own folder (environment variable MINARI_DATASETS_PATH); none is downloaded here. An export has
two peculiarities, which its description repeats. Its rewards are NaN, for demonstrations have none, and zeros would
pass for some. Its action space is unbounded, for actions are as the policy drew them, before the environment clips.
"""

import shutil
import warnings
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch

import envs
from threefold.base.errors import InputError
from threefold.experts import demonstrations
from threefold.experts.demonstrations import Trajectories
from threefold.store.origin import command_line

DESCRIPTION = (
    "Whole trajectories for imitation. Rewards are NaN: they were not recorded. Actions are as the policy drew them; "
    "the environment clips them to its action space, which is narrower than this dataset's."
)


def import_dataset(dataset: str, task: str, out: Path, every: int, seed: int) -> None:
    """Write a local Minari dataset to `out` as demonstrations of `task`, of which every `every`-th pair is used.

    An episode that ends without being terminated counts as cut by a time limit. Raises InputError if the dataset is
    missing, damaged or does not fit the task.
    """
    env = envs.make(task, [0], 1)
    episodes = _episodes(dataset, task)
    for k, episode in enumerate(episodes):
        for name, rows, size in (
            ("observations", len(episode) + 1, env.obs_size),
            ("actions", len(episode), env.action_size),
        ):
            shape = np.shape(getattr(episode, name))
            if len(episode) == 0 or shape != (rows, size):
                raise InputError(
                    f"{dataset}: episode {k}: {name} of shape {shape}, but {task} needs ({rows}, {size}) and a step or "
                    "more; choose a dataset of this task in its default configuration"
                )
    lengths = torch.tensor([len(episode) for episode in episodes])
    trajectories = Trajectories(
        torch.cat([torch.as_tensor(episode.observations).float() for episode in episodes]),
        torch.cat([torch.as_tensor(episode.actions).float() for episode in episodes]),
        lengths,
        torch.tensor([bool(episode.terminations[-1]) for episode in episodes]),
        demonstrations.draw_starts(lengths, every, seed),
    )
    returns = [float(np.sum(episode.rewards)) for episode in episodes]
    known = bool(np.isfinite(returns).all())
    facts = {
        "task": task,
        "source": f"minari: {dataset}",
        "returns": returns if known else None,
        "return": demonstrations.spread(returns) if known else None,
        "seed": seed,
        "versions": demonstrations.versions(),
        "command": command_line(),
    }
    demonstrations.write(out, trajectories, every, True, facts)


def export_dataset(folder: Path, dataset: str) -> None:
    """Write the whole trajectories in `folder` as a new local Minari dataset; raises InputError if it exists."""
    minari = _minari()
    trajectories, task = demonstrations.read(folder), demonstrations.read_card(folder)["task"]
    path = _path(dataset)
    if path.exists():
        raise InputError(f"{dataset}: exists already in {path}; choose another name or version")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # about an author and a link that it has not got
            minari.create_dataset_from_buffers(
                dataset,
                _buffers(trajectories),
                env=task,
                action_space=_unbounded(trajectories.action.shape[1]),
                algorithm_name="stochastic expert",
                description=DESCRIPTION,
                data_format="hdf5",
            )
    except BaseException:
        shutil.rmtree(path, ignore_errors=True)
        raise


def _buffers(trajectories: Trajectories) -> list[Any]:
    from minari.data_collector import EpisodeBuffer

    steps = trajectories.lengths.tolist()
    parts = zip(
        trajectories.obs.double().split([T + 1 for T in steps]),  # the type of Gymnasium's observation spaces
        trajectories.action.split(steps),
        trajectories.terminated.tolist(),
        strict=True,
    )
    return [
        EpisodeBuffer(
            observations=obs.numpy(),
            actions=action.numpy(),
            rewards=np.full(len(action), np.nan),
            terminations=_last(len(action), terminated),
            truncations=_last(len(action), not terminated),
        )
        for obs, action, terminated in parts
    ]


def _last(length: int, value: bool) -> np.ndarray:
    flags = np.zeros(length, dtype=bool)
    flags[-1] = value
    return flags


def _unbounded(size: int) -> Any:
    from gymnasium.spaces import Box

    return Box(-np.inf, np.inf, (size,), np.float32)


def _episodes(dataset: str, task: str) -> Sequence[Any]:
    minari = _minari()
    if not _path(dataset).exists():
        raise InputError(
            f"{dataset}: no such Minari dataset in {_path(dataset)}; get it with `minari download {dataset}`"
        )
    try:
        found = minari.load_dataset(dataset)
        episodes = list(found)
    except Exception as error:  # h5py and Minari raise whatever a damaged file leads to
        reason = " ".join(str(error).split())
        raise InputError(f"{dataset}: Minari cannot read it ({reason}); delete it and download it again") from None
    if found.env_spec is not None and found.env_spec.id != task:
        raise InputError(f"{dataset}: dataset of {found.env_spec.id}, not of {task}; choose one of {task}")
    if not episodes:
        raise InputError(f"{dataset}: no episodes in it; choose another dataset")
    return episodes


def _path(dataset: str) -> Path:
    """Return where Minari keeps a dataset; raises InputError for a malformed name."""
    from minari.dataset.minari_dataset import parse_dataset_id
    from minari.storage.datasets_root_dir import get_dataset_path

    try:
        parse_dataset_id(dataset)
    except (TypeError, ValueError):
        raise InputError(f"dataset {dataset!r}: no Minari name; write it like mujoco/hopper/expert-v0") from None
    return get_dataset_path(dataset)


def _minari() -> ModuleType:
    try:
        import h5py  # noqa: F401 - what Minari reads its files with
        import minari
    except ImportError as error:
        raise InputError(f"{error.name} is not installed; install the extra with `pip install '.[minari]'`") from None
    return minari
