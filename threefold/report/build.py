"""One page that shows a profile's results: reports/<profile>/report.html with figures/ and tables/.

Beside it is provenance.html. The report is a pure function of the results, so that DVC can hash it. Who computed them,
when and how fast is not: that stands in provenance.html, which no DVC stage tracks.
"""

import base64
import os
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from threefold.base.files import write_bytes
from threefold.profile.design import Design
from threefold.report import contents, cost, details, figures, interactive, studies, style, tables
from threefold.report.budgets import Budgets
from threefold.report.inputs import Inputs, provenance
from threefold.report.plot import write_all
from threefold.report.takeaways import takeaways

TEMPLATES = Environment(
    loader=FileSystemLoader(Path(__file__).parent),
    autoescape=True,
    trim_blocks=True,
    lstrip_blocks=True,
    undefined=StrictUndefined,
)
TEMPLATES.filters["base64"] = lambda data: base64.b64encode(data).decode()
UNRECORDED = "not recorded"


class Edition(NamedTuple):
    """Which report of a profile it is: the one that DVC makes, or another beside it."""

    folder: Path  # where it is written
    collected: Path  # where the collected tables are
    remake: Callable[[str], str]  # the command that makes a figure again, from the project's root
    note: str = ""  # what stands at its top


def build(given: Inputs, edition: Edition | None = None) -> Path:
    """Write the report, its figures, its tables and the provenance; the report's path."""
    folder, collected, remake, note = edition or _whole(given)
    shown, plots = contents.every_table(given), figures.plots(given)
    chapters = studies.chapters(given.design)
    numbers = {name: chapter.tables() for name, chapter in chapters.items()}
    for one in (shown, *numbers.values()):
        for name, table in one.items():
            tables.write(table, folder / "tables", name)
    images = write_all(plots | studies.plots(given.design), folder / "figures")
    page = TEMPLATES.get_template("report.html.j2").render(
        given=given,
        design=given.design,
        methods=[style.label(name) for name in given.design.methods],
        budgets=Budgets(given.design),
        kinds_of=interactive.kinds_of,
        order=interactive.order,
        datatables=interactive.datatables(),
        takeaways=takeaways(given, shown),
        details=details.details(given),
        summary=shown.pop("summary"),
        tables=shown,
        failures=tables.failures(given),
        missing=tables.missing(given),
        plots=plots,
        chapters=chapters,
        numbers=numbers,
        images=images,
        remake=remake,
        versions=_versions(given),
        link=lambda file: _link(folder, given.design.results if file.startswith("studies/") else collected, file),
        note=note,
    )
    write_bytes(folder / "report.html", page.encode())
    write_bytes(folder / "provenance.html", _provenance(given).encode())
    return folder / "report.html"


def _whole(given: Inputs) -> Edition:
    command = f"threefold figures --params {params_from_root(given.design)} --only"
    folder = given.design.root / "reports" / given.design.profile
    return Edition(folder, given.design.results, lambda name: f"{command} {name}")


def params_from_root(design: Design) -> str:
    """A profile's params.yaml as it is typed in the project's root."""
    return shlex.quote(os.path.relpath(design.params.resolve(), design.root.resolve()))


def _link(page: Path, folder: Path, file: str) -> str:
    return (Path(os.path.relpath(folder, page)) / file).as_posix()


def _versions(given: Inputs) -> list[tuple[str, str]]:
    """Each program's versions over all cells: one, unless a profile was computed on several machines."""
    versions: dict[str, set[str]] = {}
    for cell in given.cells.values():
        for program, version in cell["versions"].items():
            versions.setdefault(program, set()).add(str(version))
    return [(program, ", ".join(sorted(found))) for program, found in sorted(versions.items())]


def _provenance(given: Inputs) -> str:
    """A page of what each part's sidecar says; parts computed elsewhere may have none."""
    rows = [
        _sidecar(given, f"{task} / {given.label(row)} / {part.name}", Path(task) / row / part.name)
        for task in given.design.tasks
        for row in given.design.rows(task)
        for part in given.design.parts(task, row)
    ]
    rows += [_sidecar(given, f"studies / {name}", Path("studies") / name) for name in studies.chapters(given.design)]
    columns = [
        "Cell",
        "Commit",
        "Processor",
        "Wall time",
        "Core time",
        "Steps per second of wall time",
        "Started",
        "Command",
    ]
    return TEMPLATES.get_template("provenance.html.j2").render(
        profile=given.design.profile,
        columns=columns,
        rows=rows,
        unrecorded=UNRECORDED,
        bar=cost.BAR,
        times=cost.times(given),
    )


def _sidecar(given: Inputs, name: str, place: Path) -> list[str]:
    facts = provenance(given.design, place)
    if not facts:
        return [name]

    def text(key: str) -> str:
        return str(facts.get(key) or UNRECORDED)

    return [
        name,
        _commit(facts),
        f"{text('cpu')}, {text('cores')} cores, {text('threads')} threads",
        f"{facts['wall_s'] / 60:.1f} min" if "wall_s" in facts else UNRECORDED,
        f"{facts['cpu_s'] / 60:.1f} min" if "cpu_s" in facts else UNRECORDED,
        f"{facts['env_steps'] / facts['wall_s']:,.0f}" if facts.get("env_steps") else UNRECORDED,
        text("started").replace("T", " "),
        text("command"),
    ]


def _commit(facts: dict[str, Any]) -> str:
    if not facts.get("commit"):
        return UNRECORDED
    return facts["commit"][:12] + (" (with uncommitted changes)" if facts.get("dirty") else "")
