"""Derivatives that a spec asks for become the graphs they stand for, the innermost first."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from .. import ops
from ..ir.body import Body, scans, with_body
from ..ir.graph import Graph, Node
from ..ir.reachable import dependent
from ..ops.scan_builder import merge_all
from .errors import check_no_end, independent, stopped_at, untrained
from .forward import tangents
from .jacobian import jacobian
from .reverse import gradients
from .scan import zeros


def expand(graph: Graph, max_nodes: int | None = None, marked: Iterable[Node] = (), iteration: bool = False) -> bool:
    """Replaces the innermost derivative placeholders by their graphs, one sweep for each target or direction.

    Innermost are those that need no other placeholder. Returns whether any remain, to be expanded once what is
    there was simplified: so each derivative is taken of a simple and stable form. E0401 when a target does not
    depend on what it is to be derived by (but for a parameter that others are trained beside), E0402 when no path
    between them has a derivative; of a Jacobian what `jacobian` raises. marked: what is derived for the updates.
    iteration: the graph is a scan's body, of which derivatives may be taken yet.
    """
    if _expand_bodies(graph, max_nodes):
        return True
    order = graph.order(graph.outputs.values())
    derivatives = [node for node in order if node.op.name in ops.PLACEHOLDERS]
    waiting = dependent(order, derivatives) if derivatives else {}
    innermost = [node for node in derivatives if not any(source in waiting for source in node.inputs)]
    remain = len(innermost) < len(derivatives)
    groups: dict[tuple[Node, ...], list[Node]] = {}  # those of one sweep
    for node in innermost:
        shared = node.inputs[1:] if node.op.name == "tangent" else node.inputs[:1]
        groups.setdefault((*shared, node) if node.op.name == "jacobian" else shared, []).append(node)
    # In float16 what is marked is a scaled one.
    trained = {x: None for node in marked for x in (node, *node.inputs) if x.op is ops.gradient}
    for placeholders in groups.values():
        results = _derived(placeholders, max_nodes)
        lost = [one for one, result in zip(placeholders, results, strict=True) if result is None]
        for placeholder, result in zip(placeholders, results, strict=True):
            if result is None and placeholder in trained:
                if len(lost) == len(placeholders) or stopped_at(placeholder) is not None:
                    raise untrained(lost, trained)
                # It fell out of a derivative, as the last bias of an energy whose slope is minimized.
                result = zeros(graph, placeholder.inputs[1].type)
            if result is None:
                raise independent(placeholder)
            graph.replace(placeholder, result)
    merge_all(graph)
    if not remain and not iteration:  # no derivative is left to be taken by a rule of its own
        _value_alone(graph)
    return remain


def _value_alone(graph: Graph) -> None:
    """Takes the rules off functions with a derivative of their own, in scans too, and the marks off vectors that an
    optimizer's derivatives were taken by."""
    for node in graph.order(graph.outputs.values()):
        if node not in graph:  # gone with a rule that read it, or where it came to equal another
            continue
        if node.op.name in ("custom", "point"):
            graph.replace(node, node.inputs[0])
        elif node.op.name == "scan":
            body: Body = node.attrs["body"]
            made = body.changed(_value_alone)
            if made.key != body.key:
                graph.replace(node, with_body(node, made))


def _derived(placeholders: Sequence[Node], max_nodes: int | None) -> list[Node | None]:
    """What placeholders stand for that share their target (gradients) or their direction (tangents)."""
    first = placeholders[0]
    targets, wrt = [node.inputs[0] for node in placeholders], [node.inputs[1] for node in placeholders]
    if first.op.name == "gradient":
        return gradients(targets[0], wrt)
    if first.op.name == "tangent":
        return moved(targets, {wrt[0]: first.inputs[2]})
    with first.graph.like(first, derived=True):
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
    for scan in scans(graph):
        body: Body = scan.attrs["body"]
        if not any(part.op.name in (*ops.PLACEHOLDERS, "scan") for part in body.graph.nodes):
            continue
        made = body.changed(lambda graph: expand(graph, max_nodes, iteration=True))
        if made.key != body.key:
            found = True
            graph.replace(scan, with_body(scan, made))
    return found
