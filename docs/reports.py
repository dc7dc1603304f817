"""The reports that are made, published with the documentation: the pages, and every file of the project they link.

A report lies in the same place there as in the project, `reports/<profile>/`, so that its links lead where they did.
"""

import re
import shutil
from pathlib import Path

HREF = re.compile(r'\shref="([^"#:?]+)"')  # of a file: neither a fragment nor an address


def pages(root: Path) -> list[Path]:
    """Return the reports that a project has, as seen from it."""
    return [path.relative_to(root) for path in sorted(root.glob("reports/*/report.html"))]


def copy(root: Path, site: Path) -> None:
    """Copy every report of a project, and whatever is linked from it, into the built documentation."""
    todo, seen = [root / page for page in pages(root)], set[Path]()
    while todo:
        path = todo.pop().resolve()
        if path in seen:
            continue
        seen.add(path)
        target = site / path.relative_to(root.resolve())
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
        if path.suffix == ".html":
            todo += [path.parent / link for link in HREF.findall(path.read_text(encoding="utf-8"))]
