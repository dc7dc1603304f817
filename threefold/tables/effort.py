"""What parts took, as the sidecars in `provenance/` say."""

from collections import Counter
from collections.abc import Hashable, Mapping
from typing import Any, TypeVar

import numpy as np

Key = TypeVar("Key", bound=Hashable)


def seconds(sidecars: Mapping[Key, Mapping[str, Any]]) -> dict[Key, float]:
    """Return the time of training and evaluation that each part took of a core or of a GPU; NaN: not known.

    A core's other work is not counted. Parts that trained together on a GPU have the time of all of them in each
    sidecar: each counts for its share of the learners.
    """
    together: Counter[tuple[Any, ...]] = Counter()
    for facts in sidecars.values():
        together[_run(facts)] += facts.get("learners", 0)

    def of(facts: Mapping[str, Any]) -> float:
        if facts.get("device") == "cuda":
            return facts["wall_s"] * facts["learners"] / together[_run(facts)] if facts.get("learners") else np.nan
        return facts.get("cpu_s", np.nan)

    return {key: of(facts) for key, facts in sidecars.items()}


def processor(facts: Mapping[str, Any]) -> str:
    """Return what the time is of."""
    return str(facts.get("gpu") or facts.get("cpu"))


def _run(facts: Mapping[str, Any]) -> tuple[Any, ...]:
    """What parts have in common that trained together on a GPU."""
    return facts.get("started"), facts.get("wall_s")
