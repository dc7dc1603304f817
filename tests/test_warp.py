"""MuJoCo Warp, on its CPU back end and, where there is one, on a GPU, against the native engine."""

from functools import cache

import mujoco
import numpy as np
import pytest
import torch
from scipy.stats import ks_2samp

import envs
from algorithms.core.state import pack, unpack
from envs.episodes import play
from envs.monitor import Monitor
from tests.fresh import fresh
from tests.resident import WaitsError, resident
from threefold.base.errors import InputError
from threefold.store.code import ROOT

TASKS = [name for name in envs.names() if not hasattr(envs.load(name), "ACTIONS")]  # others bring their own equations
DEVICES = [
    "cpu",
    pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")),
]
on_each_device = pytest.mark.parametrize("device", DEVICES)

# How long 32 bits follow 64: steps, and by how much observations may differ in the task's units (Humanoid has forces
# of thousands of N). Where bodies hit the ground hard, rounding grows tenfold within a few steps.
FOLLOWED = 40, 1e-3
EXCEPTIONS = {
    "Ant-v5": (4, 1e-4),  # in the air: its contacts differ from the first one on, see `physics.warp`
    "CustomAnt-v0": (1, 1e-4),  # likewise, from the second step on
    "DisabledAnt-v0": (2, 1e-4),
    "HalfCheetah-v5": (8, 5e-3),
    "Humanoid-v5": (20, 1.0),
}
WORLDS = 16
HORIZON, STARTS = 50, (3, 4, 5, 6)  # of the episodes whose returns are compared, one in each world for each seed


def warp():
    """The engine's module; to import it takes seconds, which no other worker of these tests should wait for."""
    from envs.physics import warp

    return warp


def make(name, device="cpu", seeds=(0, 1), episodes=4):
    return envs.make(name, seeds, episodes, engine="warp", device=device)


@cache
def physics(name, device, skip=None):
    """A few worlds of a task, for all whose envs begin with a reset: to record their kernels takes long."""
    task = envs.load(name)
    return warp().Warp(envs.model(task), WORLDS, skip or task.FRAME_SKIP, task.FIELDS, device)


