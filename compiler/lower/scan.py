"""A scan as ONNX `Scan`, or as `Loop` where it may end early: its body is a graph inside the node.

The body reads captured values, constants and sizes by their names outside; only the states and the slices are its
inputs. The number of the iteration, where the body asks for it, is one more scanned value; a `Loop` has it anyway, and
takes its slices by it. What a `Loop` collects is as long as it ran: zeros make up the rest.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from onnx import AttributeProto, GraphProto

from ..ir.body import Captured, Emitted, Scanned, ScanView, State
from ..ir.graph import Node
from ..ir.types import Size, TensorType
from ..ops.indexing import counted
from ..ops.match import is_number
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
    inner.dtypes[f"{title}/turn"] = "int64"
    if flag is not None:
        for name, dtype in ((f"{title}/turn", "int"), (f"{title}/going", "bool")):
            graph.input.append(value_info(name, TensorType(dtype, ()), out.precision))
        once = flag.after.rank or scan.emitted  # so that what is collected has its shape
        going = out.constant(True, "bool") if once else out.node("Not", [names[flag.number]])
        given += [out.size(scan.length), going]
    for part, outer, type in zip(scan.inputs, names, body.inputs, strict=True):
        leaf = leaves.get(part.number)
        if isinstance(part, Captured):
            if leaf is not None:
                inner.names[leaf] = outer
            continue
        if isinstance(part, Scanned) and flag is not None:
            if leaf is not None:
                inner.at(leaf)
                inner.leaf(leaf, inner.node("Gather", [outer, f"{title}/turn"], axis=part.axis))
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
    if iteration is not None:
        inner.leaf(iteration, f"{title}/turn")
    inner.write(body.graph.order(body.roots), {})
    if flag is not None:
        inner.at(flag.after)
        graph.output.append(value_info(_going(inner, flag.after), TensorType("bool", ()), out.precision))
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
    out.at(node)
    attributes: dict[str, Any] = {}
    if flag is None:
        places = [emit.axis for emit in scan.emitted]
        attributes = {"num_scan_inputs": len(axes), **_directions(axes, places, scan.reverse)}
    proto = out.several(kind, title, given, results, **attributes)
    proto.attribute.add(name="body", type=AttributeProto.GRAPH, g=graph)
    if flag is not None:
        for state in scan.states:
            out.graph.value_info.append(value_info(results[state.number], state.after.type, out.precision))
        for emit in scan.emitted:
            results[emit.number] = _whole(out, results[emit.number], emit, scan.length)
    return results


def _going(inner: Emitter, after: Node) -> str:
    """Whether the flag is false somewhere."""
    left = inner.node("Not", [inner.names[after]])
    if after.rank:
        axes = inner.constant(np.arange(after.rank), "int")
        left = inner.cast(inner.node("ReduceSum", [inner.cast(left, "float"), axes], keepdims=0), "bool")
    return left


def _whole(out: Emitter, name: str, emit: Emitted, length: Size) -> str:
    """What a Loop collected along a first dimension, with zeros for the iterations that it spared, in its place."""
    type = emit.root.type
    rest = out.node("Sub", [out.shape((length,)), out.node("Shape", [name], start=0, end=1)])
    shape = out.node("Concat", [rest, out.shape(type.shape)], axis=0) if type.rank else rest
    zeros = out.node("Expand", [out.constant(0, type.dtype), shape])
    whole = out.node("Concat", [name, zeros], axis=0)
    out.graph.value_info.append(value_info(whole, type.with_shape((length, *type.shape)), out.precision))
    if emit.axis:
        perm = [*range(1, emit.axis + 1), 0, *range(emit.axis + 1, type.rank + 1)]
        whole = out.node("Transpose", [whole], perm=perm)
    return whole


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


def done(scan: ScanView) -> State | None:
    """The state, of booleans, with which nothing changes any more and nothing but zeros is collected once all of it
    is true, so that the rest of the iterations need not be made; None if there is none."""
    if scan.reverse:
        return None
    for flag in scan.states:
        if flag.after.dtype == "bool":
            truths: dict[Node, bool | None] = {}
            if (
                _truth(flag.after, flag.number, truths)
                and all(state is flag or _same(state.after, state.number, flag.number, truths) for state in scan.states)
                and all(_zero(_chosen(emit.root, flag.number, truths)) for emit in scan.emitted)
            ):
                return flag
    return None


def _truth(x: Node, flag: int, known: dict[Node, bool | None]) -> bool | None:
    """What all of a boolean is where all of that state is true, as far as it follows from that alone."""
    if x not in known:
        known[x] = None
        given = [_truth(source, flag, known) for source in x.inputs if source.dtype == "bool"]
        if _is_state(x, flag):
            known[x] = True
        elif x.op.name == "constant":
            value = x.attrs["value"]
            known[x] = True if value.all() else None if value.any() else False
        elif x.op.name in ("reshape", "broadcast_to", "transpose"):
            known[x] = given[0]
        elif x.op.name == "not":
            known[x] = None if given[0] is None else not given[0]
        elif x.op.name == "where":
            known[x] = None if given[0] is None else given[1 if given[0] else 2]
        elif x.op.name in ("or", "and"):
            settles = x.op.name == "or"
            known[x] = settles if settles in given else None if None in given else not settles
        elif x.op.name in ("eq", "ne", "gt") and _none(x.inputs[0], flag, known) and is_number(x.inputs[1], 0):
            known[x] = x.op.name == "eq"
    return known[x]


def _none(x: Node, flag: int, known: dict[Node, bool | None]) -> bool:
    """Whether x is how many of some booleans hold, and none do."""
    if x.op.name != "reduce_sum" or x.inputs[0].op.name != "cast" or x.inputs[0].inputs[0].dtype != "bool":
        return False
    return _truth(x.inputs[0].inputs[0], flag, known) is False


def _chosen(x: Node, flag: int, known: dict[Node, bool | None]) -> Node:
    """What is taken of choices where all of the flag is true."""
    while x.op.name == "where":
        taken = _truth(x.inputs[0], flag, known)
        if taken is None:
            return x
        x = x.inputs[1 if taken else 2]
    return x


def _same(x: Node, number: int, flag: int, known: dict[Node, bool | None]) -> bool:
    """Whether a state after the iteration is what it was before, where all of the flag is true."""
    return _is_state(_chosen(x, flag, known), number)


def _zero(x: Node) -> bool:
    while x.op.name in ("broadcast_to", "reshape"):
        x = x.inputs[0]
    return x.op.name == "constant" and not x.attrs["value"].any()


def _is_state(x: Node, number: int) -> bool:
    return x.op.name == "local" and x.attrs["number"] == number
