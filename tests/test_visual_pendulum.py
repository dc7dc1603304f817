"""InvertedPendulum from frames: what is seen, learning that goes on exactly, files; drawn by hand where it can be."""

import json
import os
import subprocess
import sys

import pytest
import torch
from torch.distributions import Normal

import envs
from algorithms.core.population import Generators
from algorithms.core.state import pack, unpack
from studies.visual import frames, pendulum
from studies.visual.frames import Pairs, PixelEnv, Scale
from studies.visual.pendulum import Learner, Size
from threefold.base.errors import InputError
from threefold.experts import policies
from threefold.store import code
from threefold.store.checkpoints import Checkpoints
from threefold.tables.schema import read_csv

TINY = Size(
    seeds=[0, 1],
    iterations=3,
    steps=7,
    episodes=2,
    demonstrations=1,
    demonstrated=9,
    cloning_steps=2,
    evaluated=1,
    batch=5,
)
PLAIN = Scale(torch.zeros(32, 32), torch.ones(2))


class Drawn(frames.Camera):
    """A camera that needs no OpenGL: a picture's columns are the numbers of a state."""

    def __init__(self):
        self.frames = 0

    def __call__(self, obs):
        self.frames += obs.shape[:-1].numel()
        return obs.float().repeat_interleave(8, -1)[..., None, :].expand(*obs.shape[:-1], 32, 32)


def pairs(n=40):
    seen = torch.randn(n, 2, 32, 32, generator=torch.Generator().manual_seed(0))
    return Pairs(seen, seen[:, 0].mean((1, 2))[:, None] * 32)


def learner(row="gail", size=TINY):
    return Learner(row, size, Drawn(), PLAIN, pairs())


def test_a_difference_is_from_the_frame_before_and_none_where_an_episode_begins():
    env = envs.make(frames.TASK, [0, 1], 3, threads=1)
    pixels, ends = PixelEnv(env, Drawn(), PLAIN), 0
    before = env.obs.clone()
    assert not pixels.seen()[:, :, 1].any()
    for _ in range(12):
        now = env.obs.clone()
        seen = pixels.seen()[..., 0, ::8]
        assert torch.allclose(seen[:, :, 0], now.float())
        assert torch.allclose(seen[:, :, 1], (now - before).float(), atol=1e-6)
        following, terminal, truncated = pixels.step(torch.ones(2, 3, 1))
        before = torch.where(terminal[..., None], env.obs, now)
        same = ~terminal
        assert torch.allclose(following[..., 0, ::8][same][:, 0], env.obs[same].float())
        assert (following[..., 0, ::8][terminal][:, 0, 1].abs() > 0.2).all()  # the true one: the pole has fallen
        ends += int(terminal.sum())
        assert not truncated.any()
    assert ends


def test_two_frames_do_not_show_what_the_expert_acts_on():
    """Of its actions a linear function of positions explains nearly nothing with two steps, nearly all with three."""
    expert, _ = policies.load(frames.TASK, code.ROOT / "data" / "experts" / frames.TASK)
    env, act, rows = envs.make(frames.TASK, [0], 4, threads=1), policies.stochastic(expert, 0), []
    with torch.no_grad():
        for _ in range(200):
            rows.append((env.obs[0, :, :2], expert(env.obs.float())[0].double()))
            env.step(act(env.obs.float()))
    position, action = (torch.stack(column) for column in zip(*rows, strict=True))
    explained = []
    for steps in (2, 3):
        seen = torch.cat([position[2 - back : 200 - back] for back in range(steps)], -1).flatten(0, 1)
        seen, wanted = seen - seen.mean(0), (action[2:] - action[2:].mean()).flatten()[:, None]
        rest = wanted - seen @ torch.linalg.lstsq(seen, wanted).solution
        explained.append(1 - (rest.var() / wanted.var()).item())
    assert explained[0] < 0.2
    assert explained[1] > 0.99


def test_frames_are_in_units_of_the_experts():
    scale = Scale(torch.full((32, 32), 0.5), torch.tensor([2.0, 4.0]))
    found = scale(torch.full((3, 32, 32), 1.5), torch.full((3, 32, 32), 0.7))
    assert found.shape == (3, 2, 32, 32)
    assert torch.allclose(found[:, 0], torch.tensor(0.5))
    assert torch.allclose(found[:, 1], torch.tensor(0.2))


def test_the_density_is_a_normal_one():
    actor = pendulum.Actor(Generators([0, 1], "weights"), -0.7)
    mean, action = torch.randn(2, 2, 6, 1)
    expected = Normal(mean, torch.tensor(-0.7).exp()).log_prob(action)[..., 0]
    apart = actor.log_density(mean, action) - expected
    assert torch.allclose(apart, apart[0, 0].expand_as(apart), atol=1e-5)


@pytest.mark.parametrize("row", pendulum.ROWS)
def test_it_learns_the_same_whoever_is_beside_it_and_goes_on_exactly(row):
    whole, alone, other = learner(row), learner(row, TINY.model_copy(update={"seeds": [1]})), learner(row)
    whole.iterate()
    other.load_state_dict(unpack(pack(whole.state_dict())))
    alone.iterate()
    for each in (whole, alone, other):
        each.iterate()
    first = learner(row)
    for name, tensor in whole.actor.state_dict().items():
        assert tensor.equal(other.actor.state_dict()[name])
        assert torch.allclose(tensor[1], alone.actor.state_dict()[name][0], atol=1e-5)
    assert not whole.actor.mean.weight.equal(first.actor.mean.weight)
    assert whole.pixels.camera.frames == other.pixels.camera.frames
    same = whole.discriminator.logit.weight.equal(first.discriminator.logit.weight)
    assert same == (row != "gail")


