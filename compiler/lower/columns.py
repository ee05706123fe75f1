"""The columns of a table in the graph: a finished model takes its inputs as the table has them, words and gaps too.

Words are found by `Equal` on strings, a plain operator since opset 19, and not by the LabelEncoder of ai.onnx.ml: the
words are then state like any other, an initializer that training fills without touching a node, and the file stays
within the default domain. A table of w words costs w comparisons a cell. Numbers are worked out in float64, which
tables hold: a time in seconds or an identifier has more digits than float32.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from dlc.runtime import graphs
from dlc.runtime.column import Column
from dlc.runtime.encoding import PREFIX, state_name, unfitted
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper

from ..ir.graph import Node
from ..ir.module import Module
from .elements import ELEMENT, element


def columns(model: ModelProto, module: Module, precision: str) -> None:
    """Puts the encodings of the module's columns into the graphs of a model."""
    parts = [model.graph, *(info.algorithm for info in model.training_info)]
    made = {name: column for name, column in module.columns.items() if not column.plain}
    outputs = {column.output: name for name, column in made.items() if column.output}
    renamed = {name: PREFIX + name for name in (*made, *outputs)}
    for graph in parts if made else ():
        for node in graph.node:
            graphs.rename(node, renamed)
    for output, name in outputs.items():
        _decode(model.graph, output, made[name], name, precision, module)
    for graph in parts:
        for value in graph.input:
            if value.name in made:
                _encode(graph, model.graph, value, made[value.name], precision, module)


class _Writer:
    """Writes the nodes of one column, with its state."""

    def __init__(self, graph: GraphProto, main: GraphProto, name: str, column: str, place: str) -> None:
        self.graph, self.name, self.column, self.place = graph, name, column, place
        self.nodes: list[NodeProto] = []
        self.held = {held.name for held in (*graph.initializer, *main.initializer)}

    def __call__(self, operator: str, *inputs: str, **attributes: Any) -> str:
        made = f"{PREFIX}{self.name}/{operator}_{len(self.nodes)}"
        made_too = [f"{made}/count"] if operator == "StringSplit" else []  # which has two results
        node = helper.make_node(operator, inputs, [made, *made_too], made)
        node.attribute.extend(helper.make_attribute(key, value) for key, value in sorted(attributes.items()))
        node.metadata_props.add(key="dlc.source", value=self.place)
        self.nodes.append(node)
        return made

    def constant(self, what: str, value: Any, dtype: Any) -> str:
        name = f"{PREFIX}{self.name}/{what}"
        if name not in self.held:
            self.held.add(name)
            self.graph.initializer.append(graphs.tensor(name, np.asarray(value, dtype)))
        return name

    def state(self, what: str, value: np.ndarray) -> str:
        name = state_name(self.column, what)
        if name not in self.held:
            self.held.add(name)
            self.graph.initializer.append(graphs.tensor(name, value))
        return name


def _encode(graph: GraphProto, main: GraphProto, value: Any, column: Column, precision: str, module: Module) -> None:
    """The nodes that make an input of what the table has, before all others."""
    name = value.name
    leaf = _leaf(module, name)
    write = _Writer(graph, main, name, name, _place(module, name))
    states = unfitted(column, leaf.rank)
    kind = ELEMENT[element(leaf.dtype, precision)][0]
    rule = _image if column.image else _text if column.tokens else _words if column.words else _numbers
    rule(write, column, name, states, leaf, kind)
    write.nodes[-1].output[0] = PREFIX + name
    shape = [d.dim_param or d.dim_value for d in value.type.tensor_type.shape.dim]
    if column.missing == "indicator":
        shape = [shape[0], len(column.names)] if len(column.names) > 1 else shape[:1]
    if column.tokens or {"one_hot", "date"} & set(column.encode):
        shape = shape[:1] if "characters" not in column.encode else [shape[0], f"{name}/characters"]
    if column.image:
        shape = [shape[0], f"{name}/height", f"{name}/width", shape[1]]
    element_type = TensorProto.STRING if column.text else TensorProto.UINT8 if column.image else TensorProto.DOUBLE
    value.CopyFrom(helper.make_tensor_value_info(name, element_type, shape))
    _first(graph, write.nodes)


