"""Simplification of the graph, in place: constant folding, algebra, stable forms, dead code.

Equal nodes are one node from the start (see `graph.py`), so there is no pass for common subexpressions.
"""
from __future__ import annotations

from ..graph import Graph, Node
from ..ops.registry import OPS
from . import algebra, fold, stable
from .rewrite import Rule, rewrite


def _opened(node: Node) -> Node:
    """Markers have done their work once all derivatives are there."""
    return node.inputs[0]


# Folding first: what is a number needs no rule. Stable forms before algebra: they are the larger patterns.
RULES: dict[str, tuple[Rule, ...]] = {
    name: (fold.fold, *stable.RULES.get(name, ()), *algebra.RULES.get(name, ())) for name in OPS
}
FINAL: dict[str, tuple[Rule, ...]] = {**RULES, "cut": (_opened,), "stop_gradient": (_opened,)}


def simplify(graph: Graph, final: bool = False) -> None:
    """Applies every rule until none does, and removes what no root needs. `final`: no derivative is to come."""
    graph.prune()
    rewrite(graph, FINAL if final else RULES)
    graph.prune()
