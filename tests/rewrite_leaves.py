"""What the cases of the simplifier's rules are made of (rewrite_cases.py)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from dlc import ops
from dlc.ir.graph import Graph, Node
from dlc.ir.op import constant
from dlc.ir.types import Dim, TensorType
from dlc.ops.scan_builder import Intake

N, M = Dim.name("n"), Dim.name("m")
SIZES = {"n": 3, "m": 4}


@dataclass
class Leaves:
    """x, y: float[n, m]; w: float[n, 1]; v: float[m]; u: float[3, 4]; s, t: float; k: int[n] in 0..3; b: bool[n, m]."""

    graph: Graph

    def __post_init__(self) -> None:
        def leaf(name: str, dtype: str, *shape: object) -> Node:
            return ops.make_input(self.graph, name, TensorType(dtype, shape))  # type: ignore[arg-type]

        self.x, self.y = leaf("x", "float", N, M), leaf("y", "float", N, M)
        self.w, self.v, self.u = leaf("w", "float", N, 1), leaf("v", "float", M), leaf("u", "float", 3, 4)
        self.z = leaf("z", "float", N, 4)
        self.s, self.t = leaf("s", "float"), leaf("t", "float")
        self.k, self.b, self.c = leaf("k", "int", N), leaf("b", "bool", N, M), leaf("c", "bool", N, M)

    def number(self, value: float) -> Node:
        return constant(self.graph, value, "float")

    def array(self, *values: float) -> Node:
        return constant(self.graph, np.array(values), "float")

    @property
    def n(self) -> Node:
        return ops.cast(ops.make_size(self.graph, N), dtype="float")


def feeds(rng: np.random.Generator) -> dict[str, np.ndarray]:
    n, m = SIZES["n"], SIZES["m"]
    values = {"x": (n, m), "y": (n, m), "w": (n, 1), "v": (m,), "u": (3, 4), "z": (n, 4), "s": (), "t": ()}
    given = {name: rng.uniform(-1.5, 1.5, shape) for name, shape in values.items()}
    return {**given, "k": rng.integers(0, 4, n), "b": rng.random((n, m)) < 0.5, "c": rng.random((n, m)) < 0.5}


def total(x: Node, *axes: int, keepdims: bool = False) -> Node:
    return ops.reduce_sum(x, axes=axes, keepdims=keepdims)


def square(x: Node) -> Node:
    return x * x


def wide(x: Node, *lead: object) -> Node:
    """The rows of a matrix in more dimensions."""
    return ops.reshape(x, shape=(*lead, x.shape[-1]))  # type: ignore[arg-type]


def lse(x: Node, axis: int = 1, keepdims: bool = False) -> Node:
    return ops.logsumexp(x, axes=(axis,), keepdims=keepdims)


def positive(x: Node) -> Node:
    return ops.abs_(x) + 0.5


def root(x: Node) -> Node:
    """As the library's `root` has it."""
    return ops.where(ops.eq(x, 0.0), 0.0, ops.sqrt(x))


def softmax_by_hand(x: Node) -> Node:
    e = ops.exp(x)
    return e / total(e, 1, keepdims=True)


def both(x: Node, read: Callable[[Node], tuple[Node, ...]]) -> list[Node]:
    return list(read(x))


def read_otherwise(x: Node, read: Callable[[Node], Node]) -> list[Node]:
    """What reads x, and something else that does."""
    return [read(x), ops.exp(x)]


def row(l: Leaves) -> Node:
    return ops.make_arange(l.graph, 4)


def column(l: Leaves) -> Node:
    return ops.reshape(row(l), shape=(4, 1))


def top(x: Node) -> Node:
    return ops.reduce_max(x, axes=(1,), keepdims=True)


def outer_square(l: Leaves) -> Node:
    """[n, 4, 4]"""
    return ops.reshape(l.z, shape=(N, 4, 1)) * ops.reshape(l.z, shape=(N, 1, 4))


def outer(l: Leaves) -> Node:
    """[n, 4, m]"""
    return ops.reshape(l.z, shape=(N, 4, 1)) * l.v


def sequence(l: Leaves) -> Node:
    """[n, 4, 3]"""
    return ops.sin(ops.reshape(l.z, shape=(N, 4, 1)) * total(l.u, 1))


def running(l: Leaves, reverse: bool = False) -> Node:
    """A scan over the second dimension of `sequence`, which emits its state [n, 3] along that, and twice it along the
    first."""
    body = Graph()
    state = ops.make_local(body, 0, TensorType("float", (N, 3)))
    intake = Intake(body, [state])
    after = ops.tanh(state + intake.slice(sequence(l), 1))
    start = ops.broadcast_to(l.w, shape=(N, 3))
    return intake.scan(l.graph, [start], [after, after, after * 2.0], [1, 0], 4, reverse)


def wider(l: Leaves) -> Node:
    """[4, n, 4]"""
    each = ops.reshape(total(l.u, 0), shape=(4, 1, 1)) * ops.reshape(l.w, shape=(1, N, 1))
    return ops.exp(each * total(l.u, 0))


def flat(x: Node) -> Node:
    return ops.reshape(x, shape=(x.shape[0] * x.shape[1], x.shape[2]))  # type: ignore[operator]


def projected(l: Leaves, times: float) -> Node:
    """[n, 4, 4]: each of four rows times a matrix, and a number for each column."""
    return ops.matmul(sequence(l), ops.exp(l.u * times)) + total(l.u, 0)


def normal(x: Node, eps: float = 0.1) -> tuple[Node, Node]:
    """x less its mean, and the root of the variance and eps."""
    d = x - ops.mean(x, (x.rank - 1,), True)
    return d, ops.sqrt(ops.mean(d * d, (x.rank - 1,), True) + eps)


def normalized(x: Node, scale: Node | float = 1.0) -> Node:
    d, root = normal(x)
    return scale * d / root
