"""Minari datasets as demonstrations, and demonstrations as Minari datasets (needs the optional extra `minari`).

Datasets lie in Minari's own folder (environment variable MINARI_DATASETS_PATH); none is downloaded here. An export has
two peculiarities, which its description repeats. Its rewards are NaN, for demonstrations have none, and zeros would
pass for some. Its action space is unbounded, for actions are as the policy drew them, before the environment clips.
"""

import inspect
import os
import shutil
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch

import envs
from threefold.base.errors import InputError, cure
from threefold.base.files import IMPORTED
from threefold.base.messages import inform
from threefold.base.names import check
from threefold.experts import demonstrations, policies
from threefold.experts.demonstrate import refuse_weak, spread, versions
from threefold.experts.trajectories import Trajectories, draw_starts, refuse_not_finite
from threefold.profile.tasks import check_task
from threefold.store.origin import command_line

DESCRIPTION = (
    "Whole trajectories for imitation. Rewards are NaN: they were not recorded. Actions are as the policy drew them; "
    "the environment clips them to its action space, which is narrower than this dataset's."
)

# Wrappers that change neither what is seen and done nor when an episode ends: a time limit shows in the episodes.
HARMLESS_WRAPPERS = {
    "ClipAction",  # as every task here
    "HumanRendering",
    "OrderEnforcing",
    "PassiveEnvChecker",
    "RecordEpisodeStatistics",
    "RecordVideo",
    "RenderCollection",
    "TimeLimit",
}
# Keywords that change nothing but pictures.
DRAWING = {"camera_id", "camera_name", "default_camera_config", "height", "max_geom", "render_mode", "visual_options"}
DRAWING |= {"width"}
REFERENCES = ("random", "return_deterministic", "return_stochastic")  # of an expert's card


def import_dataset(
    dataset: str, task: str, name: str, root: Path, every: int, seed: int, allow_weak_expert: bool = False
) -> Path:
    """Write a local Minari dataset to data/imported/<name>/ as demonstrations of `task`; return that folder.

    Every `every`-th pair of an episode will be used. Raises InputError if the name is taken; if the dataset is missing,
    damaged or weak; and if it is of another decision process than the task: of another environment, through a wrapper
    that changes what is seen or done, with other keywords, or with episodes that the task could not have.
    """
    check(name, "--name")
    check_task(task)
    _refuse_discrete(task)
    env, out = envs.make(task, [0], 1), root / IMPORTED / name
    if os.path.lexists(out):
        raise InputError(f"{out}: exists, and what was imported is never overwritten; choose another --name")
    found = _load(dataset)
    _refuse_other_environment(dataset, found.env_spec, task)
    episodes = _episodes(dataset, found)
    for k, episode in enumerate(episodes):
        _refuse_other_episode(f"{dataset}: episode {k}", episode, env, task)
    lengths = torch.tensor([len(episode) for episode in episodes])
    trajectories = Trajectories(
        torch.cat([torch.as_tensor(episode.observations).float() for episode in episodes]),
        torch.cat([torch.as_tensor(episode.actions).float() for episode in episodes]),
        lengths,
        torch.tensor([bool(episode.terminations[-1]) for episode in episodes]),
        draw_starts(lengths, every, seed),
    )
    refuse_not_finite(dataset, trajectories, "choose a sound dataset")
    facts = {
        "task": task,
        "source": f"minari: {dataset}",
        **_worth(dataset, task, [float(np.sum(episode.rewards)) for episode in episodes], root, allow_weak_expert),
        "seed": seed,
        "versions": versions(),
        "command": command_line(),
    }
    demonstrations.write(out, trajectories, every, True, facts)
    return out


def _refuse_discrete(task: str) -> None:
    """Raise InputError for a task whose actions are one-hot vectors here and numbers there."""
    if hasattr(envs.load(task), "ACTIONS"):
        raise InputError(
            f"{task}: has discrete actions, which are not translated from or to Minari's; choose another task"
        )


def _worth(dataset: str, task: str, returns: list[float], root: Path, allow_weak_expert: bool) -> dict[str, Any]:
    """Return what a card says of a dataset's returns, beside those of random actions and of the project's expert.

    All are None for a dataset without rewards; the latter two also where the project has no expert of the task.
    """
    if not np.isfinite(returns).all():
        return {"returns": None, "return": None, "references": None}
    own, folder = spread(returns), root / "data" / "experts" / task
    if not folder.is_dir():
        return {"returns": returns, "return": own, "references": None}
    card = policies.load(task, folder)[1]
    if not allow_weak_expert:
        refuse_weak(f"{dataset}", {"return": own, "random": card["random"]}, "pass --allow-weak-expert", ("return",))
    return {"returns": returns, "return": own, "references": {key: card[key] for key in REFERENCES}}


