"""How an expert comes about: the best of its policies, with the same bytes whatever interrupts its training."""

import hashlib
import json
import random
from copy import deepcopy
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
import yaml
from torch.distributions import Normal

import envs
from algorithms.core.policy import GaussianPolicy
from algorithms.core.population import Generators
from algorithms.core.ppo import PPO
from algorithms.core.state import pack
from envs.episodes import play
from tests import crashing
from tests.command import threefold
from tests.test_faults import KILLS
from tests.test_run import ROOT, TASK, contents
from tests.toy import gaussian
from threefold.base.errors import InputError
from threefold.base.workers import Team
from threefold.experts import experts, training
from threefold.experts.experts import CARD_EPISODES, CARD_SEED, bars, below, made_from, published, read_design
from threefold.experts.policies import load
from threefold.experts.training import HELD_OUT_SEEDS, Best, Design, Job, best_of, bound_log_std, compare, train
from threefold.store.entries import Entry, entries, is_locked, location

PPO_SIZES = {"steps": 32, "epochs": 1, "minibatches": 2, "hidden": [8]}
DESIGN: dict[str, Any] = {
    "seeds": [0, 3, 5, 6],
    "env_steps": 320,  # 64 an iteration, so five of them
    "parallel_episodes": 2,
    "required_return": 1e6,
    "held_out": 5,
    "ppo": PPO_SIZES,
    "final_log_std": -1.0,
    "play_log_std": -1.5,
    "steady": True,
}
DEFAULTS = {"contests": 20, "required_score": 0.95, "allowed_falls": 0.02, "allowed_spread": None}


@pytest.fixture
def data(tmp_path):
    """A folder with the design of an expert of four learners, who train apart."""
    return folder(tmp_path)


