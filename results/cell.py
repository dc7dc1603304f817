"""The record of one cell while its method trains, and the folder that it becomes."""

import time
from collections import defaultdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import safetensors.torch
from torch import Tensor, nn

import envs
from algorithms.core.ppo import one_torch_thread
from algorithms.core.progress import Progress
from envs.episodes import Episodes, play
from files import replacing
from results import schema
from results.design import Design

EVALUATION_SEEDS = 1_000_000  # start states of evaluations are apart from those of training


class Cell:
    """The record of one cell while its method trains: evaluations, metrics and failures, as rows."""

    def __init__(self, design: Design, task: str, algorithm: str) -> None:
        self.design, self.task, self.algorithm = design, task, algorithm
        self.learners = design.learners(task)
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
        return {"task": self.task, "algorithm": self.algorithm, "demonstrations": demonstrations, "seed": seed}

    def record(self, progress: Progress, episodes: list[tuple[int, float, int]]) -> None:
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
        """Play deterministic episodes and record them."""
        seeds = [EVALUATION_SEEDS + seed for _, seed in self.learners]
        with one_torch_thread():
            played = play(envs.make(self.task, seeds, episodes), progress.policy)
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

    def failures(self) -> list[str]:
        """Return one line per learner that failed."""
        return [
            f"failed: {self.algorithm} {self.task}, {self.learners[learner][0]} demonstrations, "
            f"seed {self.learners[learner][1]}, iteration {iteration}: {reason}"
            for learner, (iteration, _, reason) in self.failed.items()
        ]

    def save(self, folder: Path, progress: Progress, description: dict[str, Any]) -> None:
        """Write the cell's folder, all of it or nothing."""
        learners = []
        for learner in range(len(self.learners)):
            failed = learner in self.failed
            outcome = self.failed.get(learner, (progress.iteration, progress.env_steps, ""))
            status = {"status": "failed" if failed else "ok"} | dict(
                zip(("iteration", "env_steps", "reason"), outcome, strict=True)
            )
            learners.append(self.key(learner) | status)
        with replacing(folder) as fresh:
            write_tables(fresh, self.evaluations, self.training, learners)
            schema.write_json(description, fresh / "cell.json")
            (fresh / "policies.safetensors").write_bytes(tensors(policy=progress.policy, **progress.models))


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
