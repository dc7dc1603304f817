"""Demonstrations: rolled out, subsampled, written whole or not at all, and refused with one line when wrong."""

import hashlib
import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import safetensors.torch
import torch

import envs
from algorithms.core.policy import GaussianPolicy
from algorithms.core.population import Generators
from threefold.base.errors import InputError, one_line
from threefold.experts import demonstrate as making
from threefold.experts import demonstrations, policies
from threefold.experts import trajectories as trajectories_module
from threefold.experts.demonstrate import Design
from threefold.experts.demonstrations import ARRAYS, CARD
from threefold.experts.trajectories import Trajectories

ROOT = Path(__file__).parents[1]
TASK = "InvertedPendulum-v5"
PARAMS = "demonstrations:\n  {task}: {{trajectories: 6, every: 3, seed: 1, whole: {whole}}}\n"
EXPERT = {
    "task": TASK,
    "return_deterministic": {"mean": 100.0, "std": 1.0, "episodes": 50},
    "return_stochastic": {"mean": 90.0, "std": 5.0, "episodes": 50},
    "random": {"mean": 10.0, "std": 5.0, "episodes": 50},
    "env_steps": 1000,
    "seed": 0,
    "sha256": "0" * 64,
}


def untrained(task: str) -> GaussianPolicy:
    env = envs.make(task, [0], 1)
    return GaussianPolicy(env.obs_size, (env.action_high - env.action_low) / 2, (8,), Generators([0], "weights"))


@pytest.fixture
def command(tmp_path, monkeypatch):
    """Run the command on a stand-in expert; `expert` replaces entries of its card. Returns the artefact's folder."""

    def run(*options: str, task: str = TASK, whole: str = "true", params: str = PARAMS, **expert) -> Path:
        card = {key: value for key, value in (EXPERT | expert).items() if value is not ...}

        def load(task: str, folder: Path):
            assert folder == tmp_path / "experts" / task
            return untrained(task), card

        monkeypatch.setattr(policies, "load", load)
        path = tmp_path / "params.yaml"
        path.write_text(params.format(task=task, whole=whole))
        making.demonstrate(task, path, "--allow-weak-expert" in options)
        return tmp_path / "demonstrations" / task

    return run


def write_tiny(folder: Path, **changes) -> Path:
    """Two trajectories, of 5 steps (terminated) and 2, whose entries say which trajectory and step they are."""
    obs = torch.cat([torch.arange(6.0), 100 + torch.arange(3.0)])[:, None].repeat(1, 2)
    action = torch.cat([torch.arange(5.0), 100 + torch.arange(2.0)])[:, None]
    arrays = {
        "obs": obs,
        "action": action,
        "lengths": torch.tensor([5, 2]),
        "terminated": torch.tensor([True, False]),
        "starts": torch.tensor([1, 0]),
    }
    options = {"every": 2, "whole": True} | {key: changes.pop(key) for key in ("every", "whole") if key in changes}
    demonstrations.write(folder, Trajectories(**arrays | changes), **options, facts={"task": TASK})
    return folder


def edit_card(folder: Path, **changes) -> None:
    card = json.loads((folder / CARD).read_text()) | changes
    (folder / CARD).write_text(json.dumps({key: value for key, value in card.items() if value is not ...}))


def edit_arrays(folder: Path, **changes) -> None:
    """Change the arrays and the checksum with them."""
    arrays = safetensors.torch.load_file(folder / ARRAYS) | changes
    data = safetensors.torch.save({name: array for name, array in arrays.items() if array is not ...})
    (folder / ARRAYS).write_bytes(data)
    edit_card(folder, sha256=hashlib.sha256(data).hexdigest())


def refused(*said: str):
    """Expect an InputError of one line that says all of this."""
    parts = "".join(f"(?=.*{part})" for part in said)
    return pytest.raises(InputError, match=rf"^{parts}[^\n]+$")


# --- rolling out


