"""Data checked by the step that reads them: what Python would ask of each batch, whether its numbers are finite and its
labels in range, the native library asks in a pass of less than a microsecond (docs/native.md).

A node of it stands behind the first figure of a step, the loss, and makes it NaN where data are not as they are to be.
So one number that is looked at anyway tells of both, a bad batch and a bad step; which it was, and what of it, a closer
look says. The step then has left its state as it was (state.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from onnx import GraphProto, ModelProto, TensorProto, helper

from . import graphs
from .programs import DOMAIN, FLOATS

OPERATOR = "Guard"
GUARDED = "inputs checked by the step"
WHOLE = frozenset((TensorProto.INT32, TensorProto.INT64, TensorProto.UINT32))
MOST, FAR = 126, 1 << 63  # data of one node, as native/region.h has it; what int64 holds

Limits = tuple[int, int]


@dataclass(frozen=True)
class Guard:
    """What a step checks: data by name, those of integers with the least and the greatest; `figure` tells."""

    figure: str
    data: Mapping[str, Limits | None]


def put(model: ModelProto, guard: Guard) -> bool:
    """Puts the node in, in place; False where the library cannot check all of the data, and none of it is done."""
    graph = model.graph
    kinds = {value.name: value.type.tensor_type.elem_type for value in graph.input}
    data = {name: limits for name, limits in guard.data.items() if name in kinds}
    checked = all(kinds[name] in (FLOATS if limits is None else WHOLE) for name, limits in data.items())
    value = next((value for value in graph.output if value.name == guard.figure), None)
    made = [node for node in graph.node if guard.figure in node.output]
    if not data or len(data) > MOST or not checked or value is None or not made:
        return False
    if value.type.tensor_type.elem_type not in FLOATS or graphs.shape_of(value) not in ((), (1,)):
        return False
    if any(not -FAR <= end < FAR for pair in data.values() for end in pair or ()):
        return False
    before = graphs.fresh(f"{guard.figure}/unguarded", graphs.names(graph))
    _rename(graph, guard.figure, before)
    unguarded = graph.value_info.add()
    unguarded.CopyFrom(value)
    unguarded.name = before
    limits = [each for pair in data.values() for each in pair or (0, 0)]
    node = helper.make_node(OPERATOR, [before, *data], [guard.figure], name=f"{before}/guard", domain=DOMAIN)
    node.attribute.append(helper.make_attribute("limits", limits))
    graph.node.append(node)
    return True


def taken(model: ModelProto, guard: Guard) -> bool:
    """Whether a region has taken the node in; else it goes again: it is no operator of its own."""
    graph = model.graph
    left = [node for node in graph.node if node.op_type == OPERATOR and node.domain == DOMAIN]
    for node in left:
        before = node.input[0]
        graph.node.remove(node)
        for value in [value for value in graph.value_info if value.name == before]:
            graph.value_info.remove(value)
        _rename(graph, before, guard.figure)
    return not left


def _rename(graph: GraphProto, name: str, other: str) -> None:
    """Gives a value another name, for what makes it and all that read it."""
    for node in graph.node:
        graphs.rename(node, {name: other})
        for i, each in enumerate(node.output):
            if each == name:
                node.output[i] = other
