"""The step of several members at once: a graph whose values have a dimension in front that counts the members, wherever
members differ. What is the same for all (the number of the update, rows that all share) stays as it is.

    abreast({y = x @ w}, {x, w}, 15)  =  y = x @ w  with  x: [15, batch, n], w: [15, n, m], y: [15, batch, m]

Each operator has a rule; a graph with one that has none is not made wide, and its members are trained one by one.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any

import numpy as np
from onnx import ModelProto, NodeProto, ValueInfoProto, helper, numpy_helper

from . import graphs

ELEMENTWISE = frozenset(
    [
        "Abs",
        "Acos",
        "Acosh",
        "Add",
        "And",
        "Asin",
        "Asinh",
        "Atan",
        "Atanh",
        "BitShift",
        "BitwiseAnd",
        "BitwiseNot",
        "BitwiseOr",
        "BitwiseXor",
        "Cast",
        "Ceil",
        "Cos",
        "Cosh",
        "Div",
        "Elu",
        "Equal",
        "Erf",
        "Exp",
        "Floor",
        "Greater",
        "GreaterOrEqual",
        "HardSigmoid",
        "Identity",
        "IsInf",
        "IsNaN",
        "LeakyRelu",
        "Less",
        "LessOrEqual",
        "Log",
        "Max",
        "Min",
        "Mod",
        "Mul",
        "Neg",
        "Not",
        "Or",
        "Pow",
        "Reciprocal",
        "Relu",
        "Round",
        "Selu",
        "Sigmoid",
        "Sign",
        "Sin",
        "Sinh",
        "Softplus",
        "Softsign",
        "Sqrt",
        "Sub",
        "Sum",
        "Tan",
        "Tanh",
        "Where",
        "Xor",
    ]
)
REDUCTIONS = frozenset(
    [
        "ReduceL1",
        "ReduceL2",
        "ReduceLogSum",
        "ReduceLogSumExp",
        "ReduceMax",
        "ReduceMean",
        "ReduceMin",
        "ReduceProd",
        "ReduceSum",
        "ReduceSumSquare",
    ]
)


OLDEST = 18  # opset: since then reductions take their axes as an operand


class Unfit(Exception):
    """A node that has no wide form here."""


def abreast(
    model: ModelProto, wide: Collection[str], count: int, own: Collection[str] = (), alike: Collection[str] = ()
) -> ModelProto | None:
    """A model whose inputs in `wide` have the members in front, [count, ...], and so has each output that depends on
    them. None where an operator has no rule, the rank of a value is not known, an output in `own` is the same for all,
    or one in `alike` is not."""
    return _widened(model, wide, count, own, alike)[0]


def hindrance(
    model: ModelProto, wide: Collection[str], count: int, own: Collection[str], alike: Collection[str]
) -> str | None:
    """Why `abreast` gives None, in words; None where it gives a model."""
    return _widened(model, wide, count, own, alike)[1]


def _widened(
    model: ModelProto, wide: Collection[str], count: int, own: Collection[str], alike: Collection[str]
) -> tuple[ModelProto | None, str | None]:
    """The model, or why there is none."""
    made = _Wide(model, wide, count)
    try:
        found = made.run()
    except Unfit:
        what = f"the operator {made.node.op_type}" if made.node.op_type else "a graph of this kind"
        return None, f"{what} has no form for all of them"
    if not made.wide.isdisjoint(alike):
        return None, "one may leave out an update that another makes"
    return (found, None) if made.wide.issuperset(own) else (None, "a state is the same for all")


class _Wide:
    """The nodes of a graph anew, those that depend on the members in their wide form."""

    def __init__(self, model: ModelProto, wide: Collection[str], count: int) -> None:
        self.model, self.count = model, count
        self.wide = {value.name for value in model.graph.input if value.name in wide}
        self.known = graphs.known(model)
        self.held = {held.name: held for held in model.graph.initializer}
        self.made = ModelProto()
        self.made.CopyFrom(model)
        del self.made.graph.node[:], self.made.graph.value_info[:]
        self.taken = graphs.names(model.graph)
        self.node = NodeProto()  # the one that is written
        self.constants: dict[tuple[int, ...], str] = {}

    def run(self) -> ModelProto:
        version = max((o.version for o in self.model.opset_import if o.domain in ("", "ai.onnx")), default=0)
        if self.model.functions or self.model.graph.sparse_initializer or version < OLDEST:
            raise Unfit
        for node in self.model.graph.node:
            self.node = node
            if self.wide.isdisjoint(graphs.reads(node)):
                self.made.graph.node.add().CopyFrom(node)
                continue
            if not graphs.is_op(node) or any(True for _ in graphs.subgraphs(node)):
                raise Unfit
            self._rule(node)
        for values in (self.made.graph.input, self.made.graph.output):
            for value in values:
                self._declare(value)
        return self.made

    def _declare(self, value: ValueInfoProto) -> None:
        """The type of an input or output: the one it had, with the members in front where it is wide."""
        if value.name not in self.known:
            raise Unfit
        element, dims = self.known[value.name]
        named = [d.dim_param or None for d in value.type.tensor_type.shape.dim] or [None] * len(dims)
        shape = [size or name for size, name in zip(dims, named, strict=True)]
        ahead = [self.count] if value.name in self.wide else []
        value.CopyFrom(helper.make_tensor_value_info(value.name, element, [*ahead, *shape]))

    # --- what rules are made of

    def rank(self, name: str) -> int:
        """Of a value as it was, without the members."""
        if name not in self.known:
            raise Unfit
        return len(self.known[name][1])

    def numbers(self, name: str) -> list[int]:
        """An operand that is held in the file: axes, a shape."""
        if name not in self.held:
            raise Unfit
        return [int(i) for i in numpy_helper.to_array(self.held[name]).reshape(-1)]

    def constant(self, values: Sequence[int]) -> str:
        key = tuple(values)
        if key not in self.constants:
            self.constants[key] = graphs.fresh("abreast/constant", self.taken)
            self.made.graph.initializer.append(graphs.tensor(self.constants[key], np.array(key, np.int64)))
        return self.constants[key]

    def add(self, op: str, *inputs: str, **attributes: Any) -> str:
        """One more node on the way; its value."""
        name = graphs.fresh(f"{self.node.name or self.node.output[0]}/abreast", self.taken)
        self.made.graph.node.append(helper.make_node(op, inputs, [name], name=name, **attributes))
        return name

    def last(self, op: str, *inputs: str, **attributes: Any) -> None:
        """The node that gives the value of the one that is written, which is wide."""
        made = self.made.graph.node.add()
        made.CopyFrom(helper.make_node(op, inputs, list(self.node.output), name=self.node.name, **attributes))
        made.metadata_props.extend(self.node.metadata_props)
        self.wide.update(self.node.output)

    def again(self, inputs: Sequence[str]) -> None:
        """The same node with other operands, attributes and all."""
        made = self.made.graph.node.add()
        made.CopyFrom(self.node)
        del made.input[:]
        made.input.extend(inputs)
        self.wide.update(self.node.output)

    def aligned(self, name: str, rank: int) -> str:
        """A wide operand of an operation that broadcasts to `rank` dimensions, which are counted from the last."""
        more = rank - self.rank(name)
        if name not in self.wide or more <= 0:
            return name
        return self.add("Unsqueeze", name, self.constant(range(1, more + 1)))

    def full(self, name: str) -> str:
        """An operand with the members in front, all of them."""
        if name in self.wide:
            return name
        shape = self.add("Concat", self.constant([self.count]), self.add("Shape", name), axis=0)
        return self.add("Expand", name, shape)

    def narrow(self, *names: str) -> None:
        """Operands that may not differ among members."""
        if not self.wide.isdisjoint(names):
            raise Unfit

    def attribute(self, name: str, default: int) -> int:
        return next((int(a.i) for a in self.node.attribute if a.name == name), default)

    def scale(self, name: str) -> float:
        return next((float(a.f) for a in self.node.attribute if a.name == name), 1.0)

    # --- rules

    def _rule(self, node: NodeProto) -> None:
        op, rule = node.op_type, RULES.get(node.op_type)
        if op in ELEMENTWISE:
            rank = max(self.rank(name) for name in node.input)
            self.again([self.aligned(name, rank) for name in node.input])
        elif op in REDUCTIONS:
            self._reduction(node)
        elif rule is None:
            raise Unfit
        else:
            rule(self, node)

    def _reduction(self, node: NodeProto) -> None:
        x, rank = node.input[0], self.rank(node.input[0])
        if any(a.name == "axes" for a in node.attribute):
            raise Unfit  # of an older opset
        axes = self.numbers(node.input[1]) if len(node.input) > 1 and node.input[1] else []
        if not axes:
            if self.attribute("noop_with_empty_axes", 0):
                raise Unfit
            axes = list(range(rank))
        self.narrow(*node.input[1:])
        if not axes:  # of a single number
            op = {"ReduceSumSquare": "Mul", "ReduceL1": "Abs", "ReduceL2": "Abs", "ReduceLogSum": "Log"}.get(
                node.op_type
            )
            self.last(op or "Identity", *([x, x] if op == "Mul" else [x]))
            return
        self.again([x, self.constant([axis % rank + 1 for axis in axes])])

    def _matmul(self, node: NodeProto) -> None:
        ranks = [self.rank(name) for name in node.input]
        if min(ranks) < 2:
            raise Unfit
        self.again([self.aligned(name, max(ranks)) for name in node.input])

    def _gemm(self, node: NodeProto) -> None:
        """alpha a' b' + beta c."""
        alpha, beta = self.scale("alpha"), self.scale("beta")
        parts = [
            (self.add("Transpose", x, perm=[0, 2, 1] if x in self.wide else [1, 0]) if self.attribute(how, 0) else x)
            for x, how in zip(node.input, ("transA", "transB"), strict=False)
        ]
        added = len(node.input) > 2 and bool(node.input[2])
        if not added and alpha == 1.0:
            self.last("MatMul", *parts)
            return
        product = self.add("MatMul", *parts)
        if alpha != 1.0:
            product = self._times(product, alpha)
        if not added:
            self.last("Identity", product)
            return
        c = self.aligned(node.input[2], 2)
        self.last("Add", product, c if beta == 1.0 else self._times(c, beta))

    def _times(self, x: str, factor: float) -> str:
        element = self.known[self.node.output[0]][0] if self.node.output[0] in self.known else 0
        if not element:
            raise Unfit
        name = graphs.fresh("abreast/factor", self.taken)
        self.made.graph.initializer.append(graphs.tensor(name, np.array(factor, graphs.dtype_of(element))))
        return self.add("Mul", x, name)

    def _reshape(self, node: NodeProto) -> None:
        """A 0 in the shape is the size in this place, in the wide value as well."""
        x, shape = node.input
        self.narrow(shape)
        if shape in self.held:
            self.again([x, self.constant([self.count, *self.numbers(shape)])])
        else:
            self.again([x, self.add("Concat", self.constant([self.count]), shape, axis=0)])

    def _shape(self, node: NodeProto) -> None:
        """That of one member: it is the same for all."""
        rank = self.rank(node.input[0])
        made = self.made.graph.node.add()
        made.CopyFrom(helper.make_node("Shape", node.input, node.output, name=node.name))
        for name, default in (("start", 0), ("end", rank)):
            at = self.attribute(name, default)
            at = min(max(at + rank if at < 0 else at, 0), rank)
            made.attribute.append(helper.make_attribute(name, at + 1))

    def _transpose(self, node: NodeProto) -> None:
        rank = self.rank(node.input[0])
        perm = next((list(a.ints) for a in node.attribute if a.name == "perm"), list(range(rank))[::-1])
        self.last("Transpose", node.input[0], perm=[0, *(axis + 1 for axis in perm)])

    def _unsqueeze(self, node: NodeProto) -> None:
        axes = self.numbers(node.input[1])
        rank = self.rank(node.input[0]) + len(axes)
        self.again([node.input[0], self.constant([axis % rank + 1 for axis in axes])])

    def _squeeze(self, node: NodeProto) -> None:
        if len(node.input) < 2:
            raise Unfit
        rank = self.rank(node.input[0])
        self.again([node.input[0], self.constant([axis % rank + 1 for axis in self.numbers(node.input[1])])])

    def _expand(self, node: NodeProto) -> None:
        x, shape = node.input
        self.narrow(shape)
        sizes = self.known[shape][1] if shape in self.known else (None,)
        if len(sizes) != 1 or sizes[0] is None:
            raise Unfit
        rank = max(self.rank(x), sizes[0])
        ahead = self.constant([self.count, *[1] * (rank - sizes[0])])
        self.again([self.aligned(x, rank), self.add("Concat", ahead, shape, axis=0)])

    def _concat(self, node: NodeProto) -> None:
        axis = self.attribute("axis", 0) % self.rank(node.input[0]) + 1
        self.last("Concat", *(self.full(name) for name in node.input), axis=axis)

    def _slice(self, node: NodeProto) -> None:
        x, starts, stops, *more = node.input
        self.narrow(starts, stops, *more)
        rank = self.rank(x)
        axes = self.numbers(more[0]) if more and more[0] else list(range(len(self.numbers(starts))))
        self.again([x, starts, stops, self.constant([axis % rank + 1 for axis in axes]), *more[1:]])

    def _gather(self, node: NodeProto) -> None:
        x, index = node.input
        axis = self.attribute("axis", 0) % self.rank(x)
        if index not in self.wide:
            self.last("Gather", x, index, axis=axis + 1)
        elif x in self.wide or axis:
            raise Unfit
        else:
            self.again([x, index])

    def _gather_elements(self, node: NodeProto) -> None:
        axis = self.attribute("axis", 0) % self.rank(node.input[0]) + 1
        self.last("GatherElements", *(self.full(name) for name in node.input), axis=axis)

    def _along(self, node: NodeProto) -> None:
        """What acts along one axis."""
        axis = self.attribute("axis", -1) % self.rank(node.input[0]) + 1
        self.last(node.op_type, node.input[0], axis=axis)

    def _arg(self, node: NodeProto) -> None:
        axis, kept = self.attribute("axis", 0) % self.rank(node.input[0]) + 1, self.attribute("keepdims", 1)
        last = self.attribute("select_last_index", 0)
        self.last(node.op_type, node.input[0], axis=axis, keepdims=kept, select_last_index=last)

    def _clip(self, node: NodeProto) -> None:
        self.narrow(*node.input[1:])
        self.again(list(node.input))


RULES: dict[str, Callable[[_Wide, NodeProto], None]] = {
    "MatMul": _Wide._matmul,
    "Gemm": _Wide._gemm,
    "Reshape": _Wide._reshape,
    "Shape": _Wide._shape,
    "Transpose": _Wide._transpose,
    "Unsqueeze": _Wide._unsqueeze,
    "Squeeze": _Wide._squeeze,
    "Expand": _Wide._expand,
    "Concat": _Wide._concat,
    "Slice": _Wide._slice,
    "Gather": _Wide._gather,
    "GatherElements": _Wide._gather_elements,
    "Softmax": _Wide._along,
    "LogSoftmax": _Wide._along,
    "ArgMax": _Wide._arg,
    "ArgMin": _Wide._arg,
    "Clip": _Wide._clip,
}
