"""Samples of every operation as graphs: what test_ops.py checks."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import onnxruntime
from dlc import ops
from dlc.ir.graph import Graph, Node
from dlc.ir.op import NONE, OPS, Op, Sample, constant
from dlc.ir.types import TensorType
from dlc.lower import IR_VERSION, OPSET
from dlc.lower.elements import value_info
from dlc.lower.emit import Emitter
from dlc.ops.leaf import make_input
from onnx import ModelProto, TensorProto

DTYPES = {"f": "float", "i": "int", "u": "key", "b": "bool"}
STEP = 4e-4  # twice this is less than the 1e-3 by which samples keep away from kinks
FILE = {"float32": np.float32, "float64": np.float64}


def samples(op: Op, count: int = 25, turn: int = 0) -> list[Sample]:
    """The same samples in every run; numbers are arrays of rank 0."""
    rng = np.random.default_rng([zlib.crc32(op.name.encode()), turn])
    drawn = [op.samples(rng) for _ in range(count)]
    return [Sample(tuple(np.asarray(value) for value in sample.inputs), sample.attrs) for sample in drawn]


def sampled() -> list[Op]:
    return [op for op in OPS.values() if op.samples is not None]


class Case:
    """op(*inputs) in a graph of its own. Input number i is the leaf `i`, or a constant where `fixed` says so."""

    def __init__(
        self,
        op: Op,
        sample: Sample,
        *,
        graph: Graph | None = None,
        prefix: str = "",
        shapes: Sequence[tuple[Any, ...]] | None = None,
        attrs: Mapping[str, Any] | None = None,
        fixed: Sequence[int] = (),
    ) -> None:
        self.graph = Graph() if graph is None else graph
        self.leaves: list[Node] = []
        self.feeds: dict[str, np.ndarray] = {}
        inputs = []
        for number, value in enumerate(sample.inputs):
            dtype = DTYPES[value.dtype.kind]
            if number in fixed:
                inputs.append(constant(self.graph, value, dtype))
                continue
            shape = value.shape if shapes is None else shapes[number]
            leaf = make_input(self.graph, f"{prefix}{number}", TensorType(dtype, tuple(shape)))
            self.feeds[leaf.attrs["name"]] = value
            self.leaves.append(leaf)
            inputs.append(leaf)
        self.node = self.graph.add(op, inputs, sample.attrs if attrs is None else attrs)


def file_of(roots: Mapping[str, Node], leaves: Sequence[Node], precision: str) -> ModelProto:
    """A model with these outputs, written by the compiler's own emitter."""
    model = ModelProto(ir_version=IR_VERSION)
    model.opset_import.add(domain="", version=OPSET)
    model.graph.name = "case"
    names = [leaf.attrs["name"] for leaf in leaves]
    emitter = Emitter(model.graph, precision, data=leaves, reserved=[*names, *roots])
    for leaf, name in zip(leaves, names, strict=True):
        emitter.leaf(leaf, name)
    graph = next(iter(roots.values())).graph
    emitter.write(graph.order(roots.values()), {})
    for name, node in roots.items():
        emitter.alias(name, node)
        model.graph.output.append(value_info(name, node.type, precision))
    model.graph.input.extend(value_info(name, leaf.type, precision) for name, leaf in zip(names, leaves, strict=True))
    return model


def run(model: ModelProto, feeds: Mapping[str, np.ndarray], precision: str, optimized: bool) -> list[np.ndarray]:
    """What stock ONNX Runtime computes on one thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    level = onnxruntime.GraphOptimizationLevel
    options.graph_optimization_level = level.ORT_ENABLE_ALL if optimized else level.ORT_DISABLE_ALL
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    wanted = {value.name: value.type.tensor_type.elem_type for value in model.graph.input}
    fed = {
        name: np.asarray(value, FILE[precision] if wanted[name] in (TensorProto.FLOAT, TensorProto.DOUBLE) else None)
        for name, value in feeds.items()
    }
    return list(session.run(None, fed))


# --- derivatives


def differentiable(op: Op) -> bool:
    return op.jvp is not NONE


def slope(f: Callable[[float], float]) -> float:
    """f'(0) by central differences of the fourth order."""
    return (8 * (f(STEP) - f(-STEP)) - (f(2 * STEP) - f(-2 * STEP))) / (12 * STEP)


def error_of(a, b) -> float:
    """|a − b| / max(1, |a|, |b|), the greatest."""
    a, b = np.asarray(a), np.asarray(b)
    return float(np.max(np.abs(a - b) / np.maximum(1, np.maximum(np.abs(a), np.abs(b))), initial=0.0))


def float_leaves(case: Case):
    return [leaf for leaf in case.leaves if leaf.dtype == "float"]


def projected(case: Case, rng):
    """Σ w · y with random w: the scalar whose derivatives are taken, and w."""
    weights = rng.uniform(-1, 1, case.node.shape)
    total = case.node * ops.constant(case.graph, weights, "float")
    return ops.reduce_sum(total, axes=range(total.rank)), weights


# Operands in which an operation is constant between jumps, while it has a derivative by the others.
HELD = {"max_unpool": [1, 2], "max_select": [1, 2], "tie": [1, 2]}


def fixed_of(op: Op, sample, number: int) -> list[int]:
    """In every third sample one of several float operands is a constant of the graph; held ones always are."""
    if op.name in HELD:
        return HELD[op.name]
    floats = [i for i, value in enumerate(sample.inputs) if value.dtype.kind == "f"]
    return [floats[number % len(floats)]] if number % 3 == 0 and len(floats) > 1 else []
