"""A scan as ONNX `Scan`: its body is a graph inside the node.

The body reads captured values, constants and sizes by their names outside; only the states and the slices are its
inputs. The number of the iteration, where the body asks for it, is one more scanned value.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from onnx import AttributeProto, GraphProto

from ..ir.body import Captured, ScanView, State
from ..ir.graph import Node
from ..ir.types import TensorType
from ..ops.indexing import counted
from .elements import value_info

if TYPE_CHECKING:
    from .emit import Emitter


def write_scan(out: Emitter, node: Node, names: Sequence[str]) -> list[str]:
    """Writes the node; returns the names of its results."""
    scan = ScanView(node)
    body, axes = scan.body, [part.axis for part in scan.scanned]
    given: list[str] = []
    title = out.fresh("Scan")
    graph = GraphProto(name=title)
    inner = out.inside(graph)
    leaves = body.locals()
    for part, outer, type in zip(scan.inputs, names, body.inputs, strict=True):
        leaf = leaves.get(part.number)
        if isinstance(part, Captured):
            if leaf is not None:
                inner.names[leaf] = outer
            continue
        given.append(outer)
        name = f"{title}/{'state' if isinstance(part, State) else 'slice'}_{part.number}"
        inner.dtypes[name] = out.dtypes[outer]
        graph.input.append(value_info(name, type, out.precision))
        if leaf is not None:
            inner.leaf(leaf, name)
    iteration = body.iteration()
    if iteration is not None or not axes:  # ONNX asks for at least one scanned value
        given.append(counted(out, scan.length))
        axes.append(0)
        graph.input.append(value_info(f"{title}/turn", TensorType("int", ()), out.precision))
        inner.dtypes[f"{title}/turn"] = "int64"
        if iteration is not None:
            inner.leaf(iteration, f"{title}/turn")
    inner.write(body.graph.order(body.roots), {})
    made, taken = inner.made(), set[str]()
    for root in body.roots:
        name = inner.names[root]
        if name not in made or name in taken:  # a value of its own for each output
            inner.at(root)
            name = inner.node("Identity", [name])
        taken.add(name)
        graph.output.append(value_info(name, root.type, out.precision))
    results = [f"{title}.{number}" for number in range(len(body.roots))]
    for name, root in zip(results, body.roots, strict=True):
        out.dtypes[name] = inner.dtypes[inner.names[root]]
    out.at(node)
    proto = out.several(
        "Scan",
        title,
        given,
        results,
        num_scan_inputs=len(axes),
        **_directions(axes, [emit.axis for emit in scan.emitted], scan.reverse),
    )
    proto.attribute.add(name="body", type=AttributeProto.GRAPH, g=graph)
    return results


def _directions(axes: Sequence[int], places: Sequence[int], reverse: bool) -> dict[str, list[int]]:
    """What differs from ONNX's defaults: along the first axis, forwards."""
    found: dict[str, list[int]] = {}
    if any(axes):
        found["scan_input_axes"] = list(axes)
    if any(places):
        found["scan_output_axes"] = list(places)
    if reverse:
        found["scan_input_directions"] = [1] * len(axes)
        if places:
            found["scan_output_directions"] = [1] * len(places)
    return found
