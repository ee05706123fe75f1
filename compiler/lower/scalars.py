"""Numbers made of integers alone (of `step`, `steps`, sizes) are computed in double precision and rounded once; so are
the lengths of whole tensors.

A schedule's rate and a correction such as Adam's 1 - beta^t cancel: in float32 the latter is off by 7e-4 for 0.99999.
The square of a length above 1.8e19 is infinite in float32: a gradient that is to be clipped to a length would become 0.
They are single numbers: the precision costs one Cast each where tensors meet them, and one of each tensor measured.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from ..ir.graph import Node
from ..ir.reachable import needed
from ..ops.match import on_elements

ROUNDED_ONCE = ("mul", "div", "neg", "cast")  # a chain of these alone loses nothing that matters


def rounded_once(
    nodes: Sequence[Node], wanted: Collection[Node], known: Collection[Node]
) -> tuple[set[Node], set[Node]]:
    """Of nodes in their order, those to compute in double precision, and those of which nobody asks in the file's.
    What is `known` has a name in the file's precision; casts and constants may be made again."""
    # a single number made of integers or lengths alone -> whether double precision is worth it
    able: dict[Node, bool] = dict.fromkeys(_squared_lengths(nodes, known), True)
    for node in nodes:
        if not node.rank and node not in able and (is_leaf(node) or node not in known):
            floats = [source for source in node.inputs if source.dtype == "float"]
            made = on_elements(node) and node.dtype in ("float", "bool")
            if is_leaf(node):
                able[node] = False
            elif made and floats and all(source in able or source.op.name == "constant" for source in floats):
                able[node] = node.op.name not in ROUNDED_ONCE or any(able.get(source) for source in floats)
    double: set[Node] = set()
    read = {source for node in nodes for source in node.inputs}
    single: set[Node] = {*wanted, *(node for node in nodes if node not in read)}
    for node in reversed(nodes):
        if able.get(node) or node in double:
            double.add(node)
            double.update(source for source in node.inputs if source in able and not is_leaf(source))
        if node not in double and (node in single or node not in able):
            single.update(node.inputs)
    return double, {node for node in able if node not in single}


def _squared_lengths(nodes: Sequence[Node], known: Collection[Node]) -> list[Node]:
    """The squares and sums of squares that a square root is taken of as a single number: by themselves, times a number
    of the text, or added up."""
    made: set[Node] = set()  # of squares and numbers of the text alone
    for node in nodes:
        sums = node.op.name in ("add", "mul") and made.issuperset(node.inputs)
        if not node.rank and (sums or _squared(node) or node.op.name == "constant"):
            made.add(node)
    roots = [node.inputs[0] for node in nodes if node.op.name == "sqrt" and node not in known]
    below = needed([x for x in roots if x in made], lambda x: () if _squared(x) else x.inputs)
    return [x for x in below if _squared(x) and x not in known]


def _squared(node: Node) -> bool:
    """x * x, or the sum of it."""
    return node.op.name == "reduce_sum_square" or (node.op.name == "mul" and node.inputs[0] is node.inputs[1])


def is_leaf(node: Node) -> bool:
    """A number of the text, or an integer as a float."""
    name = node.op.name
    return name == "constant" or (name == "cast" and node.dtype == "float" and node.inputs[0].dtype == "int")
