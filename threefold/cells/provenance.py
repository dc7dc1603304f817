"""Where a number comes from: versions (part of the results), and machine, time and commit (beside them)."""

from collections.abc import Sequence
from typing import Any

from envs.device import ENGINES, versions
from threefold.cells.record import Outcome
from threefold.profile.design import Design
from threefold.store.origin import origin


def sidecar(parts: Sequence[Outcome], device: str) -> dict[str, Any]:
    """Return where, when and how a cell was computed; kept beside the results, whose hash it would change."""
    seconds = max(part.seconds for part in parts)
    return origin(device) | {
        "wall_s": round(seconds, 1),
        "env_steps_per_s": round(sum(part.env_steps for part in parts) / seconds, 1),
        "started": min(part.started for part in parts),
        "resumed": max(part.resumed for part in parts),
    }


def describe(
    design: Design,
    task: str,
    row: str,
    config: dict[str, Any],
    demonstrations_sha256: str | None,
    device: str = "cpu",
) -> dict[str, Any]:
    """Return cell.json: what the cell's numbers rest on; `device` is where it trained."""
    return {
        "task": task,
        "row": row,
        "method": design.variant(row).method,
        "expert": design.variant(row).expert,
        "versions": versions(ENGINES[device]),
        "engine": ENGINES[device],
        "device": device,
        "config": config,
        "budget": design.budget[task].model_dump(),
        "demonstrations_sha256": demonstrations_sha256,
    }