@pytest.mark.parametrize(("task", "ends"), [(TASK, True), ("Hopper-v5", True), ("Reacher-v5", False)])
def test_trajectories_are_what_the_environment_did(task, ends):
    policy, plan = untrained(task), Design(trajectories=4, every=2, seed=3, whole=True)
    found, returns = trajectories_module.roll_out(
        making.stochastic(policy, plan.seed), task, plan.seed, plan.trajectories, plan.every
    )
    assert len(found) == len(returns) == 4
    assert found.terminated.tolist() == [ends] * 4
    assert (found.lengths < envs.load(task).HORIZON).all() == ends
    # Each trajectory again, by itself: the actions recorded lead from the first observation recorded to all others.
    env = envs.make(task, [plan.seed], 4)
    rows = found.transitions()
    total = torch.zeros(4)
    for t in range(int(found.lengths.max())):
        alive = t < found.lengths
        index = torch.where(alive, found.lengths.cumsum(0) - found.lengths + t, 0)
        torch.testing.assert_close(env.obs[0][alive].float(), rows.obs[index][alive], rtol=0, atol=0)
        step = env.step(rows.action[index][None], alive[None])
        torch.testing.assert_close(step.next_obs[0][alive].float(), rows.next_obs[index][alive], rtol=0, atol=0)
        last = alive & (t == found.lengths - 1)
        assert (step.terminal[0][last] == found.terminated[last]).all()
        assert not (step.terminal | step.truncated)[0][alive & ~last].any()
        total += (step.reward[0] * alive).float()
    torch.testing.assert_close(total, torch.tensor(returns), rtol=1e-5, atol=1e-4)


def test_actions_are_kept_as_drawn():
    policy = untrained(TASK)
    plan = Design(trajectories=20, every=1, seed=0, whole=True)
    found, _ = trajectories_module.roll_out(
        making.stochastic(policy, plan.seed), TASK, plan.seed, plan.trajectories, plan.every
    )
    assert (found.action.abs() > envs.make(TASK, [0], 1).action_high).any()
    z = (found.action - policy(found.transitions().obs[None])[0]).detach() / policy.action_scale
    assert abs(float(z.std()) - 1) < 0.2


def test_a_time_limit_is_no_end(monkeypatch):
    monkeypatch.setattr(envs.load(TASK), "HORIZON", 4)
    policy, plan = untrained(TASK), Design(trajectories=8, every=1, seed=0, whole=True)
    found, _ = trajectories_module.roll_out(
        making.stochastic(policy, plan.seed), TASK, plan.seed, plan.trajectories, plan.every
    )
    cut = (found.lengths == 4) & ~found.terminated
    assert found.lengths.max() == 4
    assert cut.any()
    assert (found.lengths < 4).any()
    assert found.terminated[found.lengths < 4].all()


# --- subsampling


def test_every_pair_from_the_start_on(tmp_path):
    loaded = demonstrations.load(write_tiny(tmp_path / "d"), TASK, [1, 2])
    assert loaded.obs[:, 0].tolist() == [1, 3, 100]
    assert loaded.action[:, 0].tolist() == [1, 3, 100]
    assert loaded.next_obs[:, 0].tolist() == [2, 4, 101]
    assert loaded.size.tolist() == [2, 3]
    assert (loaded.used * loaded.lengths).sum(1).tolist() == [5, 7]
    assert (loaded.used * loaded.ended).sum(1).tolist() == [1, 1]


@pytest.mark.parametrize(("start", "terminal"), [(0, [False, False, True]), (1, [False, False])])
def test_terminal_marks_the_true_last_transition_only(tmp_path, start, terminal):
    folder = write_tiny(tmp_path / "d", starts=torch.tensor([start, 1]))
    loaded = demonstrations.load(folder, TASK, [2])
    assert loaded.terminal.tolist() == [*terminal, False]  # the second trajectory was cut by its time limit


