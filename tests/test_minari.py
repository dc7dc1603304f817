"""Minari datasets as demonstrations and back, on datasets made here."""

import builtins
import json
import re
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
import typer.main

from threefold.base.errors import InputError, one_line
from threefold.commands import minari as commands
from threefold.experts import demonstrations
from threefold.experts.demonstrations import ARRAYS, CARD, Trajectories

minari = pytest.importorskip("minari", reason="the optional extra minari is not installed")
pytest.importorskip("h5py", reason="the optional extra minari is not installed")

TASK = "InvertedPendulum-v5"
NAME = "pendulum/ours-v0"


@pytest.fixture(autouse=True)
def datasets(tmp_path, monkeypatch) -> Path:
    """Minari's folder."""
    folder = tmp_path / "datasets"
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(folder))
    return folder


@pytest.fixture
def ours(tmp_path) -> Path:
    """Three trajectories, of which the second one terminated; some actions lie outside of the action space."""
    lengths = torch.tensor([5, 3, 8])
    trajectories = Trajectories(
        torch.randn(19, 4),
        5 * torch.randn(16, 1),
        lengths,
        torch.tensor([False, True, False]),
        demonstrations.draw_starts(lengths, 4, seed=7),
    )
    demonstrations.write(tmp_path / "ours", trajectories, 4, True, {"task": TASK})
    return tmp_path / "ours"


@pytest.fixture
def run(monkeypatch):
    def command(*arguments) -> None:
        typer.main.get_command(commands.command)(list(map(str, arguments)), standalone_mode=False)

    return command


