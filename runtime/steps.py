"""What the nodes of a graph become in a region of the native library: steps, and the text of a program of them
(native/region.h)."""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from onnx import NodeProto, TensorProto, helper, numpy_helper

from . import guard
from .programs import DOMAIN

VERSION = 1
FLOAT, DOUBLE, INT64 = TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.INT64
KINDS = frozenset(  # that native/chain.h has
    (FLOAT, DOUBLE, TensorProto.INT32, INT64, TensorProto.BOOL, TensorProto.UINT32, TensorProto.UINT64)
)
HELD = 64  # elements of a constant that a program holds; larger ones are inputs
CONSTANT, CHAIN, PRODUCT, SOFTMAX, SUM, SHAPE, RESHAPE, SQUEEZE, UNSQUEEZE, EXPAND, CONCAT = range(11)
TRANSPOSE, SLICE, ARGMAX, RANGE, GATHER, GUARD, TRIANGLE = range(11, 18)  # as native/region.h has them
MOST_OPERANDS = 127

Attributes = dict[str, object]
Known = Mapping[str, tuple[int, Sequence[int | str | None]]]


@dataclass(frozen=True)
class Step:
    """What a node becomes: an operation, the values it reads, its attributes."""

    operation: int
    operands: Sequence[str]
    attributes: Sequence[int] = ()
    chain: tuple[int, ...] = ()


class Steps:
    """The steps of the nodes of a graph. `known`: types and shapes, of which names are sizes too; `held`: constants by
    name."""

    def __init__(self, known: Known, held: Mapping[str, TensorProto]) -> None:
        self.known, self.held = known, held

    def of(self, node: NodeProto) -> Step | None:
        """What the node becomes; None for what no region can hold."""
        names = [*node.input, *node.output]
        if not all(names) or len(node.input) > MOST_OPERANDS or not node.output:
            return None
        if any(name not in self.known or self.known[name][0] not in KINDS for name in names):
            return None
        if node.domain == DOMAIN and node.op_type == "Chain":
            return Step(CHAIN, list(node.input), chain=tuple(node.attribute[0].ints))
        if node.domain == DOMAIN and node.op_type == guard.OPERATOR:
            return Step(GUARD, list(node.input), list(node.attribute[0].ints))
        write = WRITERS.get(node.op_type) if node.domain in ("", "ai.onnx", "com.microsoft") else None
        if write is None or len(node.output) != 1:
            return None
        return write(self, node, {each.name: helper.get_attribute_value(each) for each in node.attribute})

    def kind(self, name: str) -> int:
        return self.known[name][0]

    def rank(self, name: str) -> int:
        return len(self.known[name][1])

    def integers(self, name: str) -> list[int] | None:
        """What a constant holds."""
        held = self.held.get(name)
        return None if held is None else [int(each) for each in numpy_helper.to_array(held).reshape(-1)]

    def small(self, name: str) -> bool:
        """Whether it is a constant that a program holds."""
        held = self.held.get(name)
        return held is not None and int(np.prod(held.dims, dtype=np.int64)) <= HELD and held.data_type in KINDS

    def program(
        self, nodes: Sequence[tuple[NodeProto, Step]], first: Sequence[str], outputs: Sequence[str]
    ) -> tuple[list[int], list[str], int]:
        """The text of a program, its inputs (those that are given, then what else the nodes read), and how many steps
        for constants stand before those of the nodes."""
        made = {name for node, _ in nodes for name in node.output}
        inputs = {name: i for i, name in enumerate(first)}
        constants: dict[str, TensorProto] = {}
        for _, step in nodes:
            for name in step.operands:
                if name in made or name in inputs:
                    continue
                if self.small(name):
                    constants[name] = self.held[name]
                else:
                    inputs[name] = len(inputs)
        if not inputs:  # a kernel has at least one
            inputs[constants.popitem()[0]] = 0
        values = dict(inputs)
        chains: dict[tuple[int, ...], int] = {}
        words: list[int] = []
        for name, held in constants.items():
            words += [CONSTANT, 0, 1, 2 + len(held.dims) + int(np.prod(held.dims, dtype=np.int64))]
            words += [held.data_type, len(held.dims), *held.dims, *_bits(numpy_helper.to_array(held))]
            values[name] = len(values)
        for node, step in nodes:
            attributes = step.attributes
            if step.operation == CHAIN:
                attributes = [chains.setdefault(step.chain, len(chains))]
            words += [step.operation, len(step.operands), len(node.output), len(attributes)]
            words += [*(values[name] for name in step.operands), *attributes]
            for name in node.output:
                values[name] = len(values)
        head = [VERSION, len(inputs), len(chains), len(constants) + len(nodes), len(outputs)]
        head += [self.known[name][0] for name in inputs]
        for chain in chains:
            head += [len(chain), *chain]
        return [*head, *words, *(values[name] for name in outputs)], list(inputs), len(constants)