def test_sets_are_nested(tmp_path, command):
    folder = command()
    few, all_ = demonstrations.load(folder, TASK, [2]), demonstrations.load(folder, TASK, [2, 6])
    assert few.rows < all_.rows
    assert few.size[0] == all_.size[0]
    assert torch.equal(few.obs[: few.rows], all_.obs[: few.rows])


def test_starts_are_random_and_within_the_trajectory():
    lengths = torch.tensor([3, 1000]).repeat(200)
    starts = trajectories_module.draw_starts(lengths, 20, seed=0)
    assert set(starts[::2].tolist()) == set(range(3))
    assert set(starts[1::2].tolist()) == set(range(20))
    assert torch.equal(starts, trajectories_module.draw_starts(lengths, 20, seed=0))
    assert not torch.equal(starts, trajectories_module.draw_starts(lengths, 20, seed=1))


def test_single_pairs_load_like_whole_trajectories(tmp_path, command):
    whole = demonstrations.load(command(), TASK, [1, 6])
    size = (tmp_path / "demonstrations" / TASK / ARRAYS).stat().st_size
    folder = command(whole="false")
    pairs = demonstrations.load(folder, TASK, [1, 6])
    assert (folder / ARRAYS).stat().st_size < size
    for name, value in vars(whole).items():
        if name != "_whole":
            assert torch.equal(getattr(pairs, name), value), name
    with refused(CARD, "whole"):
        demonstrations.read(folder)
    with refused("whole"):
        pairs.whole()


def test_whole_trajectories_are_loaded_beside_the_pairs(tmp_path):
    """For each learner all that any of them uses."""
    folder = write_tiny(tmp_path / "d")
    obs, action, next_obs, terminal = demonstrations.load(folder, TASK, [1, 2]).whole()
    for p in range(2):
        assert obs[p, :, 0].tolist() == action[p, :, 0].tolist() == [0, 1, 2, 3, 4, 100, 101]
        assert next_obs[p, :, 0].tolist() == [1, 2, 3, 4, 5, 101, 102]
        assert terminal[p].tolist() == [False] * 4 + [True, False, False]
    assert demonstrations.load(folder, TASK, [1, 1]).whole().obs.shape == (2, 5, 2)


# --- the artefact


def test_same_bytes_twice_and_another_seed_other_bytes(command):
    folder = command()
    first = [(folder / name).read_bytes() for name in (ARRAYS, CARD)]
    command()
    assert [(folder / name).read_bytes() for name in (ARRAYS, CARD)] == first
    command(params=PARAMS.replace("seed: 1", "seed: 2"))
    assert (folder / ARRAYS).read_bytes() != first[0]


def test_the_card_says_what_they_are_and_arrays_hold_no_reward(command):
    folder = command()
    card = json.loads((folder / CARD).read_text())
    assert set(safetensors.torch.load_file(folder / ARRAYS)) == {"obs", "action", "lengths", "terminated", "starts"}
    assert card["returns"] == pytest.approx([length - 1 for length in card["lengths"]])  # 1 a step, 0 for the fall
    assert card["return"]["mean"] == pytest.approx(sum(card["returns"]) / 6)
    assert card["return"]["episodes"] == card["trajectories"] == 6
    assert card["expert"]["return_stochastic"] == EXPERT["return_stochastic"]
    assert set(card["versions"]) == {"python", "torch", "mujoco", "gymnasium"}
    assert card["command"].startswith("threefold")


def test_whole_trajectories_come_back_as_written(tmp_path):
    found = demonstrations.read(write_tiny(tmp_path / "d"))
    assert found.obs[:, 0].tolist() == [0, 1, 2, 3, 4, 5, 100, 101, 102]
    assert found.lengths.tolist() == [5, 2]
    assert found.terminated.tolist() == [True, False]
    assert found.transitions().next_obs[:, 0].tolist() == [1, 2, 3, 4, 5, 101, 102]


