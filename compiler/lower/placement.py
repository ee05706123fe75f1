"""Which nodes of a compiled file ONNX Runtime would not place on the CUDA provider, told without a GPU.

Each graph is typed by ONNX's own shape inference, bodies of Scan, If and Loop included, and each node looked up
among the kernels. ONNX Runtime keeps arithmetic on shapes on the CPU by its own choice: it is told apart here. The
initialization is looked at too, though the trainer runs it on the CPU, once: another runtime may not.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from dlc.runtime import graphs
from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, shape_inference

from . import kernels
from .elements import BY_NUMBER

_LARGE = 1 << 16  # bytes; no tensor that decides a shape is larger


@dataclass(frozen=True)
class Departure:
    """A node that leaves the CUDA provider for the CPU."""

    graph: str  # "main", "training_info[0]" for the algorithm beside it, "training_info[0].initialization"
    name: str
    op_type: str
    types: tuple[str, ...]  # element types of its inputs and outputs
    why: str
    source: str  # file:line:column of the spec, where the file says it
    shape_arithmetic: bool  # integers that come from shapes and constants alone


def departures(model: ModelProto) -> list[Departure]:
    """The nodes that would run on the CPU, in the order of the file, the main graph first. Linear in nodes."""
    found = list(_of(graphs.whole(model, None, _LARGE), "main", 0))
    for index, info in enumerate(model.training_info):
        step = graphs.whole(model, info.algorithm, _LARGE)
        found += _of(step, f"training_info[{index}]", len(model.graph.node))
        if info.HasField("initialization"):
            start = graphs.standalone(model, info.initialization)
            found += _of(start, f"training_info[{index}].initialization", 0)
    return found


def _of(model: ModelProto, title: str, known: int) -> Iterator[Departure]:
    """Those of a typed model; its first `known` nodes were looked at before."""
    graph = shape_inference.infer_shapes(model, strict_mode=True).graph
    types: dict[str, str] = {}
    sizes: set[str] = set()  # values that come from shapes and constants alone
    yield from _walk(graph, title, types, sizes, known)


def _walk(graph: GraphProto, title: str, types: dict[str, str], sizes: set[str], known: int) -> Iterator[Departure]:
    for value in (*graph.input, *graph.value_info, *graph.output):
        types[value.name] = BY_NUMBER.get(value.type.tensor_type.elem_type, "")
    for tensor in graph.initializer:
        types[tensor.name] = BY_NUMBER.get(tensor.data_type, "")
        if tensor.data_type == TensorProto.INT64:
            sizes.add(tensor.name)
    fed = {value.name for value in graph.input}
    sizes -= fed
    for number, node in enumerate(graph.node):
        for body in graphs.subgraphs(node):
            yield from _walk(body, title, types, sizes, 0)
        counts = node.op_type in ("Shape", "Size") or (
            bool(node.input) and all(name in sizes for name in graphs.reads(node))
        )
        integers = all(types.get(name) == "int64" for name in node.output if name)
        if counts and integers:
            sizes.update(node.output)
        if number < known:
            continue
        why = _why(node, types)
        if why:
            seen = tuple(types.get(name, "") for name in (*node.input, *node.output) if name)
            source = next((entry.value for entry in node.metadata_props if entry.key == "dlc.source"), "")
            yield Departure(title, node.name, node.op_type, seen, why, source, counts and integers)


def _why(node: NodeProto, types: dict[str, str]) -> str:
    """Why a node leaves; empty where CUDA runs it."""
    if node.domain not in ("", "ai.onnx"):
        return f"the domain {node.domain} is not in the table of kernels"
    if any(not types.get(name) for name in (*node.input, *node.output) if name):
        return "an element type is not in the table of kernels"
    inputs, outputs = (tuple(types.get(name) for name in names) for names in (node.input, node.output))
    missing = kernels.lacking(node.op_type, inputs, "cuda", outputs)
    if missing is not None:
        return f"no kernel for {missing}" if missing else "no kernel"
    special = _REFUSED.get(node.op_type)
    return special(node, {attribute.name: attribute for attribute in node.attribute}) if special else ""


# What the CUDA provider asks beyond the element types before it takes a node.


def _conv_transpose(node: NodeProto, values: Mapping[str, AttributeProto]) -> str:
    if "auto_pad" in values and values["auto_pad"].s not in (b"", b"NOTSET"):
        return "no kernel for automatic padding"
    pads = list(values["pads"].ints) if "pads" in values else []
    half = len(pads) // 2
    return "" if pads[:half] == pads[half:] else "no kernel for asymmetric padding"


def _arg(node: NodeProto, values: Mapping[str, AttributeProto]) -> str:
    last = "select_last_index" in values and values["select_last_index"].i
    return "no kernel that selects the last index" if last else ""


_ACTIVATIONS = {"LSTM": [b"Sigmoid", b"Tanh", b"Tanh"], "GRU": [b"Sigmoid", b"Tanh"], "RNN": [b"Tanh"]}


def _recurrent(node: NodeProto, values: Mapping[str, AttributeProto]) -> str:
    usual = _ACTIVATIONS[node.op_type]
    if "activations" in values and list(values["activations"].strings) not in (usual, 2 * usual):
        return "no kernel for these activations"
    if node.op_type == "LSTM" and len(node.input) > 7 and node.input[7]:
        return "no kernel for peepholes"
    if node.op_type == "GRU" and not ("linear_before_reset" in values and values["linear_before_reset"].i):
        return "no kernel for linear_before_reset = 0"
    return ""


_REFUSED = {
    "ConvTranspose": _conv_transpose,
    "ArgMax": _arg,
    "ArgMin": _arg,
    "LSTM": _recurrent,
    "GRU": _recurrent,
    "RNN": _recurrent,
}
