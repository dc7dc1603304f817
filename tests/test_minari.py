"""Minari datasets as demonstrations and back, on datasets made here."""

import builtins
import errno
import json
import os
import re
import shutil
import warnings
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import typer.main
import yaml

from tests.command import threefold
from threefold.base.errors import InputError, one_line
from threefold.commands import minari as commands
from threefold.experts import demonstrate as making
from threefold.experts import demonstrations
from threefold.experts import minari as minari_module
from threefold.experts import trajectories as trajectories_module
from threefold.experts.demonstrations import ARRAYS, CARD
from threefold.experts.trajectories import Trajectories

minari = pytest.importorskip("minari", reason="the optional extra minari is not installed")
pytest.importorskip("h5py", reason="the optional extra minari is not installed")

ROOT = Path(__file__).parents[1]
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
        trajectories_module.draw_starts(lengths, 4, seed=7),
    )
    demonstrations.write(tmp_path / "ours", trajectories, 4, True, {"task": TASK})
    return tmp_path / "ours"


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Run the command; in tmp_path is a project."""
    (tmp_path / "dvc.yaml").write_text("")
    (tmp_path / "params.yaml").write_text("profile: mine\n")

    def command(*arguments) -> None:
        typer.main.get_command(commands.command)(list(map(str, arguments)), standalone_mode=False)

    return command


def make_dataset(name=NAME, *, obs=4, actions=1, lengths=(3, 2), env=TASK, nan=False, reward=1.0, flags=None) -> None:
    """A dataset with rewards, as others make them; its last episode terminates, the others are truncated.

    `flags` are (terminations, truncations) of an episode, by its number, where they shall be others.
    """
    from gymnasium.spaces import Box
    from minari.data_collector import EpisodeBuffer

    episodes = []
    for k, length in enumerate(lengths):
        last, terminated = np.arange(length) == length - 1, k == len(lengths) - 1
        ends = (last & terminated, last & (not terminated))
        terminations, truncations = (flags or {}).get(k, ends)
        episodes.append(
            EpisodeBuffer(
                observations=np.full((length + 1, obs), np.nan if nan == "obs" else 0.5),
                actions=np.full((length, actions), np.nan if nan == "action" else 1.0, np.float32),
                rewards=reward * np.arange(length, dtype=float),
                terminations=np.array(terminations, bool),
                truncations=np.array(truncations, bool),
            )
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        minari.create_dataset_from_buffers(
            name,
            episodes,
            env=env,
            observation_space=Box(-np.inf, np.inf, (obs,)),
            action_space=Box(-np.inf, np.inf, (actions,)),
        )


def imported(tmp_path) -> Path:
    return tmp_path / "data" / "imported" / "theirs"


@pytest.fixture
def import_(tmp_path, run):
    """Import a dataset into a project in tmp_path; return its folder there."""

    def command(dataset=NAME, *options, task=TASK, name="theirs") -> Path:
        run("import", "--dataset", dataset, "--task", task, "--name", name, "--root", tmp_path, *options)
        return tmp_path / "data" / "imported" / name

    return command


@pytest.fixture
def refused(tmp_path, import_):
    """Expect that an import is refused in one line that says all of this, and that nothing is written."""

    def check(*said: str, dataset=NAME, options=(), task=TASK) -> None:
        parts = "".join(f"(?=.*{part})" for part in said)
        with pytest.raises(InputError, match=rf"^{parts}[^\n]+$") as caught:
            import_(dataset, *options, task=task)
        assert not (tmp_path / "data" / "imported").exists()
        assert not re.search("delete|remove|again", str(caught.value))

    return check


def test_round_trip_gives_the_same_bytes(ours, run, import_):
    run("export", "--demonstrations", ours, "--dataset", NAME)
    back = import_(NAME, "--every", 4, "--seed", 7)
    assert (back / ARRAYS).read_bytes() == (ours / ARRAYS).read_bytes()
    card = demonstrations.read_card(back)
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


def test_a_dataset_of_others_loads_as_demonstrations(import_):
    make_dataset()
    theirs = import_()
    loaded = demonstrations.load(theirs, TASK, [1, 2])
    assert loaded.size.tolist() == [3, 5]
    assert (loaded.used * loaded.ended).sum(1).tolist() == [0, 1]
    assert loaded.terminal.tolist() == [False, False, False, False, True]
    card = demonstrations.read_card(theirs)
    assert card["source"] == f"minari: {NAME}"
    assert card["returns"] == [3, 1]
    assert card["return"] == {"mean": 2, "std": pytest.approx(2**0.5), "episodes": 2}
    assert card["references"] is None  # this project has no expert of the task


@pytest.fixture
def expert(tmp_path):
    """The card of the project's expert."""
    folder = tmp_path / "data" / "experts" / TASK
    shutil.copytree(ROOT / "data" / "experts" / TASK, folder)
    return json.loads((folder / "card.json").read_text())