Writer = Callable[[Steps, NodeProto, Attributes], "Step | None"]


def _bits(values: np.ndarray) -> list[int]:
    """The bits of each element, as those of an int64."""
    flat = np.ascontiguousarray(values).reshape(-1)
    return [int.from_bytes(each.tobytes().ljust(8, b"\0"), "little", signed=True) for each in flat]


def float_bits(value: object) -> int:
    return int(struct.unpack("=i", struct.pack("=f", float(value)))[0])  # type: ignore[arg-type]


def _product(r: Steps, node: NodeProto, attributes: Attributes) -> Step | None:
    ranks = [r.rank(name) for name in node.input]
    if any(r.kind(name) != FLOAT for name in node.input):
        return None
    if ranks[1] != 2 and not (len(ranks) == 2 and ranks[0] == ranks[1] > 2 and _same_batch(r, *node.input)):
        return None
    alpha, beta = attributes.pop("alpha", 1.0), attributes.pop("beta", 1.0)
    ta, tb = attributes.pop("transA", 0), attributes.pop("transB", 0)
    if attributes or (ranks[1] == 2 and ranks[0] not in (1, 2)) or (ranks[0] == 1 and ta):
        return None
    if len(ranks) == 3 and ranks[2] > 2:
        return None
    return Step(PRODUCT, node.input, [bool(ta) + 2 * bool(tb), float_bits(alpha), float_bits(beta)])


def _same_batch(r: Steps, a: str, b: str) -> bool:
    """Whether all dimensions but the last two are known to be the same."""
    lead = [r.known[name][1][:-2] for name in (a, b)]
    return lead[0] == lead[1] and None not in lead[0]


def _softmax(r: Steps, node: NodeProto, attributes: Attributes) -> Step | None:
    rank = r.rank(node.input[0])
    if not rank or r.kind(node.input[0]) != FLOAT or attributes.get("axis", -1) not in (-1, rank - 1):
        return None
    return Step(SOFTMAX, node.input, [int(node.op_type == "LogSoftmax")])


def _sum(r: Steps, node: NodeProto, attributes: Attributes) -> Step | None:
    rank = r.rank(node.input[0])
    axes: list[int] | None = list(range(rank))
    if len(node.input) > 1:
        axes = r.integers(node.input[1])
        if axes is not None and not axes:
            axes = None if attributes.get("noop_with_empty_axes") else list(range(rank))
    elif "axes" in attributes or attributes.get("noop_with_empty_axes"):
        return None
    if axes is None or r.kind(node.input[0]) not in (FLOAT, DOUBLE):
        return None
    axes = sorted(axis % rank for axis in axes) if rank else []
    first = axes[0] if axes else 0
    if axes != list(range(first, first + len(axes))):
        return None
    squares = node.op_type == "ReduceSumSquare"
    return Step(SUM, node.input[:1], [first, len(axes), int(squares), int(bool(attributes.get("keepdims", 1)))])


