"""Settings of the documentation, built by `sphinx-build -W docs docs/_build/html`."""

import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from docs import docstrings, mathml, pages, reports

project = "Threefold"
author = copyright = "Threefold contributors"  # noqa: A001 - Sphinx reads this name
extensions = ["myst_parser", "sphinx.ext.autodoc"]
myst_enable_extensions = ["amsmath", "colon_fence", "dollarmath"]
myst_heading_anchors = 3
exclude_patterns = ["_build", "notes", "templates"]
html_math_renderer = "mathml"

autodoc_member_order = "bysource"
autodoc_default_options = {"members": True}
add_module_names = False

highlight_language = "none"  # a block says so where it is code

html_theme = "pydata_sphinx_theme"
html_title = "Threefold"
html_static_path = ["_static"]
html_css_files = ["page.css"]
html_copy_source = False
html_sidebars: dict[str, list[str]] = {
    page: [] for page in ("start", "concepts", "results")
}  # which have no section of their own
html_theme_options = {
    "navbar_align": "left",
    "header_links_before_dropdown": 9,
    "show_prev_next": False,
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": [],
}


def add_reports(app: Any, error: Exception | None) -> None:
    """Copy the reports that are made into documentation that could be built."""
    if error is None:
        reports.copy(Path(app.srcdir).parent, Path(app.outdir))


def setup(app: Any) -> None:
    """Write the generated pages; add reports; let autodoc read docstrings as they are here; draw formulas."""
    app.connect("builder-inited", lambda app: pages.write(Path(app.srcdir)))
    app.connect("build-finished", add_reports)
    app.connect("autodoc-process-docstring", docstrings.process)
    app.add_html_math_renderer("mathml", inline_renderers=(mathml.inline, None), block_renderers=(mathml.block, None))
