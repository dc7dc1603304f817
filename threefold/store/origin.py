"""Where a result was computed, and by what: kept beside results, whose hash it would change."""

import os
import platform
import shlex
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import torch

from envs.device import ENGINES, versions
from threefold.base.workers import default_threads
from threefold.store.code import ROOT

# Seconds of a core that the parts of each study took which this process has, computed now or found in the store.
CORE_SECONDS: Counter[str] = Counter()


def command_line() -> str:
    """Return the command that this process runs."""
    return shlex.join(["threefold", *sys.argv[1:]])


def origin(device: str = "cpu") -> dict[str, Any]:
    """Return what this process runs, and where."""
    return {
        **commit(ROOT),
        "command": command_line(),
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "threads": default_threads(),
        "device": device,
        "gpu": torch.cuda.get_device_name() if device == "cuda" else None,
        "python": platform.python_version(),
        "versions": versions(ENGINES[device]),
    }


def commit(code: Path) -> dict[str, Any]:
    """Return the `commit` of a checkout and whether files of it were `dirty`, changed since; None where none is known.

    It is not known without git, in a checkout that git does not trust because another user owns it, and in a folder
    that lies within somebody else's repository, whose commit says nothing of this code.
    """
    top = git(code, "rev-parse", "--show-toplevel")
    head = git(code, "rev-parse", "--verify", "HEAD") if top and Path(top).resolve() == code.resolve() else None
    changes = git(code, "status", "--porcelain", "--untracked-files=no") if head else None
    return {"commit": head, "dirty": None if changes is None else bool(changes)}


def git(code: Path, *arguments: str) -> str | None:
    """Return what git says of a folder, or None if it cannot say."""
    try:
        done = run_git(code, *arguments)
    except (FileNotFoundError, PermissionError):  # there is no git
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def run_git(code: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run git in a folder; raises what an operating system without git does."""
    # A hook or another tool may point git at another repository than that of the folder.
    environment = {name: value for name, value in os.environ.items() if name not in ("GIT_DIR", "GIT_WORK_TREE")}
    command = ["git", "-C", str(code), *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def _cpu() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    return next(
        (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.processor()
    )
