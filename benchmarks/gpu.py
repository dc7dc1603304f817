"""What a GPU is needed for, in order of worth, for a machine that is there for minutes.

    python -m benchmarks.gpu --minutes 14

In turn: one iteration of GAIL on Hopper, whose statistics are held against the CPU's; how fast training and its physics
alone are, and what an iteration spends its time on; the tests that need a GPU; Hopper's GAIL cell of the paper profile,
held against the CPU's; further cells of that profile until the time is over. Each piece is a process of its own and is
saved in benchmarks/gpu/ (--out) when it is done, and not done again; a cell goes on from its last checkpoint. What
Warp compiles is kept there too. `--tiny` does all of it on a CPU, in sizes that only show that it works.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd
import torch
import yaml
from torch import Tensor

import envs
from algorithms import gail
from algorithms.core.policy import GaussianPolicy
from algorithms.core.ppo import PPOConfig
from benchmarks import gpu_pack
from envs import device as devices
from envs.monitor import Monitor
from threefold.base.errors import one_line
from threefold.base.files import write_bytes, write_json
from threefold.cells import estimate
from threefold.experts import demonstrations
from threefold.profile.design import Design, load
from threefold.profile.rollout import WORLDS
from threefold.store.origin import commit
from threefold.tables import schema, statistics

ROOT = Path(__file__).parents[1]
PARAMS = ROOT / "paper" / "params.yaml"
FIRST = ("Hopper-v5", "gail")  # the cell that comes first
AIMS = {"HalfCheetah-v5": 1_000_000, "Hopper-v5": 300_000, "Ant-v5": 300_000}  # steps/s all in, of the most learners
AIM_SLOWER = 2.0  # the most learners take at most so many times as long as one
MARGIN = 0.05  # of a score: the GPU's mean is not inferior to the CPU's by more
TESTS = ("tests/test_resident.py", "tests/test_device.py", "tests/test_warp.py")
DISAGREE = 5.0  # standard errors between a statistic of the GPU's and the CPU's, of some forty


@dataclass(frozen=True)
class Sizes:
    """How much of it."""

    device: str
    engine: str = "warp"
    compared: int = 10  # learners of the iteration that is held against the CPU's
    learners: tuple[int, ...] = (1, 10, 40)
    tasks: tuple[str, ...] = ("Hopper-v5", "HalfCheetah-v5", "Ant-v5")
    worlds: int = 16 * WORLDS["cuda"]  # of a learner, as the paper profile's cells have
    steps: int = PPOConfig().steps // WORLDS["cuda"]  # of a rollout
    iterations: int = 3  # timed
    tests: tuple[str, ...] = (*TESTS, "-k", "cuda or gpu")
    design: Callable[[dict[str, Any]], dict[str, Any]] = lambda content: content


def tiny_design(content: dict[str, Any]) -> dict[str, Any]:
    """Return a profile of two cells that take seconds."""
    budget = {"env_steps": 512, "parallel_episodes": 4, "demonstrations": [1, 4]}
    looks = {"episodes": 2, "points": 2, "episodes_during_training": 1}
    small = {"tasks": [FIRST[0]], "methods": ["gail", "bc"], "seeds": [0, 1], "evaluation": looks, "studies": {}}
    constants = {FIRST[0]: {"ppo.steps": 64, "steps": 100}}
    small |= {"budget": {FIRST[0]: budget}, "overrides": constants, "variants": {}, "left_out": {}, "remarks": {}}
    return content | small


FULL = Sizes("cuda")
TINY = Sizes(
    "cpu",
    compared=2,
    learners=(1, 2),
    tasks=("Hopper-v5",),
    worlds=2,
    steps=16,
    iterations=1,
    tests=("tests/test_device.py", "-k", "choice"),
    design=tiny_design,
)


class Pieces:
    """The finished pieces of a folder: one JSON file each, and a table of each kind."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def done(self, kind: str, name: str) -> bool:
        """Tell whether a piece is there; one that failed is done again."""
        path = self.folder / kind / f"{name}.json"
        return path.exists() and json.loads(path.read_text()).get("returncode", 0) == 0

    def save(self, kind: str, name: str, result: dict[str, Any]) -> None:
        """Save a piece, and the table of all of its kind."""
        path = self.folder / kind / f"{name}.json"
        write_json(result, path)
        rows = [json.loads(p.read_text()) for p in sorted(path.parent.glob("*.json"))]
        write_bytes(self.folder / f"{kind}.csv", pd.DataFrame(rows).to_csv(index=False).encode())


