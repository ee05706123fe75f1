"""Reverse mode, symbolically: the derivative of a scalar is more graph.

Each value on a path from the variables to the target gets one adjoint, the sum of what its users send back; the work is
linear in the nodes of those paths. Adjoint nodes belong to the scope and the place of the node they derive.
"""
from __future__ import annotations

from collections.abc import Sequence

from . import ops
from .diagnostics import CompileError, error
from .graph import Graph, Node
from .ops.registry import NONE


def gradients(target: Node, wrt: Sequence[Node]) -> list[Node | None]:
    """d target / d x for each x of `wrt`, of the shape of x; None where the target does not depend on it.

    An operation without a derivative on the only path is E0402.
    """
    graph = target.graph
    order = graph.order([target])
    wanted = dict.fromkeys(wrt)
    active: dict[Node, None] = {}  # what lies on a path from a wanted node
    for node in order:
        if node in wanted or any(source in active for source in node.inputs):
            active[node] = None
    adjoints: dict[Node, list[Node]] = {target: [ops.constant(graph, 1.0, "float")]}
    stopped: dict[Node, None] = {}  # operations without a derivative that a path went through
    for node in reversed(order):
        if node not in active or node not in adjoints:
            continue
        with graph.at(node.scope, node.span):
            adjoint = _total(adjoints[node])
            adjoints[node] = [adjoint]
            if not any(source in active for source in node.inputs):
                continue
            sent = node.op.grad(adjoint, node, *node.inputs, **node.attrs)
            for source, part in zip(node.inputs, sent, strict=True):
                if source not in active:
                    continue
                if isinstance(part, Node):
                    adjoints.setdefault(source, []).append(ops.sum_to(part, source.shape))
                elif part is NONE and source.dtype == "float" and node.op.name != "stop_gradient":
                    stopped[node] = None
    results: list[Node | None] = []
    for x in wrt:
        if x not in adjoints:
            if x in active and stopped:
                raise _stopped(x, next(iter(stopped)))
            results.append(None)
        else:
            results.append(adjoints[x][0] if len(adjoints[x]) == 1 else _total(adjoints[x]))
    return results


def _total(parts: list[Node]) -> Node:
    result = parts[0]
    for part in parts[1:]:
        result = result + part
    return result


def _stopped(x: Node, node: Node) -> CompileError:
    name = x.attrs.get("path") or x.attrs.get("name") or "the value"
    return error("E0402", f"`{node.op.name}` has no derivative, and no other path leads from `{name}` to the loss", node.span,
                 "the derivative ends here",
                 help="use a smooth form of it, or keep what lies behind it out of what is trained")


def expand(graph: Graph) -> bool:
    """Replaces the innermost derivative placeholders by their graphs, one sweep for each target.

    Returns whether there were any: then the graph should be simplified and `expand` called again, since a
    derivative of a derivative was waiting for them.
    """
    order = graph.order(graph.outputs.values())
    holds: dict[Node, bool] = {}  # whether a placeholder lies in what the node needs
    targets: dict[Node, list[Node]] = {}
    for node in order:
        below = any(holds[source] for source in node.inputs)
        holds[node] = below or node.op.name == "gradient"
        if node.op.name == "gradient" and not below:
            targets.setdefault(node.inputs[0], []).append(node)
    for target, placeholders in targets.items():
        found = gradients(target, [node.inputs[1] for node in placeholders])
        for placeholder, result in zip(placeholders, found, strict=True):
            if result is None:
                leaf = placeholder.inputs[1]
                name = leaf.attrs.get("path") or leaf.attrs.get("name") or "that value"
                raise error("E0401", f"the value does not depend on `{name}`", placeholder.span,
                            "derived here", help="a derivative that is always zero is taken for a mistake")
            graph.replace(placeholder, result)
    return bool(targets)
