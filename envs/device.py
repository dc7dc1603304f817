"""Where an env lives, and the engine that follows from it."""

import platform
from functools import cache
from importlib.metadata import version

import torch

from threefold.base.errors import InputError

ENGINES = {"cpu": "native", "cuda": "warp"}


def choose(wanted: str) -> str:
    """Return "cpu" or "cuda" for "auto", "cpu" or "cuda"; raises `InputError` if there is no CUDA device to use."""
    if wanted not in ("auto", *ENGINES):
        raise InputError(f"device: {wanted}: no such device; choose auto, {' or '.join(ENGINES)}")
    there = torch.cuda.is_available()
    if wanted == "cuda" and not there:
        raise InputError(
            "device: cuda: torch finds no CUDA device; write auto or cpu, or install a CUDA build of torch (README)"
        )
    return ("cuda" if there else "cpu") if wanted == "auto" else wanted


def describe(device: str, engine: str | None = None) -> str:
    """Return what a run uses, for its first line: "NVIDIA H200 (engine warp)" or "CPU (engine native)"."""
    name = torch.cuda.get_device_name() if device == "cuda" else "CPU"
    return f"{name} (engine {engine or ENGINES[device]})"


@cache
def versions(engine: str) -> dict[str, str]:
    """Return the versions of the programs that steps of this engine rest on."""
    programs = ("torch", "mujoco", "gymnasium") + (("mujoco-warp", "warp-lang") if engine == "warp" else ())
    return {"python": platform.python_version()} | {program: version(program) for program in programs}