def test_a_failed_write_leaves_the_old_artefact(tmp_path, monkeypatch):
    folder = write_tiny(tmp_path / "d")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(OSError, match="No space"):
        write_tiny(folder, every=1)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert [path.name for path in tmp_path.iterdir()] == ["d"]


def test_a_folder_that_holds_other_things_is_left_alone(tmp_path):
    folder = write_tiny(tmp_path / "d")
    (folder / "thesis.tex").write_text("years of work")
    with refused("d: holds thesis.tex", "choose another folder"):
        write_tiny(folder)
    assert (folder / "thesis.tex").exists()


def test_a_write_stopped_between_its_files_is_refused(tmp_path):
    folder, other = write_tiny(tmp_path / "d"), write_tiny(tmp_path / "e", action=torch.zeros(7, 1))
    (other / ARRAYS).replace(folder / ARRAYS)
    with refused(ARRAYS, "sha256"):
        demonstrations.load(folder, TASK, [1])


# --- wrong input


def test_missing_folder(tmp_path):
    with refused("nowhere", "missing", "threefold demonstrate"):
        demonstrations.load(tmp_path / "nowhere", TASK, [1])


@pytest.mark.parametrize("name", [ARRAYS, CARD])
def test_missing_file(tmp_path, name):
    folder = write_tiny(tmp_path / "d")
    (folder / name).unlink()
    with refused(name, "No such file", "dvc repro"):
        demonstrations.load(folder, TASK, [1])


@pytest.mark.parametrize("text", ["", "{", "\xff", "[]", "null"])
def test_a_card_that_is_none(tmp_path, text):
    folder = write_tiny(tmp_path / "d")
    (folder / CARD).write_bytes(text.encode("latin1"))
    with refused(CARD, "dvc repro"):
        demonstrations.load(folder, TASK, [1])


@pytest.mark.parametrize("key", sorted(demonstrations.KEYS))
@pytest.mark.parametrize("value", [..., None, 0, -1, 1.5, [1]])
def test_a_card_without_a_proper_key(tmp_path, key, value):
    folder = write_tiny(tmp_path / "d")
    edit_card(folder, **{key: value})
    with refused(CARD, key, "dvc repro"):
        demonstrations.load(folder, TASK, [1])


def test_truncated_or_altered_arrays(tmp_path):
    folder = write_tiny(tmp_path / "d")
    data = (folder / ARRAYS).read_bytes()
    for wrong in (data[:-1], data[:100], b"", data[:-1] + bytes([data[-1] ^ 1])):
        (folder / ARRAYS).write_bytes(wrong)
        with refused(ARRAYS, "sha256", "dvc repro"):
            demonstrations.load(folder, TASK, [1])


def test_arrays_that_are_no_safetensors(tmp_path):
    folder = write_tiny(tmp_path / "d")
    (folder / ARRAYS).write_bytes(b"pickle")
    edit_card(folder, sha256=hashlib.sha256(b"pickle").hexdigest())
    with refused(ARRAYS, "not a safetensors file"):
        demonstrations.load(folder, TASK, [1])


@pytest.mark.parametrize(
    ("name", "array"),
    [
        ("obs", torch.zeros(9, 3)),
        ("obs", torch.zeros(8, 2)),
        ("obs", torch.zeros(9, 2, dtype=torch.float64)),
        ("obs", torch.full((9, 2), torch.nan)),
        ("action", torch.zeros(7, 2)),
        ("action", torch.full((7, 1), torch.inf)),
        ("lengths", torch.tensor([5])),
        ("lengths", torch.tensor([5, 3])),
        ("starts", torch.tensor([5, 0])),
        ("starts", torch.tensor([-1, 0])),
        ("terminated", torch.tensor([1, 0])),
        ("terminated", ...),
        ("reward", torch.zeros(7)),
    ],
)
def test_arrays_of_another_kind(tmp_path, name, array):
    folder = write_tiny(tmp_path / "d")
    edit_arrays(folder, **{name: array})
    with refused(ARRAYS):
        demonstrations.load(folder, TASK, [1])


