"""Reverse mode, symbolically: the derivative of a scalar is more graph.

Every value on a path to the target gets one adjoint, the sum of what its users send back (Linnainmaa 1970), so that
the work is linear in the nodes of those paths. Adjoint nodes have the scope and the place of the node they derive.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

from .. import ops
from ..ir.graph import Node
from ..ir.reachable import dependent
from ..ir.types import Size
from .errors import check_no_end
from .masks import Adjoint, Masks
from .rematerialisation import Recomputation
from .scan import backward


def gradients(target: Node, wrt: Sequence[Node]) -> list[Node | None]:
    """d target / d x for each x of `wrt`, of the shape of x; None where the target does not depend on it.

    The target is a float scalar. E0402 when all paths from an x end at operations without a derivative.
    """
    return pull_back({target: ops.constant(target.graph, 1.0, "float")}, wrt)


def pull_back(cotangents: Mapping[Node, Node], wrt: Sequence[Node], strict: bool = True) -> list[Node | None]:
    """The adjoint of each x of `wrt`, from those of some values; None where none of them depends on it.

    E0402 where one does and no path between them has a derivative, if `strict`.
    """
    if not cotangents:
        return [None] * len(wrt)
    target = next(iter(cotangents))
    graph = target.graph
    order = graph.order(cotangents)
    active = dependent(order, wrt)
    masks, again = Masks(), Recomputation(order)
    sent: dict[Node, list[Adjoint]] = {node: [Adjoint(adjoint)] for node, adjoint in cotangents.items()}
    of_results: dict[Node, dict[int, Node]] = {}  # of a scan: the adjoints of its results
    adjoints: dict[Node, Node] = {}
    wanted = dict.fromkeys(wrt)
    ends: dict[Node, None] = {}  # operations that have an adjoint and send none
    for node in reversed(order):
        if node not in active or not (node in sent or node in of_results):
            continue
        with graph.like(node, 0, derived=True):
            if node in of_results:
                given = of_results.pop(node)
                scan, _ = again.operands(node, next(iter(given.values())))
                flags = [source in active for source in node.inputs]
                back = backward(scan, given, flags, partial(pull_back, strict=False))
                parts = [None if part is None else Adjoint(part) for part in back]
            else:
                adjoint = masks.total(sent.pop(node), _sum)
                if node in wanted:
                    adjoints[node] = masks.zeroed(adjoint)
                if not any(source in active for source in node.inputs):
                    continue
                if node.op.name == "result":
                    of_results.setdefault(node.inputs[0], {})[node.attrs["index"]] = masks.zeroed(adjoint)
                    continue
                parts = masks.sent(adjoint, node, *again.operands(node, adjoint.value), active.__contains__)
            for source, part in zip(node.inputs, parts, strict=True):
                if source not in active:
                    continue
                if part is not None:
                    sent.setdefault(source, []).append(part)
                    if not source.inputs:
                        again.sent(part.value)
                else:
                    ends[node] = None
    inside = dict.fromkeys(order)
    for x in wrt:
        if strict and x in inside and x not in adjoints:
            check_no_end(x, target, order, ends)
    return [adjoints.get(x) for x in wrt]


def _sum(parts: list[Node]) -> Node:
    """A balanced sum, in the order of the parts: rounding errors grow with the logarithm of their number."""
    parts = _joined(parts)
    while len(parts) > 1:
        pairs = [a + b for a, b in zip(parts[::2], parts[1::2], strict=False)]
        parts = pairs + parts[len(pairs) * 2 :]
    return parts[0]


def _joined(parts: list[Node]) -> list[Node]:
    """What slices that tile a value send back is put side by side, instead of adding padded pieces up."""
    pieces = [part for part in parts if part.op.name == "unslice"]
    if len(pieces) < 2:
        return parts
    shape = pieces[0].shape
    for axis, size in enumerate(shape):
        by_start = {
            piece.attrs["starts"][axis]: piece
            for piece in pieces
            if all(
                step == 1 and (i == axis or (start == 0 and stop == whole))
                for i, (start, stop, step, whole) in enumerate(
                    zip(piece.attrs["starts"], piece.attrs["stops"], piece.attrs["steps"], shape, strict=True)
                )
            )
        }
        chain: list[Node] = []
        end: Size = 0
        while end in by_start:
            chain.append(by_start.pop(end))
            end = chain[-1].attrs["stops"][axis]
        if end == size and len(chain) > 1:
            used = dict.fromkeys(chain)
            joined = ops.concat(*[piece.inputs[0] for piece in chain], axis=axis)
            return [joined, *(part for part in parts if part not in used)]
    return parts
