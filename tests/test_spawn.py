"""Workers of studies that start anew, as all do outside tests: those of other tests are forked, which saves imports."""

import pickle
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any

import torch

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
WORK: list[tuple[Any, Any]] = [(density.result, (trial, DENSITY.targets, DENSITY)) for trial in density.TRIALS]
WORK += [(visual.result, (job, VISUAL, "cpu")) for job in visual.jobs(VISUAL)]


def test_what_a_worker_is_given_is_the_same_on_the_other_side():
    assert len(WORK) > 8
    for do, job in WORK:
        assert pickle.loads(pickle.dumps((do, job))) == (do, job)


def test_a_worker_that_starts_anew_does_its_job(tmp_path, monkeypatch):
    monkeypatch.setenv("THREEFOLD_STORE", str(tmp_path))
    cheapest = next(job for job in visual.jobs(VISUAL) if job.iterations == 1)
    with ProcessPoolExecutor(1, get_context("spawn"), torch.set_num_threads, (1,)) as pool:
        rows = pool.submit(density.result, *WORK[0][1])
        learnt = pool.submit(visual.result, cheapest, VISUAL, "cpu")
        assert set(rows.result()["training"][0]["seed"]) == {0}
        assert set(learnt.result()["learnt"]["seed"]) == {0}
    assert any(tmp_path.rglob("learnt.csv"))
