"""Measure what every score of a task is relative to: random actions and the expert, as ordinary rows.

`python -m results.reference --params params.yaml --task Hopper-v5`
"""

import argparse
from pathlib import Path

import torch

import envs
from algorithms.core.policy import GaussianPolicy
from data import experts
from data.demonstrations import CARD, refuse_weak
from envs.episodes import play
from errors import one_line
from files import replacing, write_json
from results import schema
from results.cell import EVALUATION_SEEDS, rows, write_tables
from results.design import Design, load
from results.names import check_names
from results.provenance import describe

SEED = 0  # one population of one: its episodes start where the first learner's do


def measure(design: Design, task: str, policy: GaussianPolicy) -> list[dict[str, object]]:
    """Return one row per episode of the random and the expert's policies."""
    env = envs.make(task, [EVALUATION_SEEDS + SEED], design.evaluation.episodes)
    behaviours = {
        "random": experts.uniform(env, EVALUATION_SEEDS),
        "expert": experts.deterministic(policy),
        "expert-stochastic": experts.stochastic(policy, EVALUATION_SEEDS),
    }
    key = {"task": task, "demonstrations": 0, "seed": SEED}
    return [
        {"task": task, "algorithm": name} | row
        for name, act in behaviours.items()
        for row in rows(key | {"algorithm": name}, 0, play(env, act), 0)
    ]


def main() -> None:
    """Measure and write one task's reference cell."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--params", type=Path, default=Path("params.yaml"))
    parser.add_argument("--task", required=True)
    arguments = parser.parse_args()
    design, task = load(arguments.params), arguments.task
    check_names(design, arguments.params, task)
    torch.set_num_threads(1)
    folder = design.root / "data" / "experts" / task
    policy, card = experts.load(task, folder)
    if not design.allow_weak_expert:
        refuse_weak(folder / CARD, card, f"set allow_weak_expert: true in {arguments.params}")
    evaluations = measure(design, task, policy)
    learners = [
        {"task": task, "algorithm": name, "demonstrations": 0, "seed": SEED}
        | {"status": "ok", "iteration": 0, "env_steps": 0, "reason": ""}
        for name in schema.REFERENCES
    ]
    with replacing(design.cell(task, "reference")) as fresh:
        write_tables(fresh, evaluations, [], learners)
        write_json(describe(design, task, "reference", {}, None), fresh / "cell.json")


if __name__ == "__main__":
    with one_line():
        main()