def test_cloning_finds_an_action_that_the_frames_show():
    some = learner("bc", TINY.model_copy(update={"cloning_steps": 60, "batch": 40}))
    with torch.no_grad():
        first = (some.actor(some.pairs.seen.expand(2, -1, -1, -1, -1))[0] - some.pairs.action).square().mean((1, 2))
    for _ in range(60):
        some.iterate()
    with torch.no_grad():
        last = (some.actor(some.pairs.seen.expand(2, -1, -1, -1, -1))[0] - some.pairs.action).square().mean((1, 2))
    assert (last < 0.2 * first).all()


def test_the_discriminator_tells_the_experts_pairs():
    some = learner("gail", TINY.model_copy(update={"iterations": 30, "reward_rate": 3e-3}))
    for _ in range(6):
        some.iterate()
    with torch.no_grad():
        on_expert = some.discriminator(*some.expert())
        seen, action, *_ = some.act()
        on_policy = some.discriminator(seen.flatten(1, 2), action.flatten(1, 2))
    assert (on_expert.mean(1) > on_policy.mean(1) + 1).all()


def test_lengths_are_those_of_whole_episodes(monkeypatch):
    some = learner()
    monkeypatch.setattr(some, "actor", lambda seen: (torch.zeros(2, seen.shape[1], 1), None))
    env = envs.make(frames.TASK, TINY.seeds, TINY.evaluated, threads=1)
    length = 0
    while True:
        length += 1
        ended = env.step(torch.zeros(2, 1, 1)).terminal
        if ended[0, 0]:
            break
    assert some.evaluate()[0, 0] == length


def test_where_nothing_can_be_drawn_one_line_says_what_to_do(monkeypatch):
    def make(*args, **options):
        raise RuntimeError("no OpenGL")

    monkeypatch.setattr(frames.gymnasium, "make", make)
    with pytest.raises(InputError, match=r"cannot draw here \(no OpenGL\); set MUJOCO_GL=egl or MUJOCO_GL=osmesa and"):
        frames.Camera()


def test_what_mujoco_cannot_be_imported_with_is_one_line(tmp_path):
    command = [sys.executable, "-m", "studies.visual.camera", "--out", tmp_path / "out"]
    done = subprocess.run(command, cwd=code.ROOT, env=os.environ | {"MUJOCO_GL": "foo"}, capture_output=True, text=True)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: MUJOCO_GL=foo: MuJoCo cannot be imported with it (")
    assert "); set MUJOCO_GL=egl or MUJOCO_GL=osmesa and install what that needs (" in line
    assert not (tmp_path / "out").exists()


def test_rows_are_drawn_learnt_and_kept(tmp_path, monkeypatch):
    """With MuJoCo's own frames, in which the pole's tilt and the cart's place can be seen."""
    monkeypatch.setenv("MUJOCO_GL", "egl")
    monkeypatch.setenv("THREEFOLD_STORE", str(tmp_path / "store"))
    try:
        camera = frames.Camera()
    except InputError as error:
        pytest.skip(str(error))
    upright, tilted, aside = camera(torch.tensor([[0.0, 0, 0, 0], [0, 0.1, 0, 0], [0.2, 0, 0, 0]])).double()
    column = torch.arange(32.0)
    top, cart = ((picture * column).sum() / picture.sum() for picture in (upright[2:14], upright[20:28]))
    assert top == pytest.approx(15.5, abs=0.2)
    assert (tilted[2:14] * column).sum() / tilted[2:14].sum() > top + 0.5
    assert (aside[20:28] * column).sum() / aside[20:28].sum() > cart + 3
    monkeypatch.setattr(pendulum, "Camera", lambda: camera)
    said = pendulum.run(TINY, tmp_path / "out")
    assert [line.split("|")[1].strip() for line in said.splitlines()[2:]] == list(pendulum.ROWS)
    files = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert files == ["learnt.csv", "provenance.json"]
    monkeypatch.setattr(pendulum, "learn", lambda *_: pytest.fail("learnt again"))
    assert pendulum.run(TINY, tmp_path / "out") == said


def test_an_interrupted_row_goes_on(monkeypatch, tmp_path):
    monkeypatch.setattr(pendulum, "demonstrate", lambda *_: (PLAIN, pairs()))

    class Interrupting(Checkpoints):
        saved = None

        def offer(self, iteration, state):
            if iteration == 2:
                Interrupting.saved = pack(state())

        def _last(self):
            return self.saved

    first, _ = pendulum.learn("gail", TINY, Drawn(), Interrupting(tmp_path, ""))
    assert Interrupting.saved
    again, cost = pendulum.learn("gail", TINY, Drawn(), Interrupting(tmp_path, ""))
    assert first.equals(again)
    assert cost["frames"] > 0


def test_the_notes_table_is_that_of_the_results():
    folder = code.ROOT / "results" / "pendulum"
    rows, costs = read_csv(folder / "learnt.csv", pendulum.LEARNT), json.loads((folder / "provenance.json").read_text())
    notes = (code.ROOT / "docs" / "notes" / "studies" / "visual.md").read_text()
    names = {"bc": "BC, 4 demonstrations", "gail": "GAIL, 4 demonstrations", "constant": "reward 1, no expert"}
    for row, name in names.items():
        learnt, cost = rows[rows["row"] == row], costs[row]["cost"]
        returns = ", ".join(f"{value:.0f}" for value in learnt["episode_return"])
        measured = f"{learnt['steps'].max():,} | {cost['frames']:,} | {cost['seconds'] / 60:.1f} | {returns}"
        assert f"| {name} | {measured} |" in notes