class Session:
    """Pieces, one after the other, until the time is over."""

    def __init__(self, pieces: Pieces, minutes: float) -> None:
        self.pieces, self.deadline = pieces, time.monotonic() + 60 * minutes

    def do(self, kind: str, name: str, arguments: Sequence[str], most: float = 60.0) -> None:
        """Do a piece, `python -m ARGUMENTS`, unless it is there or the time is over; it ends after so many minutes."""
        left = self.deadline - time.monotonic()
        if self.pieces.done(kind, name) or left <= 0:
            return
        print(f"{kind} {name}: {left / 60:.1f} minutes left", file=sys.stderr, flush=True)
        began = time.monotonic()
        result = command(arguments, min(left, 60 * most))
        found = self.pieces.folder / kind / f"{name}.json"
        own = json.loads(found.read_text()) if found.exists() and result["returncode"] == 0 else {}
        self.pieces.save(kind, name, own | result | {"seconds": round(time.monotonic() - began, 1)})


def command(arguments: Sequence[str], timeout: float) -> dict[str, Any]:
    """Run a module, show what it says, and return its exit code and last line; it and its children end at the time."""
    call = [sys.executable, "-m", *arguments]
    process = subprocess.Popen(
        call, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )
    end = threading.Timer(timeout, os.killpg, (process.pid, signal.SIGKILL))
    end.start()
    last = ""
    assert process.stdout is not None
    for line in process.stdout:
        print(line, end="", file=sys.stderr, flush=True)
        last = line.strip() or last
    code = process.wait()
    end.cancel()
    return {"returncode": code, "last_line": last}


def run(session: Session, sizes: Sizes, options: Sequence[str], beside: Path) -> None:
    """Do all pieces that are not there, in order of worth."""
    folder = session.pieces.folder
    session.pieces.save("machine", "machine", machine(sizes))

    def measure(kind: str, name: str, most: float) -> None:
        session.do(kind, name, ("benchmarks.gpu", *options, "--piece", kind, name), most)

    measure("iteration", "Hopper-v5", 4)  # which compiles
    for task in sizes.tasks:
        measure("throughput", task, 3)
    session.do("tests", "tests", ("pytest", "-q", "-rs", "-p", "no:cacheprovider", *sizes.tests), 3)
    design, params = profile(folder, sizes)
    cells = [(task, row) for task in design.tasks for row in design.rows(task)]
    for task, row in [FIRST, *(cell for cell in cells if cell != FIRST)]:
        named = ("--params", str(params), "--task", task, "--row", row)
        session.do("cells", f"{task}-{row}", ("threefold", "run", *named))
        if (task, row) == FIRST and session.pieces.done("cells", f"{task}-{row}"):
            session.pieces.save("scores", f"{task}-{row}", scores(design, task, row, beside))


def machine(sizes: Sizes) -> dict[str, Any]:
    """Return where the numbers are from."""
    what = {"device": devices.describe(sizes.device, sizes.engine), "cuda": torch.version.cuda, "cores": os.cpu_count()}
    driver = None
    if sizes.device == "cuda":
        query = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
        driver = subprocess.run(query, capture_output=True, text=True, check=False).stdout.strip()
    carried = ROOT / gpu_pack.COMMIT
    source = {"commit": carried.read_text().strip()} if carried.exists() else commit(ROOT)
    date = time.strftime("%Y-%m-%d", time.gmtime())
    return what | devices.versions(sizes.engine) | source | {"driver": driver, "date": date}