def test_its_returns_stand_beside_those_of_the_expert_and_of_random_actions(import_, expert):
    make_dataset(lengths=(50, 60))
    card = demonstrations.read_card(import_())
    assert card["returns"] == [1225, 1770]
    assert card["references"] == {key: expert[key] for key in ("random", "return_deterministic", "return_stochastic")}


def test_a_dataset_no_better_than_random_is_refused_unless_asked_for(import_, refused, expert):
    make_dataset(lengths=(3, 2), reward=-1.0)
    refused(NAME, "return: mean -2 is not clearly above random", "--allow-weak-expert")
    assert demonstrations.read_card(import_(NAME, "--allow-weak-expert"))["return"]["mean"] == -2


@pytest.mark.parametrize("name", ["../Hopper-v5", "a/b", "a.b", "$(touch x)", "", "-x"])
def test_a_name_that_is_none(tmp_path, import_, name):
    make_dataset()
    with pytest.raises(InputError, match=r"^--name: [^\n]*letters, digits, _ and - only[^\n]+$"):
        import_(name=name)
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("kind", ["demonstrations", "file", "dangling link"])
def test_what_was_imported_is_never_overwritten(tmp_path, import_, kind):
    make_dataset()
    out = imported(tmp_path)
    out.parent.mkdir(parents=True)
    if kind == "demonstrations":
        import_()
    elif kind == "file":
        out.write_text("mine")
    else:
        out.symlink_to(tmp_path / "scratch")
    before = sorted((path, path.is_file() and path.read_bytes()) for path in out.parent.rglob("*"))
    with pytest.raises(InputError, match=rf"^{out}: exists[^\n]*never overwritten; choose another --name$"):
        import_()
    assert sorted((path, path.is_file() and path.read_bytes()) for path in out.parent.rglob("*")) == before


def test_demonstrating_leaves_it_alone(tmp_path, import_, expert):
    make_dataset()
    theirs = import_(NAME, "--allow-weak-expert")
    before = {path: path.read_bytes() for path in theirs.iterdir()}
    design = {"demonstrations": {TASK: {"trajectories": 2, "every": 5, "seed": 0, "whole": True}}}
    (tmp_path / "data" / "params.yaml").write_text(yaml.safe_dump(design))
    making.demonstrate(TASK, tmp_path / "data" / "params.yaml", False)
    assert demonstrations.read_card(tmp_path / "data" / "demonstrations" / TASK)["source"] == "expert"
    assert {path: path.read_bytes() for path in theirs.iterdir()} == before


def test_a_damaged_import_cannot_come_from_dvc(import_):
    make_dataset()
    theirs = import_()
    (theirs / ARRAYS).write_bytes(b"")
    with pytest.raises(InputError, match=r"restore it from git or import it again, under another name$"):
        demonstrations.read(theirs)
    with pytest.raises(InputError, match=r"missing; make it with `threefold minari import`$"):
        demonstrations.read(theirs.with_name("others"))


# --- data of another decision process


