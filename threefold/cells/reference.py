"""What every score of a task is relative to: random actions and the expert, as ordinary rows."""

from pathlib import Path
from typing import Any

import torch

import envs
from threefold.base.files import checksum, checksums, replacing, write_json
from threefold.base.messages import inform
from threefold.cells import measure
from threefold.cells.provenance import card
from threefold.cells.record import write_tables
from threefold.experts.demonstrate import refuse_weak
from threefold.experts.policies import CARD, WEIGHTS, load
from threefold.profile import design as profiles
from threefold.profile.design import Design
from threefold.profile.names import check_names
from threefold.store import code
from threefold.store.inputs import plain
from threefold.tables import delivered, schema

REFERENCE = "reference"


def made_from(design: Design, task: str) -> dict[str, Any]:
    """Return all that decides the bytes of a task's reference cell."""
    module, folder = envs.load(task), design.root / "data" / "experts" / task
    return plain(
        {
            "task": task,
            "row": REFERENCE,
            "episodes": design.evaluation.episodes,
            "code": code.checksums(measure.__name__, module.__name__),
            "data": {
                **{file.name: checksum(file) for file in envs.model_files(module)},
                WEIGHTS: str(load(task, folder)[1]["sha256"]),
            },
        }
    )


def reference(params: Path, task: str) -> None:
    """Measure and write one task's reference cell, unless it is there."""
    design = profiles.load(params)
    check_names(design, task)
    torch.set_num_threads(1)
    (design.results / "variants").mkdir(parents=True, exist_ok=True)  # `collect` depends on it, variants or not
    folder = design.root / "data" / "experts" / task
    policy, expert_card = load(task, folder)
    if not design.allow_weak_expert:
        refuse_weak(folder / CARD, expert_card, f"set allow_weak_expert: true in {params}")
    place, inputs = design.cell(task, REFERENCE) / "all", made_from(design, task)
    if delivered.is_there(place, inputs):
        inform(f"{task}/{REFERENCE}: nothing to compute")
        return
    evaluations = measure.measure(task, policy, design.evaluation.episodes)
    learners = [
        {"task": task, "row": name, "demonstrations": 0, "seed": measure.SEED}
        | {"status": "ok", "iteration": 0, "env_steps": 0, "reason": ""}
        for name in schema.REFERENCES
    ]
    with replacing(place) as fresh:
        write_tables(fresh, evaluations, [], learners)
        write_json(card(inputs) | {"sha256": checksums(fresh)}, fresh / schema.PART)