def iteration(sizes: Sizes, pieces: Pieces, task: str) -> None:
    """Hold the statistics of one iteration of GAIL against the CPU's, by the spread over learners.

    Random numbers differ between devices, so that the learners are other draws of the same distribution. The numbers of
    the CPU are the native engine's.
    """
    here = statistics_of(replace(sizes, device="cpu", engine="native"), task)
    there = statistics_of(sizes, task)
    rows = []
    for name in here:
        a, b = here[name].double().cpu(), there[name].double().cpu()
        error = ((a.var() + b.var()) / len(a)).sqrt().item()
        gap = (b.mean() - a.mean()).item()
        # A statistic that is the same in all learners differs by rounding only.
        z = gap / error if error > 1e-5 * max(1e-3, abs(a.mean().item())) else 0.0 if abs(gap) < 1e-3 else float("inf")
        rows.append({"statistic": name, "cpu": a.mean().item(), "device": b.mean().item(), "z": z})
    table = pd.DataFrame(rows)
    write_bytes(pieces.folder / "iteration-statistics.csv", table.to_csv(index=False).encode())
    worst = table.loc[table["z"].abs().idxmax()]
    finite = all(x.isfinite().all().item() for x in there.values())
    agree = bool(finite and abs(worst["z"]) < DISAGREE)
    found = {"task": task, "learners": sizes.compared, "statistics": len(table), "finite": finite, "agree": agree}
    pieces.save("iteration", task, found | {"worst": worst["statistic"], "worst_z": worst["z"]})
    print(table.to_string(index=False))


def statistics_of(sizes: Sizes, task: str) -> dict[str, Tensor]:
    """Return numbers `[P]` of an iteration of GAIL: of the rollout, of the losses and of what was learnt."""
    seeds = range(sizes.compared)
    env = Monitor(envs.make(task, seeds, sizes.worlds, sizes.engine, sizes.device))
    folder = ROOT / "data" / "demonstrations" / task
    expert = demonstrations.load(folder, task, [4] * len(seeds), sizes.device)
    progress = next(gail.train(env, expert, seeds, config(sizes)))
    reward, policy = env.take_rewards(), progress.policy
    found = {"reward_mean": reward.mean((0, 2)), "reward_std": reward.std((0, 2))}
    lengths: list[list[int]] = [[] for _ in seeds]
    for learner, _, length in env.take_episodes():
        lengths[learner].append(length)
    if all(lengths):
        found["episode_length"] = torch.tensor([sum(ended) / len(ended) for ended in lengths])
    found |= {f"obs_{d}_mean": x for d, x in enumerate(policy.normalizer.mean[:, 0].unbind(1))}
    found |= {f"obs_{d}_std": x.sqrt() for d, x in enumerate(policy.normalizer.var[:, 0].unbind(1))}
    assert isinstance(policy, GaussianPolicy)
    found |= {f"log_std_{a}": x.detach() for a, x in enumerate(policy.log_std[:, 0].unbind(1))}
    found["action_mean_size"] = policy.mean(policy.normalizer(env.obs.float())).detach().square().mean((1, 2)).sqrt()
    return found | progress.metrics


def throughput(sizes: Sizes, pieces: Pieces, task: str) -> None:
    """Measure each number of learners, and say what an iteration of the most of them spends its time on."""
    for learners in sizes.learners:
        if pieces.done("speed", f"{task}-{learners}"):
            continue
        found = speed(sizes, task, learners)
        if learners == sizes.learners[-1]:
            aim, one = AIMS[task], pieces.folder / "speed" / f"{task}-{sizes.learners[0]}.json"
            slower = found["iteration_s"] / json.loads(one.read_text())["iteration_s"]
            found |= {"aim_steps_per_s": aim, "times_one_learner": round(slower, 2)}
            found["reached"] = bool(found["steps_per_s"] >= aim and slower <= AIM_SLOWER)
        pieces.save("speed", f"{task}-{learners}", found)
        print(found)
    pieces.save("throughput", task, {"task": task})