def test_arrays_not_finite_are_not_written(tmp_path):
    """The line names no file: there is none. It names the first number that is none, by trajectory and step."""
    for array, row, place in (
        ("action", 0, "action of trajectory 0, step 0"),
        ("action", 4, "action of trajectory 0, step 4"),
        ("action", 6, "action of trajectory 1, step 1"),
        ("obs", 5, "obs of trajectory 0, step 5"),
        ("obs", 8, "obs of trajectory 1, step 2"),
    ):
        values = torch.zeros((7, 1) if array == "action" else (9, 2))
        values[row, -1] = torch.nan if row else torch.inf
        with refused(rf"d: {place} is not finite; nothing is written") as caught:
            write_tiny(tmp_path / "d", **{array: values})
        assert ARRAYS not in str(caught.value)
        assert not (tmp_path / "d").exists()


def test_an_expert_whose_actions_are_no_numbers_is_named(command, monkeypatch):
    real = untrained

    def diverged(task):
        policy = real(task)
        with torch.no_grad():
            policy.log_std.fill_(torch.nan)
        return policy

    monkeypatch.setitem(globals(), "untrained", diverged)
    with refused(f"experts/{TASK}: action of trajectory 0, step 0 is not finite; train the expert again"):
        command()


@pytest.mark.parametrize("where", ["scratch/there", "../there"])
@pytest.mark.parametrize("filled", [True, False])
def test_a_folder_that_is_a_link_stays_one(tmp_path, where, filled):
    """Demonstrations that lie on another disk are replaced there, or made there where the link leads to nothing yet."""
    project = tmp_path / "project"
    project.mkdir()
    target = project / where
    if filled:
        write_tiny(target, every=1)
    (project / "d").symlink_to(where)
    write_tiny(project / "d")
    assert (project / "d").is_symlink()
    assert demonstrations.read_card(target)["every"] == demonstrations.read_card(project / "d")["every"] == 2
    assert [path.name for path in target.parent.iterdir() if path.name.startswith(".")] == []


def test_links_in_a_circle_are_one_line(tmp_path, capsys):
    (tmp_path / "d").symlink_to("e")
    (tmp_path / "e").symlink_to("d")
    with pytest.raises(SystemExit) as stopped, one_line():
        write_tiny(tmp_path / "d")
    assert stopped.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: {tmp_path}")
    assert (tmp_path / "d").is_symlink()


def test_another_task(tmp_path):
    with refused(CARD, "task", TASK, "Hopper-v5"):
        demonstrations.load(write_tiny(tmp_path / "d"), "Hopper-v5", [1])


@pytest.mark.parametrize(("sizes", "said"), [((3, 1), "obs_size: 2"), ((2, 4), "action_size: 1")])
def test_other_sizes_than_the_env(tmp_path, sizes, said):
    folder = write_tiny(tmp_path / "d")
    demonstrations.load(folder, TASK, [1], env=SimpleNamespace(obs_size=2, action_size=1))
    with refused(CARD, said):
        demonstrations.load(folder, TASK, [1], env=SimpleNamespace(obs_size=sizes[0], action_size=sizes[1]))


@pytest.mark.parametrize(("steps", "fits"), [(1000, True), (1001, False), (3000, False)])
def test_a_trajectory_longer_than_the_tasks_time_limit(tmp_path, steps, fits):
    lengths = torch.tensor([5, steps])
    obs, action = torch.zeros(steps + 7, 4), torch.zeros(steps + 5, 1)
    folder = write_tiny(tmp_path / "d", obs=obs, action=action, lengths=lengths)
    if fits:
        assert demonstrations.load(folder, TASK, [2]).lengths.tolist() == [5, steps]
    else:
        with refused(ARRAYS, f"lengths: {steps} steps, but {TASK} ends after 1000"):
            demonstrations.load(folder, TASK, [2])


