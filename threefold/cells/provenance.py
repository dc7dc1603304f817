"""Where a number comes from: versions (part of a result), and time, kind of CPU and commit (beside it)."""

from typing import Any, TypeGuard

from envs.device import ENGINES, versions
from threefold.cells.record import Outcome
from threefold.cells.training import Job
from threefold.store.origin import origin


def sidecar(outcome: Outcome, device: str) -> dict[str, Any]:
    """Return when, how and how fast a part was computed; kept beside the result, whose hash it would change."""
    return origin(device) | {
        "wall_s": round(outcome.took.wall, 1),
        "cpu_s": round(outcome.took.cpu, 1),
        "learners": len(outcome.learners),
        "env_steps": outcome.env_steps * len(outcome.learners),
        "started": outcome.started,
        "resumed": outcome.resumed,
    }


def card(made_from: dict[str, Any], job: Job | None = None) -> dict[str, Any]:
    """Return part.json: what the numbers of a part rest on, and where and in what shape it trained, if it did."""
    device = job.device if job else "cpu"
    rollout = {"parallel_episodes": job.parallel_episodes, "steps": job.config.ppo.steps} if _rolls_out(job) else None
    return {
        "made_from": made_from,
        "versions": versions(ENGINES[device]),
        "engine": ENGINES[device],
        "device": device,
        "rollout": rollout,
    }


def _rolls_out(job: Job | None) -> TypeGuard[Job]:
    return job is not None and hasattr(job.config, "ppo")
