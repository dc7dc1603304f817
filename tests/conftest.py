"""Every test starts from the same seeds and computes on one thread, so none depends on its neighbours."""

import gc
import os
import random

import numpy
import pytest
import torch

torch.set_num_threads(1)
# What other tests left may need threads to end it, and a process that is forked has none of them: it ended by SIGSEGV.
os.register_at_fork(after_in_child=gc.freeze)


def pytest_collection():
    """What is imported stays: to search it for garbage again and again took a fifth of the time."""
    gc.disable()


def pytest_collection_finish():
    gc.freeze()
    gc.enable()


@pytest.fixture(autouse=True)
def _seeds():
    random.seed(0)
    numpy.random.seed(0)
    torch.manual_seed(0)


LONG = ("warp", "sequences", "reports", "studies", "adopt", "run", "other_device", "page", "envs_gymnasium")


def pytest_xdist_auto_num_workers(config):
    """One process more than there are cores: some tests wait, for Ray, the disk, or a process to be killed."""
    return len(os.sched_getaffinity(0)) + 1 if hasattr(os, "sched_getaffinity") else None


def pytest_collection_modifyitems(items):
    """Files with slow tests come first, and then long ones: a worker that took one last would go on alone."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    long = {item.path for item in items if item.path.stem.removeprefix("test_") in LONG}
    items.sort(key=lambda item: (item.path not in slow, item.path not in long))