@pytest.mark.parametrize("counts", [[1, 3], [0, 1], [-1]])
def test_more_trajectories_than_there_are(tmp_path, counts):
    with refused(CARD, "trajectories", "there are 2"):
        demonstrations.load(write_tiny(tmp_path / "d"), TASK, counts)


def returns(mean, std=5.0, episodes=50):
    return {"mean": mean, "std": std, "episodes": episodes}


@pytest.mark.parametrize(
    "expert",
    [
        {"return_stochastic": returns(11.9)},  # the bar is 10 + 2 sqrt(2 * 25 / 50) = 12
        {"return_stochastic": returns(10.0, 0.0), "random": returns(10.0, 0.0)},
        {"return_stochastic": returns(float("nan"))},
        {"return_deterministic": returns(9.0)},
    ],
)
def test_a_weak_expert_is_refused_unless_asked_for(tmp_path, command, expert):
    with refused("card.json", "return_", "random", "--allow-weak-expert"):
        command(**expert)
    assert not (tmp_path / "demonstrations").exists()
    if all(entry["mean"] == entry["mean"] for entry in expert.values()):  # no NaN, which JSON has not got
        assert demonstrations.read_card(command("--allow-weak-expert", **expert))["trajectories"] == 6


def test_an_experts_card_without_a_key(command):
    with refused("card.json", "random: missing"):
        command(random=...)


def test_an_expert_just_above_the_bar_is_taken(command):
    assert command(return_stochastic=returns(12.1)).is_dir()


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (TASK, "InvertedPendulm-v5", ["InvertedPendulm-v5", "did you mean 'InvertedPendulum-v5'"]),
        (TASK, "Hopper-v5", ["demonstrations.InvertedPendulum-v5: missing"]),
        ("every", "evry", ["demonstrations.InvertedPendulum-v5", "evry", "every"]),
        ("every", "seeds", ["demonstrations.InvertedPendulum-v5.seeds: no such key; did you mean 'seed'"]),
        (", whole: true", "", ["demonstrations.InvertedPendulum-v5.whole: missing"]),
        ("every: 3", "every: 0", ["demonstrations.InvertedPendulum-v5.every: .* greater than 0", "found 0"]),
        ("every: 3", "every: 3.0", ["every: ", "found 3.0"]),
        ("seed: 1", "seed: true", ["seed: ", "found True"]),
        ("seed: 1", "seed: -1", ["seed: ", "found -1"]),
        ("seed: 1", f"seed: {2**64}", ["seed: ", f"found {2**64}"]),
        ("trajectories: 6", "trajectories: six", ["trajectories: ", "found 'six'"]),
        ("whole: true", "whole: 1", ["whole: ", "valid boolean", "found 1"]),
        ("demonstrations:", "demonstration:", ["demonstrations: missing"]),
        ("{", "[", ["line 2", "not valid YAML"]),
        ("  ", "\t", ["line 2", "spaces, not tabs"]),
        (PARAMS, "", ["found nothing"]),
        (PARAMS, "demonstrations: 3", ["demonstrations: 3"]),
        ("seed: 1", "seed: 1, seed: 2", ["demonstrations.InvertedPendulum-v5.seed", "lines 2 and 2"]),
    ],
)
def test_wrong_params(tmp_path, old, new, said):
    path = tmp_path / "params.yaml"
    path.write_text(new if old == PARAMS else PARAMS.format(task=TASK, whole="true").replace(old, new, 1))
    with refused("params.yaml", *said):
        making.design(path, TASK)


def test_unknown_task(command):
    with refused("Hoper-v5", "did you mean 'Hopper-v5'"):
        command(task="Hoper-v5")
    with refused("'Chess' does not exist; choose from Acrobot-v1, "):
        command(task="Chess")


