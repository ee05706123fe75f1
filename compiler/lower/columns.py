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
from dlc.runtime.encoding import PREFIX, state_name, unfitted
from dlc.runtime.metadata import Column
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
        node = helper.make_node(operator, inputs, [made], made)
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
    (_words if column.words else _numbers)(write, column, name, states, leaf, kind)
    write.nodes[-1].output[0] = PREFIX + name
    shape = [d.dim_param or d.dim_value for d in value.type.tensor_type.shape.dim]
    if column.missing == "indicator":
        shape = [shape[0], len(column.names)] if len(column.names) > 1 else shape[:1]
    if "one_hot" in column.encode:
        shape = shape[:1]
    element_type = TensorProto.STRING if column.words else TensorProto.DOUBLE
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


def _numbers(write: _Writer, column: Column, raw: str, states: dict[str, np.ndarray], leaf: Node, kind: int) -> None:
    """Gaps filled, then logarithms, then scaled or in ranges."""
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
