"""The README's figure and table, from the results that the documentation keeps."""

import re
from typing import Any

from docs import pages
from docs.measured import ROOT, SHIPPED, measured
from docs.pages import table
from threefold.report.tables import NOT_RUN, SHORT

PATH = ROOT / "README.md"
BETWEEN = re.compile(r"(<!-- results: .+? -->\n)(.*?)(<!-- end of results -->)", re.DOTALL)
NONE = (
    "No results are in the repository at this commit. `dvc repro` computes them, and "
    "`python -m docs.generate --params params.yaml` writes figure and table here.\n"
)
FIGURE = "score_against_trajectories"


def text(page: str) -> str:
    """Return the README with its results up to date: those of the first profile of `SHIPPED` that has any."""
    shown = measured()
    profile = next((name for name in SHIPPED if name in shown), None)
    results = _results(profile, shown[profile]) if profile else NONE
    return BETWEEN.sub(lambda found: found[1] + results + found[3], page)


def _results(profile: str, shown: dict[str, Any]) -> str:
    """Return the figure and the table of aggregates, a line per method."""
    aggregate, summary = (next(t for t in shown["tables"] if t["name"] == name) for name in ("aggregate", "summary"))
    said = (
        f"Interquartile mean of the score over tasks and {shown['seeds']} seeds, with its 95 % interval (0 = random "
        f"actions, 1 = the expert, both measured), from the profile `{profile}`."
    )
    return (
        f"![Score against the number of expert trajectories](docs/measured/{profile}/{FIGURE}.png)\n\n"
        f"{' '.join(filter(None, [said, pages.caution(profile), _left_out(summary)]))}\n\n{_aggregate(aggregate)}\n"
    )


def _aggregate(aggregate: dict[str, Any]) -> str:
    """Return the scores from the fewest, the most and all trajectories; one column where every task has one number."""
    rows = [row[:4] for row in aggregate["rows"]]
    if all(fewest == most == every for _, fewest, most, every in rows):
        return table(["Method", "Score"], [[method, score] for method, score, *_ in rows])
    return table(aggregate["columns"][:4], rows)


def _left_out(summary: dict[str, Any]) -> str:
    """Return a sentence on the methods that are not run on every task; nothing if all are."""
    rows = summary["rows"][:-1]  # below them is the mean
    where = {
        method: dict.fromkeys(row[0].removesuffix(f" ({SHORT})") for row in rows if row[place] == NOT_RUN)
        for place, method in enumerate(summary["columns"])
    }
    told = [f"{method} is not run on {' and '.join(tasks)}" for method, tasks in where.items() if tasks]
    return f"{'; '.join(told)}." if told else ""
