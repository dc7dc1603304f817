"""Everything that a GPU is needed for, in one command that can be stopped and started again.

    python -m benchmarks.gpu --hours 6

In turn: the tests that need a GPU; how fast training and its physics alone are; what an iteration spends its time on;
what the paper profile will cost; experts still missing, and their demonstrations; cells of the paper profile until the
hours are over. Each piece is saved in benchmarks/gpu/ when it is done, and not done again. `--tiny` does all of it on
Warp's CPU back end, in sizes that only show that it works.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import torch
import yaml
from torch import Tensor

import envs
from algorithms import gail
from envs import device as devices
from envs.monitor import Monitor
from threefold.base.errors import one_line
from threefold.base.files import write_bytes, write_json
from threefold.cells import estimate
from threefold.experts import experts
from threefold.profile.design import load
from threefold.store.origin import commit

ROOT = Path(__file__).parents[1]
TESTS = ("tests/test_warp.py", "tests/test_resident.py", "tests/test_device.py")


@dataclass(frozen=True)
class Sizes:
    """How much of it."""

    device: str
    learners: tuple[int, ...] = (1, 10, 40)
    tasks: tuple[str, ...] = ("Hopper-v5", "HalfCheetah-v5", "Ant-v5")
    episodes: int = 256  # in parallel, per learner
    steps: int = 256  # of a rollout
    iterations: int = 3  # timed
    tests: tuple[str, ...] = TESTS
    engine: str = "warp"


FULL = Sizes("cuda")
TINY = Sizes("cpu", (1, 2), ("Hopper-v5",), 2, 16, 1, ("tests/test_resident.py", "-k", "watch"))


class Pieces:
    """The finished pieces of a folder: one JSON file each, and a table of each kind."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def do(self, kind: str, name: str, work: Callable[[], dict[str, Any]]) -> None:
        """Do a piece unless it is there, and save it at once; one that failed is done again."""
        path = self.folder / kind / f"{name}.json"
        if path.exists() and json.loads(path.read_text()).get("returncode", 0) == 0:
            return
        print(f"{kind} {name}", file=sys.stderr, flush=True)
        began = time.monotonic()
        result = work()
        write_json(result | {"seconds": round(time.monotonic() - began, 1)}, path)
        rows = [json.loads(p.read_text()) for p in sorted(path.parent.glob("*.json"))]
        write_bytes(self.folder / f"{kind}.csv", pd.DataFrame(rows).to_csv(index=False).encode())


def run(sizes: Sizes, pieces: Pieces, params: Path, data_params: Path, hours: float) -> None:
    """Do all pieces that are not there, those of the paper profile for as long as it is told."""
    deadline = time.monotonic() + 3600 * hours
    pieces.do("machine", "machine", partial(machine, sizes))
    pieces.do("tests", "tests", partial(tests, sizes))
    for task in sizes.tasks:
        for learners in sizes.learners:
            pieces.do("throughput", f"{task}-{learners}", partial(throughput, sizes, task, learners))
        pieces.do("profile", task, partial(profile, sizes, task, sizes.learners[-1]))
    design = load(params)
    for task, design_of in missing_experts(data_params):
        pieces.do("experts", task, partial(expert, sizes, task, design_of, data_params))
    cells = [(task, row) for task in design.tasks for row in design.rows(task)]
    for task, row in cells:
        if time.monotonic() < deadline:
            pieces.do("cells", f"{task}-{row}", partial(cell, params, task, row, deadline))


def machine(sizes: Sizes) -> dict[str, Any]:
    """Return where the numbers are from."""
    what = {"device": devices.describe(sizes.device, sizes.engine), "cuda": torch.version.cuda, "cores": os.cpu_count()}
    return what | devices.versions(sizes.engine) | commit(ROOT)


def tests(sizes: Sizes) -> dict[str, Any]:
    """Run the tests that are skipped without a GPU, and those beside them."""
    result = command("pytest", "-q", "-rs", *sizes.tests)
    counts = {what: int(n) for n, what in re.findall(r"(\d+) (passed|failed|skipped|error)", result["last_line"])}
    return counts | result


def throughput(sizes: Sizes, task: str, learners: int) -> dict[str, Any]:
    """Time GAIL all in, and the env alone under random actions, in as many worlds."""
    env, training, per_iteration = trainer(sizes, task, learners)
    for _ in range(2):  # compiled, recorded
        advance(env, training)
    began = clock(sizes)
    for _ in range(sizes.iterations):
        advance(env, training)
    all_in = sizes.iterations * per_iteration / (clock(sizes) - began)
    del env, training
    bare = make(sizes, task, learners)
    actions = bare.action_low + (bare.action_high - bare.action_low) * torch.rand(
        sizes.steps, learners, sizes.episodes, bare.action_size, device=bare.obs.device
    )
    for action in actions[:3]:
        bare.step(action)
    began = clock(sizes)
    for action in actions:
        bare.step(action)
    alone = per_iteration / (clock(sizes) - began)
    bare.check()
    return {
        "task": task,
        "learners": learners,
        "episodes": sizes.episodes,
        "device": devices.describe(sizes.device, sizes.engine),
        "steps_per_s": round(all_in),
        "physics_alone_steps_per_s": round(alone),
        "share_of_physics": round(all_in / alone, 3),
    }


