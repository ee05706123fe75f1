"""Random expression graphs over two free dimensions, for tests of passes: well-typed, with values of moderate size."""

from __future__ import annotations

import numpy as np
from dlc import ops
from dlc.ir.graph import Graph, Node
from dlc.ir.op import constant
from dlc.ir.types import Dim, TensorType, TypeProblem, broadcast

N, M = Dim.name("n"), Dim.name("m")
SIZES = {"n": 3, "m": 4}
SHAPES = [(), (N,), (M,), (N, M), (N, 1), (1, M), (1,), (2, N, M)]
UNARY = [
    "neg",
    "abs",
    "sigmoid",
    "tanh",
    "softplus",
    "relu",
    "sin",
    "cos",
    "exp",
    "log",
    "sqrt",
    "square",
    "minus",
    "sigmoid_by_hand",
]
BINARY = ["add", "sub", "mul", "div", "maximum", "minimum", "where", "scaled"]
CONSTANTS = [-2.0, -1.0, -0.5, 0.0, 0.3, 0.5, 1.0, 2.0, 3.0]


def unary(name: str, x: Node) -> Node:
    made = {
        "abs": lambda: ops.abs_(x),
        "square": lambda: ops.pow_(x, 2.0),
        "minus": lambda: x * -1.0,
        # kept where they are smooth and moderate, so that a change of the last bits stays one
        "exp": lambda: ops.exp(ops.tanh(x)),
        "log": lambda: ops.log(ops.sigmoid(x) + 0.5),
        "sqrt": lambda: ops.sqrt(x * x + 0.25),
        "sigmoid_by_hand": lambda: 1.0 / (1.0 + ops.exp(-ops.tanh(x))),
    }
    return made[name]() if name in made else ops.OPS[name](x)


def binary(name: str, a: Node, b: Node) -> Node:
    if name == "div":
        return a / (ops.abs_(b) + 0.5)
    if name == "where":
        return ops.where(ops.gt(ops.sin(a), 0.1), a, b)
    if name == "scaled":
        return ops.tanh(a) * 0.5 - b * 0.5
    return ops.OPS[name](a, b) if name in ("maximum", "minimum") else getattr(ops, name)(a, b)


def reduced(x: Node, pick: int) -> Node:
    """One of the operations that change a shape."""
    axis = pick % max(x.rank, 1)
    choices = [
        lambda: ops.reduce_sum(x, axes=(axis,), keepdims=bool(pick & 1)),
        lambda: ops.mean(x, (axis,), keepdims=bool(pick & 1)),
        lambda: ops.reduce_max(x, axes=(axis,), keepdims=bool(pick & 1)),
        lambda: ops.logsumexp(ops.tanh(x), axes=(axis,), keepdims=bool(pick & 1)),
        lambda: ops.log(ops.softmax(ops.tanh(x), axis=axis)),
        lambda: ops.transpose(x, perm=tuple(reversed(range(x.rank)))),
        lambda: ops.expand_dims(x, axis),
        lambda: ops.broadcast_to(x, shape=(2, *x.shape)),
        lambda: ops.concat(x, x * 0.5, axis=axis),
        lambda: ops.flip(x, axis),
    ]
    return choices[(pick // 2) % len(choices)]() if x.rank else ops.broadcast_to(x, shape=(N,))


class Pool:
    """The leaves of a graph, and what is made of them."""

    def __init__(self) -> None:
        self.graph = Graph()
        self.values = [
            ops.make_input(self.graph, f"x{i}", TensorType("float", shape)) for i, shape in enumerate(SHAPES)
        ]

    def feeds(self, rng: np.random.Generator) -> dict[Node, np.ndarray]:
        return {
            self.values[i]: rng.uniform(-1.5, 1.5, [SIZES[str(s)] if isinstance(s, Dim) else s for s in shape])
            for i, shape in enumerate(SHAPES)
        }

    def step(self, kind: int, name: int, first: int, second: int) -> None:
        """Makes one more value; nothing where the shapes do not fit or it grows too large."""
        a = self.values[first % len(self.values)]
        b = self.values[second % len(self.values)]
        if kind == 0:
            self.values.append(unary(UNARY[name % len(UNARY)], a))
        elif kind == 1 and _fit(a, b):
            self.values.append(binary(BINARY[name % len(BINARY)], a, b))
        elif kind == 2:
            c = constant(self.graph, CONSTANTS[name % len(CONSTANTS)], "float")
            operands = (a, c) if second % 2 else (c, a)
            self.values.append((ops.add, ops.sub, ops.mul)[second % 3](*operands))
        elif kind == 3 and a.rank < 4:
            self.values.append(reduced(a, name))
        # bounded, so that sums of products do not grow beyond what rounding errors allow
        if self.values[-1].op.name not in ("input", "tanh"):
            self.values[-1] = ops.tanh(self.values[-1]) if name % 5 == 0 else self.values[-1]


def _fit(a: Node, b: Node) -> bool:
    try:
        broadcast(a.shape, b.shape)
    except TypeProblem:
        return False
    return True
