"""How recorded functions are put together, with graphs that only say when they are replayed: CUDA is not here."""

from contextlib import nullcontext
from functools import partial

import pytest
import torch

import envs
from envs import graph
from envs.graph import Recorded, launch


@pytest.fixture
def log(monkeypatch):
    """Stand-ins for CUDA: a graph has a number, and its replay is written down."""
    said, made = list[str](), list[object]()

    class Graph:
        def __init__(self):
            self.number = len(made)
            made.append(self)

        def capture_begin(self, pool, capture_error_mode):
            assert pool == "pool"

        def capture_end(self):
            pass

        def replay(self):
            said.append(f"graph {self.number}")

    monkeypatch.setattr(torch.cuda, "CUDAGraph", Graph)
    monkeypatch.setattr(torch.cuda, "graph_pool_handle", lambda: "pool")
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: None)
    monkeypatch.setattr(torch.cuda, "Stream", lambda: None)
    monkeypatch.setattr(torch.cuda, "stream", lambda _: nullcontext())
    return said


def test_run_once_then_recorded_then_replayed(log):
    calls = []

    def function(x):
        calls.append(x.clone())
        launch(lambda: log.append("work"))
        return (x + 1,)

    graphs = Recorded()
    recorded = partial(graphs, function)
    first, second, third = (torch.full((2,), float(n)) for n in (1, 2, 3))
    assert recorded(first)[0].tolist() == [2.0, 2.0]
    assert log == ["work"]  # as it is
    (output,) = recorded(second)
    assert log == ["work", "graph 0", "work", "graph 1"]  # the work, given up while recording, has its place
    recorded(third)
    assert log[4:] == ["graph 0", "work", "graph 1"]
    assert len(calls) == 2
    assert graphs._inputs[0].tolist() == [3.0, 3.0]  # where the graphs look
    assert third.data_ptr() != graphs._inputs[0].data_ptr()
    assert output.data_ptr() != graphs._outputs[0].data_ptr()  # what was given is never changed


def test_an_error_while_recording_ends_it(log):
    def function(x):
        if len(log):
            raise RuntimeError("no")
        log.append("once")
        return (x,)

    recorded = partial(Recorded(), function)
    recorded(torch.zeros(1))
    with pytest.raises(RuntimeError, match="no"):
        recorded(torch.zeros(1))
    assert graph._recording is None


@pytest.mark.parametrize(("name", "graphs"), [("Hopper-v5", 2), ("Ant-v5", 3)])
def test_an_env_step_is_a_chain_of_graphs(log, name, graphs):
    """Torch's around Warp's of the physics, and around the forward pass at resets where a task needs one."""
    env = envs.make(name, [0], 2, engine="warp")
    env._recorded = Recorded()
    for _ in range(3):
        env.step(torch.zeros(1, 2, env.action_size))
    assert len(env._recorded._pieces) == 2 * graphs - 1
    assert log == 2 * [f"graph {number}" for number in range(graphs)]
