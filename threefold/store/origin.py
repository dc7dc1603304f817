"""Where a result was computed, and by what: kept beside results, whose hash it would change."""

import os
import platform
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch

from envs.device import ENGINES, versions
from envs.physics.native import default_threads


def command_line() -> str:
    """Return the command that this process runs."""
    return shlex.join(["threefold", *sys.argv[1:]])


def origin(device: str = "cpu") -> dict[str, Any]:
    """Return what this process runs, and where."""
    return {
        "commit": _git("rev-parse", "HEAD"),
        "dirty": bool(_git("status", "--porcelain", "--untracked-files=no")),
        "command": command_line(),
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