@pytest.mark.parametrize(
    ("dataset", "said"),
    [
        ({"env": "Hopper-v5"}, ["dataset of Hopper-v5", f"not of {TASK}"]),
        ({"obs": 5}, ["episode 0", "observations", r"\(4, 5\)", r"\(4, 4\)"]),
        ({"actions": 2}, ["episode 0", "actions", r"\(3, 2\)", r"\(3, 1\)"]),
        ({"nan": "obs"}, [NAME, "obs of trajectory 0, step 0 is not finite"]),
        ({"nan": "action"}, [NAME, "action of trajectory 0, step 0 is not finite"]),
        ({"env": None, "obs": 5}, ["episode 0", "observations"]),
        ({"lengths": (1001, 2)}, ["episode 0: 1001 steps, but InvertedPendulum-v5 ends after 1000"]),
        ({"lengths": (2, 3000)}, ["episode 1: 3000 steps, but"]),
        ({"flags": {0: ([1, 0, 0], [0, 0, 1])}}, ["episode 0: goes on after it was terminated at step 0"]),
        ({"flags": {0: ([0, 1, 0], [0, 0, 0])}}, ["episode 0: goes on after it was terminated at step 1"]),
        ({"flags": {0: ([0, 0, 1], [0, 1, 0])}}, ["episode 0: goes on after it was truncated at step 1"]),
        ({"flags": {1: ([1, 1], [0, 0])}}, ["episode 1: goes on after it was terminated at step 0"]),
        ({"flags": {0: ([0] * 3, [0] * 3)}}, ["episode 0: stops at step 2, neither terminated nor truncated"]),
        ({"flags": {1: ([0, 0], [0, 0])}}, ["episode 1: stops at step 1, neither terminated nor truncated"]),
    ],
)
def test_a_dataset_that_does_not_fit(refused, dataset, said):
    make_dataset(**dataset)
    refused(*said)


def test_whole_episodes_that_only_just_fit(import_):
    """At the time limit nothing need be said; before it, the dataset says that it truncated; both may be said."""
    flags = {0: ([0] * 1000, [0] * 1000), 1: ([0, 0], [0, 1]), 2: ([0, 1], [0, 1])}
    make_dataset(lengths=(1000, 2, 2), flags=flags)
    found = demonstrations.read(import_())
    assert found.lengths.tolist() == [1000, 2, 2]
    assert found.terminated.tolist() == [False, False, True]


def hopper_dataset(env) -> None:
    """One short episode that is said to be recorded in `env`."""
    make_dataset("hopper/other-v0", obs=11, actions=3, lengths=(2,), env=env.spec)


@pytest.mark.parametrize(
    ("wrapper", "options"),
    [
        ("NormalizeObservation", {}),
        ("NormalizeReward", {}),
        ("ClipReward", {"min_reward": 0.0}),
        ("RescaleAction", {"min_action": -2.0, "max_action": 2.0}),
        ("TimeAwareObservation", {}),
        ("StickyAction", {"repeat_action_probability": 0.5}),
    ],
)
def test_a_wrapper_that_makes_another_process(refused, wrapper, options):
    import gymnasium.wrappers

    hopper_dataset(getattr(gymnasium.wrappers, wrapper)(gymnasium.make("Hopper-v5"), **options))
    refused(f"hopper/other-v0: recorded through the wrapper {wrapper}", dataset="hopper/other-v0", task="Hopper-v5")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("terminate_when_unhealthy", False),
        ("healthy_z_range", (0.5, float("inf"))),
        ("frame_skip", 8),
        ("reset_noise_scale", 0.1),
        ("ctrl_cost_weight", 0.0),
        ("xml_file", str(files("gymnasium") / "envs" / "mujoco" / "assets" / "hopper.xml")),
    ],
)
def test_a_keyword_that_makes_another_process(refused, key, value):
    from gymnasium.envs.registration import EnvSpec

    spec = EnvSpec("Hopper-v5", "gymnasium.envs.mujoco.hopper_v5:HopperEnv", kwargs={key: value})
    make_dataset("hopper/other-v0", obs=11, actions=3, lengths=(2,), env=spec)
    refused(rf"hopper/other-v0: recorded with {key}=", dataset="hopper/other-v0", task="Hopper-v5")


def test_wrappers_and_keywords_that_change_nothing(import_):
    """Keywords as they are by default, a camera, and wrappers that only look on."""
    from gymnasium import make
    from gymnasium.wrappers import ClipAction, RecordEpisodeStatistics, TimeLimit

    defaults: dict[str, Any] = {
        "terminate_when_unhealthy": True,
        "healthy_z_range": (0.7, float("inf")),
        "frame_skip": 4,
    }
    env = make("Hopper-v5", render_mode="rgb_array", width=64, max_episode_steps=500, **defaults)
    hopper_dataset(TimeLimit(ClipAction(RecordEpisodeStatistics(env)), 3000))
    assert demonstrations.read(import_("hopper/other-v0", task="Hopper-v5")).lengths.tolist() == [2]


def test_a_dataset_without_an_environment_is_taken_with_a_note(import_, capsys):
    make_dataset(env=None)
    import_()
    assert capsys.readouterr().err == (
        f"note: {NAME}: names no environment; that its sizes fit {TASK} is all that can be checked\n"
    )