def _words(write: _Writer, column: Column, raw: str, states: dict[str, np.ndarray], leaf: Node, kind: int) -> None:
    """The place of each word among those of the training rows; the first stands for all others."""
    if isinstance(column.missing, tuple):
        empty = write("Equal", raw, write.constant("empty", "", object))
        raw = write("Where", empty, write.constant("fill", column.missing[0], object), raw)
    each = write("Unsqueeze", raw, write.constant("last", [-1], np.int64))
    same = write("Equal", each, write.state("words", states["words"]))
    index = write("ArgMax", write("Cast", same, to=TensorProto.FLOAT), axis=-1, keepdims=0)
    if "one_hot" not in column.encode:
        return
    ends = write("Unsqueeze", index, write.constant("last", [-1], np.int64))
    places = write.constant("places", np.arange(1, int(leaf.shape[1]) + 1), np.int64)  # type: ignore[arg-type]
    write("Cast", write("Equal", ends, places), to=kind)


def _text(write: _Writer, column: Column, raw: str, states: dict[str, np.ndarray], leaf: Node, kind: int) -> None:
    """The places of the words of a text, which blanks divide: 0 behind its end, 1 for a word that is not known. Of a
    longer text the first are taken; a free dimension is as long as the longest, 1 at least. No operator divides a text
    into characters: it comes divided, `[batch, characters]`, "" behind its end."""
    size, last = leaf.shape[1], write.constant("last", [-1], np.int64)
    each = write("Unsqueeze", raw if "characters" in column.encode else write("StringSplit", raw), last)
    same = write("Cast", write("Equal", each, write.state("words", states["words"])), to=TensorProto.FLOAT)
    none = write("Equal", write("ReduceMax", same, last, keepdims=0), write.constant("none", 0, np.float32))
    places = write("ArgMax", same, axis=-1, keepdims=0)
    places = write("Add", places, write("Cast", none, to=TensorProto.INT64))
    if isinstance(size, int):
        time = more = write.constant("time", [size], np.int64)
    else:
        more = write.constant("more", [1], np.int64)
        time = write("Max", write("Shape", places, start=1), more)
    shape = write("Concat", write("Shape", raw, end=1), more, axis=0)
    whole = write("Concat", places, write("Expand", write.constant("zero", 0, np.int64), shape), axis=1)
    first, axis = write.constant("first", [0], np.int64), write.constant("axis", [1], np.int64)
    write("Slice", whole, first, time, axis)


def _image(write: _Writer, column: Column, raw: str, states: dict[str, np.ndarray], leaf: Node, kind: int) -> None:
    """Pixels of 8 bits, `[batch, height, width, channels]`, as numbers from 0 to 1 of the size that the spec says: a
    mean of those around each place, weighted by a triangle, which is as wide as the scale where they become fewer, and
    cut at the edges (as Pillow's `BILINEAR`). Runtimes differ in what their `Resize` makes of the edges."""

    def weights(axis: int, size: int) -> str:
        """`[size, pixels]`: how much each pixel of a row, or of a column, counts at each new place."""
        count = write("Gather", write("Shape", raw), write.constant(f"axis/{axis}", axis, np.int64))
        zero, one = (write.constant(name, value, np.int64) for name, value in (("zero", 0), ("step", 1)))
        each = write("Cast", write("Range", zero, count, one), to=TensorProto.DOUBLE)
        each = write("Add", each, write.constant("half", 0.5, np.float64))
        scale = write("Div", write("Cast", count, to=TensorProto.DOUBLE), write.constant(f"size/{axis}", size, float))
        middle = write("Mul", write.constant(f"middle/{axis}", np.arange(size)[:, None] + 0.5, np.float64), scale)
        one = write.constant("one", 1, np.float64)
        far = write("Div", write("Abs", write("Sub", each, middle)), write("Max", scale, one))
        found = write("Max", write("Sub", one, far), write.constant("none", 0, np.float64))
        found = write("Div", found, write("ReduceSum", found, write.constant("last", [-1], np.int64), keepdims=1))
        return write("Cast", found, to=TensorProto.FLOAT)

    height, width = (int(side) for side in leaf.shape[2:])  # type: ignore[arg-type]
    planes = write("Transpose", write("Cast", raw, to=TensorProto.FLOAT), perm=[0, 3, 1, 2])
    resized = write("MatMul", planes, write("Transpose", weights(2, width), perm=[1, 0]))
    resized = write("MatMul", weights(1, height), resized)
    write("Cast", write("Div", resized, write.constant("white", 255, np.float32)), to=kind)


