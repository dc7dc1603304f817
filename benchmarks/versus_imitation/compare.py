"""GAIL on Hopper, side by side with HumanCompatibleAI `imitation` 1.0.1, from the same demonstrations.

    python -m benchmarks.versus_imitation.compare                  # from the project's root, on a quiet machine

makes the peer's virtual environment if need be, then measures (1) env steps per second of training, all in, in short
alternating slices, and (2) the training time until the first and until all of four learners score 0.8. Ours trains a
few learners a process, as `threefold run` does; `imitation` trains one, and gets the fastest of three ways to run them.

Both clocks stop during evaluation and leave out imports and set-up; both evaluate after as many steps on as many
deterministic episodes. A learner of ours shares the clock of all; one of the peer's starts when a core is free.
Finished runs of (2) are kept in runs/: a restart repeats only what was cut off. Writes comparison.csv and curves.csv.
"""

import argparse
import heapq
import json
import math
import multiprocessing
import os
import platform
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch

import envs
from algorithms import gail
from envs.episodes import play
from envs.monitor import Monitor
from threefold.base.errors import InputError, one_line
from threefold.experts import demonstrations, policies
from threefold.profile.design import together

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
TASK, SEEDS, SCORE = "Hopper-v5", [0, 1, 2, 3], 0.8
EPISODES = 16  # in parallel, per learner of ours; with PPO's 256 steps a rollout has 4,096 steps, like the peer's
CORES = len(os.sched_getaffinity(0))
SLICE, SLICES = 20.0, 3  # seconds of training per slice of (1), and slices of each side


class Bounds(NamedTuple):
    """When to measure and when to stop."""

    steps: int  # env steps of a learner
    seconds: float  # of training
    target: float = math.inf  # mean return at which a learner has arrived
    episodes: int = 0  # per evaluation; 0: speed only
    rounds: int = 1  # rollouts of 4,096 steps between measurements


class Point(NamedTuple):
    """A measurement of one learner."""

    seed: int
    seconds: float
    env_steps: int
    episode_return: float | None


class Way(NamedTuple):
    """How to run the peer's learners: so many at once, with such arguments."""

    name: str
    at_once: int
    arguments: tuple[str, ...]


WAYS = [
    Way("its command's default: one learner, environments in processes", 1, ("--parallel", f"--threads={CORES}")),
    Way("one learner, one thread", 1, ()),
    Way(f"{min(CORES, len(SEEDS))} learners at once, one thread each", min(CORES, len(SEEDS)), ()),
]


