"""Docstrings of this project as reStructuredText: indented lines stay as they stand, the rest is text."""

import re
from typing import Any

SPECIAL = re.compile(r"([*|_\\])")
PART = re.compile(r"(Sign|Terminal states|No gradient penalty|(Departures|Additions)[^:]*):")  # of a method's docstring
LITERAL, BULLET, TEXT = "literal", "bullet", "text"


def process(app: Any, what: str, name: str, thing: Any, options: Any, lines: list[str]) -> None:
    """Replace the lines of a docstring: a listener of Sphinx's event `autodoc-process-docstring`."""
    lines[:] = restructured(lines)


def restructured(lines: list[str]) -> list[str]:
    """Return a docstring's lines with its blocks set apart by blank lines and with nothing special in its text."""
    done: list[str] = []
    before = ""
    for line in lines:
        kind = _kind(line, before) if line.strip() else ""
        if kind != before or line.startswith("- ") or PART.match(line):
            done += [""] if before else []
            done += ["::", ""] if kind == LITERAL and before != LITERAL else []
        done.append(line if kind == LITERAL else escaped(line))
        before = kind
    return [*done, ""]


def _kind(line: str, before: str) -> str:
    if line.startswith("    "):
        return LITERAL
    if line.startswith("- ") or (before == BULLET and line.startswith("  ")):
        return BULLET
    return TEXT


def escaped(text: str) -> str:
    """Return a line of text whose single backticks mean code."""
    parts = text.split("`")
    for i, part in enumerate(parts):
        if i % 2:
            parts[i] = rf"\ ``{part}``\ "
        else:
            parts[i] = SPECIAL.sub(r"\\\1", part)
    return "".join(parts)
