"""What the documentation shows of results: taken from results/<profile>/ and reports/<profile>/, kept in git.

`docs/measured/<profile>/` holds results.json (the report's tables as text, captions of its figures, and the checksums
of the results that they were made from, as the profile's dvc.lock has them) and the report's figures as PNG.
`docs/measured/studies/<study>/` holds the same of a study, from the first profile of `SHIPPED` that has it: a study
may be there long before the rest of its profile is.
"""

import hashlib
import json
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from threefold.base.errors import InputError
from threefold.base.files import replacing, write_bytes, write_json
from threefold.cells.plan import study_made_from
from threefold.profile.design import Design, load
from threefold.profile.profiles import profiles as designs
from threefold.report import contents, figures, inputs, style
from threefold.report import studies as reported
from threefold.report.chapter import Chapter
from threefold.report.compare import sidecars_of
from threefold.report.plot import Plot, write_all
from threefold.report.tables import Table
from threefold.store.inputs import fingerprint
from threefold.tables import effort, planned

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "docs" / "measured"
STUDIES = "studies"  # in FOLDER
SHOWN = "results.json"
COLLECTED = ("evaluations.csv", "training.csv", "learners.csv", "cells.json")
SHIPPED = ("paper", "quick")  # whose numbers the README, and the page of a study, show: the first that there is
DPI = 130  # of a study's figures: wide enough for a page, and under 100 kB each


def profiles() -> dict[str, Path]:
    """Return the params.yaml of every profile by the profile's name."""
    return {design.profile: design.params for design in designs(ROOT)}


def measured() -> dict[str, dict[str, Any]]:
    """Return what is kept of each profile's results, by the profile's name."""
    return _kept(FOLDER)


def studies() -> dict[str, dict[str, Any]]:
    """Return what is kept of each study's results, by the study's name; `profile` says of which size."""
    return _kept(FOLDER / STUDIES)


def _kept(folder: Path) -> dict[str, dict[str, Any]]:
    return {path.parent.name: json.loads(path.read_text()) for path in sorted(folder.glob(f"*/{SHOWN}"))}


def locked(params: Path) -> dict[str, str]:
    """Return the checksums of a profile's collected results by their paths, as its dvc.lock has them."""
    return _outs(params, "collect")


def sums(design: Design, name: str) -> dict[str, str]:
    """Return the checksums of a study's results: as the profile's dvc.lock has them, or of the files that git has."""
    if (design.params.parent / "dvc.lock").exists():
        return _outs(design.params, f"study@{name}")
    files = sorted((design.results / "studies" / name).iterdir())
    return {path.relative_to(design.root).as_posix(): _md5(path) for path in files}


def _outs(params: Path, stage: str) -> dict[str, str]:
    lock = params.parent / "dvc.lock"
    if not lock.exists():
        raise InputError(f"{lock}: missing; run `dvc repro` in {params.parent}")
    stages = yaml.safe_load(lock.read_text())["stages"]
    return {
        (params.parent / out["path"]).resolve().relative_to(ROOT.resolve()).as_posix(): out["md5"]
        for out in stages[stage]["outs"]
    }


def _md5(path: Path) -> str:
    return hashlib.md5(path.read_bytes()).hexdigest()


def take(params: Path) -> list[Path]:
    """Keep what the documentation shows of a profile and of its studies; return the folders.

    Raises InputError if its results or its report are missing, or are not those of its dvc.lock.
    """
    given = inputs.read(params)
    made_from, results = locked(params), given.design.results
    for name in COLLECTED:
        path = results / name
        if _md5(path) != made_from.get(path.resolve().relative_to(ROOT.resolve()).as_posix()):
            raise InputError(f"{path}: not what {params.parent / 'dvc.lock'} records; run `dvc repro`")
    plots = figures.plots(given)
    shown = {
        "profile": given.design.profile,
        "made_from": made_from,
        "seeds": len(given.design.seeds),
        "tables": _tables(contents.every_table(given)),
        "plots": _plots(plots),
        "cost": _cost(given),
    }
    report = ROOT / "reports" / given.design.profile / "figures"
    folder = FOLDER / given.design.profile
    with replacing(folder) as fresh:
        for name in plots:
            if not (report / f"{name}.png").exists():
                raise InputError(f"{report / name}.png: missing; run `dvc repro` in {params.parent}")
            shutil.copy(report / f"{name}.png", fresh)
        write_json(shown, fresh / SHOWN)
    return [folder, *_take_studies(given.design, given.design.sizes)]


def take_studies(params: Path) -> list[Path]:
    """Keep what the documentation shows of a profile's studies that are computed as planned; return their folders."""
    design = load(params)
    now = {"studies": {name: fingerprint(study_made_from(design, name)) for name in design.sizes}}
    return _take_studies(design, [name for name in design.sizes if planned.is_study_there(design, now, name)])


def _take_studies(design: Design, names: Iterable[str]) -> list[Path]:
    """Keep studies of which no profile is shown that is before this one in SHIPPED."""
    kept = studies()
    own = SHIPPED.index(design.profile) if design.profile in SHIPPED else len(SHIPPED)
    better = {name for name, shown in kept.items() if shown["profile"] in SHIPPED[:own]}
    chapters = reported.chapters(design)
    return [_take_study(design, name, chapters[name]) for name in names if name not in better]


def _take_study(design: Design, name: str, chapter: Chapter) -> Path:
    shown = {
        "profile": design.profile,
        "made_from": sums(design, name),
        "title": chapter.title,
        "lead": chapter.lead,
        "differences": chapter.differences(),
        "plots": _plots(chapter.plots),
        "tables": _tables(chapter.tables()),
    }
    folder = FOLDER / STUDIES / name
    with tempfile.TemporaryDirectory() as scratch, replacing(folder) as fresh:
        for plot in write_all(chapter.plots, Path(scratch)):
            png = (Path(scratch) / f"{plot}.png").read_bytes()
            write_bytes(fresh / f"{plot}.png", style.on_screen(png, DPI))
        write_json(shown | _took(design, name), fresh / SHOWN)
    return folder


def _took(design: Design, study: str) -> dict[str, Any]:
    """Return the minutes of a core that a study took, and of which; nothing where that is not recorded."""
    path = planned.study_sidecar(design, study)
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
