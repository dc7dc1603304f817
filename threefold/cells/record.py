"""The record of learners while they train, what comes out of it, and the folder that a cell becomes."""

import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import safetensors.torch
import torch
from torch import Tensor, nn

import envs
from algorithms.core.progress import Progress
from envs.episodes import Episodes, play
from threefold.base.files import replacing, write_json
from threefold.tables import schema

EVALUATION_SEEDS = 1_000_000  # start states of evaluations are apart from those of training


@dataclass(frozen=True)
class Outcome:
    """What the training of some of a cell's learners came to. It goes from one process to another."""

    evaluations: list[dict[str, Any]]
    training: list[dict[str, Any]]
    learners: list[dict[str, Any]]
    failures: list[str]  # a line each
    tensors: bytes  # policies and what was learnt beside them, as safetensors
    env_steps: int  # of all of these learners
    started: str
    resumed: int  # times
    seconds: float


class Record:
    """What is recorded of some of a cell's learners while they train: evaluations, metrics and failures, as rows."""

    def __init__(self, task: str, row: str, learners: Sequence[tuple[int, int]], threads: int) -> None:
        """Begin; each learner is a number of demonstrations and a seed, `threads` are those of evaluations."""
        self.task, self.row, self.learners, self.threads = task, row, learners, threads
        self.evaluations: list[dict[str, Any]] = []
        self.training: list[dict[str, Any]] = []
        self.failed: dict[int, tuple[int, int, str]] = {}  # learner: iteration, env_steps, reason
        self.started, self.resumed = datetime.now(UTC).isoformat(timespec="seconds"), 0
        self._clock, self._seconds = time.perf_counter(), 0.0  # the latter before it was last resumed

    @property
    def seconds(self) -> float:
        """Return how long it has been computed, in all."""
        return self._seconds + time.perf_counter() - self._clock

    def key(self, learner: int) -> dict[str, Any]:
        """Return the columns that name a learner."""
        demonstrations, seed = self.learners[learner]
        return {"task": self.task, "row": self.row, "demonstrations": demonstrations, "seed": seed}

    def take(self, progress: Progress, episodes: list[tuple[int, float, int]]) -> None:
        """Take in an iteration: its failures, its metrics and the training episodes that ended in it."""
        for where, finite in progress.finite.items():
            for learner in (~finite).nonzero().flatten().tolist():
                reason = f"not finite: {where}"
                self.failed.setdefault(learner, (progress.iteration, progress.env_steps, reason))
        values: dict[str, dict[int, float]] = {
            name: dict(enumerate(metric.tolist())) for name, metric in progress.metrics.items()
        }
        by_learner = defaultdict(list)
        for learner, episode_return, length in episodes:
            by_learner[learner].append((episode_return, length))
        for column, name in enumerate(("episode_return", "episode_length")):
            values[name] = {p: sum(e[column] for e in ended) / len(ended) for p, ended in by_learner.items()}
        when = {"iteration": progress.iteration, "env_steps": progress.env_steps}
        self.training += [
            self.key(learner) | when | {"metric": name, "value": value}
            for name, metric in values.items()
            for learner, value in metric.items()
            if learner not in self.failed
        ]

    def evaluate(self, progress: Progress, episodes: int) -> None:
        """Play deterministic episodes and record them: on the native engine, whichever trains."""
        seeds = [EVALUATION_SEEDS + seed for _, seed in self.learners]
        played = play(envs.make(self.task, seeds, episodes, threads=self.threads), progress.policy.on_cpu())
        for learner in range(len(self.learners)):
            if learner not in self.failed:
                self.evaluations += rows(self.key(learner), progress.env_steps, played, learner)

    def state_dict(self) -> dict[str, Any]:
        """Return what it holds so far."""
        rows = {"evaluations": self.evaluations, "training": self.training, "failed": list(self.failed.items())}
        return rows | {"started": self.started, "seconds": self.seconds, "resumed": self.resumed}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from there."""
        self.evaluations, self.training = state["evaluations"], state["training"]
        self.failed = {learner: (iteration, steps, why) for learner, (iteration, steps, why) in state["failed"]}
        self.started, self.resumed = state["started"], state["resumed"] + 1
        self._clock, self._seconds = time.perf_counter(), state["seconds"]

    def outcome(self, progress: Progress) -> Outcome:
        """Return what the training came to."""
        learners = []
        for learner in range(len(self.learners)):
            failed = learner in self.failed
            outcome = self.failed.get(learner, (progress.iteration, progress.env_steps, ""))
            status = {"status": "failed" if failed else "ok"} | dict(
                zip(("iteration", "env_steps", "reason"), outcome, strict=True)
            )
            learners.append(self.key(learner) | status)
        failures = [
            f"failed: {self.row} {self.task}, {self.learners[learner][0]} demonstrations, "
            f"seed {self.learners[learner][1]}, iteration {iteration}: {reason}"
            for learner, (iteration, _, reason) in self.failed.items()
        ]
        return Outcome(
            self.evaluations,
            self.training,
            learners,
            failures,
            tensors(policy=progress.policy, **progress.models),
            progress.env_steps * len(self.learners),
            self.started,
            self.resumed,
            self.seconds,
        )


def save(folder: Path, parts: Sequence[Outcome], description: dict[str, Any]) -> None:
    """Write a cell's folder, all of it or nothing."""
    with replacing(folder) as fresh:
        evaluations, training, learners = (
            [row for part in parts for row in getattr(part, table)] for table in ("evaluations", "training", "learners")
        )
        write_tables(fresh, evaluations, training, learners)
        write_json(description, fresh / "cell.json")
        (fresh / "policies.safetensors").write_bytes(joined([part.tensors for part in parts]))


def write_tables(
    folder: Path, evaluations: list[dict[str, Any]], training: list[dict[str, Any]], learners: list[dict[str, Any]]
) -> None:
    """Write a cell's three tables."""
    for name, rows, columns in (
        ("evaluations", evaluations, schema.EVALUATIONS),
        ("training", training, schema.TRAINING),
        ("learners", learners, schema.LEARNERS),
    ):
        frame = pd.DataFrame(rows, columns=list(columns)).astype(columns)
        schema.write_csv(frame, folder / f"{name}.csv", columns)


def rows(key: dict[str, Any], env_steps: int, episodes: Episodes, learner: int) -> list[dict[str, Any]]:
    """Return one learner's episodes as rows of evaluations.csv."""
    columns = (episodes.episode_return[learner], episodes.length[learner], episodes.terminated[learner])
    return [
        key
        | {
            "env_steps": env_steps,
            "episode": number,
            "episode_return": episode_return,
            "episode_length": length,
            "terminated": terminated,
        }
        for number, (episode_return, length, terminated) in enumerate(
            zip(*(column.tolist() for column in columns), strict=True)
        )
    ]


def tensors(**modules: nn.Module) -> bytes:
    """Return the modules' parameters as safetensors, every name behind its module's."""
    named: dict[str, Tensor] = {
        f"{name}.{key}": value.contiguous()
        for name, module in modules.items()
        for key, value in module.state_dict().items()
    }
    return safetensors.torch.save(named)


def joined(parts: Sequence[bytes]) -> bytes:
    """Return the tensors of all learners, `[P, ...]`, from those of the parts; an action scale is the task's."""
    tables = [safetensors.torch.load(part) for part in parts]
    return safetensors.torch.save(
        {
            name: first if name.endswith("action_scale") else torch.cat([table[name] for table in tables])
            for name, first in tables[0].items()
        }
    )
