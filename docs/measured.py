"""What the documentation shows of results: taken from results/<profile>/ and reports/<profile>/, kept in git.

`docs/measured/<profile>/` holds results.json (the report's tables as text, captions of its figures, and the checksums
of the results that they were made from, as the profile's dvc.lock has them) and the report's figures as PNG.
"""

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from threefold.base.errors import InputError
from threefold.base.files import replacing, write_json
from threefold.profile.profiles import profiles as designs
from threefold.report import contents, figures, inputs, studies
from threefold.report.chapter import Chapter
from threefold.report.compare import sidecars_of
from threefold.report.plot import Plot
from threefold.report.tables import Table
from threefold.tables import effort, planned

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "docs" / "measured"
SHOWN = "results.json"
COLLECTED = ("evaluations.csv", "training.csv", "learners.csv", "cells.json")
SHIPPED = ("paper", "quick")  # whose numbers the README shows: the first that there is


def profiles() -> dict[str, Path]:
    """Return the params.yaml of every profile by the profile's name."""
    return {design.profile: design.params for design in designs(ROOT)}


def measured() -> dict[str, dict[str, Any]]:
    """Return what is kept of each profile's results, by the profile's name."""
    return {path.parent.name: json.loads(path.read_text()) for path in sorted(FOLDER.glob(f"*/{SHOWN}"))}


def locked(params: Path) -> dict[str, str]:
    """Return the checksums of a profile's collected results and studies, by their paths, as its dvc.lock has them."""
    lock = params.parent / "dvc.lock"
    if not lock.exists():
        raise InputError(f"{lock}: missing; run `dvc repro` in {params.parent}")
    stages = yaml.safe_load(lock.read_text())["stages"]
    wanted = [stages[name] for name in stages if name == "collect" or name.startswith("study@")]
    return {
        (params.parent / out["path"]).resolve().relative_to(ROOT.resolve()).as_posix(): out["md5"]
        for stage in wanted
        for out in stage["outs"]
    }


def take(params: Path) -> Path:
    """Keep what the documentation shows of a profile; return the folder.

    Raises InputError if its results or its report are missing, or are not those of its dvc.lock.
    """
    given = inputs.read(params)
    made_from, results = locked(params), given.design.results
    for name in COLLECTED:
        path = results / name
        recorded = made_from.get(path.resolve().relative_to(ROOT.resolve()).as_posix())
        if hashlib.md5(path.read_bytes()).hexdigest() != recorded:
            raise InputError(f"{path}: not what {params.parent / 'dvc.lock'} records; run `dvc repro`")
    plots, chapters = figures.plots(given), studies.chapters(given.design)
    shown = {
        "profile": given.design.profile,
        "made_from": made_from,
        "seeds": len(given.design.seeds),
        "tables": _tables(contents.every_table(given)),
        "plots": _plots(plots),
        "studies": {name: _chapter(chapter) | _took(given, name) for name, chapter in chapters.items()},
        "cost": _cost(given),
    }
    report = ROOT / "reports" / given.design.profile / "figures"
    folder = FOLDER / given.design.profile
    with replacing(folder) as fresh:
        for name in [*plots, *(plot for chapter in chapters.values() for plot in chapter.plots)]:
            if not (report / f"{name}.png").exists():
                raise InputError(f"{report / name}.png: missing; run `dvc repro` in {params.parent}")
            shutil.copy(report / f"{name}.png", fresh)
        write_json(shown, fresh / SHOWN)
    return folder


def _chapter(chapter: Chapter) -> dict[str, Any]:
    shown = {"plots": _plots(chapter.plots), "tables": _tables(chapter.tables())}
    return {"title": chapter.title, "lead": chapter.lead} | shown


def _took(given: inputs.Inputs, study: str) -> dict[str, Any]:
    """Return the minutes of a core that a study took, and of which; nothing where that is not recorded."""
    path = planned.study_sidecar(given.design, study)
    facts = json.loads(path.read_text()) if path.exists() else {}
    if "cpu_s" not in facts:
        return {}
    return {"minutes": round(facts["cpu_s"] / 60, 1), "processor": effort.processor(facts)}


def _plots(plots: dict[str, Plot]) -> list[dict[str, str]]:
    return [{"name": name, "title": plot.title, "caption": plot.caption} for name, plot in plots.items()]


def _tables(given: dict[str, Table]) -> list[dict[str, Any]]:
    return [
        {"name": name, "title": table.title, "caption": table.caption}
        | {"columns": [*table.shown], "rows": table.shown.to_numpy().tolist()}
        for name, table in given.items()
    ]


def _cost(given: inputs.Inputs) -> list[dict[str, Any]]:
    """Return what each part that stepped an env took: task, row, part, minutes, steps per second, machine."""
    rows = []
    for (task, row), parts in sidecars_of(given, given.design.methods).items():
        for part, seconds in effort.seconds(parts).items():
            facts = parts[part]
            if facts.get("env_steps") and np.isfinite(seconds):
                cell = {"task": task, "row": row, "part": part.name, "processor": effort.processor(facts)}
                speed = {"minutes": round(seconds / 60, 1), "env_steps_per_s": round(facts["env_steps"] / seconds)}
                rows.append(cell | speed)
    return rows
