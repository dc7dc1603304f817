"""The record of learners while they train, what comes out of it, and the files that it becomes."""

import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import safetensors.torch
import torch
from torch import Tensor, nn

import envs
from algorithms.core.progress import Progress
from envs.episodes import Episodes, play
from threefold.base.files import checksums, replacing, write_json
from threefold.tables import schema

EVALUATION_SEEDS = 1_000_000  # start states of evaluations are apart from those of training
LOGGED = 100  # points of a training at which its metrics are kept: what a figure can show
DIGITS = 6  # significant ones of a metric

Learner = tuple[int, int]  # number of demonstrations, and seed


class Took(NamedTuple):
    """Seconds of the clock, and of the cores, which do other work too."""

    wall: float
    cpu: float

    @classmethod
    def until_now(cls) -> "Took":
        """Return what this process has taken since a moment of no meaning: differences count."""
        return cls(time.perf_counter(), time.process_time())


@dataclass(frozen=True)
class Outcome:
    """What the training of some of a cell's learners came to. It goes from one process to another."""

    learners: list[Learner]
    evaluations: list[dict[str, Any]]
    training: list[dict[str, Any]]
    ends: list[dict[str, Any]]  # a row of learners.csv each
    policies: dict[str, Tensor]  # [P, ...]
    models: dict[str, Tensor]  # [P, ...], what was learnt beside the policies
    env_steps: int  # of each learner
    started: str
    resumed: int  # times
    took: "Took"

    def of(self, learners: Sequence[Learner]) -> "Outcome":
        """Return what it says of some of its learners."""

        def theirs(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
            return [row for row in rows if (row["demonstrations"], row["seed"]) in learners]

        places = torch.tensor([self.learners.index(learner) for learner in learners])
        policies, models = (
            {name: tensor if name.endswith("action_scale") else tensor[places] for name, tensor in tensors.items()}
            for tensors in (self.policies, self.models)
        )
        return replace(
            self,
            learners=list(learners),
            evaluations=theirs(self.evaluations),
            training=theirs(self.training),
            ends=theirs(self.ends),
            policies=policies,
            models=models,
        )

    @property
    def failures(self) -> list[str]:
        """Return a line for each learner that failed."""
        return [
            f"failed: {end['row']} {end['task']}, {end['demonstrations']} demonstrations, seed {end['seed']}, "
            f"iteration {end['iteration']}: {end['reason']}"
            for end in self.ends
            if end["status"] == "failed"
        ]


class Record:
    """What is recorded of some of a cell's learners while they train: evaluations, metrics and failures, as rows."""

    def __init__(self, task: str, row: str, learners: Sequence[Learner], env_steps: int, threads: int) -> None:
        """Begin; `env_steps` is each learner's budget, `threads` are those of evaluations."""
        self.task, self.row, self.learners, self.threads = task, row, learners, threads
        self.evaluations: list[dict[str, Any]] = []
        self.training: list[dict[str, Any]] = []
        self.failed: dict[int, tuple[int, int, str]] = {}  # learner: iteration, env_steps, reason
        self._ended: list[tuple[int, float, int]] = []  # episodes since metrics were last kept,
        self._kept = 0  # at so many env_steps
        self._budget = env_steps
        self.started, self.resumed = datetime.now(UTC).isoformat(timespec="seconds"), 0
        self._began, self._before = Took.until_now(), Took(0.0, 0.0)  # the latter until it was last resumed

    @property
    def took(self) -> Took:
        """Return how long it has been computed, in all."""
        now = Took.until_now()
        return Took(*(before + end - begin for before, end, begin in zip(self._before, now, self._began, strict=True)))

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
        self._ended += episodes
        if self._is_due(progress.env_steps):
            self._keep(progress)

    def _is_due(self, env_steps: int) -> bool:
        if env_steps == 0 or env_steps >= self._budget:
            return True
        return env_steps * LOGGED // self._budget > self._kept * LOGGED // self._budget

    def _keep(self, progress: Progress) -> None:
        """Keep the metrics of this iteration, and the means of the episodes that ended since the last time."""
        values: dict[str, dict[int, float]] = {
            name: dict(enumerate(metric.tolist())) for name, metric in progress.metrics.items()
        }
        by_learner = defaultdict(list)
        for learner, episode_return, length in self._ended:
            by_learner[learner].append((episode_return, length))
        for column, name in enumerate(("episode_return", "episode_length")):
            values[name] = {p: sum(e[column] for e in ended) / len(ended) for p, ended in by_learner.items()}
        when = {"iteration": progress.iteration, "env_steps": progress.env_steps}
        self.training += [
            self.key(learner) | when | {"metric": name, "value": float(f"{value:.{DIGITS}g}")}
            for name, metric in values.items()
            for learner, value in metric.items()
            if learner not in self.failed
        ]
        self._ended, self._kept = [], progress.env_steps

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
        rows |= {"ended": self._ended, "kept": self._kept}
        return rows | {"started": self.started, "took": tuple(self.took), "resumed": self.resumed}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from there."""
        self.evaluations, self.training = state["evaluations"], state["training"]
        self.failed = {learner: (iteration, steps, why) for learner, (iteration, steps, why) in state["failed"]}
        self._ended = [(learner, total, length) for learner, total, length in state["ended"]]
        self._kept = state["kept"]
        self.started, self.resumed = state["started"], state["resumed"] + 1
        self._began, self._before = Took.until_now(), Took(*state["took"])

    def outcome(self, progress: Progress) -> Outcome:
        """Return what the training came to."""
        ends = []
        for learner in range(len(self.learners)):
            iteration, env_steps, reason = self.failed.get(learner, (progress.iteration, progress.env_steps, ""))
            status = "failed" if learner in self.failed else "ok"
            end = {"status": status, "iteration": iteration, "env_steps": env_steps, "reason": reason}
            ends.append(self.key(learner) | end)
        return Outcome(
            list(self.learners),
            self.evaluations,
            self.training,
            ends,
            tensors(policy=progress.policy),
            tensors(**progress.models),
            progress.env_steps,
            self.started,
            self.resumed,
            self.took,
        )


def save(folder: Path, outcome: Outcome, card: dict[str, Any], models: str) -> None:
    """Write the files of a result, all of them or nothing; `models` is the file's name of what else was learnt."""
    with replacing(folder) as fresh:
        write_tables(fresh, outcome.evaluations, outcome.training, outcome.ends)
        (fresh / "policies.safetensors").write_bytes(safetensors.torch.save(outcome.policies))
        write_json(card | {"sha256": checksums(fresh)}, fresh / schema.PART)
        (fresh / models).write_bytes(safetensors.torch.save(outcome.models))


def write_tables(
    folder: Path, evaluations: list[dict[str, Any]], training: list[dict[str, Any]], learners: list[dict[str, Any]]
) -> None:
    """Write the three tables of a result."""
    for name, rows in (("evaluations", evaluations), ("training", training), ("learners", learners)):
        file, columns = schema.FILES[name], schema.TABLES[name]
        schema.write_csv(pd.DataFrame(rows, columns=list(columns)).astype(columns), folder / file, columns)


def rows(key: dict[str, Any], env_steps: int, episodes: Episodes, learner: int) -> list[dict[str, Any]]:
    """Return one learner's episodes as rows of the evaluations."""
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


def tensors(**modules: nn.Module) -> dict[str, Tensor]:
    """Return the modules' parameters and buffers, on the CPU, every name behind its module's."""
    return {
        f"{name}.{key}": value.detach().cpu().contiguous()
        for name, module in modules.items()
        for key, value in module.state_dict().items()
    }
