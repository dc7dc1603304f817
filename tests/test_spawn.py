"""Workers of studies that start anew, as all do outside tests: those of other tests are forked, which saves imports."""

import pickle
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch

from studies.core.parts import kept
from studies.density import study as density
from studies.density.schema import Size as Density
from studies.visual import study as visual
from studies.visual.schema import Pool
from studies.visual.schema import Size as Visual

DENSITY = Density(targets=["ring"], seeds=[0], steps=2, batch=8, records=1, points=[8], repeats=2)
POOLS = [Pool(maps=maps, iterations=1, cloning_iterations=1) for maps in (1, 2)]
VISUAL = Visual(
    seeds=[0], pools=POOLS, demonstrations=[2], held_out=1, one_map_iterations=1, records=1, taken_apart=True
)
UNUSED = Path()
WORK: list[tuple[Any, Any]] = [(density.part, (name, DENSITY, UNUSED)) for name in density.trials(DENSITY)]
WORK += [(visual.part, (name, VISUAL, UNUSED)) for name in visual.parts(VISUAL)]


def test_what_a_worker_is_given_is_the_same_on_the_other_side():
    assert len(WORK) > 8
    for do, job in WORK:
        assert pickle.loads(pickle.dumps((do, job))) == (do, job)


def test_a_worker_that_starts_anew_does_its_job(tmp_path, monkeypatch):
    monkeypatch.setenv("THREEFOLD_STORE", str(tmp_path))
    cheapest = next(name for name, job in visual.parts(VISUAL).items() if job.iterations == 1)
    with ProcessPoolExecutor(1, get_context("spawn"), torch.set_num_threads, (1,)) as pool:
        rows = pool.submit(density.part, *WORK[0][1])
        learnt = pool.submit(kept, "visual", cheapest, VISUAL, visual.FILES, visual.part)
        assert set(rows.result()["training"]["seed"]) == {0}
        assert set(learnt.result()["learnt"]["seed"]) == {0}
    assert any(tmp_path.rglob("learnt.csv"))
