"""Formulas as MathML, which browsers draw themselves: no script, no network."""

from typing import Any

from docutils import nodes
from docutils.utils.math.latex2mathml import tex2mathml

# Browsers set no space for "function application": log D would read as logD.
APPLIED, SPACE = "<mo>&ApplyFunction;</mo>", '<mspace width="0.17em"></mspace>'


def inline(page: Any, node: Any) -> None:
    """Write a formula within a line."""
    page.body.append(_mathml(node, as_block=False))
    raise nodes.SkipNode


def block(page: Any, node: Any) -> None:
    """Write a formula that stands alone."""
    page.body.append(f'<div class="formula">{_mathml(node, as_block=True)}</div>\n')
    raise nodes.SkipNode


def _mathml(node: Any, as_block: bool) -> str:
    return tex2mathml(node.astext(), as_block).replace(APPLIED, SPACE)
