"""A scan as ONNX `Scan`, or as `Loop` where it may end early: its body is a graph inside the node.

The body reads captured values, constants and sizes by their names outside; only the states and the slices are its
inputs. The number of the iteration, where the body asks for it, is one more scanned value; a `Loop` has it anyway.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

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
    flag = done(scan)
    kind = "Scan" if flag is None else "Loop"
    title = out.fresh(kind)
    graph = GraphProto(name=title)
    inner = out.inside(graph)
    leaves, iteration = body.locals(), body.iteration()
    if flag is not None:
        for name, dtype in ((f"{title}/turn", "int"), (f"{title}/going", "bool")):
            graph.input.append(value_info(name, TensorType(dtype, ()), out.precision))
        going = out.node("Not", [names[flag]])
        given += [out.constant(scan.length, "int"), going]
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
    if flag is None and (iteration is not None or not axes):  # ONNX asks for at least one scanned value
        given.append(counted(out, scan.length))
        axes.append(0)
        graph.input.append(value_info(f"{title}/turn", TensorType("int", ()), out.precision))
    inner.dtypes[f"{title}/turn"] = "int64"
    if iteration is not None:
        inner.leaf(iteration, f"{title}/turn")
    inner.write(body.graph.order(body.roots), {})
    if flag is not None:
        inner.at(body.roots[flag])
        graph.output.append(
            value_info(inner.node("Not", [inner.names[body.roots[flag]]]), TensorType("bool", ()), out.precision)
        )
    made, taken = inner.made(), set[str]()
    if flag is not None:  # ONNX takes it that states may change their shapes, and then infers none from them
        declared = {name: node.type for node, name in inner.names.items() if name in made}
        graph.value_info.extend(value_info(name, type, out.precision) for name, type in declared.items())
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
        if flag is not None:
            out.graph.value_info.append(value_info(name, root.type, out.precision))
    out.at(node)
    attributes: dict[str, Any] = {}
    if flag is None:
        places = [emit.axis for emit in scan.emitted]
        attributes = {"num_scan_inputs": len(axes), **_directions(axes, places, scan.reverse)}
    proto = out.several(kind, title, given, results, **attributes)
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


def done(scan: ScanView) -> int | None:
    """The state, a boolean, with which nothing changes any more once it is true, so that the rest of the iterations
    need not be made; None if there is none, or if iterations leave more than their states."""
    if scan.scanned or scan.emitted or scan.reverse or not isinstance(scan.length, int):
        return None
    for flag in scan.states:
        if flag.after.dtype == "bool" and not flag.after.rank:
            truths: dict[Node, bool | None] = {}
            if _truth(flag.after, flag.number, truths) and all(
                state is flag or _same(state.after, state.number, flag.number, truths) for state in scan.states
            ):
                return flag.number
    return None


def _truth(x: Node, flag: int, known: dict[Node, bool | None]) -> bool | None:
    """What a boolean is where that state is true, as far as it follows from that alone."""
    if x not in known:
        known[x] = None
        if _is_state(x, flag):
            known[x] = True
        elif x.op.name in ("not", "or", "and", "where"):
            given = [_truth(source, flag, known) for source in x.inputs if source.dtype == "bool"]
            if x.op.name == "not":
                known[x] = None if given[0] is None else not given[0]
            elif x.op.name == "where":
                known[x] = None if given[0] is None else given[1 if given[0] else 2]
            else:
                settles = x.op.name == "or"
                known[x] = settles if settles in given else None if None in given else not settles
    return known[x]


def _same(x: Node, number: int, flag: int, known: dict[Node, bool | None]) -> bool:
    """Whether a state after the iteration is what it was before, where the flag is true."""
    while x.op.name == "where":
        taken = _truth(x.inputs[0], flag, known)
        if taken is None:
            return False
        x = x.inputs[1 if taken else 2]
    return _is_state(x, number)


def _is_state(x: Node, number: int) -> bool:
    return x.op.name == "local" and x.attrs["number"] == number