def ours(trajectories: int, bounds: Bounds) -> Iterator[Point]:
    """Train all learners in processes of a few, as `threefold run` does."""
    context, parts = multiprocessing.get_context("fork"), together(SEEDS)
    points = context.SimpleQueue()
    workers = [
        context.Process(target=train_part, args=(part, trajectories, bounds, CORES // min(len(parts), CORES), points))
        for part in parts
    ]
    for worker in workers:
        worker.start()
    for _ in workers:
        yield from iter(points.get, None)
    for worker in workers:
        worker.join()


def train_part(seeds: Sequence[int], trajectories: int, bounds: Bounds, threads: int, points: Any) -> None:
    """Train some learners and put down how they do, then None."""
    torch.set_num_threads(1)
    demos = demonstrations.load(ROOT / "data" / "demonstrations" / TASK, TASK, [trajectories] * len(seeds))
    for point in measured(seeds, demos, bounds, threads):
        points.put(point)
    points.put(None)


def measured(
    seeds: Sequence[int], demos: demonstrations.Demonstrations, bounds: Bounds, threads: int
) -> Iterator[Point]:
    """Train some learners as one population."""
    env = Monitor(envs.make(TASK, seeds, EPISODES, threads=threads))
    held_out = envs.make(TASK, [10_000 + seed for seed in seeds], max(1, bounds.episodes), threads=threads)
    training = gail.train(env, demos, seeds, gail.Config())
    seconds, env_steps, arrived = 0.0, 0, set[int]()
    while env_steps < bounds.steps and seconds < bounds.seconds and len(arrived) < len(seeds):
        started = time.perf_counter()
        for _ in range(bounds.rounds):
            progress = next(training)
            env.take_rewards(), env.take_episodes()  # they would pile up
        seconds += time.perf_counter() - started
        env_steps = progress.env_steps
        returns = (
            play(held_out, progress.policy).episode_return.mean(1).tolist() if bounds.episodes else [None] * len(seeds)
        )
        for seed, episode_return in zip(seeds, returns, strict=True):
            yield Point(seed, seconds, env_steps, episode_return)
            if episode_return is not None and episode_return >= bounds.target:
                arrived.add(seed)


def theirs(python: Path, pairs: Path, way: Way, seed: int, bounds: Bounds) -> Iterator[Point]:
    """Train one learner of the peer's in a process of its own."""
    command: list[str | Path] = [
        python,
        HERE / "peer.py",
        pairs,
        *way.arguments,
        f"--seed={seed}",
        f"--steps={bounds.steps}",
    ]
    command += [f"--limit-seconds={bounds.seconds}", f"--target={bounds.target}"]
    command += [f"--episodes={bounds.episodes}", f"--rounds={bounds.rounds}"]
    with (
        open(HERE / "runs" / f"peer-{seed}.log", "w") as log,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True) as process,
    ):
        assert process.stdout is not None
        for line in process.stdout:
            yield Point(seed, **json.loads(line))
    if process.returncode:
        raise RuntimeError(f"peer.py: exit {process.returncode}; see {log.name}")


def speed(points: list[Point]) -> float:
    """Env steps per second of all learners together, from their last measurements."""
    last = {point.seed: point for point in points}.values()
    return sum(point.env_steps / point.seconds for point in last)


def speeds(trajectories: int, python: Path, pairs: Path) -> dict[str, float]:
    """Median steps per second of ours and of each way to run the peer's, in alternating slices."""
    bounds = Bounds(steps=10**9, seconds=SLICE)
    found: dict[str, list[float]] = {name: [] for name in ("ours", *(way.name for way in WAYS))}
    for _ in range(SLICES):
        found["ours"].append(speed(list(ours(trajectories, bounds))))
        for way in WAYS:
            found[way.name].append(speed(train_theirs(python, pairs, way, SEEDS[: way.at_once], bounds)))
    for name, values in found.items():
        print(f"{name}: {', '.join(f'{value:,.0f}' for value in values)} steps/s", flush=True)
    return {name: statistics.median(values) for name, values in found.items()}


def train_theirs(
    python: Path, pairs: Path, way: Way, seeds: list[int], bounds: Bounds, keep: bool = False
) -> list[Point]:
    """Train the peer's learners, `way.at_once` at a time."""

    def train(seed: int) -> list[Point]:
        def measure() -> Iterator[Point]:
            return theirs(python, pairs, way, seed, bounds)

        files = [pairs, HERE / "peer.py", HERE / "requirements.txt"]
        return kept(f"{way} {seed} {bounds}", files, measure) if keep else list(measure())

    with ThreadPoolExecutor(way.at_once) as pool:
        return [point for points in pool.map(train, seeds) for point in points]


def kept(name: str, files: list[Path], measure: Callable[[], Iterator[Point]]) -> list[Point]:
    """Return the points of a run, from its file if it had finished before from the same `files`."""
    inputs = name.encode() + b"".join(file.read_bytes() for file in files)
    path = HERE / "runs" / f"{sha256(inputs).hexdigest()[:16]}.json"
    if not path.exists():
        points = []
        for point in measure():
            points.append(point)
            print(point, flush=True)
        part = path.with_suffix(".part")
        part.write_text(json.dumps(points))
        part.replace(path)
    return [Point(*row) for row in json.loads(path.read_text())]


def arrivals(points: list[Point], target: float, at_once: int) -> list[tuple[float, bool]]:
    """Time at which each learner reached the target or was stopped, and whether it did, `at_once` running at a time."""
    free, found = [0.0] * at_once, []
    for seed in SEEDS:
        own = [point for point in points if point.seed == seed]
        hits = [point.seconds for point in own if point.episode_return is not None and point.episode_return >= target]
        begin, busy = heapq.heappop(free), min(hits, default=own[-1].seconds)
        heapq.heappush(free, begin + busy)
        found.append((begin + busy, bool(hits)))
    return found


def first(found: list[tuple[float, bool]]) -> tuple[float, bool]:
    """When the first learner arrived; (a lower bound, False) if none did."""
    return min((x for x in found if x[1]), default=(min(found)[0], False))


def last(found: list[tuple[float, bool]]) -> tuple[float, bool]:
    """When the last learner arrived; (a lower bound, False) if one did not."""
    return max(found)[0], all(arrived for _, arrived in found)


def time_row(name: str, mine: tuple[float, bool], peer: tuple[float, bool]) -> dict[str, str]:
    """A row of the table; `>` marks a lower bound. The ratio is a bound only on the peer's side."""
    cells = [f"{'' if arrived else '> '}{seconds:.0f}" for seconds, arrived in (mine, peer)]
    ratio = f"{'' if peer[1] else '> '}{peer[0] / mine[0]:.1f}" if mine[1] else ""
    return {"measure": name, "ours": cells[0], "imitation": cells[1], "ratio": ratio}


def make_venv(folder: Path) -> Path:
    """Make or refresh the peer's virtual environment; returns its python."""
    wanted, installed = HERE / "requirements.txt", folder / "installed.txt"
    python = folder / "bin" / "python"
    if not installed.exists() or installed.read_bytes() != wanted.read_bytes():
        base = sys.executable if sys.version_info[:2] == (3, 11) else shutil.which("python3.11")
        if base is None:
            raise InputError("python3.11: not found; `imitation` with mujoco 2.3 needs it beside this Python")
        subprocess.run([base, "-m", "venv", folder], check=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", "-r", wanted], check=True)
        shutil.copy(wanted, installed)
    return python


def pins(*names: str) -> str:
    """The peer's versions, as pinned."""
    lines = (HERE / "requirements.txt").read_text().splitlines()
    return ", ".join(line.replace("==", " ") for line in lines if line.split("==")[0] in names)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--steps", type=int, default=10_000_000, help="env steps of a learner (default: the peer's tuned)"
    )
    parser.add_argument("--limit-seconds", type=float, default=3600.0, help="training time of a learner")
    parser.add_argument("--trajectories", type=int, default=4, help="demonstrations")
    parser.add_argument("--speed-only", action="store_true", help="leave out the time to score 0.8")
    parser.add_argument("--venv", type=Path, default=HERE / ".venv", help="the peer's virtual environment")
    options = parser.parse_args()

    python = make_venv(options.venv)
    (HERE / "runs").mkdir(exist_ok=True)
    demos = demonstrations.load(ROOT / "data" / "demonstrations" / TASK, TASK, [options.trajectories] * len(SEEDS))
    pairs = HERE / "runs" / f"pairs-{options.trajectories}.npz"
    columns = ("obs", "action", "next_obs", "terminal")
    np.savez(pairs, **{name: getattr(demos, name)[: demos.rows].numpy() for name in columns})
    card = policies.load(TASK, ROOT / "data" / "experts" / TASK)[1]
    random, expert = card["random"]["mean"], card["return_deterministic"]["mean"]
    target = random + SCORE * (expert - random)

    rates = speeds(options.trajectories, python, pairs)
    best = max(WAYS, key=lambda way: rates[way.name])
    rows = [
        {
            "measure": f"env steps per second, all in; imitation: {way.name}",
            "ours": f"{rates['ours']:.0f}",
            "imitation": f"{rates[way.name]:.0f}",
            "ratio": f"{rates['ours'] / rates[way.name]:.1f}",
        }
        for way in WAYS
    ]
    if not options.speed_only:
        bounds = Bounds(options.steps, options.limit_seconds, target, episodes=10, rounds=5)
        code = sorted(file for room in ("algorithms", "envs") for file in (ROOT / room).rglob("*.py"))
        mine = kept(f"ours {EPISODES} {SEEDS} {bounds}", [pairs, *code], lambda: ours(options.trajectories, bounds))
        peer = train_theirs(python, pairs, best, SEEDS, bounds, keep=True)
        found = arrivals(mine, target, len(SEEDS)), arrivals(peer, target, best.at_once)
        rows += [
            time_row(f"seconds until the first learner scores {SCORE}", first(found[0]), first(found[1])),
            time_row(f"seconds until all {len(SEEDS)} learners score {SCORE}", last(found[0]), last(found[1])),
        ]
        curves = pd.concat([pd.DataFrame(mine).assign(by="ours"), pd.DataFrame(peer).assign(by="imitation")])
        curves.assign(score=(curves.episode_return - random) / (expert - random)).to_csv(
            HERE / "curves.csv", index=False
        )
    engine = ", ".join(f"{name} {version(name)}" for name in ("gymnasium", "mujoco", "torch"))
    settings = [
        ("task", TASK, "Hopper-v4"),
        ("versions", engine, pins("imitation", "stable-baselines3", "gymnasium", "mujoco", "torch", "numpy")),
        ("settings", "algorithms/gail.py: Config", "tuned_hps/gail_seals_hopper_best_hp_eval.json of its wheel"),
        ("learners", f"{len(SEEDS)}, {max(map(len, together(SEEDS)))} a process", f"{len(SEEDS)}; {best.name}"),
        ("demonstrations", f"{options.trajectories} trajectories, {demos.rows} pairs", "the same"),
        ("machine", f"{CORES} cores, {platform.machine()}", "the same"),
    ]
    rows += [{"measure": name, "ours": a, "imitation": b, "ratio": ""} for name, a, b in settings]
    table = pd.DataFrame(rows)
    table.to_csv(HERE / "comparison.csv", index=False)
    print(table.to_string(index=False))


if __name__ == "__main__":
    with one_line():
        main()
