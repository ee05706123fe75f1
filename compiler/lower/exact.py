"""Figures in float64 in a file of another precision: what is left of a variance when leading digits cancel.

Only what a figure adds up is computed so, from values of the model as they are: elementwise arithmetic, sums, and what
is done with these. Products of matrices, convolutions and the like keep the precision of the file.
"""

from __future__ import annotations

from collections.abc import Iterable

from ..ir.graph import Node
from ..ir.op import pointwise
from ..ir.reachable import dependent, needed
from ..ir.types import Dim
from ..ops.match import REDUCTIONS
from .elements import ELEMENT
from .emit import Emitter

PLAIN = (
    *REDUCTIONS,
    "reduce_sum_square",
    "broadcast_to",
    "trilu",
    "reshape",
    "transpose",
    "slice",
    "cast",
    "constant",
    "size",
    "concat",
)
SUMS = ("matmul", "scatter_add")  # where the batch is summed over


def inside(roots: Iterable[Node], totals: Iterable[Node]) -> tuple[list[Node], list[Node]]:
    """What is computed in float64 for the roots, in order, and the values of the file's precision that this reads.
    `totals`: leaves that are float64 themselves."""
    roots, held = list(roots), dict.fromkeys(totals)
    closing = dependent(roots[0].graph.order(roots), held) if roots else ()  # whatever is done with totals

    def plain(node: Node) -> bool:
        return node in closing or _plain(node)

    below = needed(
        [node for node in roots if node not in held],
        lambda node: [source for source in node.inputs if source not in held] if plain(node) else (),
    )
    found = {node for node in below if plain(node)}
    order = [node for node in roots[0].graph.order(roots) if node in found] if roots else []
    read = dict.fromkeys(source for node in order for source in node.inputs if source not in found)
    read.update(dict.fromkeys(node for node in roots if node not in found))
    return order, [node for node in read if node not in held]


def exact_emitter(beside: Emitter, order: Iterable[Node], read: Iterable[Node]) -> Emitter:
    """One that writes into the same graph, in float64, after what `beside` wrote."""
    made = Emitter(beside.graph, "float64", data=beside.data, beside=beside)
    for node in order:
        if node.dtype == "float":
            made.names.pop(node, None)
    for node in read:
        if node.dtype == "float":
            made.at(node)
            made.names[node] = made.node("Cast", [beside.names[node]], to=ELEMENT["float64"][0])
    return made


def _plain(node: Node) -> bool:
    if node.op.name in SUMS:
        return not any(isinstance(size, Dim) for size in node.shape)
    whole = node.op.jvp is pointwise and node.dtype != "float"  # arithmetic of integers is exact as it is
    drawn = any(source.dtype == "key" for source in node.inputs)
    return node.op.name in PLAIN or (node.op.elementwise and not whole and not drawn)
