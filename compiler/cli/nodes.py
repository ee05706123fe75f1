"""A compiled model as text, for `dlc compile --emit nodes`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

SMALL = 8  # elements of an initializer that are written out


def show(model: ModelProto) -> str:
    """Its graphs, one node a line: the main one, which predicts, and what `training_info` adds; then the bindings."""
    lines = list(_graph("main graph", model.graph))
    for info in model.training_info:
        lines += ["", *_graph("training_info, algorithm", info.algorithm)]
        lines += ["", *_graph("training_info, initialization", info.initialization), ""]
        lines += [f"initialization_binding {entry.key} <- {entry.value}" for entry in info.initialization_binding]
        lines += [f"update_binding {entry.key} <- {entry.value}" for entry in info.update_binding]
    return "\n".join(lines) + "\n"


def _graph(title: str, graph: GraphProto) -> Iterator[str]:
    yield f"{title} ({graph.name})"
    yield from (f"    input {info.name} : {_type(info)}" for info in graph.input)
    yield from (f"    initializer {tensor.name} : {_tensor(tensor)}" for tensor in graph.initializer)
    for node in graph.node:
        yield from (f"    {line}" for line in _node(node))
    yield from (f"    output {info.name} : {_type(info)}" for info in graph.output)


def _node(node: NodeProto) -> Iterator[str]:
    given = [name or "none" for name in node.input]
    given += [f"{entry.name}={_value(entry)}" for entry in node.attribute if entry.type != AttributeProto.GRAPH]
    yield f"{', '.join(node.output)} = {node.op_type}({', '.join(given)})"
    for entry in node.attribute:
        if entry.type == AttributeProto.GRAPH:
            yield from (f"    {line}" for line in _graph(entry.name, entry.g))


def _value(entry: AttributeProto) -> str:
    value = helper.get_attribute_value(entry)
    if entry.name == "to":
        return _element(value)
    if isinstance(value, TensorProto):
        return _tensor(value)
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, float):
        return f"{value:g}"
    return f"[{', '.join(map(str, value))}]" if entry.type == AttributeProto.INTS else str(value)


def _tensor(tensor: TensorProto) -> str:
    said = _element(tensor.data_type) + _shape(map(str, tensor.dims))
    values = numpy_helper.to_array(tensor)
    written = np.array2string(values, separator=", ").replace("\n", "") if values.size <= SMALL else None
    return said if written is None else f"{said} = {written}"


def _type(info: ValueInfoProto) -> str:
    tensor = info.type.tensor_type
    sizes = (size.dim_param or str(size.dim_value) for size in tensor.shape.dim)
    return _element(tensor.elem_type) + _shape(sizes)


def _shape(sizes: Iterable[str]) -> str:
    shown = ", ".join(sizes)
    return f"[{shown}]" if shown else ""


def _element(number: int) -> str:
    return helper.tensor_dtype_to_np_dtype(number).name
