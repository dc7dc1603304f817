"""The state that a run is resumed from: exact, and data alone."""

import json
import math

import pytest
import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import nn

from algorithms.core.population import Generators, adam, descend, mlp
from algorithms.core.state import TREE, State, pack, unpack

LEAVES = {
    "int": 3,
    "float": 0.1 + 0.2,
    "none": None,
    "text": "ä",
    "rows": [{"a": 1, "b": math.inf}],
    "float64": torch.rand(2, 3, dtype=torch.float64),
    "bool": torch.tensor([True, False]),
    "expanded": torch.rand(1).expand(4),
    "empty": torch.zeros(0, 2),
}


def test_what_is_packed_is_unpacked_to_the_last_bit():
    back = unpack(pack({"deep": [LEAVES]}))["deep"][0]
    assert list(back) == list(LEAVES)
    for name, leaf in LEAVES.items():
        if isinstance(leaf, torch.Tensor):
            assert back[name].dtype == leaf.dtype
            assert torch.equal(back[name], leaf)
        else:
            assert back[name] == leaf
    assert math.isnan(unpack(pack({"x": math.nan}))["x"])


def test_tensors_that_share_memory_are_packed():
    x = torch.rand(4)
    back = unpack(pack([x, x[1:], x.view(2, 2)]))
    assert torch.equal(back[1], x[1:])


@pytest.mark.parametrize("leaf", [lambda: 0, {1, 2}, nn.Linear(1, 1)])
def test_anything_else_is_refused(leaf):
    with pytest.raises(TypeError, match="cannot be part of a state"):
        pack({"x": leaf})


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x80\x04N.",  # a pickle
        pack([1])[:-1],
        safetensors.torch.save({"other": torch.zeros(1)}),
        safetensors.torch.save({TREE: torch.zeros(3, dtype=torch.uint8)}),
        safetensors.torch.save({TREE: torch.tensor(list(json.dumps({"tensor": "7"}).encode()), dtype=torch.uint8)}),
    ],
)
def test_bytes_that_are_no_state_are_refused(data):
    with pytest.raises((SafetensorError, KeyError, ValueError)):
        unpack(data)


class Model(nn.Module):
    count: torch.Tensor

    def __init__(self, seed):
        super().__init__()
        self.net, self.noise = mlp(2, (4,), 1, Generators([seed, 1], "weights")), Generators([seed, 1], "noise")
        self.register_buffer("count", torch.zeros(2))

    def forward(self):
        self.count = self.count + 1
        return self.net(self.noise.normal(3, 2)).square().mean((1, 2))


def made(seed):
    model = Model(seed)
    return State(model=model, optimizer=adam(model.parameters(), 0.1), draws=[Generators([seed], "a")], step=0)


def advance(state, times=3):
    for _ in range(times):
        descend(state.optimizer, state.model())
        state.step += 1
    return state


def test_modules_optimisers_and_generators_go_on_exactly():
    original, other = advance(made(0)), made(7)  # whose optimiser has not stepped yet
    other.load_state_dict(unpack(pack(original.state_dict())))
    assert other.step == 3
    for state in (original, other):
        advance(state)
    torch.testing.assert_close(
        unpack(pack(original.state_dict())), unpack(pack(other.state_dict())), rtol=0, atol=0, equal_nan=True
    )
    assert torch.equal(original.draws[0].normal(2), other.draws[0].normal(2))


def test_what_was_saved_does_not_change_with_the_run():
    state = made(0)
    saved = pack(state.state_dict())
    advance(state)
    assert unpack(saved)["step"] == 0
    assert torch.equal(unpack(saved)["model"]["tensors"]["count"], torch.zeros(2))


@pytest.mark.parametrize(
    "change",
    [
        lambda saved: saved | {"more": 1},
        lambda saved: saved | {"step": "3"},
        lambda saved: saved | {"draws": []},
        lambda saved: saved | {"best": saved["best"][:1]},
        lambda saved: saved | {"best": saved["best"].double()},
        lambda saved: saved | {"model": {"tensors": {}, "generators": {}}},
    ],
)
def test_the_state_of_another_run_is_refused(change):
    state = made(0)
    state.best = torch.zeros(2)
    saved = unpack(pack(state.state_dict()))
    with pytest.raises((KeyError, RuntimeError, TypeError, ValueError)):
        state.load_state_dict(change(saved))
    state.load_state_dict(saved)
