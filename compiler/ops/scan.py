"""The recurrence: a body that is computed once an iteration, and carries states from iteration to iteration.

    scan(states..., scanned..., captured...; body, length, axes, places, reverse) -> results
    result(scan, k) = for the first, the states after the last iteration; then what the iterations emitted, put together

Iteration t (from 0; from length − 1 down where `reverse`) is given the states, element t of each scanned value along
its axis of `axes`, the captured values and, if it asks, t. What it emits stands at place t of a new dimension, which is
the axis of `places` of the result.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..diagnostics import InternalError
from ..ir.body import Body, place
from ..ir.graph import Graph, Node
from ..ir.op import NONE, define, free, no_gradient
from ..ir.types import Size, TensorType

RESULTS = TensorType("results", ())


def _unnamed(out: Any, node: Node) -> str:
    raise KeyError(f"{node} is outside a scan")


def _inside(*arrays: Any, **attrs: Any) -> Any:
    raise KeyError("this has a value only inside a scan")


def _elsewhere(*arguments: Any, **attrs: Any) -> Any:
    raise InternalError("a scan is differentiated as a whole")


# What an iteration is given. `scan` is 0 in a body; a number of its own while the text of the iteration is read.
local = define(
    "local",
    infer=lambda scan, number, type: type,
    grad=no_gradient(0),
    jvp=NONE,
    cost=free,
    lower=_unnamed,
    reference=_inside,
    samples=None,
)
iteration = define(  # the number of the iteration
    "iteration",
    infer=lambda scan: TensorType("int", ()),
    grad=no_gradient(0),
    jvp=NONE,
    cost=free,
    lower=_unnamed,
    reference=_inside,
    samples=None,
)


def without(type: TensorType, axis: int) -> TensorType:
    """The type of a slice."""
    return type.with_shape(type.shape[:axis] + type.shape[axis + 1 :])


def _infer(
    *given: TensorType,
    body: Body,
    length: Size,
    states: int,
    axes: tuple[int, ...],
    places: tuple[int, ...],
    reverse: bool,
) -> TensorType:
    """Scans are made by the compiler alone: what does not fit is a mistake of ours."""
    scanned = given[states : states + len(axes)]
    wanted = (
        *given[:states],
        *(without(type, axis) for type, axis in zip(scanned, axes, strict=True)),
        *given[states + len(axes) :],
    )
    after = tuple(root.type for root in body.roots[:states])
    if body.inputs != wanted or after != given[:states] or len(body.roots) != states + len(places):
        raise InternalError(f"a scan does not fit its body: {body.inputs}, given {wanted}; {after}")
    if any(type.shape[axis] != length for type, axis in zip(scanned, axes, strict=True)):
        raise InternalError(f"a scan of {length} iterations over {scanned}")
    return RESULTS


def _cost(scan: Node) -> Size:
    """That of an iteration, times the iterations."""
    body: Body = scan.attrs["body"]
    total: Size = 0
    for node in body.graph.order(body.roots):
        total = total + node.op.cost(node)
    length: Size = scan.attrs["length"]
    return total * length


scan_op = define(  # its derivatives are in autodiff/scan.py
    "scan",
    infer=_infer,
    grad=_elsewhere,
    jvp=_elsewhere,
    cost=_cost,
    reference=_elsewhere,
    samples=None,
    lower=lambda out, node, *names: out.scan(node, names),
)
result_op = define(
    "result",
    infer=lambda scan, index, type: type,
    grad=_elsewhere,
    jvp=_elsewhere,
    cost=free,
    samples=None,
    reference=lambda results, index, type: results[index],
    lower=lambda out, node, scan: out.parts[scan][node.attrs["index"]],
)


def make_local(graph: Graph, number: int, type: TensorType, scan: int = 0) -> Node:
    return graph.add(local, (), {"scan": scan, "number": number, "type": type})


def make_iteration(graph: Graph, scan: int = 0) -> Node:
    return graph.add(iteration, (), {"scan": scan})


def make_scan(
    graph: Graph,
    body: Body,
    states: Sequence[Node],
    scanned: Sequence[Node],
    captured: Sequence[Node],
    *,
    length: Size,
    axes: Sequence[int],
    places: Sequence[int],
    reverse: bool,
) -> Node:
    return graph.add(
        scan_op,
        (*states, *scanned, *captured),
        {
            "body": body,
            "length": length,
            "states": len(states),
            "axes": tuple(axes),
            "places": tuple(places),
            "reverse": reverse,
        },
    )


def result(scan: Node, index: int) -> Node:
    """One result of a scan: a state after the last iteration, or what the iterations emitted."""
    type, axis = scan.attrs["body"].roots[index].type, place(scan, index)
    if axis is not None:
        type = type.with_shape((*type.shape[:axis], scan.attrs["length"], *type.shape[axis:]))
    return scan.graph.add(result_op, (scan,), {"index": index, "type": type})
