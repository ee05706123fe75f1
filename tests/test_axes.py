"""Axes are written counted from the front: some runtimes know no others (docs/other-tools.md)."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from dlc.ir.op import Op
from dlc.runtime.graphs import subgraphs
from every_file import SOURCES, compiled
from onnx import GraphProto, ModelProto, NodeProto, numpy_helper
from op_cases import Case, file_of, sampled, samples

ATTRIBUTES = {"axis", "axes", "scan_input_axes", "scan_output_axes", "perm", "start", "end"}
# Operators that take axes as an operand, and its number.
OPERANDS = {
    "CumSum": 1,
    "Pad": 3,
    "ReduceMax": 1,
    "ReduceMin": 1,
    "ReduceProd": 1,
    "ReduceSum": 1,
    "ReduceSumSquare": 1,
    "Slice": 3,
    "Squeeze": 1,
    "Unsqueeze": 1,
}


def nodes(graph: GraphProto) -> Iterator[NodeProto]:
    for node in graph.node:
        yield node
        for body in subgraphs(node):
            yield from nodes(body)


def negative(model: ModelProto) -> list[str]:
    """The nodes of all graphs of a model whose axes are counted from the end, or are not known when it is written."""
    steps = [model.graph, *(info.algorithm for info in model.training_info)]
    starts = [[info.initialization] for info in model.training_info]
    return [found for graphs in (steps, *starts) for found in _negative(graphs)]


def _negative(graphs: list[GraphProto]) -> list[str]:
    held = {tensor.name: numpy_helper.to_array(tensor) for graph in graphs for tensor in graph.initializer}
    found = []
    for graph in graphs:
        for node in nodes(graph):
            axes = [n for a in node.attribute if a.name in ATTRIBUTES for n in [a.i, *a.ints]]
            at = OPERANDS.get(node.op_type)
            if at is not None and len(node.input) > at and node.input[at]:
                axes += np.ravel(held.get(node.input[at], -1)).tolist()
            if any(axis < 0 for axis in axes):
                found.append(f"{node.name} ({node.op_type}): {axes}")
    return found


@pytest.mark.parametrize("precision", ["float32", "float16", "float64"])
def test_no_file_counts_an_axis_from_the_end(precision: str) -> None:
    found = {name: wrong for name in SOURCES if (wrong := negative(compiled(name, precision).model_proto()))}
    assert not found


@pytest.mark.parametrize("op", sampled(), ids=lambda op: op.name)
def test_no_operation_counts_an_axis_from_the_end(op: Op) -> None:
    """Also where its own attributes do."""
    for sample in samples(op):
        case = Case(op, sample)
        for precision in ("float32", "float64"):
            assert not negative(file_of({"y": case.node}, case.leaves, precision))