def profile(sizes: Sizes, task: str, learners: int) -> dict[str, Any]:
    """Say what an iteration spends its time on.

    Physics, policy and learning are timed with a wait for the device after each, so their sum is longer than an
    iteration; idle is the share of a whole one, without such waits, in which the device does nothing.
    """
    env, training, _ = trainer(sizes, task, learners, watch=True)
    for _ in range(2):
        advance(env, training)
    env.times.clear()
    advance(env, training)
    spans, last = env.times, clock(sizes)
    physics = sum(end - start for start, end in spans)
    policy = sum(spans[t + 1][0] - spans[t][1] for t in range(len(spans) - 1))
    seconds = {"physics_s": physics, "policy_s": policy, "learning_s": last - spans[-1][1]}
    env, training, _ = trainer(sizes, task, learners)
    for _ in range(2):
        advance(env, training)
    wall, busy, launches = occupied(sizes, lambda: advance(env, training))
    return {
        "task": task,
        "learners": learners,
        "episodes": sizes.episodes,
        "device": devices.describe(sizes.device, sizes.engine),
        "iteration_s": round(wall, 4),
        **{name: round(value, 4) for name, value in seconds.items()},
        "idle_share": round(max(0.0, 1 - busy / wall), 3),
        "kernels": launches,
    }


def occupied(sizes: Sizes, work: Callable[[], None]) -> tuple[float, float, int | None]:
    """Return wall time, time the device was busy (on a CPU: one core), and kernels (on a CPU: not counted)."""
    if sizes.device == "cpu":
        began, busy = time.perf_counter(), time.process_time()
        work()
        return time.perf_counter() - began, time.process_time() - busy, None
    began = clock(sizes)
    work()
    wall = clock(sizes) - began
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as trace:
        work()
        clock(sizes)
    events = trace.key_averages()
    return wall, sum(e.self_device_time_total for e in events) / 1e6, sum(e.count for e in events)


class Watched:
    """An env whose steps are timed, each with a wait for the device before and after."""

    def __init__(self, env: Monitor, sizes: Sizes) -> None:
        self._env, self._sizes = env, sizes
        self.times: list[tuple[float, float]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._env, name)

    def step(self, action: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        began = clock(self._sizes)
        returned = self._env.step(action)
        self.times.append((began, clock(self._sizes)))
        return returned


def make(sizes: Sizes, task: str, learners: int) -> envs.BatchEnv:
    return envs.make(task, range(learners), sizes.episodes, sizes.engine, sizes.device)


def trainer(sizes: Sizes, task: str, learners: int, watch: bool = False) -> tuple[Any, Iterator[Any], int]:
    """Return an env, GAIL in training on it, and the environment steps of an iteration."""
    env: Any = Monitor(make(sizes, task, learners))
    env = Watched(env, sizes) if watch else env
    config = gail.Config()
    config = replace(config, ppo=replace(config.ppo, steps=sizes.steps))
    training = gail.train(env, estimate.noise(env, learners, sizes.device), range(learners), config)
    return env, training, sizes.steps * sizes.episodes * learners


def advance(env: Any, training: Iterator[Any]) -> None:
    """Do an iteration, and take what its runner takes."""
    next(training)
    env.take_episodes(), env.take_rewards()


def clock(sizes: Sizes) -> float:
    if sizes.device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


def missing_experts(data_params: Path) -> list[tuple[str, Any]]:
    """Return the tasks without an expert, or with one below its bar, and how it is to be made."""
    folder, found = data_params.parent, []
    for task in yaml.safe_load(data_params.read_text())["experts"]:
        card = folder / "experts" / task / "card.json"
        if not card.exists() or not json.loads(card.read_text())["reached"]:
            found.append((task, experts.read_design(data_params, task)))
    return found


def expert(sizes: Sizes, task: str, design: experts.Design, data_params: Path) -> dict[str, Any]:
    """Make an expert and its demonstrations."""
    folder = data_params.parent
    where = ("--task", task, "--params", os.path.relpath(data_params, ROOT))  # which the cards repeat
    result = command("expert", *where, "--device", sizes.device, "--out", str(folder / "experts" / task))
    if result["returncode"] == 0:
        result = command("demonstrate", *where)
    card = folder / "experts" / task / "card.json"
    reached = json.loads(card.read_text())["return_deterministic"]["mean"] if card.exists() else None
    return {"task": task, "return_deterministic": reached, "required_return": design.required_return} | result


def cell(params: Path, task: str, row: str, deadline: float) -> dict[str, Any]:
    """Run a cell, which goes on another time where it is stopped at the deadline."""
    named = ("--params", str(params), "--task", task, "--row", row)
    result = command("run", *named, timeout=max(1.0, deadline - time.monotonic()))
    return {"task": task, "row": row} | result


def command(verb: str, *options: str, timeout: float | None = None) -> dict[str, Any]:
    """Run a verb, show what it says, and return its exit code and its last line; it ends after `timeout` seconds."""
    call = [sys.executable, "-m", "threefold", verb, *options]
    process = subprocess.Popen(call, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    end = threading.Timer(timeout or threading.TIMEOUT_MAX, process.terminate)
    end.daemon = True
    end.start()
    last = ""
    assert process.stdout is not None
    for line in process.stdout:
        print(line, end="", file=sys.stderr, flush=True)
        last = line.strip() or last
    end.cancel()
    return {"returncode": process.wait(), "last_line": last}


def main() -> None:
    """Run what is left to do."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hours", type=float, default=1.0, help="no cell goes on for longer, from now (default: 1)")
    parser.add_argument("--params", type=Path, default=ROOT / "paper" / "params.yaml", help="of the profile")
    parser.add_argument("--data", type=Path, default=ROOT / "data" / "params.yaml", help="how experts are made")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "gpu", help="where the pieces are")
    parser.add_argument("--tiny", action="store_true", help="on the CPU, only to show that it works")
    arguments = parser.parse_args()
    sizes = TINY if arguments.tiny else FULL
    devices.choose(sizes.device)
    run(sizes, Pieces(arguments.out), arguments.params, arguments.data, arguments.hours)


if __name__ == "__main__":
    with one_line():
        main()
