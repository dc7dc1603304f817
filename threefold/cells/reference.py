"""What every score of a task is relative to: random actions and the expert, as ordinary rows."""

from pathlib import Path
from typing import Any

import torch

import envs
from algorithms.core.policy import Policy
from envs.episodes import play
from threefold.base.files import checksum, checksums, replacing, write_json
from threefold.base.messages import inform
from threefold.cells.provenance import card
from threefold.cells.record import EVALUATION_SEEDS, rows, write_tables
from threefold.experts import experts
from threefold.experts.demonstrate import refuse_weak
from threefold.experts.demonstrations import CARD
from threefold.profile.design import Design, load
from threefold.profile.names import check_names
from threefold.store import code
from threefold.store.inputs import plain
from threefold.tables import delivered, schema

REFERENCE = "reference"
SEED = 0  # one population of one: its episodes start where the first learner's do


def measure(design: Design, task: str, policy: Policy) -> list[dict[str, object]]:
    """Return one row per episode of the random and the expert's policies."""
    env = envs.make(task, [EVALUATION_SEEDS + SEED], design.evaluation.episodes)
    behaviours = {
        "random": experts.uniform(env, EVALUATION_SEEDS),
        "expert": experts.deterministic(policy),
        "expert-stochastic": experts.stochastic(policy, EVALUATION_SEEDS),
    }
    key = {"task": task, "demonstrations": 0, "seed": SEED}
    return [
        {"task": task, "row": name} | row
        for name, act in behaviours.items()
        for row in rows(key | {"row": name}, 0, play(env, act), 0)
    ]


def made_from(design: Design, task: str) -> dict[str, Any]:
    """Return all that decides the bytes of a task's reference cell."""
    module, folder = envs.load(task), design.root / "data" / "experts" / task
    return plain(
        {
            "task": task,
            "row": REFERENCE,
            "episodes": design.evaluation.episodes,
            "code": code.checksums(__name__, module.__name__),
            "data": {
                **{file.name: checksum(file) for file in envs.model_files(module)},
                "policy.safetensors": str(experts.load(task, folder)[1]["sha256"]),
            },
        }
    )


def reference(params: Path, task: str) -> None:
    """Measure and write one task's reference cell, unless it is there."""
    design = load(params)
    check_names(design, task)
    torch.set_num_threads(1)
    (design.results / "variants").mkdir(parents=True, exist_ok=True)  # `collect` depends on it, variants or not
    folder = design.root / "data" / "experts" / task
    policy, expert_card = experts.load(task, folder)
    if not design.allow_weak_expert:
        refuse_weak(folder / CARD, expert_card, f"set allow_weak_expert: true in {params}")
    place, inputs = design.cell(task, REFERENCE) / "all", made_from(design, task)
    if delivered.is_there(place, inputs):
        inform(f"{task}/{REFERENCE}: nothing to compute")
        return
    evaluations = measure(design, task, policy)
    learners = [
        {"task": task, "row": name, "demonstrations": 0, "seed": SEED}
        | {"status": "ok", "iteration": 0, "env_steps": 0, "reason": ""}
        for name in schema.REFERENCES
    ]
    with replacing(place) as fresh:
        write_tables(fresh, evaluations, [], learners)
        write_json(card(inputs) | {"sha256": checksums(fresh)}, fresh / schema.PART)