def speed(sizes: Sizes, task: str, learners: int) -> dict[str, Any]:
    """Time GAIL all in, then its parts, then the env alone under random actions, in as many worlds.

    Physics, policy and learning are timed with a wait for the device after each, so their sum is longer than an
    iteration. `idle_share` is the part of an iteration, without such waits, in which the device does nothing.
    `synchronisations` are the times that an iteration waits for the device; what its runner takes is not counted.
    """
    env, training, per_iteration = trainer(sizes, task, learners)
    for _ in range(2):  # compiled, recorded
        advance(env, training)
    began = clock(sizes)
    for _ in range(sizes.iterations):
        advance(env, training)
    seconds = (clock(sizes) - began) / sizes.iterations
    parts = {} if learners < sizes.learners[-1] else spent(sizes, env, training)
    del env, training
    alone = per_iteration / bare(sizes, task, learners)
    return {
        "task": task,
        "learners": learners,
        "worlds": sizes.worlds,
        "steps": sizes.steps,
        "device": devices.describe(sizes.device, sizes.engine),
        "iteration_s": round(seconds, 4),
        "steps_per_s": round(per_iteration / seconds),
        "physics_alone_steps_per_s": round(alone),
        "share_of_physics": round(per_iteration / seconds / alone, 3),
        **parts,
    }


def bare(sizes: Sizes, task: str, learners: int) -> float:
    """Return what as many steps as in an iteration take the env alone."""
    env = make(sizes, task, learners)
    actions = env.action_low + (env.action_high - env.action_low) * torch.rand(
        sizes.steps, learners, sizes.worlds, env.action_size, device=env.obs.device
    )
    for action in actions[:3]:
        env.step(action)
    began = clock(sizes)
    for action in actions:
        env.step(action)
    seconds = clock(sizes) - began
    env.check()
    return seconds


def spent(sizes: Sizes, env: "Watched", training: Iterator[Any]) -> dict[str, Any]:
    """Say what an iteration spends its time on."""
    with env:
        advance(env, training)
    spans, last = env.times, clock(sizes)
    physics = sum(end - start for start, end in spans)
    policy = sum(spans[t + 1][0] - spans[t][1] for t in range(len(spans) - 1))
    seconds = {"physics_s": physics, "policy_s": policy, "learning_s": last - spans[-1][1]}
    wall, busy, launches = occupied(sizes, lambda: advance(env, training))
    waits = synchronisations(lambda: next(training)) if sizes.device == "cuda" else None
    return {
        **{name: round(value, 4) for name, value in seconds.items()},
        "idle_share": round(max(0.0, 1 - busy / wall), 3),
        "kernels": launches,
        "synchronisations": waits,
    }