def shared(name, device):
    return envs.BatchEnv(envs.load(name), physics(name, device), [0, 1], WORLDS // 2)


def everyone(worlds, device="cpu"):
    return torch.ones(worlds, dtype=torch.bool, device=device)


def random_actions(env, steps, seed=0):
    """Within the space, [T, P, E, A], the same for every engine and device."""
    generator = torch.Generator().manual_seed(seed)
    uniform = torch.rand(steps, env.P, env.E, env.action_size, generator=generator, dtype=torch.float64)
    return env.action_low + uniform.to(env.action_low) * (env.action_high - env.action_low)


def rollout(env, actions):
    """All that `step` returned, and the `obs` after it: each [T, P, E, ...]."""
    rows = [(*env.step(row), env.obs) for row in actions]
    return [torch.stack(column) for column in zip(*rows, strict=True)]


def assert_equal(a, b):
    assert all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


def start_alike(env, other):
    """Put both where the second began, Ants higher up."""
    qpos, qvel = other._state.qpos.clone(), other._state.qvel.clone()
    if env.task.ID == "Ant-v5":
        qpos[..., 2] = 0.95  # m
    env.set_state(qpos.to(env.obs), qvel.to(env.obs))
    other.set_state(qpos, qvel)


@on_each_device
@pytest.mark.parametrize("name", TASKS)
def test_follows_the_native_engine(name, device):
    """Observation, reward, termination and the fields of the last forward pass, step by step."""
    steps, tolerance = EXCEPTIONS.get(name, FOLLOWED)
    ours, native = shared(name, device), envs.make(name, [0, 1], WORLDS // 2)
    start_alike(ours, native)
    torch.testing.assert_close(ours.obs.cpu().double(), native.obs, atol=1e-5, rtol=1e-5)
    for action in random_actions(native, steps):
        step, expected = ours.step(action.to(ours.obs)), native.step(action)
        assert (step.next_obs.cpu() - expected.next_obs).abs().max() < tolerance
        torch.testing.assert_close(step.reward.cpu().double(), expected.reward, atol=tolerance, rtol=1e-4)
        assert torch.equal(step.terminal.cpu(), expected.terminal)
        assert torch.equal(step.truncated.cpu(), expected.truncated)


@cache
def returns(name, physics=None):
    """Undiscounted returns and lengths of 64 short episodes under random actions; without a physics, the native."""
    task, found = envs.load(name), []
    for seed in STARTS:
        env = envs.BatchEnv(task, physics, [seed], WORLDS) if physics else envs.make(name, [seed], WORLDS)
        found.append(played(env, seed))
    columns = ([one.episode_return for one in found], [one.length for one in found])
    return [torch.cat(column, 1)[0].cpu().numpy() for column in columns]


def played(env, seed):
    env.horizon = HORIZON
    actions = iter(random_actions(env, HORIZON, seed))
    return play(env, lambda _: next(actions))


@on_each_device
@pytest.mark.parametrize("name", TASKS)
def test_whole_episodes_have_the_same_statistics(name, device):
    """The same policy on both engines: two-sample Kolmogorov-Smirnov tests of returns and lengths."""
    for ours, native in zip(returns(name, physics(name, device)), returns(name), strict=True):
        assert ks_2samp(ours, native).pvalue > 1e-3
    assert np.ptp(returns(name)[0]) > 0


def test_the_statistics_would_show_another_physics():
    """One physics step less in an environment step."""
    other = physics("Hopper-v5", "cpu", envs.load("Hopper-v5").FRAME_SKIP - 1)
    assert ks_2samp(returns("Hopper-v5", other)[0], returns("Hopper-v5")[0]).pvalue < 1e-3


@pytest.mark.parametrize("name", ["Hopper-v5", "Reacher-v5"])  # without and with a forward pass at resets
def test_same_seed_same_rollout_whoever_runs_beside_it(name):
    """To the last bit, on a CPU."""
    among, alone = make(name, seeds=[5, 1, 9]), make(name, seeds=[1])
    actions = random_actions(among, 60)
    assert_equal([x[:, 1:2] for x in rollout(among, actions)], rollout(alone, actions[:, 1:2]))


@on_each_device
def test_autoreset(device):
    env = make("InvertedPendulum-v5", device, seeds=[0], episodes=3)
    actions = torch.full((40, 1, 3, 1), 3.0, device=device)
    next_obs, _, terminal, truncated, obs = rollout(env, actions)
    assert terminal.any()
    assert not truncated.any()
    assert (next_obs[terminal][:, 1].abs() > env.task.FALLEN_ANGLE).all()
    assert (obs[terminal].abs() < env.task.RESET_NOISE).all()
    assert len(obs[terminal].unique(dim=0)) == terminal.sum()  # no start state twice
    assert torch.equal(next_obs[~terminal], obs[~terminal])


@on_each_device
@pytest.mark.parametrize("name", ["Ant-v5", "Hopper-v5"])
def test_time_limit(name, device):
    env = make(name, device)
    env.horizon = 5
    *_, truncated, _ = rollout(env, torch.zeros(12, 2, 4, env.action_size, device=device))
    assert truncated[:, 0, 0].tolist() == [t % 5 == 4 for t in range(12)]
    assert env.elapsed.unique().tolist() == [2]


@on_each_device
def test_what_was_returned_is_never_changed(device):
    env = make("Hopper-v5", device)
    actions = random_actions(env, 30)
    kept = [(env.obs, env.elapsed, *env.step(row)) for row in actions]
    copies = [[x.clone() for x in row] for row in kept]
    rollout(env, actions)
    for now, then in zip(kept, copies, strict=True):
        assert_equal(now, then)


@pytest.mark.parametrize("name", ["Humanoid-v5", "Hopper-v5"])
def test_inactive_worlds_stand_still(name):
    env, twin = make(name, seeds=[0, 1], episodes=2), make(name, seeds=[0, 1], episodes=2)
    active = torch.tensor([[True, False], [False, True]])
    start = env.obs
    for row in random_actions(env, 10):
        one, other = env.step(row, active), twin.step(row)
        assert_equal([x[active] for x in one], [x[active] for x in other])
        assert not (one.terminal | one.truncated)[~active].any()
        assert torch.equal(env.obs[~active], start[~active])


def test_a_reset_disturbs_no_other_world():
    """Though its forward pass is made for all: to the last bit, contact forces included."""
    task = envs.load("Ant-v5")
    first, second = (warp().Warp(envs.model(task), 4, task.FRAME_SKIP, task.FIELDS, "cpu") for _ in range(2))
    qpos, qvel = torch.from_numpy(first.model.qpos0).float().expand(4, -1), torch.zeros(4, first.model.nv)
    which = torch.tensor([True, False, False, True])
    for physics in (first, second):
        physics.reset(everyone(4), qpos, qvel)
    ctrl = torch.linspace(-1, 1, 4 * first.model.nu).view(4, -1)
    for _ in range(25):
        for physics in (first, second):
            physics.step(ctrl)
        first.reset(which, qpos, qvel)
        for name, field in first.state().items():
            assert torch.equal(field[~which], second.state()[name][~which])
    assert first.state()["cfrc_ext"][~which].any()  # there were contacts
    assert torch.equal(first.state()["qpos"][which], qpos[which])
    assert not first.state()["cfrc_ext"][which].any()  # as Gymnasium's after a reset


def test_torch_shares_warps_memory():
    task = envs.load("Hopper-v5")
    physics = warp().Warp(envs.model(task), 3, task.FRAME_SKIP, task.FIELDS, "cpu")
    state = physics.state()
    before = {name: field.data_ptr() for name, field in state.items()}
    assert before == {"qpos": physics._data.qpos.ptr, "qvel": physics._data.qvel.ptr}
    physics.reset(everyone(3), torch.full((3, 6), 1.25), torch.zeros(3, 6))
    assert (physics._data.qpos.numpy() == 1.25).all()
    physics.step(torch.zeros(3, 3))
    assert {name: field.data_ptr() for name, field in physics.state().items()} == before


@on_each_device
@pytest.mark.parametrize("name", ["Ant-v5", "Hopper-v5"])
def test_an_env_goes_on_from_a_saved_state(name, device):
    """Exactly on a CPU; the contact forces shown and the solver's warm start are part of it."""
    env, again = Monitor(make(name, device)), Monitor(make(name, device))
    actions = random_actions(again._env, 40)
    for row in actions:
        env.step(row)
    saved = unpack(pack(env.state_dict()))
    again.step(actions[0])  # somewhere else
    again.load_state_dict(saved)
    assert torch.equal(env.obs, again.obs)
    for row in actions[: 20 if device == "cpu" else 2]:
        for one, other in zip(env.step(row), again.step(row), strict=True):
            torch.testing.assert_close(one, other, rtol=0, atol=0 if device == "cpu" else 1e-2)


def test_the_state_of_other_worlds_is_refused():
    with pytest.raises(ValueError, match=r"qpos: \[8, 6\] where \[4, 6\] belongs"):
        make("Hopper-v5", episodes=2).load_state_dict(make("Hopper-v5").state_dict())


@on_each_device
def test_an_unstable_world_starts_again_and_the_others_do_not_notice(device):
    env, twin = (make("HalfCheetah-v5", device, episodes=1) for _ in range(2))
    qpos, qvel = (torch.zeros(2, 1, 9, device=device) for _ in range(2))
    twin.set_state(qpos, qvel)
    wild = qvel.clone()
    wild[0] = 1e12
    env.set_state(qpos, wild)
    for row in random_actions(env, 3):
        step, expected = env.step(row), twin.step(row)
        assert step.next_obs.isfinite().all()
        torch.testing.assert_close(step.next_obs[1], expected.next_obs[1], rtol=0, atol=0 if device == "cpu" else 1e-4)
    assert env._state.qpos.abs().max() < 10


def test_room_that_is_too_small_is_an_error_that_names_the_cure(monkeypatch):
    """And nothing of the rollout is recorded."""
    monkeypatch.setattr(warp(), "ROWS", 4)
    env = Monitor(make("Hopper-v5"))
    env.step(torch.zeros(2, 4, 3))
    assert env.take_episodes() == []
    for row in random_actions(env, 60):
        env.step(row)
    with pytest.raises(InputError, match=r"NEFC.* in \d of 8 worlds; raise CONTACTS = 48 or ROWS = 4 in envs/physics"):
        env.take_episodes()
    with pytest.raises(InputError, match="raise CONTACTS"):
        play(make("Hopper-v5"), lambda obs: obs.new_ones(2, 4, 3))


def test_few_contacts_of_room_are_an_error_too(monkeypatch):
    monkeypatch.setattr(warp(), "CONTACTS", 1)
    env = make("Walker2d-v5")
    rollout(env, random_actions(env, 30))
    with pytest.raises(InputError, match="NARROWPHASE|BROADPHASE"):
        env.check()


def test_bodies_thrown_about_fit():
    """The hardest of the tasks, in poses that no episode reaches; the room holds more."""
    env = make("Humanoid-v5", episodes=30)
    generator = torch.Generator().manual_seed(0)
    qpos = env._state.qpos + 3 * (torch.rand(env._state.qpos.shape, generator=generator) - 0.5)
    qpos[..., 2] = 0.5
    env.horizon = 10**9
    env.task.terminal, kept = (lambda x: torch.zeros_like(x.qpos[..., 0], dtype=torch.bool)), env.task.terminal
    try:
        env.set_state(qpos, 10 * torch.randn(env._state.qvel.shape, generator=generator))
        rollout(env, random_actions(env, 15))
    finally:
        env.task.terminal = kept
    env.check()


def test_too_many_worlds_for_the_memory():
    each = warp().bytes_per_world(envs.model(envs.load("Hopper-v5")))
    assert 30_000 < each < 200_000
    warp().refuse_too_many(1000, each, 1000 * each)
    with pytest.raises(InputError, match=r"40,960 worlds .* need \d\.\d GB .*: 1,000 fit; lower the task's episodes"):
        warp().refuse_too_many(40_960, each, 1000 * each)


def test_humanoids_solver_is_newton():
    """Warp has no PGS; the other tasks' solver is Newton anyway."""
    assert envs.model(envs.load("Humanoid-v5")).opt.solver == mujoco.mjtSolver.mjSOL_PGS
    assert make("Humanoid-v5")._physics.model.opt.solver == mujoco.mjtSolver.mjSOL_NEWTON


@pytest.mark.parametrize(
    ("engine", "device", "message"),
    [
        ("native", "cuda", "engine 'native' runs on the CPU, not on 'cuda'; use engine 'warp'"),
        pytest.param(
            *("warp", "cuda", "device 'cuda': torch finds no CUDA device here"),
            marks=pytest.mark.skipif(torch.cuda.is_available(), reason="has a CUDA device"),
        ),
    ],
)
def test_devices_that_will_not_do(engine, device, message):
    with pytest.raises(InputError, match=message):
        envs.make("Hopper-v5", [0], 1, engine=engine, device=device)


@pytest.mark.parametrize("name", TASKS)
def test_a_step_reads_nothing_back(name):
    """Start states, autoreset, observation, reward and termination included: it can be a CUDA graph."""
    env = shared(name, "cpu")
    env.horizon = 3
    actions = random_actions(env, 5)
    with resident():
        for row in actions:
            env.step(row)


def test_the_watch_is_awake():
    env = envs.make("Hopper-v5", [0], 1)
    with resident(), pytest.raises(WaitsError, match="numpy waits for the device"):
        env.step(torch.zeros(1, 1, 3))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("name", TASKS)
def test_a_step_on_a_gpu_never_waits(name):
    """Recorded, and as it is."""
    env = make(name, "cuda")
    actions = random_actions(env, 70)  # more than one block of start states
    rollout(env, actions[:3])  # compiled and recorded
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        for row in actions:
            env.step(row)
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("name", TASKS)
def test_recorded_steps_are_the_steps(name):
    """The same numbers, but for the order of sums, as without the recording; time limits are met on the way."""
    recorded, plain = make(name, "cuda", episodes=16), make(name, "cuda", episodes=16)
    plain._recorded = None
    recorded.horizon = plain.horizon = 4
    for row in random_actions(recorded, 7):
        step, expected = recorded.step(row), plain.step(row)
        torch.testing.assert_close(step.next_obs, expected.next_obs, rtol=1e-3, atol=1.0 if "Human" in name else 5e-2)
        assert torch.equal(step.truncated, expected.truncated)
        assert torch.equal(recorded.elapsed, plain.elapsed)
    torch.testing.assert_close(recorded.obs[recorded.elapsed == 0], plain.obs[plain.elapsed == 0])


def cuda_output():
    return warp().wp.config.cuda_output


def test_what_warp_compiles_to_can_be_decided(monkeypatch):
    monkeypatch.setenv("THREEFOLD_CUDA_OUTPUT", "cubin")
    assert fresh(ROOT, cuda_output) == "cubin"
    monkeypatch.setenv("THREEFOLD_CUDA_OUTPUT", "fatbin")
    with pytest.raises(InputError, match="^THREEFOLD_CUDA_OUTPUT='fatbin': must be ptx or cubin$"):
        fresh(ROOT, cuda_output)