def _date(write: _Writer, column: Column, raw: str, rank: int) -> str:
    """The parts of dates written YYYY-MM-DD, as doubles: days since 1970 by counting years from March on (Hinnant 2013,
    days_from_civil)."""

    def number(value: int) -> str:
        return write.constant(f"number/{value}", value, np.int64)

    def days(year: str, shifted: str, day: str) -> str:
        """Of a year that begins in March, the month counted from there, and the day."""
        century = write("Div", year, number(400))
        within = write("Sub", year, write("Mul", century, number(400)))
        month = write("Div", write("Add", write("Mul", shifted, number(153)), number(2)), number(5))
        total = write("Add", write("Add", month, day), number(-719469))
        total = write("Add", total, write("Mul", century, number(146097)))
        total = write("Add", total, write("Mul", within, number(365)))
        leaps = write("Sub", write("Div", within, number(4)), write("Div", within, number(100)))
        return write("Add", total, leaps)

    split = write("Cast", write("StringSplit", raw, delimiter="-"), to=TensorProto.INT64)
    year, month, day = (write("Gather", split, number(place), axis=1) for place in range(3))
    early = write("Cast", write("Less", month, number(3)), to=TensorProto.INT64)
    from_march = write("Mod", write("Add", month, number(9)), number(12))
    count = days(write("Sub", year, early), from_march, day)
    known = {"year": year, "month": month, "day": day, "days": count}
    if "weekday" in column.parts:
        week = write("Mod", write("Add", count, number(3)), number(7))
        known["weekday"] = week
    if "yearday" in column.parts:
        begin = days(write("Sub", year, number(1)), number(10), number(1))
        known["yearday"] = write("Add", write("Sub", count, begin), number(1))
    parts = [write("Cast", known[part], to=TensorProto.DOUBLE) for part in column.parts]
    if rank < 2:
        return parts[0]
    last = write.constant("last", [-1], np.int64)
    return write("Concat", *(write("Unsqueeze", part, last) for part in parts), axis=1)


def _numbers(write: _Writer, column: Column, raw: str, states: dict[str, np.ndarray], leaf: Node, kind: int) -> None:
    """Dates in parts or gaps filled, then logarithms, then scaled or in ranges."""
    raw = _date(write, column, raw, leaf.rank) if "date" in column.encode else raw
    gap, value = "", raw
    if column.missing is not None:
        gap = write("IsNaN", raw)
        value = write("Where", gap, write.state("fill", states["fill"]), raw)
    if "log1p" in column.encode:
        value = write("Log", write("Add", value, write.constant("one", 1.0, np.float64)))
    if "standardised" in column.encode:
        value = write("Sub", value, write.state("mean", states["mean"]))
        value = write("Div", value, write.state("scale", states["scale"]))
    if "bins" in column.encode:
        each = write("Unsqueeze", value, write.constant("last", [-1], np.int64))
        above = write("GreaterOrEqual", each, write.state("edges", states["edges"]))
        above = write("Cast", above, to=TensorProto.INT64)
        write("ReduceSum", above, write.constant("last", [-1], np.int64), keepdims=0)
        return
    if column.missing == "indicator":
        empty = write("Cast", gap, to=TensorProto.DOUBLE)
        if len(column.names) == 1:
            last = write.constant("last", [-1], np.int64)
            value, empty = write("Unsqueeze", value, last), write("Unsqueeze", empty, last)
        value = write("Concat", value, empty, axis=1)
    write("Cast", value, to=kind)


def _decode(graph: GraphProto, output: str, column: Column, name: str, precision: str, module: Module) -> None:
    """The nodes that make of an output what the column of its target holds, after all others."""
    write = _Writer(graph, graph, output, name, _place(module, name))
    states, value = unfitted(column, _leaf(module, name).rank), PREFIX + output
    declared = next(one for one in graph.output if one.name == output)
    for node in graph.node:
        for at, one in enumerate(node.output):
            if one == output:
                node.output[at] = value
    if column.words:
        write("Gather", write.state("words", states["words"]), value, axis=0)
        declared.type.tensor_type.elem_type = TensorProto.STRING
    else:
        value = write("Cast", value, to=TensorProto.DOUBLE)
        if "standardised" in column.encode:
            value = write("Mul", value, write.state("scale", states["scale"]))
            value = write("Add", value, write.state("mean", states["mean"]))
        if "log1p" in column.encode:
            value = write("Sub", write("Exp", value), write.constant("one", 1.0, np.float64))
        write("Cast", value, to=ELEMENT[precision][0])
    write.nodes[-1].output[0] = output
    graph.node.extend(write.nodes)


def _leaf(module: Module, name: str) -> Node:
    return next(leaf for leaf in (*module.inputs, *module.targets) if leaf.attrs["name"] == name)


def _place(module: Module, name: str) -> str:
    return module.placed[name].stored


def _first(graph: GraphProto, nodes: Sequence[NodeProto]) -> None:
    """Nodes before all others of a graph."""
    rest = list(graph.node)
    del graph.node[:]
    graph.node.extend([*nodes, *rest])
