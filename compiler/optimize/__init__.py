"""Simplification: interim."""
from __future__ import annotations

from ..graph import Graph


def simplify(graph: Graph, final: bool = False) -> None:
    """Removes markers at the end, and what no root needs."""
    if final:
        for node in graph.order(graph.outputs.values()):
            if node.op.name in ("cut", "stop_gradient") and node in graph.dag:
                graph.replace(node, node.inputs[0])
    graph.prune()
