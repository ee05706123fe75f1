"""Random draws that are functions of a key: the same numbers on every provider, and again after a resume.

The generator is `squares` (Widynski 2020, "Squares: a fast counter-based RNG", arXiv:2004.06278), written in unsigned 64-bit
multiplication, addition and division, which every provider computes exactly. A rotation by half a word is a division
and a multiplication by 2³².
"""
from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..graph import Array, Graph, Node
from ..tensor_type import Shape, TensorType, TypeProblem, product
from . import elementwise as e
from .leaf import seed
from .registry import constant, define, no_gradient

K0 = 0x548C9DECBCE65297  # an irregular odd key, as the paper asks for
HALF = 1 << 32


def _rotate(x: Array) -> Array:
    return (x >> np.uint64(32)) | (x << np.uint64(32))


def squares32(counter: Array, key: Array) -> Array:
    """32 random bits for each counter (uint64 arrays)."""
    with np.errstate(over="ignore"):
        x = y = counter * key
        z = y + key
        x = _rotate(x * x + y)
        x = _rotate(x * x + z)
        x = _rotate(x * x + y)
        return (x * x + z) >> np.uint64(32)


def _fold(key: Array, data: Array) -> Array:
    """An odd key of 64 bits from a key and a number: two draws side by side."""
    with np.errstate(over="ignore"):
        twice = np.asarray(data).astype(np.uint64) * np.uint64(2)
        high, low = squares32(twice, key), squares32(twice + np.uint64(1), key)
        return (high * np.uint64(HALF) + low) * np.uint64(2) + np.uint64(1)


class _Bits:
    """Writes the generator as uint64 nodes."""

    def __init__(self, out: Any) -> None:
        self.out, self.half = out, out.constant(HALF, "key")

    def op(self, op_type: str, a: str, b: str) -> str:
        return str(self.out.node(op_type, [a, b]))

    def square_plus(self, x: str, y: str) -> str:
        return self.op("Add", self.op("Mul", x, x), y)

    def rotate(self, x: str) -> str:
        return self.op("Add", self.op("Div", x, self.half), self.op("Mul", x, self.half))

    def squares32(self, counter: str, key: str) -> str:
        y = self.op("Mul", counter, key)
        z = self.op("Add", y, key)
        x = self.rotate(self.square_plus(y, y))
        x = self.rotate(self.square_plus(x, z))
        x = self.rotate(self.square_plus(x, y))
        return self.op("Div", self.square_plus(x, z), self.half)


def _fold_lower(out: Any, node: Node, key: str, data: str) -> str:
    bits = _Bits(out)
    two, one = out.constant(2, "key"), out.constant(1, "key")
    twice = bits.op("Mul", out.cast(data, "key") if node.inputs[1].dtype != "key" else data, two)
    high, low = bits.squares32(twice, key), bits.squares32(bits.op("Add", twice, one), key)
    return bits.op("Add", bits.op("Mul", bits.op("Add", bits.op("Mul", high, bits.half), low), two), one)


def _fold_infer(key: TensorType, data: TensorType) -> TensorType:
    if key.dtype != "key" or data.dtype not in ("int", "key") or key.rank or data.rank:
        raise TypeProblem("E0302", "a key is folded with a whole number", {0: f"this is `{key}`", 1: f"this is `{data}`"})
    return key


_fold_op = define(
    "fold", infer=_fold_infer, grad=no_gradient(2), lower=_fold_lower, reference=_fold, samples=None,
)


def fold(key: Node, data: Node | int) -> Node:
    """A new key from a key and a number."""
    return _fold_op(key, data if isinstance(data, Node) else constant(key.graph, data, "int"))


def seed_key(graph: Graph) -> Node:
    """The key of the seed."""
    return _fold_op(constant(graph, K0, "key"), graph.add(seed))


def _uniform(key: Array, shape: tuple[int, ...]) -> Array:
    count = math.prod(shape)
    bits = squares32(np.arange(count, dtype=np.uint64), np.asarray(key, np.uint64))
    return ((bits >> np.uint64(8)).astype(np.float64) * 2.0**-24).reshape(shape)


def _uniform_lower(out: Any, node: Node, key: str) -> str:
    """The upper 24 bits times 2⁻²⁴: exact in float32, and so the same number in every precision."""
    count = product(node.shape)
    if isinstance(count, int):
        counter = out.constant(np.arange(count, dtype=np.uint64), "key") if count <= 4096 else out.cast(
            out.node("Range", [out.constant(0, "int"), out.constant(count, "int"), out.constant(1, "int")]), "key")
    else:
        counter = out.cast(out.node("Range", [out.constant(0, "int"), out.size(count), out.constant(1, "int")]), "key")
    bits = _Bits(out)
    top = bits.op("Div", bits.squares32(counter, key), out.constant(256, "key"))
    flat = out.node("Mul", [out.cast(top, "float"), out.constant(2.0**-24, "float")])
    return str(flat if node.rank == 1 else out.node("Reshape", [flat, out.shape(node.shape)], allowzero=1))


random_uniform = define(  # uniform in [0, 1)
    "random_uniform", infer=lambda key, shape: TensorType("float", tuple(shape)), grad=no_gradient(1),
    lower=_uniform_lower, reference=_uniform, samples=None,
)


def random_normal(key: Node, shape: Shape) -> Node:
    """Standard normal draws (Box and Muller 1958)."""
    radius = e.sqrt(e.log(1.0 - random_uniform(fold(key, 0), shape=shape)) * -2.0)
    return radius * e.cos(random_uniform(fold(key, 1), shape=shape) * (2.0 * math.pi))
