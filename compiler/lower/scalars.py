"""Numbers made of integers alone (of `step`, `steps`, sizes) are computed in double precision and rounded once.

A schedule's rate and a correction such as Adam's 1 - beta^t cancel: in float32 the latter is off by 7e-4 for 0.99999.
They are single numbers: the precision costs one Cast each where tensors meet them.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from ..ir.graph import Node
from ..ops.match import on_elements

ROUNDED_ONCE = ("mul", "div", "neg", "cast")  # a chain of these alone loses nothing that matters


def rounded_once(
    nodes: Sequence[Node], wanted: Collection[Node], known: Collection[Node]
) -> tuple[set[Node], set[Node]]:
    """Of nodes in their order, those to compute in double precision, and those of which nobody asks in the file's.
    What is `known` has a name in the file's precision; casts and constants may be made again."""
    able: dict[Node, bool] = {}  # a single number made of integers alone -> whether double precision is worth it
    for node in nodes:
        if not node.rank and (_leaf(node) or node not in known):
            floats = [source for source in node.inputs if source.dtype == "float"]
            made = on_elements(node) and node.dtype in ("float", "bool")
            if _leaf(node):
                able[node] = False
            elif made and floats and all(source in able or source.op.name == "constant" for source in floats):
                able[node] = node.op.name not in ROUNDED_ONCE or any(able.get(source) for source in floats)
    double: set[Node] = set()
    read = {source for node in nodes for source in node.inputs}
    single: set[Node] = {*wanted, *(node for node in nodes if node not in read)}
    for node in reversed(nodes):
        if able.get(node) or node in double:
            double.add(node)
            double.update(source for source in node.inputs if source in able and not _leaf(source))
        if node not in double and (node in single or node not in able):
            single.update(node.inputs)
    return double, {node for node in able if node not in single}


def _leaf(node: Node) -> bool:
    """A number of the text, or an integer as a float."""
    name = node.op.name
    return name == "constant" or (name == "cast" and node.dtype == "float" and node.inputs[0].dtype == "int")