# --- datasets that cannot be read: each cause with its own cure


def metadata(datasets) -> Path:
    (path,) = datasets.rglob("metadata.json")
    return path


@pytest.mark.parametrize("version", ["0.3.0", "0.9.0", "1.0"])
def test_a_dataset_of_another_version_of_minari(datasets, refused, version):
    make_dataset()
    path = metadata(datasets)
    path.write_text(json.dumps(json.loads(path.read_text()) | {"minari_version": version}))
    installed = re.escape(minari.__version__)
    refused(
        f"{NAME}: written by Minari {re.escape(version)}, which the installed {installed} does not read; install a v"
    )


def test_a_dataset_that_is_cut_short(datasets, refused):
    make_dataset()
    (file,) = datasets.rglob("*.hdf5")
    file.write_bytes(file.read_bytes()[:1000])
    refused(f"{NAME}: damaged, Minari cannot read it ", "import an intact copy$")


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"minari_version": "0.5.4"}'])
def test_a_dataset_whose_metadata_is_none(datasets, refused, text):
    make_dataset()
    metadata(datasets).write_text(text)
    refused(f"{NAME}: damaged, Minari cannot read it ", "import an intact copy$")


@pytest.mark.parametrize("pattern", ["metadata.json", "*.hdf5"])
def test_a_dataset_without_one_of_its_files(datasets, refused, pattern):
    make_dataset()
    (path,) = datasets.rglob(pattern)
    path.unlink()
    refused(NAME)


@pytest.mark.parametrize("place", ["metadata.json", "*.hdf5"])
def test_a_dataset_that_may_not_be_read(datasets, refused, monkeypatch, place):
    """Modes do not bind root, so opening is refused by hand."""
    make_dataset()
    (path,) = datasets.rglob(place)
    if os.geteuid():
        path.chmod(0)
    elif place == "metadata.json":
        real = builtins.open

        def denied(name, *rest, **options):
            if Path(str(name)) == path:
                raise PermissionError(errno.EACCES, "Permission denied", str(name))
            return real(name, *rest, **options)

        monkeypatch.setattr(builtins, "open", denied)
    else:
        import h5py

        def denied_by_hdf5(*_, **__):
            raise PermissionError(errno.EACCES, "Unable to synchronously open file\n (errno = 13)")

        monkeypatch.setattr(h5py, "File", denied_by_hdf5)
    refused(f"{NAME}: Permission denied; ask for permission")


def test_a_dataset_in_a_format_that_is_not_installed(datasets, refused, monkeypatch):
    make_dataset()

    def arrow(_):
        raise ImportError("No module named 'pyarrow'", name="pyarrow")

    monkeypatch.setattr(minari, "load_dataset", arrow)
    refused(f"{NAME}: Minari needs pyarrow to read it; install that")


