"""Where a number comes from: versions (part of the results), and machine, time and commit (beside them)."""

import os
import platform
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from envs.device import ENGINES, versions
from envs.physics.native import default_threads
from results.cell import Outcome
from results.design import Design


def sidecar(parts: Sequence[Outcome], device: str) -> dict[str, Any]:
    """Return where, when and how a cell was computed; kept beside the results, whose hash it would change."""
    seconds = max(part.seconds for part in parts)
    return origin("results.run", device) | {
        "wall_s": round(seconds, 1),
        "env_steps_per_s": round(sum(part.env_steps for part in parts) / seconds, 1),
        "started": min(part.started for part in parts),
        "resumed": max(part.resumed for part in parts),
    }


def origin(command: str, device: str = "cpu") -> dict[str, Any]:
    """Return what this process runs, as `python -m command`, and where."""
    return {
        "commit": _git("rev-parse", "HEAD"),
        "dirty": bool(_git("status", "--porcelain", "--untracked-files=no")),
        "command": " ".join(["python", "-m", command, *sys.argv[1:]]),
        "machine": platform.node(),
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "threads": default_threads(),
        "device": device,
        "gpu": torch.cuda.get_device_name() if device == "cuda" else None,
        "python": platform.python_version(),
        "versions": versions(ENGINES[device]),
    }


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], capture_output=True, text=True, check=False)
    return done.stdout.strip()


def _cpu() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    return next(
        (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.processor()
    )


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
        "algorithm": row,
        "method": design.variant(row).algorithm,
        "expert": design.variant(row).expert,
        "versions": versions(ENGINES[device]),
        "engine": ENGINES[device],
        "device": device,
        "config": config,
        "budget": design.budget[task].model_dump(),
        "demonstrations_sha256": demonstrations_sha256,
    }
