"""Reverse mode, symbolically: the derivative of a scalar is more graph.

Every value on a path to the target gets one adjoint, the sum of what its users send back (Linnainmaa 1970), so that
the work is linear in the nodes of those paths. Adjoint nodes have the scope and the place of the node they derive.
"""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

from . import ops
from .body import Body
from .forward import tangents
from .graph import Graph, Node
from .jacobian import jacobian
from .masks import Adjoint, Masks
from .recompute import Recomputation
from .scans import merge_all
from .tensor_type import Size
from .through import backward
from .underived import check_no_end, independent


def gradients(target: Node, wrt: Sequence[Node]) -> list[Node | None]:
    """d target / d x for each x of `wrt`, of the shape of x; None where the target does not depend on it.

    The target is a float scalar. E0402 when all paths from an x end at operations without a derivative.
    """
    return pull_back({target: ops.constant(target.graph, 1.0, "float")}, wrt)


def pull_back(
    cotangents: Mapping[Node, Node], wrt: Sequence[Node], strict: bool = True
) -> list[Node | None]:
    """The adjoint of each x of `wrt`, from those of some values; None where none of them depends on it.

    E0402 where one does and no path between them has a derivative, if `strict`.
    """
    if not cotangents:
        return [None] * len(wrt)
    target = next(iter(cotangents))
    graph = target.graph
    order = graph.order(cotangents)
    active = dict.fromkeys(wrt)  # what depends on one of them
    for node in order:
        if any(source in active for source in node.inputs):
            active[node] = None
    masks, again = Masks(), Recomputation(order)
    sent: dict[Node, list[Adjoint]] = {node: [Adjoint(adjoint)] for node, adjoint in cotangents.items()}
    of_results: dict[Node, dict[int, Node]] = {}  # of a scan: the adjoints of its results
    adjoints: dict[Node, Node] = {}
    wanted = dict.fromkeys(wrt)
    ends: dict[Node, None] = {}  # operations that have an adjoint and send none
    for node in reversed(order):
        if node not in active or not (node in sent or node in of_results):
            continue
        with graph.at(node.scope, node.span, 0, derived=True):
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
            piece.attrs["starts"][axis]: piece for piece in pieces
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


def expand(graph: Graph, max_nodes: int | None = None, turn: bool = False) -> bool:
    """Replaces the innermost derivative placeholders by their graphs, one sweep for each target or direction.

    Innermost are those that need no other placeholder. Returns whether any remain, to be expanded once what is
    there was simplified: so each derivative is taken of a simple and stable form. E0401 when a target does not
    depend on what it is to be derived by, E0402 when no path between them has a derivative; of a Jacobian what
    `jacobian` raises. turn: the graph is a scan's body, of which derivatives may be taken yet.
    """
    if _expand_bodies(graph, max_nodes):
        return True
    waiting: dict[Node, None] = {}  # what needs a placeholder
    groups: dict[tuple[Node, ...], list[Node]] = {}  # those of one sweep
    remain = False
    for node in graph.order(graph.outputs.values()):
        is_one = node.op.name in ops.PLACEHOLDERS
        if any(source in waiting for source in node.inputs):
            waiting[node] = None
            remain = remain or is_one
        elif is_one:
            waiting[node] = None
            shared = node.inputs[1:] if node.op.name == "tangent" else node.inputs[:1]
            groups.setdefault((*shared, node) if node.op.name == "jacobian" else shared, []).append(node)
    for placeholders in groups.values():
        for placeholder, result in zip(placeholders, _derived(placeholders, max_nodes), strict=True):
            if result is None:
                raise independent(placeholder)
            graph.replace(placeholder, result)
    merge_all(graph)
    if not remain and not turn:  # no derivative is left to be taken by a rule of its own
        _value_alone(graph)
    return remain


def _value_alone(graph: Graph) -> None:
    """Takes the rules off functions with a derivative of their own, in scans too."""
    for node in graph.order(graph.outputs.values()):
        if node not in graph:  # gone with a rule that read it, or where it came to equal another
            continue
        if node.op.name == "custom":
            graph.replace(node, node.inputs[0])
        elif node.op.name == "scan":
            body: Body = node.attrs["body"]
            made = body.changed(_value_alone)
            if made.key != body.key:
                graph.replace(node, graph.add(node.op, node.inputs, {**node.attrs, "body": made}))


def _derived(placeholders: Sequence[Node], max_nodes: int | None) -> list[Node | None]:
    """What placeholders stand for that share their target (gradients) or their direction (tangents)."""
    first = placeholders[0]
    targets, wrt = [node.inputs[0] for node in placeholders], [node.inputs[1] for node in placeholders]
    if first.op.name == "gradient":
        return gradients(targets[0], wrt)
    if first.op.name == "tangent":
        return moved(targets, {wrt[0]: first.inputs[2]})
    with first.graph.at(first.scope, first.span, derived=True):
        return [jacobian(targets[0], wrt[0], first.attrs["per"], gradients, moved, max_nodes, first.span)]


def moved(targets: Sequence[Node], directions: Mapping[Node, Node]) -> list[Node | None]:
    """The tangents of targets as their leaves move. E0402 where all paths end at operations without a derivative."""
    ends: dict[Node, None] = {}
    found = tangents(targets, directions, ends)
    for target, tangent in zip(targets, found, strict=True):
        if tangent is None:
            order = target.graph.order([target])
            inside = dict.fromkeys(order)
            for x in directions:
                if x in inside:
                    check_no_end(x, target, order, ends)
    return found


def _expand_bodies(graph: Graph, max_nodes: int | None) -> bool:
    """The same within scans. Returns whether there was any."""
    found = False
    for node in graph.order(graph.outputs.values()):
        if node.op.name != "scan" or node not in graph:
            continue
        body: Body = node.attrs["body"]
        if not any(part.op.name in (*ops.PLACEHOLDERS, "scan") for part in body.graph.nodes):
            continue
        made = body.changed(lambda graph: expand(graph, max_nodes, turn=True))
        if made.key != body.key:
            found = True
            graph.replace(node, graph.add(node.op, node.inputs, {**node.attrs, "body": made}))
    return found
