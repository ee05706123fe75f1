"""Forward mode, symbolically: how a small change of some values moves others, as more graph.

One sweep in the order of evaluation carries a tangent beside each value that moves (Wengert 1964), so that one
direction costs about as much as the values themselves, however many results there are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from .. import ops
from ..ir.graph import Node
from . import custom, scan


def tangents(
    targets: Sequence[Node], moved: Mapping[Node, Node], ends: dict[Node, None] | None = None
) -> list[Node | None]:
    """The derivative of each target along a direction: J v, of the target's shape; None where it does not move.

    moved: for each float value that moves its tangent, of its shape; what they are computed from stays. Operations
    that are reached and have no derivative are put into `ends`.
    """
    graph = targets[0].graph
    found = dict(moved)
    of_results: dict[Node, dict[int, Node]] = {}  # of a scan: the tangents of its results
    for node in graph.order(targets):
        if node in found:
            continue
        if node.op.name == "result":
            table = of_results.get(node.inputs[0], {})
            if node.attrs["index"] in table:
                found[node] = table[node.attrs["index"]]
            continue
        given = [found.get(source) for source in node.inputs]
        if all(tangent is None for tangent in given):
            continue
        with graph.like(node, derived=True):
            tangent = None
            if node.op.name == "scan":
                of_results[node] = scan.forward(node, given, tangents)
                continue
            if node.op.name == "custom":
                tangent = custom.forward(node, given)
            elif callable(node.op.jvp):
                tangent = node.op.jvp(given, node, *node.inputs, **node.attrs)
            if tangent is not None:
                found[node] = ops.broadcast_to(tangent, shape=node.shape)
            elif ends is not None:
                ends[node] = None
    return [found.get(target) for target in targets]
