"""Checksums over what a file says, not over its bytes: another tool may load it and save it again, move tensors to a
file beside it, add metadata of its own or infer shapes, and the content is the same.

CRC-32 (ISO 3309; every flip of a bit and every run of up to 32 wrong ones changes it) runs at the speed of the disk.
It tells damage, not malice.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping

import numpy as np
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, numpy_helper

from . import graphs
from .graphs import Values
from .metadata import RESERVED

KEY = "dlc.checksum"  # metadata of a compiled file


class Sum:
    """A CRC-32 of pieces, each with its length."""

    def __init__(self) -> None:
        self._value = 0

    def add(self, piece: bytes | memoryview) -> None:
        self._value = zlib.crc32(len(piece).to_bytes(8, "little"), self._value)
        if len(piece):
            self._value = zlib.crc32(piece, self._value)

    def text(self) -> str:
        return f"{self._value:08x}"


def arrays(named: Mapping[str, np.ndarray], texts: Mapping[str, str] | None = None) -> str:
    """The checksum of arrays by name, and of texts by key."""
    total = Sum()
    for key, text in sorted((texts or {}).items()):
        total.add(key.encode())
        total.add(text.encode())
    for name in sorted(named):
        array = named[name]
        total.add(f"{name} {array.dtype} {array.shape}".encode())
        total.add(graphs.numbers(array))
    return total.text()


def model(
    found: ModelProto, values: Values | None = None, metadata: Mapping[str, str] | None = None, ir: int | None = None
) -> tuple[str, str]:
    """The checksums of a model whose tensors all lie in it (or in `values`): of its graphs, constants and metadata of
    dlc, and of its state (what bindings name). Left out is what no tool computes with: `value_info`, documentation,
    the producer, imports of operators that no node has, and the metadata of others. `ir`: the IR version to count,
    before the model's own."""
    rest, state = Sum(), Sum()
    rest.add(str(found.ir_version if ir is None else ir).encode())
    used = graphs.opsets(found)
    _messages(rest, (entry for entry in found.opset_import if entry.domain in used))
    _messages(rest, found.functions)
    said = metadata.items() if metadata is not None else [(one.key, one.value) for one in found.metadata_props]
    for key, text in sorted(said):
        if key.startswith("dlc.") and key != KEY:
            rest.add(key.encode())
            rest.add(text.encode())
    bound = set(RESERVED)  # which no binding need name
    for info in found.training_info:
        _messages(rest, info.update_binding)
        _messages(rest, info.initialization_binding)
        bound.update(one.key for one in (*info.update_binding, *info.initialization_binding))
    values = values or {}
    _graph(found.graph, bound, rest, state, {name: array for (part, name), array in values.items() if part is None})
    for index, info in enumerate(found.training_info):
        own = {name: array for (part, name), array in values.items() if part == index}
        _graph(info.algorithm, bound, rest, state, own)
        _graph(info.initialization, set(), rest, rest, {})
    return rest.text(), state.text()


def _graph(graph: GraphProto, bound: set[str], rest: Sum, state: Sum, values: Mapping[str, np.ndarray]) -> None:
    rest.add(graph.name.encode())
    for node in graph.node:
        rest.add(_node(node))
    for messages in (graph.input, graph.output, graph.sparse_initializer, graph.quantization_annotation):
        _messages(rest, messages)
    for held in graph.initializer:
        into = state if held.name in bound else rest
        array = values.get(held.name)
        if array is not None:
            into.add(f"{held.name} {graphs.element_of(array.dtype)} {list(array.shape)}".encode())
            into.add(graphs.numbers(array))
            continue
        into.add(f"{held.name} {held.data_type} {list(held.dims)}".encode())
        if held.data_type == TensorProto.STRING:
            for text in held.string_data:
                into.add(text)
            continue
        into.add(held.raw_data if held.HasField("raw_data") else numpy_helper.to_array(held).tobytes())


def _messages(total: Sum, messages: Iterable[object]) -> None:
    for message in messages:
        total.add(message.SerializeToString(deterministic=True))  # type: ignore[attr-defined]


def _node(node: NodeProto) -> bytes:
    data: bytes = normal(node).SerializeToString(deterministic=True)
    return data


def normal(node: NodeProto) -> NodeProto:
    """A node whose bytes are the same whether tensors in its attributes have ever lain in another file or not."""
    if any(one.HasField("t") or one.HasField("g") or one.tensors or one.graphs for one in node.attribute):
        own = GraphProto()
        own.node.append(node)
        for tensor in graphs.tensors(own):
            if tensor.data_location == TensorProto.DEFAULT:
                tensor.ClearField("data_location")
        node = own.node[0]
    return node


def text(found: ModelProto, values: Values | None = None, metadata: Mapping[str, str] | None = None) -> str:
    """What `KEY` says of a model, with `values` for initializers of its step and with `metadata` for its own."""
    return ":".join(model(found, values, metadata))


def noted(found: ModelProto) -> str | None:
    """The checksum that a model says it has."""
    return next((one.value for one in found.metadata_props if one.key == KEY), None)


def wrong(found: ModelProto, *, state: bool = True, ir: int | None = None) -> list[str]:
    """What of a model differs from the checksum in its metadata, in words; nothing where it has none. `state` says
    whether its state is held to it too, `ir` which IR version it was written with."""
    try:
        text = noted(found)
        if text is None:
            return []
        now = model(found, ir=ir)
    except Exception:  # of a damaged message: a text that is no UTF-8, a tensor that is none
        now = ("", "")
        text = ":"
    wanted = text.split(":")
    if not now[0] or len(wanted) != 2:
        return ["content"]
    return [
        what
        for what, here, there in zip(("graphs, constants or metadata", "state"), now, wanted, strict=False)
        if here != there and (state or what != "state")
    ]
