"""The operators and element types of docs/file-format.md are those of the files."""

from __future__ import annotations

import re
from collections.abc import Iterator

import onnx
import pytest
from dlc.runtime import graphs
from every_file import ROOT, SOURCES, compiled, step
from onnx import GraphProto, ModelProto, NodeProto
from op_cases import Case, file_of, sampled, samples

PAGE = (ROOT / "docs" / "file-format.md").read_text("utf-8")
SECTION = PAGE.partition("## Operators and element types")[2].partition("\n## ")[0]
LISTED = set(re.findall(r"`([A-Z]\w+)`", SECTION.partition("<!-- list -->")[2].partition("<!-- /list -->")[0]))
ALWAYS, DRAWS = {"int64", "bool", "float64"}, {"uint64", "uint32"}
# Every attribute of the operators that some runtimes want in full.
COMPLETE = {
    "Conv": {"auto_pad", "dilations", "group", "kernel_shape", "pads", "strides"},
    "ConvTranspose": {"auto_pad", "dilations", "group", "kernel_shape", "output_padding", "pads", "strides"},
    "MaxPool": {"auto_pad", "ceil_mode", "dilations", "kernel_shape", "pads", "storage_order", "strides"},
    "AveragePool": {"auto_pad", "ceil_mode", "count_include_pad", "dilations", "kernel_shape", "pads", "strides"},
}


def nodes(graph: GraphProto) -> Iterator[NodeProto]:
    for node in graph.node:
        yield node
        for body in graphs.subgraphs(node):
            yield from nodes(body)


def types(graph: GraphProto, ranks: dict[str, int]) -> set[str]:
    """Element types of all values; notes their ranks."""
    found = {tensor.data_type for tensor in graph.initializer}
    ranks.update((tensor.name, len(tensor.dims)) for tensor in graph.initializer)
    for value in (*graph.input, *graph.value_info, *graph.output):
        found.add(value.type.tensor_type.elem_type)
        if value.type.tensor_type.HasField("shape"):
            ranks[value.name] = len(value.type.tensor_type.shape.dim)
    names = {graphs.dtype_of(number).name for number in found}
    for node in graph.node:
        for body in graphs.subgraphs(node):
            names |= types(body, ranks)
    return names


def hold(model: ModelProto) -> tuple[set[str], set[str]]:
    """Operators and element types of a graph, whose nodes are as the page says."""
    ranks: dict[str, int] = {}
    kinds = types(onnx.shape_inference.infer_shapes(model, strict_mode=True).graph, ranks)
    for node in nodes(model.graph):
        given = {attribute.name for attribute in node.attribute}
        lacking = COMPLETE.get(node.op_type, set()) - given
        # The kernel of the derivative by a weight is an image, whose size may be free.
        assert lacking <= ({"kernel_shape"} if node.op_type == "Conv" else set()), f"{node.name}: {lacking}"
        if node.op_type in ("MatMul", "Gemm"):
            # In the body of a scan ONNX may not know a rank.
            assert all(ranks.get(name, 2) >= 2 for name in node.input[:2]), f"{node.name}: a product with a vector"
    return {node.op_type for node in nodes(model.graph)}, kinds


@pytest.mark.parametrize("precision", ["float32", "float64"])
@pytest.mark.parametrize("name", SOURCES)
def test_every_file_keeps_to_the_list(name: str, precision: str) -> None:
    model = compiled(name, precision).model_proto()
    draws = any(tensor.name == "key" for info in model.training_info for tensor in info.algorithm.initializer)
    for graph in filter(None, (graphs.whole(model, None, 1 << 16), step(model))):
        operators, kinds = hold(graph)
        assert operators <= LISTED
        assert kinds <= {precision} | ALWAYS | (DRAWS if draws else set())
    for info in model.training_info:
        operators, kinds = hold(graphs.standalone(model, info.initialization))
        assert operators <= LISTED and kinds <= {precision} | ALWAYS | DRAWS


def test_the_list_is_that_of_the_compiler() -> None:
    """What no operation writes is not listed, and what one writes is."""
    written = set()
    for folder in ("ops", "lower"):
        for path in (ROOT / "compiler" / folder).glob("*.py"):
            written |= set(re.findall(r'"([A-Z]\w+)"', path.read_text("utf-8")))
    assert written >= LISTED
    for op in sampled():
        for sample in samples(op, 12):
            case = Case(op, sample)
            graph = file_of({"y": case.node}, case.leaves, "float32").graph
            assert {node.op_type for node in nodes(graph)} <= LISTED, op.name