def test_a_folder_of_datasets_that_minari_would_take_by_its_letters(refused, monkeypatch):
    monkeypatch.setenv("MINARI_DATASETS_PATH", "~/datasets")
    refused("MINARI_DATASETS_PATH: ~/datasets: Minari does not expand ~")
    assert not Path("~").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--dataset", "pendulum/none-v0"], "pendulum/none-v0: no such Minari dataset in .*; get it with"),
        (["--dataset", "../none"], "'../none': no Minari name"),
        (["--dataset", "none"], "'none': no Minari name"),
        (["--dataset", NAME, "--task", "Hoper-v5"], "did you mean 'Hopper-v5'"),
    ],
)
def test_wrong_arguments_are_one_line_and_exit_2(tmp_path, run, capsys, arguments, said):
    with pytest.raises(SystemExit) as stopped, one_line():
        run("import", "--task", TASK, "--name", "theirs", "--root", tmp_path, *arguments)
    assert stopped.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert re.search(said, line)
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("options", [["--every", "0"], ["--seed", "-1"], ["--seed", str(2**63)]])
def test_options_out_of_range(tmp_path, options):
    assert threefold("minari", "import", "--dataset", NAME, "--task", TASK, "--name", "x", *options) == 2
    assert not (tmp_path / "data").exists()


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
def test_without_the_extra(ours, run, import_, monkeypatch, missing):
    real = builtins.__import__

    def without(name, *rest):
        if name == missing:
            raise ImportError(f"No module named {name!r}", name=name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(InputError, match=rf"^{missing} is not installed; install the extra with [^\n]+$"):
        run("export", "--demonstrations", ours, "--dataset", NAME)
    with pytest.raises(InputError, match=rf"^{missing} is not installed; install the extra with [^\n]+$"):
        import_()


def test_whole_trajectories_are_needed_for_an_export(ours, run):
    trajectories = demonstrations.read(ours)
    demonstrations.write(ours, trajectories, 4, False, {"task": TASK})
    with pytest.raises(InputError, match=rf"{CARD}: whole: false"):
        run("export", "--demonstrations", ours, "--dataset", NAME)


def test_discrete_actions_are_refused_both_ways():
    folder = ROOT / "data" / "demonstrations" / "CartPole-v1"
    with pytest.raises(InputError, match=r"^CartPole-v1: has discrete actions"):
        minari_module.export_dataset(folder, "threefold/cartpole-v0")
    with pytest.raises(InputError, match=r"^CartPole-v1: has discrete actions"):
        minari_module.import_dataset("threefold/cartpole-v0", "CartPole-v1", "mine", ROOT, 10, 0)


@pytest.mark.parametrize("lengths", [(3, 40), (1000, 21), (1,)])
@pytest.mark.parametrize("known", [True, False])
def test_the_pages_dataset_of_trajectories_of_ones_own_is_imported(datasets, import_, lengths, known):
    page = (ROOT / "docs" / "own" / "demonstrations.md").read_text()
    (snippet,) = re.findall(r"```python\n(.+?)```", page, re.DOTALL)
    own = [
        (
            np.random.randn(length + 1, 11),
            3 * np.random.randn(length, 3).astype(np.float32),  # some beyond the action space
            np.full(length, 1.0 if known else np.nan),
            length < 1000,
        )
        for length in lengths
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        exec(snippet, {"own": own})
    folder = import_("own/hopper-v0", "--every", 20, task="Hopper-v5")
    found, card = demonstrations.read(folder), demonstrations.read_card(folder)
    assert found.lengths.tolist() == list(lengths)
    assert found.terminated.tolist() == [length < 1000 for length in lengths]
    np.testing.assert_allclose(found.obs.numpy(), np.concatenate([obs for obs, *_ in own]), rtol=1e-6)
    np.testing.assert_array_equal(found.action.numpy(), np.concatenate([action for _, action, *_ in own]))
    assert card["returns"] == ([float(length) for length in lengths] if known else None)


@pytest.mark.parametrize("verb", ["minari", "store", "launch"])
def test_a_folder_that_is_no_project_is_refused_and_stays_as_it_is(tmp_path, monkeypatch, capsys, verb):
    """The data's own folder, from which data/data would be written; an empty one; a profile's own."""
    project = tmp_path / "project"
    for folder, text in {".": "profile: a", "data": "experts: {}", "mine": "root: ..\nprofile: mine"}.items():
        (project / folder).mkdir(exist_ok=True)
        (project / folder / "dvc.yaml").write_text("")
        (project / folder / "params.yaml").write_text(text)
    (project / "empty").mkdir()
    verbs = {
        "minari": ["minari", "import", "--dataset", NAME, "--task", TASK, "--name", "theirs"],
        "store": ["store", "list"],
        "launch": ["launch", "--profile", "mine"],
    }
    for folder, said in {
        "data": "no profile here, a params.yaml beside a dvc.yaml; name the project's folder, or run it there",
        "empty": "no profile here, a params.yaml beside a dvc.yaml; name the project's folder, or run it there",
        "mine": "a profile's own folder; run it in the project's folder, .. seen from here",
    }.items():
        monkeypatch.chdir(project / folder)
        assert threefold(*verbs[verb]) == 2
        root = project / folder if verb == "launch" else "."
        assert capsys.readouterr().err == f"error: --root {root}: {said}\n"
        assert not (project / folder / "data").exists()


@pytest.mark.parametrize("verb", ["plan", "collect", "expert", "demonstrate"])
def test_a_missing_params_yaml_may_be_that_of_another_folder(tmp_path, monkeypatch, capsys, verb):
    monkeypatch.chdir(tmp_path)
    options = ["--task", TASK] if verb in ("expert", "demonstrate") else []
    assert threefold(verb, *options) == 2
    name = "data/params.yaml" if options else "params.yaml"
    assert capsys.readouterr().err == (
        f"error: {name}: missing; name a params.yaml that exists with --params, or run it in the project's folder\n"
    )