def test_the_command_says_one_line_and_exits_2(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "threefold", "demonstrate", "--task", TASK, "--params", tmp_path / "none.yaml"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        f"error: {tmp_path}/none.yaml: missing; name a params.yaml that exists with --params, or run it in the "
        "project's folder"
    ]
    assert list(tmp_path.iterdir()) == []


def test_an_output_folder_that_cannot_be_made(tmp_path, command, capsys):
    (tmp_path / "demonstrations").write_text("a file stands in the way")
    with pytest.raises(SystemExit) as stopped, one_line():
        command()
    assert stopped.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert str(tmp_path / "demonstrations") in line


@pytest.mark.parametrize("task", [TASK, "Hopper-v5"])
def test_an_idle_expert_demonstrates_as_much_and_as_sparsely_as_the_tasks_own(task):
    folder = ROOT / "data" / "demonstrations" / task
    own, idle = demonstrations.load(folder, task, [2, 3]), demonstrations.idle(folder, task, [2, 3])
    assert idle.counts.tolist() == own.counts.tolist()
    assert len(idle.lengths) == 3
    assert (idle.action == 0).all()
    assert idle.ended.all()  # whoever does nothing falls
    every = demonstrations.read_card(folder)["every"]
    assert (idle.size <= (idle.used * idle.lengths).sum(1) // every + idle.counts).all()
    env = envs.make(task, [0], 1)
    assert idle.obs.shape[1] == env.obs_size
    assert idle.whole().action.shape == (2, int(idle.lengths.sum()), env.action_size)
    again = demonstrations.idle(folder, task, [2, 3])
    assert torch.equal(again.obs, idle.obs)


def test_those_that_never_terminated_are_chosen_in_order(tmp_path):
    folder = write_tiny(tmp_path / "d", every=1)
    chosen = demonstrations.survivors(folder, [1])
    assert not chosen.ended.any()
    assert chosen.lengths.tolist() == [2]
    assert chosen.whole().obs[0, :, 0].tolist() == [100, 101]
    assert chosen.obs[:, 0].tolist() == [100, 101]


def test_more_that_never_terminated_than_there_are(tmp_path):
    with pytest.raises(InputError, match="card.json: trajectories: 2 that never terminated asked for, there are 1; "):
        demonstrations.survivors(write_tiny(tmp_path / "d"), [2])


SHIPPED = sorted(path.name for path in (ROOT / "data" / "demonstrations").iterdir())


def test_an_idle_expert_of_a_discrete_task_takes_the_first_action():
    shown = demonstrations.idle(ROOT / "data" / "demonstrations" / "CartPole-v1", "CartPole-v1", [2])
    assert torch.equal(shown.action, torch.tensor([[1.0, 0.0]]).expand_as(shown.action))
    assert shown.lengths.max() < 12  # pushed to one side the pole falls


@pytest.mark.parametrize("task", SHIPPED)
def test_the_actions_are_the_experts_own_with_the_density_of_its_entropy(task):
    """The mean log density of actions drawn from a policy is minus its entropy, here within three standard errors."""
    policy, card = policies.load(task, ROOT / "data" / "experts" / task)
    folder = ROOT / "data" / "demonstrations" / task
    assert demonstrations.read_card(folder)["expert"] == {key: card[key] for key in making.EXPERT}
    obs, action, _ = demonstrations.read(folder).transitions()
    density = policy.log_prob(obs[None], action[None])[0].detach().double()
    error = density.std() / len(density) ** 0.5
    entropy = float(policy.entropy(policy.head(policy.normalizer(obs[None]))).detach())
    assert abs(float(density.mean()) + entropy) < 3 * float(error)
    if policy.discrete:  # the card's is over the states of other episodes
        assert card["entropy"] == pytest.approx(entropy, abs=0.1)
        return
    assert card.get("entropy", entropy) == pytest.approx(entropy)
    spread = action.shape[1] / 2  # variance of half a chi-square
    assert float(density.var()) == pytest.approx(spread, rel=0.1)