def synchronisations(work: Callable[[], Any]) -> int:
    """Return how often work waits for the GPU, by CUDA's own watch."""
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("warn")
    try:
        with warnings.catch_warnings(record=True) as found:
            warnings.simplefilter("always")
            work()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    return sum("synchroniz" in str(warning.message) for warning in found)


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
    """An env whose steps are timed within `with`, each with a wait for the device before and after."""

    def __init__(self, env: Monitor, sizes: Sizes) -> None:
        self._env, self._sizes, self._watching = env, sizes, False
        self.times: list[tuple[float, float]] = []

    def __enter__(self) -> None:
        self._watching, self.times = True, []

    def __exit__(self, *_: object) -> None:
        self._watching = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._env, name)

    def step(self, action: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        if not self._watching:
            return self._env.step(action)
        began = clock(self._sizes)
        returned = self._env.step(action)
        self.times.append((began, clock(self._sizes)))
        return returned


def make(sizes: Sizes, task: str, learners: int) -> envs.BatchEnv:
    return envs.make(task, range(learners), sizes.worlds, sizes.engine, sizes.device)


def config(sizes: Sizes) -> gail.Config:
    """Return GAIL's constants with rollouts of these sizes."""
    default = gail.Config()
    return replace(default, ppo=replace(default.ppo, steps=sizes.steps))


def trainer(sizes: Sizes, task: str, learners: int) -> tuple[Watched, Iterator[Any], int]:
    """Return an env, GAIL in training on it, and the environment steps of an iteration."""
    monitor = Monitor(make(sizes, task, learners))
    env: Any = Watched(monitor, sizes)
    training = gail.train(env, estimate.noise(monitor, learners, sizes.device), range(learners), config(sizes))
    return env, training, sizes.steps * sizes.worlds * learners


def advance(env: Any, training: Iterator[Any]) -> None:
    """Do an iteration, and take what its runner takes."""
    next(training)
    env.take_episodes(), env.take_rewards()


def clock(sizes: Sizes) -> float:
    if sizes.device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


def profile(folder: Path, sizes: Sizes) -> tuple[Design, Path]:
    """Return the paper profile with its results in `folder`, where they replace none of this project's."""
    home = folder / "profile"
    home.mkdir(parents=True, exist_ok=True)
    if not (home / "data").exists():
        (home / "data").symlink_to(ROOT / "data")
    content = sizes.design(yaml.safe_load(PARAMS.read_text()))
    params = home / "params.yaml"
    own = {"root": ".", "folder": ".", "device": sizes.device, "waves": []}  # of rows that may not be among these
    params.write_text(yaml.safe_dump(content | own, sort_keys=False))
    return load(params), params


def scores(design: Design, task: str, row: str, beside: Path) -> dict[str, Any]:
    """Hold the scores of a cell against those of the same one in the results `beside`, learner by learner."""
    card = json.loads((ROOT / "data" / "experts" / task / "card.json").read_text())
    low, high = card["random"]["mean"], card["return_deterministic"]["mean"]

    def final(folder: Path) -> pd.Series:
        paths = sorted(folder.glob(f"*/{schema.FILES['evaluations']}"))
        rows = schema.read_csvs(paths, schema.EVALUATIONS)
        means = statistics.learner_means(statistics.final_episodes(rows))
        return means.set_index(["demonstrations", "seed"])["episode_return"].map(
            lambda episode_return: statistics.score(episode_return, low, high)
        )

    ours, cell = final(design.cell(task, row)), beside / design.cell(task, row).relative_to(design.results)
    found = {"task": task, "row": row, "learners": len(ours), "score": round(float(ours.mean()), 3)}
    if not cell.is_dir():
        return found | {"beside": f"{cell}: no such cell"}
    theirs = final(cell)
    gap = (ours - theirs).dropna().to_numpy()
    verdict = statistics.non_inferiority(gap, 0.0, MARGIN)
    return found | {"beside": round(float(theirs.mean()), 3), "margin": MARGIN} | verdict._asdict()


PIECES: dict[str, Callable[[Sizes, Pieces, str], None]] = {"iteration": iteration, "throughput": throughput}


def main() -> None:
    """Run what is left to do."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=14.0, help="nothing goes on for longer (default: 14)")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "gpu", help="where the pieces are")
    parser.add_argument("--beside", type=Path, default=ROOT / "results" / "paper", help="results of a CPU")
    parser.add_argument("--tiny", action="store_true", help="on the CPU, only to show that it works")
    parser.add_argument("--engine", choices=("warp", "native"), help="of --tiny: native where Warp has no CPU compiler")
    parser.add_argument("--cubin", action="store_true", help="let Warp compile to machine code, for an older driver")
    parser.add_argument("--piece", nargs=2, help=argparse.SUPPRESS)  # this process does that one alone
    arguments = parser.parse_args()
    sizes = TINY if arguments.tiny else FULL
    if arguments.engine and arguments.tiny:
        sizes = replace(sizes, engine=arguments.engine)
    devices.choose(sizes.device)
    torch.set_num_threads(1)  # as when a cell is computed
    out = arguments.out.resolve()
    os.environ.setdefault("WARP_CACHE_PATH", str(out / "kernels"))
    os.environ["THREEFOLD_STORE"] = str(out / "store")
    if arguments.cubin:
        os.environ["THREEFOLD_CUDA_OUTPUT"] = "cubin"
    pieces = Pieces(out)
    if arguments.piece:
        kind, name = arguments.piece
        PIECES[kind](sizes, pieces, name)
        return
    given = ["--out", str(out), *(["--tiny"] if arguments.tiny else []), "--engine", sizes.engine]
    run(Session(pieces, arguments.minutes), sizes, given, arguments.beside.resolve())


if __name__ == "__main__":
    with one_line():
        main()