def make_dataset(name=NAME, *, obs=4, actions=1, lengths=(3, 2), env=TASK, nan=False) -> None:
    """A dataset with rewards, as others make them; its last episode terminates, the others just stop."""
    from gymnasium.spaces import Box
    from minari.data_collector import EpisodeBuffer

    episodes = [
        EpisodeBuffer(
            observations=np.full((length + 1, obs), np.nan if nan else 0.5),
            actions=np.ones((length, actions), np.float32),
            rewards=np.arange(length, dtype=float),
            terminations=np.arange(length) == (length - 1 if k == len(lengths) - 1 else -1),
            truncations=np.zeros(length, bool),
        )
        for k, length in enumerate(lengths)
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        minari.create_dataset_from_buffers(
            name,
            episodes,
            env=env,
            observation_space=Box(-np.inf, np.inf, (obs,)),
            action_space=Box(-np.inf, np.inf, (actions,)),
        )


def test_round_trip_gives_the_same_bytes(tmp_path, ours, run):
    run("export", "--demonstrations", ours, "--dataset", NAME)
    run("import", "--dataset", NAME, "--task", TASK, "--out", tmp_path / "back", "--every", 4, "--seed", 7)
    assert (tmp_path / "back" / ARRAYS).read_bytes() == (ours / ARRAYS).read_bytes()
    card = demonstrations.read_card(tmp_path / "back")
    assert card["source"] == f"minari: {NAME}"
    assert card["returns"] is None  # an export has no rewards


def test_an_export_reads_as_minari_dataset(ours, run):
    run("export", "--demonstrations", ours, "--dataset", NAME)
    dataset = minari.load_dataset(NAME)
    assert [len(episode) for episode in dataset] == [5, 3, 8]
    assert [bool(episode.terminations[-1]) for episode in dataset] == [False, True, False]
    assert [bool(episode.truncations[-1]) for episode in dataset] == [True, False, True]
    assert dataset.env_spec.id == TASK
    for episode in dataset:
        assert np.isnan(episode.rewards).all()
        assert not (episode.terminations | episode.truncations)[:-1].any()
        assert episode.observations.dtype == dataset.observation_space.dtype
        assert all(dataset.observation_space.contains(obs) for obs in episode.observations)
        assert all(dataset.action_space.contains(action) for action in episode.actions)
    metadata = json.loads((dataset.storage.data_path / "metadata.json").read_text())
    assert "Rewards are NaN" in metadata["description"]
    assert dataset.recover_environment().observation_space == dataset.observation_space


def test_a_dataset_of_others_loads_as_demonstrations(tmp_path, run):
    make_dataset()
    run("import", "--dataset", NAME, "--task", TASK, "--out", tmp_path / "theirs")
    loaded = demonstrations.load(tmp_path / "theirs", TASK, [1, 2])
    assert loaded.size.tolist() == [3, 5]
    assert (loaded.used * loaded.ended).sum(1).tolist() == [0, 1]
    assert loaded.terminal.tolist() == [False, False, False, False, True]
    card = demonstrations.read_card(tmp_path / "theirs")
    assert card["returns"] == [3, 1]
    assert card["return"] == {"mean": 2, "std": pytest.approx(2**0.5), "episodes": 2}


@pytest.mark.parametrize(
    ("dataset", "said"),
    [
        ({"env": "Hopper-v5"}, ["dataset of Hopper-v5", f"not of {TASK}"]),
        ({"obs": 5}, ["episode 0", "observations", r"\(4, 5\)", r"\(4, 4\)"]),
        ({"actions": 2}, ["episode 0", "actions", r"\(3, 2\)", r"\(3, 1\)"]),
        ({"nan": True}, ["obs", "finite"]),
        ({"env": None, "obs": 5}, ["episode 0", "observations"]),
    ],
)
def test_a_dataset_that_does_not_fit(tmp_path, run, dataset, said):
    make_dataset(**dataset)
    parts = "".join(f"(?=.*{part})" for part in said)
    with pytest.raises(InputError, match=rf"^{parts}[^\n]+$"):
        run("import", "--dataset", NAME, "--task", TASK, "--out", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_damaged_dataset(tmp_path, datasets, run):
    make_dataset()
    (file,) = datasets.rglob("*.hdf5")
    file.write_bytes(file.read_bytes()[:1000])
    with pytest.raises(InputError, match=rf"^{NAME}: Minari cannot read it [^\n]+ download it again$"):
        run("import", "--dataset", NAME, "--task", TASK, "--out", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--dataset", "pendulum/none-v0"], "pendulum/none-v0: no such Minari dataset in .*; get it with"),
        (["--dataset", "../none"], "'../none': no Minari name"),
        (["--dataset", "none"], "'none': no Minari name"),
        (["--dataset", NAME, "--every", "0"], "--every 0: must be"),
        (["--dataset", NAME, "--task", "Hoper-v5"], "did you mean 'Hopper-v5'"),
    ],
)
def test_wrong_arguments_are_one_line_and_exit_2(tmp_path, run, capsys, arguments, said):
    with pytest.raises(SystemExit) as stopped, one_line():
        run("import", "--task", TASK, "--out", tmp_path / "out", *arguments)
    assert stopped.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert re.search(said, line)
    assert not (tmp_path / "out").exists()


def test_an_export_never_overwrites(datasets, ours, run):
    make_dataset()
    before = {path: path.read_bytes() for path in datasets.rglob("*.*") if path.is_file()}
    with pytest.raises(InputError, match=f"^{NAME}: exists already in [^\n]+; choose another name or version$"):
        run("export", "--demonstrations", ours, "--dataset", NAME)
    assert {path: path.read_bytes() for path in datasets.rglob("*.*") if path.is_file()} == before


def test_a_failed_export_leaves_no_dataset(datasets, ours, run, monkeypatch):
    from minari.dataset.minari_storage import MinariStorage

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(MinariStorage, "update_metadata", full)
    with pytest.raises(OSError, match="No space"):
        run("export", "--demonstrations", ours, "--dataset", NAME)
    assert not (datasets / NAME).exists()


@pytest.mark.parametrize("missing", ["minari", "h5py"])
def test_without_the_extra(tmp_path, ours, run, monkeypatch, missing):
    real = builtins.__import__

    def without(name, *rest):
        if name == missing:
            raise ImportError(f"No module named {name!r}", name=name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(InputError, match=rf"^{missing} is not installed; install the extra with [^\n]+$"):
        run("export", "--demonstrations", ours, "--dataset", NAME)
    with pytest.raises(InputError, match=rf"^{missing} is not installed; install the extra with [^\n]+$"):
        run("import", "--dataset", NAME, "--task", TASK, "--out", tmp_path / "out")


def test_whole_trajectories_are_needed_for_an_export(ours, run):
    trajectories = demonstrations.read(ours)
    demonstrations.write(ours, trajectories, 4, False, {"task": TASK})
    with pytest.raises(InputError, match=rf"{CARD}: whole: false"):
        run("export", "--demonstrations", ours, "--dataset", NAME)