def folder(where, **changes):
    made = where / "data"
    made.mkdir()
    (made / "params.yaml").write_text(yaml.safe_dump({"experts": {TASK: DESIGN | changes}}))
    return made


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The bytes of an expert that nothing happened to."""
    made = folder(tmp_path_factory.mktemp("whole"))
    assert crashing.finish(crashing.start_expert(made, TASK)) == 0
    return contents(made / "experts" / TASK)


def said(data):
    return (data.parent / "said").read_text().splitlines()


def test_a_card_says_what_the_expert_is_worth_and_how_it_was_made(data, whole):
    (data / "experts" / TASK).mkdir(parents=True)
    for name, content in whole.items():
        (data / "experts" / TASK / name).write_bytes(content)
    policy, card = load(TASK, data / "experts" / TASK)
    assert card["design"] == DEFAULTS | DESIGN
    assert card["ppo"]["hidden"] == [8]
    assert card["seed"] in DESIGN["seeds"]
    assert card["env_steps"] % 64 == 0
    assert not card["reached"]
    assert {name: bar["reached"] for name, bar in card["bars"].items()}["return"] is False
    assert card["std"] == pytest.approx(gaussian(policy).log_std.exp().flatten().tolist())
    assert card["entropy"] == pytest.approx(float(Normal(0, gaussian(policy).log_std.exp()).entropy().sum()))
    assert card["published"] is None  # for this task
    returns = play(envs.make(TASK, [CARD_SEED], CARD_EPISODES), policy).episode_return
    assert card["return_deterministic"]["mean"] == pytest.approx(float(returns.mean()))
    assert {card[name]["episodes"] for name in ("return_deterministic", "return_stochastic", "random")} == {200}


def test_it_is_taken_from_the_store_the_second_time(data, whole):
    assert crashing.finish(crashing.start_expert(data, TASK)) == 0
    assert contents(data / "experts" / TASK) == whole
    assert said(data)[-1].startswith(f"note: {TASK}: short of its bars: return ")
    assert " (at least 1e+06)" in said(data)[-1]
    first = said(data)
    (data / "experts" / TASK / "card.json").unlink()
    assert crashing.finish(crashing.start_expert(data, TASK)) == 0
    assert said(data) == [*first, first[-1]]  # no line of a training
    assert contents(data / "experts" / TASK) == whole


@pytest.mark.parametrize("threads", ["1", "5"])
def test_bytes_do_not_depend_on_the_number_of_processes(data, whole, monkeypatch, threads):
    monkeypatch.setenv("THREEFOLD_THREADS", threads)
    assert crashing.finish(crashing.start_expert(data, TASK)) == 0
    assert contents(data / "experts" / TASK) == whole


@pytest.mark.parametrize("threads", ["1", "2"])
def test_killed_at_any_change_of_a_file_it_ends_with_the_same_bytes(data, whole, monkeypatch, threads):
    monkeypatch.setenv("THREEFOLD_THREADS", threads)
    rng = random.Random(threads)
    codes = [crashing.finish(crashing.start_expert(data, TASK, rng.randrange(1, 40))) for _ in range(KILLS)]
    assert set(codes) <= {0, 1, -9}  # 1: a learner's process was killed, and the others with it
    assert set(codes) != {0}
    assert crashing.finish(crashing.start_expert(data, TASK)) == 0
    assert contents(data / "experts" / TASK) == whole
    (entry,) = entries(location(data.parent))
    assert not is_locked(entry)
    assert not (entry / "checkpoints").exists()
    assert [path.name for path in (data / "experts").iterdir()] == [TASK]


def test_it_goes_on_from_its_last_checkpoint(data, whole, monkeypatch):
    monkeypatch.setenv("THREEFOLD_THREADS", "1")
    process = crashing.start_expert(data, TASK, pause_after=3)
    store = location(data.parent)
    crashing.wait_until(lambda: list(store.glob("*/*/*/checkpoints/cpu-0/0000000003-*")))
    process.kill()
    assert crashing.finish(process) == -9
    assert crashing.finish(crashing.start_expert(data, TASK)) == 0
    assert contents(data / "experts" / TASK) == whole


def job(tmp_path, learners, **changes):
    return Job(TASK, Design(**DESIGN | changes), learners, tmp_path / "checkpoints", 1, "cpu")


def test_the_best_of_all_comparisons_is_kept(tmp_path, monkeypatch):
    returns, given = iter([1.0, 5.0, 3.0, 5.0, *[2.0] * 6]), []

    def scripted(job, policies, env_steps):
        given.append(env_steps)
        return Best(next(returns), b"", 0, env_steps)

    monkeypatch.setattr(training, "compare", scripted)
    asked = job(tmp_path, {0: 0}, env_steps=640)
    assert train(asked, lambda step: None).env_steps == 128  # the first of equals
    assert given == [64 * k for k in range(1, 11)]


@pytest.mark.parametrize("steady", [False, True])
def test_policies_are_compared_on_held_out_episodes(tmp_path, steady):
    env, seeds, size = envs.make(TASK, [0, 3], 1), [HELD_OUT_SEEDS, HELD_OUT_SEEDS + 3], DESIGN["held_out"]
    policies = GaussianPolicy(env.obs_size, torch.tensor([3.0]), (8,), Generators([0, 3], "weights"))
    bounded = deepcopy(policies)
    bound_log_std(bounded, -0.5)
    held_out, noise = envs.make(TASK, seeds, size), Generators(seeds, "contest")
    deterministic = play(held_out, bounded).episode_return
    stochastic = play(held_out, lambda obs: bounded.act(obs, noise.normal(size, 1))).episode_return
    reliable = [returns.mean(1) - returns.std(1) for returns in (deterministic, stochastic)]
    assert (reliable[1] < reliable[0]).any()
    value = torch.minimum(*reliable) if steady else deterministic.mean(1)
    best = int(value.argmax())
    found = compare(job(tmp_path, {0: 0, 1: 3}, play_log_std=-0.5, steady=steady), policies, 64)
    assert (found.value, found.seed, found.env_steps) == (float(value[best]), [0, 3][best], 64)
    assert safetensors.torch.load(found.weights)["log_std"].flatten().tolist() == [-0.5]
    assert policies.log_std.flatten().tolist() == [0.0, 0.0]  # those in training keep their std
    tensors = safetensors.torch.load(found.weights)
    assert torch.equal(tensors["mean.0.weight"][0], policies.state_dict()["mean.0.weight"][best])


def test_one_who_has_diverged_is_never_the_best(tmp_path):
    env = envs.make(TASK, [0, 3], 1)
    policies = GaussianPolicy(env.obs_size, torch.tensor([3.0]), (8,), Generators([0, 3], "weights"))
    with torch.no_grad():
        policies.state_dict()["mean.0.weight"][0] = torch.nan
    assert compare(job(tmp_path, {0: 0, 1: 3}), policies, 64).seed == 3


def test_the_best_of_the_groups():
    found = [Best(held_out, b"", seed, 1) for seed, held_out in enumerate([1.0, 4.0, -float("inf"), 4.0])]
    assert best_of(found).seed == 1


def test_the_tasks_preset_comes_before_the_designs_own_constants(tmp_path, monkeypatch):
    found, collect = [], PPO.collect
    monkeypatch.setattr(training.envs, "preset", lambda task: {"ppo.log_std": -1.5, "ppo.gae": 0.5, "noise": 3.0})

    def watched(self):
        found.append(gaussian(self.policy).log_std.detach().clone())
        return collect(self)

    monkeypatch.setattr(PPO, "collect", watched)
    asked = job(tmp_path, {0: 0}, env_steps=64, ppo=PPO_SIZES | {"gae": 0.25})
    train(asked, lambda step: None)
    assert found[0].unique().tolist() == [-1.5]
    assert asked.design.config(TASK).gae == 0.25


def test_the_bound_on_the_std_falls_linearly_in_its_logarithm(tmp_path, monkeypatch):
    found, collect = [], PPO.collect

    def widened(self):
        gaussian(self.policy).log_std.data += 5.0  # as if the updates had done so
        return collect(self)

    def watched(job, policies, env_steps):
        found.append(policies.log_std.detach().clone())
        return Best(0.0, b"", 0, env_steps)

    monkeypatch.setattr(PPO, "collect", widened)
    monkeypatch.setattr(training, "compare", watched)
    asked = job(tmp_path, {0: 0, 1: 3}, env_steps=256, ppo=PPO_SIZES | {"log_std": -0.5}, final_log_std=-2.5)
    train(asked, lambda step: None)
    assert [log_std.flatten().tolist() for log_std in found] == [[bound] * 2 for bound in (-1.0, -1.5, -2.0, -2.5)]


def test_a_std_below_the_bound_stays_free():
    policies = GaussianPolicy(4, torch.tensor([3.0]), (8,), Generators([0, 3], "weights"))
    policies.log_std.data = torch.tensor([-1.5, 4.0])[:, None, None]
    bound_log_std(policies, -1.0)
    assert policies.log_std.flatten().tolist() == [-1.5, -1.0]


@pytest.mark.parametrize("schedule", [{"final_log_std": None}, {}])
def test_without_a_schedule_the_std_is_free(tmp_path, monkeypatch, schedule):
    stds, collect = [], PPO.collect

    def widened(self):
        stds.append(gaussian(self.policy).log_std.detach().clone())
        gaussian(self.policy).log_std.data += 5.0
        return collect(self)

    monkeypatch.setattr(PPO, "collect", widened)
    train(job(tmp_path, {0: 0}, env_steps=128, **schedule), lambda step: None)
    assert (float(stds[1]) > 4.0) == bool(schedule)


def summary(mean, terminated=0, std=1.0):
    return {"mean": mean, "std": std, "terminated": terminated, "episodes": 200}


@pytest.mark.parametrize(
    ("deterministic", "stochastic", "missed"),
    [
        (summary(1000.0), summary(951.0), ""),
        (summary(999.0), summary(990.0), "return 999 (at least 1000)"),
        (summary(1000.0), summary(949.0), "stochastic_score 0.9485 (at least 0.95)"),
        (summary(1000.0, terminated=4), summary(1000.0, terminated=4), ""),
        (summary(1000.0), summary(1000.0, terminated=5), "fallen 0.025 (at most 0.02)"),
        (summary(1000.0, terminated=5), summary(1000.0), "fallen 0.025 (at most 0.02)"),
        (summary(1000.0, std=60.0), summary(1000.0), "spread 0.06 (at most 0.05)"),
        (
            summary(9.0),  # worse than random
            summary(9.0, std=60.0),
            "return 9 (at least 1000), stochastic_score 0 (at least 0.95), spread 0.1111 (at most 0.05)",
        ),
    ],
)
def test_an_expert_has_reached_its_bars_when_it_has_reached_them_all(deterministic, stochastic, missed):
    design = Design(**DESIGN | {"required_return": 1000, "allowed_spread": 0.05})
    returns = {"return_deterministic": deterministic, "return_stochastic": stochastic, "random": summary(10.0)}
    assert below({"bars": bars(design, returns)}) == missed


def test_a_mean_return_of_0_has_a_spread_that_only_no_spread_at_all_passes():
    design = Design(**DESIGN | {"required_return": 0, "allowed_spread": 0.05})
    for std, reached in ((0.0, True), (0.01, False)):
        returns = dict.fromkeys(("return_deterministic", "return_stochastic"), summary(0.0, std=std))
        spread = bars(design, returns | {"random": summary(-10.0)})["spread"]
        assert spread["reached"] == reached
        json.dumps(spread, allow_nan=False)


def test_a_bar_that_is_not_set_is_none():
    returns = dict.fromkeys(("return_deterministic", "return_stochastic", "random"), summary(1000.0, std=600.0))
    assert set(bars(Design(**DESIGN), returns)) == {"return", "stochastic_score", "fallen"}


def test_the_published_expert_stands_beside_ours():
    assert published("Hopper-v5") == {"source": "arXiv 1606.03476, table 1", "mean": 3571.38, "std": 184.2}
    assert published("Swimmer-v5") is None


def test_the_learning_rate_falls_to_a_tenth(tmp_path, monkeypatch):
    rates, improve = [], PPO.improve

    def watched(self, *arguments):
        rates.append(self.optimizer.param_groups[0]["lr"])
        return improve(self, *arguments)

    monkeypatch.setattr(PPO, "improve", watched)
    train(job(tmp_path, {0: 0}, env_steps=128), lambda step: None)
    assert rates == pytest.approx([3e-4, 3e-4 * 0.55])


@pytest.mark.parametrize("data_of_a_state", [b"", pack({"ppo": 1}), pack(["x"]), pack({})])
def test_a_state_of_another_training_is_refused(tmp_path, data_of_a_state):
    asked = job(tmp_path, {0: 0})
    asked.checkpoints.mkdir()
    name = f"0000000001-{hashlib.sha256(data_of_a_state).hexdigest()}.safetensors"
    (asked.checkpoints / name).write_bytes(data_of_a_state)
    with pytest.raises(InputError, match=f"^{asked.checkpoints}: no checkpoint of this training"):
        train(asked, lambda step: None)


@pytest.mark.parametrize(("where", "groups"), [("cpu", [{0: 4}, {1: 2}, {2: 9}]), ("cuda", [{0: 4, 1: 2, 2: 9}])])
def test_on_a_gpu_all_learners_train_together(tmp_path, monkeypatch, where, groups):
    class Recorded(Team):
        def __init__(self, do, jobs, workers):
            found.extend(jobs)
            raise KeyboardInterrupt

    found: list[Job] = []
    monkeypatch.setattr(experts, "Team", Recorded)
    monkeypatch.setattr(experts.devices, "describe", lambda device: device)
    entry = Entry(tmp_path, f"{TASK}/expert", {})
    with pytest.raises(KeyboardInterrupt):
        experts.compute(entry, TASK, Design(**DESIGN | {"seeds": [4, 2, 9]}), where)
    assert [asked.learners for asked in found] == groups
    assert len({asked.checkpoints for asked in found}) == len(groups)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"ppo": {"discuont": 0.9}}, "ppo.discuont: no such constant; did you mean 'discount'"),
        ({"ppo": {"steps": "many"}}, r"ppo.steps: .* \(found 'many', default 256\); correct it"),
        ({"ppo": {"hidden": 64}}, r"ppo.hidden: .* \(found 64, default \(64, 64\)\); write a list, such as \[64, 64\]"),
        ({"seeds": 3}, r"seeds: .* \(found 3\); correct it"),
        ({"seeds": []}, r"seeds: .* \(found \[\]\); correct it"),
        ({"env_steps": 0}, r"env_steps: .* \(found 0\); correct it"),
        ({"env_steps": True}, r"env_steps: .* \(found True\); correct it"),
        ({"env_steps": "640"}, r"env_steps: .* \(found '640'\); correct it"),
        ({"seeds": [0, -1]}, r"seeds.1: .* \(found -1\); correct it"),
        ({"seeds": [2**64]}, r"seeds.0: .* \(found 18446744073709551616\); correct it"),
        ({"required_return": float("nan")}, r"required_return: .* \(found nan\); correct it"),
        ({"final_log_std": float("-inf")}, r"final_log_std: .* \(found -inf\); correct it"),
        ({"ppo": {"steps": 0}}, r"ppo.steps: .* greater than 0 \(found 0, default 256\); correct it"),
        ({"ppo": {"discount": 5}}, r"ppo.discount: .* less than 1 \(found 5, default 0.99\); correct it"),
        ({"ppo": {"rate": -1.0}}, r"ppo.rate: .* greater than 0 \(found -1.0, default 0.0003\); correct it"),
        ({"ppo": {"hidden": [64, 0]}}, r"ppo.hidden.1: .* greater than 0 \(found 0, "),
        ({"ppo": [1]}, r"ppo: .* \(found \[1\]\); correct it"),
        ({"parallel_epsiodes": 4}, r"parallel_epsiodes: no such key; did you mean 'parallel_episodes'\?"),
        ({"tasks": 4}, "tasks: no such key; remove it$"),  # a key of another file; its own are many
    ],
)
def test_a_wrong_design_is_one_line(tmp_path, changes, said):
    made = folder(tmp_path, **changes)
    with pytest.raises(InputError, match=rf"params.yaml: experts.{TASK}.{said}"):
        read_design(made / "params.yaml", TASK)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"ppo": {"steps": 32, "minibatches": 65}}, "ppo.minibatches: 65, .* has 64 transitions; write fewer, or "),
        ({"ppo": {"steps": 1}, "parallel_episodes": 1}, "ppo.steps: 1, .* needs 2 transitions; write more steps"),
    ],
)
def test_constants_that_do_not_fit_together_are_refused_before_anything_trains(tmp_path, monkeypatch, changes, said):
    made = folder(tmp_path, **changes)
    monkeypatch.setattr(experts, "compute", None)
    with pytest.raises(InputError, match=rf"params.yaml: experts.{TASK}.{said}"):
        experts.make(TASK, made / "params.yaml", made / "experts" / TASK, "cpu")


@pytest.mark.parametrize("strangers", ["thesis.txt", None])
def test_what_else_lies_where_an_expert_is_wanted_stays(tmp_path, monkeypatch, capsys, strangers):
    made, out = folder(tmp_path), tmp_path / "mine"
    (out / strangers if strangers else out).parent.mkdir(exist_ok=True)
    (out / strangers if strangers else out).write_text("years of work")
    monkeypatch.setattr(experts, "compute", None)  # nothing is trained first
    command = ["expert", "--task", TASK, "--params", made / "params.yaml", "--out", out]
    assert threefold(*command) == 2
    why = f"holds {strangers}, which is no part of" if strangers else "a file is there; choose a folder for"
    assert capsys.readouterr().err.startswith(f"error: {out}: {why} the expert of {TASK}")
    assert (out / strangers if strangers else out).read_text() == "years of work"


def test_an_expert_is_wanted_beside_its_params_where_demonstrate_looks(tmp_path, monkeypatch):
    """Wherever the command is started: the working folder may be another project, whose expert would be replaced."""
    made, elsewhere, asked = folder(tmp_path), tmp_path / "elsewhere", []
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    monkeypatch.setattr(experts, "make", lambda task, params, out, device: asked.append(out))
    assert threefold("expert", "--task", TASK, "--params", Path("..") / "data" / "params.yaml") == 0
    assert threefold("expert", "--task", TASK, "--params", made / "params.yaml", "--out", "mine") == 0
    monkeypatch.chdir(tmp_path)
    assert threefold("expert", "--task", TASK) == 0  # as data/dvc.yaml has it
    assert asked == [Path("../data/experts") / TASK, Path("mine"), Path("data/experts") / TASK]


def test_a_device_that_does_not_exist_is_one_line(tmp_path, capsys):
    command = ["expert", "--task", TASK, "--params", folder(tmp_path) / "params.yaml", "--device", "tpu"]
    assert threefold(*command) == 2
    assert capsys.readouterr().err == "error: device: tpu: no such device; choose auto, cpu or cuda\n"


def test_a_design_that_lacks_a_key_names_it(tmp_path):
    made = folder(tmp_path)
    row = {key: value for key, value in DESIGN.items() if key != "parallel_episodes"}
    (made / "params.yaml").write_text(yaml.safe_dump({"experts": {TASK: row}}))
    with pytest.raises(InputError, match=rf"params.yaml: experts.{TASK}.parallel_episodes: "):
        read_design(made / "params.yaml", TASK)


def test_what_decides_an_experts_bytes():
    made = made_from(TASK, Design(**DESIGN), "cpu")
    assert {"algorithms/core/ppo.py", "threefold/experts/training.py", "envs/batch.py"} <= set(made["code"])
    rooms = ("threefold/cells", "threefold/tables", "threefold/report", "studies", "algorithms/gail")
    assert not [name for name in made["code"] if name.startswith(rooms)]
    assert set(made["data"]) == {"inverted_pendulum.xml"}
    assert json.loads(json.dumps(made)) == made
    assert made != made_from(TASK, Design(**DESIGN | {"env_steps": 641}), "cpu")


ROWS = yaml.safe_load((ROOT / "data" / "params.yaml").read_text())["experts"]


@pytest.mark.parametrize("task", ROWS)
def test_every_expert_is_the_one_that_params_asks_for_and_says_whether_it_reaches_its_bars(task):
    policy, card = load(task, ROOT / "data" / "experts" / task)
    design = read_design(ROOT / "data" / "params.yaml", task)
    asked = json.loads(json.dumps(asdict(design)))
    if "bars" not in card:  # made before there were bars: by what it says of its making, and by no more
        assert card["design"].items() <= asked.items()
        return
    assert card["design"] == asked
    assert card["bars"] == bars(design, card)
    assert card["reached"] == (not below(card))
    assert card["published"] == published(task)
    assert card["entropy"] == pytest.approx(experts.entropy(policy, task), rel=1e-4)
    if design.play_log_std is not None:
        assert float(gaussian(policy).log_std.max()) <= design.play_log_std + 1e-6


@pytest.mark.parametrize("name", ["final_log_std", "play_log_std"])
def test_discrete_actions_have_no_std_to_bound(tmp_path, name):
    path = tmp_path / "params.yaml"
    row = {"seeds": [0], "env_steps": 1, "parallel_episodes": 1, "required_return": 1, "ppo": {}, name: -1}
    path.write_text(yaml.safe_dump({"experts": {"CartPole-v1": row}}))
    with pytest.raises(InputError, match=rf"params\.yaml: experts\.CartPole-v1\.{name}: .* write the row without it"):
        read_design(path, "CartPole-v1")
