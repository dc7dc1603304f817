"""Training never waits for its device within an iteration: nothing is read back, no branch looks at a value."""

import itertools

import pytest
import torch

import algorithms
import envs
from algorithms.core.experience import Demonstrations
from algorithms.core.state import pack, unpack
from envs.monitor import Monitor
from tests.resident import WaitsError, resident
from tests.test_laws import COUNTS, EPISODES, SEEDS, small
from tests.toy import Puck, demonstrations

ITERATIONS = 3


def exceptions(config):
    """Reads of one iteration: methods that draw whole trajectories learn how long the longest is, for the shapes."""
    loop = getattr(config, "loop", None)
    return 2 * loop.reward_steps if loop and loop.trajectories else 0  # of expert and policy


@pytest.mark.parametrize("name", algorithms.names())
def test_an_iteration_reads_nothing_back(name):
    """Rollout, reward, advantages, statistics and updates, and what Progress tells of failures."""
    method = algorithms.load(name)
    config = small(method.Config())
    training = method.train(Puck(SEEDS, EPISODES), demonstrations(COUNTS), SEEDS, config)
    next(training)  # the first one sets out
    with resident(allowed={"longest"}) as reads:
        for _ in range(ITERATIONS):
            next(training)
    assert len(reads) == ITERATIONS * exceptions(config)


@pytest.mark.parametrize(
    "wait",
    [
        lambda x: x.max().item(),
        lambda x: x.tolist(),
        lambda x: int(x[0]),
        lambda x: bool((x > 0).any()),
        lambda x: x[x > 0],
        lambda x: x.nonzero(),
        lambda x: x.masked_select(x > 0),
        lambda x: x.unique(),
        lambda x: x.cpu(),
        lambda x: x.long().bincount(),
    ],
)
def test_the_watch_finds_what_waits(wait):
    with resident(), pytest.raises(WaitsError):
        wait(torch.ones(3))


def test_the_watch_lets_the_rest_pass():
    x = torch.arange(3.0)
    with resident():
        y = torch.where(x > 1, x, 0)[torch.tensor([2, 0])].masked_fill(x[:2] > 0, 5.0)
    assert y.tolist() == [2.0, 5.0]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("name", algorithms.names())
def test_synchronisations_of_an_iteration_on_a_gpu(name, recwarn):
    """Counted by CUDA's own watch, physics included."""
    method, device = algorithms.load(name), torch.device("cuda")
    config = small(method.Config())
    env = Monitor(envs.make("Hopper-v5", SEEDS, EPISODES, engine="warp", device="cuda"))
    training = method.train(env, hopper(device), SEEDS, config)
    for _ in itertools.repeat(None, 2):
        next(training)
    torch.cuda.synchronize()
    recwarn.clear()
    torch.cuda.set_sync_debug_mode("warn")
    try:
        next(training)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    waits = [w for w in recwarn if "synchroniz" in str(w.message)]
    assert len(waits) == exceptions(config)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("name", algorithms.names())
def test_a_saved_state_goes_on_on_a_gpu(name):
    """As statistics go: the order of sums is not fixed there."""
    method, device = algorithms.load(name), torch.device("cuda")
    config = small(method.Config())

    def start():
        env = Monitor(envs.make("Hopper-v5", SEEDS, EPISODES, engine="warp", device="cuda"))
        return env, method.train(env, hopper(device), SEEDS, config)

    (env, training), (other_env, other) = start(), start()
    for _ in range(3):
        progress = next(training)
    again = next(other)
    again.state.load_state_dict(unpack(pack(progress.state.state_dict())))
    other_env.load_state_dict(unpack(pack(env.state_dict())))
    one, two = next(training), next(other)
    assert (one.iteration, one.env_steps) == (two.iteration, two.env_steps)
    torch.testing.assert_close(one.policy.log_std, two.policy.log_std, rtol=0.1, atol=0.1)


def hopper(device: torch.device) -> Demonstrations:
    """As many transitions as the toy's, in Hopper's sizes."""
    toy = demonstrations(COUNTS)
    obs, next_obs = torch.randn(2, len(toy.obs), 11, device=device)
    action = torch.randn(len(toy.obs), 3, device=device)
    trajectory = torch.arange(len(toy.lengths)).repeat_interleave(toy.lengths)
    terminal, trajectory, lengths, ended = (x.to(device) for x in (toy.terminal, trajectory, toy.lengths, toy.ended))
    return Demonstrations(obs, action, next_obs, terminal, trajectory, lengths, ended, COUNTS)
