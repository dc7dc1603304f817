"""Figures that are drawn, laid out and written, but as empty pictures: to render them is most of what they cost.

For tests of what stands around them. tests/test_reports.py, tests/test_dvc.py and tests/test_studies.py render them.
"""

from collections.abc import Collection

import pytest
from matplotlib.figure import Figure

from threefold.report import style
from threefold.report.plot import KINDS


def blank(patch: pytest.MonkeyPatch, kinds: Collection[str] = KINDS) -> None:
    """Let files of these kinds be empty pictures."""
    render, empty = style.render, {kind: style.render(Figure((1, 1)), kind) for kind in kinds}
    patch.setattr(style, "render", lambda figure, kind, *dpi: empty.get(kind) or render(figure, kind, *dpi))