def _shape(r: Steps, node: NodeProto, attributes: Attributes) -> Step:
    rank = r.rank(node.input[0])
    start, end = attributes.get("start", 0), attributes.get("end", rank)
    assert isinstance(start, int) and isinstance(end, int)
    return Step(SHAPE, node.input, [start, end])


def _reshape(r: Steps, node: NodeProto, attributes: Attributes) -> Step:
    return Step(RESHAPE, node.input, [int(bool(attributes.get("allowzero", 0)))])


def _squeeze(r: Steps, node: NodeProto, attributes: Attributes) -> Step | None:
    operation = SQUEEZE if node.op_type == "Squeeze" else UNSQUEEZE
    axes = r.integers(node.input[1]) if len(node.input) > 1 else []
    if attributes or axes is None or (not axes and len(node.input) > 1):
        return None
    return Step(operation, node.input[:1], axes)


def _expand(r: Steps, node: NodeProto, attributes: Attributes) -> Step:
    return Step(EXPAND, node.input)


def _concat(r: Steps, node: NodeProto, attributes: Attributes) -> Step:
    axis = attributes["axis"]
    assert isinstance(axis, int)
    return Step(CONCAT, node.input, [axis])


def _identity(r: Steps, node: NodeProto, attributes: Attributes) -> Step:
    return Step(UNSQUEEZE, node.input)


def _transpose(r: Steps, node: NodeProto, attributes: Attributes) -> Step:
    perm = attributes.get("perm", list(reversed(range(r.rank(node.input[0])))))
    assert isinstance(perm, list)
    return Step(TRANSPOSE, node.input, perm)


def _slice(r: Steps, node: NodeProto, attributes: Attributes) -> Step | None:
    given = [r.integers(name) for name in node.input[1:]]
    if len(given) < 3 or any(each is None or len(each) != 1 for each in given):
        return None
    [start], [end], [axis], *steps = [each for each in given if each is not None]
    return Step(SLICE, node.input[:1], [axis, start, end]) if steps in ([], [[1]]) else None


def _argmax(r: Steps, node: NodeProto, attributes: Attributes) -> Step | None:
    rank = r.rank(node.input[0])
    if not rank or r.kind(node.input[0]) != FLOAT or attributes.get("axis", 0) not in (-1, rank - 1):
        return None
    if attributes.get("select_last_index", 0):
        return None
    return Step(ARGMAX, node.input, [int(bool(attributes.get("keepdims", 1)))])


def _range(r: Steps, node: NodeProto, attributes: Attributes) -> Step | None:
    return Step(RANGE, node.input) if all(r.kind(name) == INT64 for name in node.input) else None


def _gather(r: Steps, node: NodeProto, attributes: Attributes) -> Step | None:
    rank = r.rank(node.input[0])
    if r.kind(node.input[1]) != INT64 or not rank or attributes.get("axis", 0) not in (-1, rank - 1):
        return None
    return Step(GATHER, node.input)


def _triangle(r: Steps, node: NodeProto, attributes: Attributes) -> Step | None:
    diagonal = r.integers(node.input[1]) if len(node.input) > 1 else [0]
    if r.rank(node.input[0]) < 2 or diagonal is None or not -(2**31) < diagonal[0] < 2**31:
        return None
    return Step(TRIANGLE, node.input[:1], [int(bool(attributes.get("upper", 1))), diagonal[0]])


WRITERS: Mapping[str, Writer] = {
    "Gemm": _product,
    "MatMul": _product,
    "FusedMatMul": _product,
    "Softmax": _softmax,
    "LogSoftmax": _softmax,
    "ReduceSum": _sum,
    "ReduceSumSquare": _sum,
    "Shape": _shape,
    "Reshape": _reshape,
    "Squeeze": _squeeze,
    "Unsqueeze": _squeeze,
    "Identity": _identity,
    "Expand": _expand,
    "Concat": _concat,
    "Transpose": _transpose,
    "Slice": _slice,
    "ArgMax": _argmax,
    "Range": _range,
    "GatherElements": _gather,
    "Trilu": _triangle,
}