def _refuse_other_environment(dataset: str, spec: Any, task: str) -> None:
    """Raise InputError unless the environment that a dataset was recorded in is the task as it is by default."""
    from gymnasium.envs.registration import load_env_creator, registry

    if spec is None:
        inform(f"note: {dataset}: names no environment; that its sizes fit {task} is all that can be checked")
        return
    if spec.id != task:
        raise InputError(f"{dataset}: dataset of {spec.id}, not of {task}; choose one of {task}")
    for wrapper in spec.additional_wrappers:
        if wrapper.name not in HARMLESS_WRAPPERS:
            raise InputError(
                f"{dataset}: recorded through the wrapper {wrapper.name}, another decision process than {task}; "
                "choose one recorded without it"
            )
    entry = registry[task].entry_point if task in registry else None
    known = inspect.signature(load_env_creator(entry)).parameters if isinstance(entry, str) else {}
    for key, value in spec.kwargs.items():
        default = known[key].default if key in known else inspect.Parameter.empty
        if key not in DRAWING and _plain(value) != _plain(default):
            raise InputError(
                f"{dataset}: recorded with {key}={value!r}, another decision process than {task}; choose one recorded "
                "with the defaults"
            )


def _plain(value: Any) -> Any:
    """Return a value as it is before and after JSON."""
    return tuple(map(_plain, value)) if isinstance(value, list | tuple) else value


def _refuse_other_episode(where: str, episode: Any, env: Any, task: str) -> None:
    """Raise InputError for an episode that the task could not have."""
    steps = len(episode)
    sizes: dict[str, tuple[int, ...]] = {
        "observations": (steps + 1, env.obs_size),
        "actions": (steps, env.action_size),
        "terminations": (steps,),
        "truncations": (steps,),
    }
    for name, expected in sizes.items():
        found = np.shape(getattr(episode, name))
        if steps == 0 or found != expected:
            raise InputError(
                f"{where}: {name} of shape {found}, but {task} needs {expected} and a step or more; choose a dataset "
                "of this task in its default configuration"
            )
    ends = np.asarray(episode.terminations, bool) | np.asarray(episode.truncations, bool)
    if ends[:-1].any():
        step = int(ends.argmax())
        how = "terminated" if episode.terminations[step] else "truncated"
        raise InputError(
            f"{where}: goes on after it was {how} at step {step}; choose a dataset whose episodes end there"
        )
    if steps > env.horizon:
        raise InputError(
            f"{where}: {steps} steps, but {task} ends after {env.horizon}; choose a dataset with this time limit"
        )
    if steps < env.horizon and not ends[-1]:
        raise InputError(
            f"{where}: stops at step {steps - 1}, neither terminated nor truncated; choose a dataset of whole episodes"
        )


def export_dataset(folder: Path, dataset: str) -> None:
    """Write the whole trajectories in `folder` as a new local Minari dataset; raises InputError if it exists."""
    trajectories, task = demonstrations.read(folder), demonstrations.read_card(folder)["task"]
    _refuse_discrete(task)
    minari = _minari()
    path = _path(dataset)
    if path.exists():
        raise InputError(f"{dataset}: exists already in {path}; choose another name or version")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # about the author and the link that it lacks
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


def _load(dataset: str) -> Any:
    """Return a local dataset; raises InputError if it is missing, damaged or of another version of Minari."""
    minari, path = _minari(), _path(dataset)
    if not path.exists():
        raise InputError(f"{dataset}: no such Minari dataset in {path}; get it with `minari download {dataset}`")
    from minari.dataset.minari_storage import MinariStorage

    with _explained(dataset):
        written_by = MinariStorage.read_raw_metadata(path / "data")["minari_version"]
    if written_by not in minari.supported_dataset_versions:
        raise InputError(
            f"{dataset}: written by Minari {written_by}, which the installed {minari.__version__} does not read; "
            "install a version that does"
        )
    with _explained(dataset):
        return minari.load_dataset(dataset)


def _episodes(dataset: str, found: Any) -> Sequence[Any]:
    with _explained(dataset):
        episodes = list(found)
    if not episodes:
        raise InputError(f"{dataset}: no episodes in it; choose another dataset")
    return episodes


@contextmanager
def _explained(dataset: str) -> Iterator[None]:
    """Turn what Minari and h5py raise, when they read, into an InputError with its own cause and cure."""
    try:
        yield
    except ImportError as error:
        raise InputError(f"{dataset}: Minari needs {error.name or error} to read it; install that") from None
    except (AssertionError, KeyError, OSError, TypeError, ValueError) as error:
        if isinstance(error, OSError) and (remedy := cure(error)):
            raise InputError(f"{dataset}: {os.strerror(error.errno or 0)}; {remedy}") from None
        reason = " ".join(str(error).split())
        raise InputError(f"{dataset}: damaged, Minari cannot read it ({reason}); import an intact copy") from None


def _path(dataset: str) -> Path:
    """Return where Minari keeps a dataset; raises InputError for a malformed name."""
    from minari.dataset.minari_dataset import parse_dataset_id
    from minari.storage.datasets_root_dir import get_dataset_path

    if (folder := os.environ.get("MINARI_DATASETS_PATH", "")).startswith("~"):
        raise InputError(f"MINARI_DATASETS_PATH: {folder}: Minari does not expand ~; write the whole path")
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
