"""The simplifier, and the fusing pass that follows it."""

from __future__ import annotations

from ..ir.graph import Graph, Node
from . import algebra, choices, fold, kernels, row_matrices, scans, shapes, small_factors, stable
from .fuse import fuse
from .rewrite import Rules, rewrite, together

PASSES = (
    fold.RULES,  # first: a constant needs no algebra
    kernels.RULES,  # before derivatives are taken: what has a kernel has a derivative that uses it
    stable.RULES,  # before the algebra that would take the patterns apart
    shapes.RULES,
    algebra.RULES,
    choices.RULES,
)
_MARKERS = Rules()


@_MARKERS.on("cut", "stop_gradient", "custom")
def _unmarked(node: Node) -> Node | None:
    """cut(x) = x, stop_gradient(x) = x and custom(x, ...) = x, once all derivatives are taken"""
    return node.inputs[0]


_ALL = together(PASSES)
# Once no more derivatives are taken: they hide what a derivative rule looks for.
LATE = (shapes.LAST, row_matrices.RULES, small_factors.RULES, kernels.LAST)
_LAST = together((_MARKERS, *PASSES, *LATE))
_CLOSING = together((fold.FINAL, shapes.KEEP))


def simplify(graph: Graph, final: bool = False) -> None:
    """Rewrites the graph in place into a smaller one with the same outputs.

    `final`: all derivatives are taken, so `cut` and `stop_gradient` go. Until then rules see them as they see an input.
    """
    while True:
        scans.simplify_bodies(graph, final, simplify)
        rewrite(graph, _LAST if final else _ALL)
        if not scans.improve(graph, final):
            break
    if final:
        rewrite(graph, _CLOSING)


__all__ = ["LATE", "PASSES", "fuse", "simplify"]
