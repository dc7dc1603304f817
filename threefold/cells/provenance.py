"""Where a number comes from: versions (part of a result), and time, kind of CPU and commit (beside it)."""

from typing import Any

from envs.device import ENGINES, versions
from threefold.cells.record import Outcome
from threefold.store.origin import origin


def sidecar(outcome: Outcome, device: str) -> dict[str, Any]:
    """Return when, how and how fast a part was computed; kept beside the result, whose hash it would change."""
    steps = outcome.env_steps * len(outcome.learners)
    return origin(device) | {
        "wall_s": round(outcome.seconds, 1),
        "env_steps_per_s": round(steps / outcome.seconds, 1),
        "started": outcome.started,
        "resumed": outcome.resumed,
    }


def card(made_from: dict[str, Any], device: str) -> dict[str, Any]:
    """Return part.json: what the numbers of a part rest on; `device` is where it trained."""
    return {
        "made_from": made_from,
        "versions": versions(ENGINES[device]),
        "engine": ENGINES[device],
        "device": device,
    }
