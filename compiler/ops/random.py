"""Random draws that are functions of a key: the same numbers on every provider, and again after a resume.

The generator is `squares` (Widynski 2020, "Squares: a fast counter-based RNG", arXiv:2004.06278), written in
unsigned 64-bit multiplication, addition and division, which every provider computes exactly. A rotation by half
a word is a division and a multiplication by 2³². docs/file-format.md says how keys are made.
"""
from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.random import Generator

from ..graph import Array, Graph, Node
from ..tensor_type import Shape, Size, TensorType, TypeProblem, product
from .elementwise import cos, log, sqrt
from .leaf import seed
from .operands import sizes
from .registry import NONE, Sample, constant, define, no_gradient

K0 = 0x548C9DECBCE65297  # an irregular odd key, as the paper asks for
HALF = 1 << 32
STORED = 4096  # counters up to so many are stored in the file, beyond they are counted when it runs


def squares32(counter: Array, key: Array) -> Array:
    """32 random bits for each counter: four rounds of squaring (uint64 arrays, results below 2³²)."""

    def rotated(x: Array) -> Array:
        return (x >> np.uint64(32)) | (x << np.uint64(32))

    with np.errstate(over="ignore"):
        y = counter * key
        z = y + key
        x = rotated(y * y + y)
        x = rotated(x * x + z)
        x = rotated(x * x + y)
        bits: Array = (x * x + z) >> np.uint64(32)
        return bits


class _Bits:
    """Writes the generator as uint64 nodes."""

    def __init__(self, out: Any) -> None:
        self.out, self.half = out, out.constant(HALF, "key")

    def op(self, op_type: str, a: str, b: str) -> str:
        return str(self.out.node(op_type, [a, b]))

    def squares32(self, counter: str, key: str) -> str:
        y = self.op("Mul", counter, key)
        z = self.op("Add", y, key)
        x = self._rotated(self._square_plus(y, y))
        x = self._rotated(self._square_plus(x, z))
        x = self._rotated(self._square_plus(x, y))
        return self.op("Div", self._square_plus(x, z), self.half)

    def _square_plus(self, x: str, y: str) -> str:
        return self.op("Add", self.op("Mul", x, x), y)

    def _rotated(self, x: str) -> str:
        return self.op("Add", self.op("Div", x, self.half), self.op("Mul", x, self.half))


def _rounds(draws: Size) -> Size:
    """Multiplications in so many draws: the counter by the key, and four squares."""
    return 5 * draws


# --- keys


def _fold_infer(key: TensorType, data: TensorType) -> TensorType:
    if key.dtype != "key" or data.dtype not in ("int", "key") or key.rank or data.rank:
        operands = {0: f"this is `{key}`", 1: f"this is `{data}`"}
        raise TypeProblem("E0302", "a key is folded with a whole number", operands)
    return key


def _fold(key: Array, data: Array) -> Array:
    """An odd key of 64 bits: 2 (2³² h + l) + 1 with h and l the draws 2 data and 2 data + 1."""
    with np.errstate(over="ignore"):
        twice = np.asarray(data).astype(np.uint64) * np.uint64(2)
        high, low = squares32(twice, key), squares32(twice + np.uint64(1), key)
        return (high * np.uint64(HALF) + low) * np.uint64(2) + np.uint64(1)


def _fold_lower(out: Any, node: Node, key: str, data: str) -> str:
    """Both draws at once, as a vector of two."""
    bits = _Bits(out)
    twice = bits.op("Mul", out.cast(data, "key"), out.constant(2, "key"))
    counters = bits.op("Add", twice, out.constant(np.array([0, 1], np.uint64), "key"))
    draws = bits.op("Mul", bits.squares32(counters, key), out.constant(np.array([2 * HALF, 2], np.uint64), "key"))
    high, low = (out.node("Gather", [draws, out.constant(i, "int")], axis=0) for i in (0, 1))
    return bits.op("Add", bits.op("Add", high, low), out.constant(1, "key"))


def _fold_samples(rng: Generator) -> Sample:
    key = np.asarray(rng.integers(0, 2**63, dtype=np.uint64) * np.uint64(2) + np.uint64(1))
    data = rng.integers(0, 2**40) if rng.random() < 0.7 else rng.integers(0, 2**64, dtype=np.uint64)
    return Sample((key, np.asarray(data)), {})


_fold_op = define(
    "fold", infer=_fold_infer, grad=no_gradient(2), jvp=NONE, lower=_fold_lower, reference=_fold,
    samples=_fold_samples, cost=lambda node: _rounds(2),
)


def fold(key: Node, data: Node | int) -> Node:
    """A new key from a key and a whole number.

    The key must look random, as those made from a seed do: of a small one the squares vanish modulo 2⁶⁴.
    """
    return _fold_op(key, data if isinstance(data, Node) else constant(key.graph, data, "int"))


def seed_key(graph: Graph) -> Node:
    """The key of the seed."""
    return _fold_op(constant(graph, K0, "key"), graph.add(seed))


# --- draws


def _uniform_infer(key: TensorType, shape: Shape, start: int) -> TensorType:
    if key.dtype != "key" or key.rank:
        raise TypeProblem("E0302", "a draw takes a key", {0: f"this is `{key}`"})
    return TensorType("float", tuple(shape))


def _uniform(key: Array, shape: tuple[int, ...], start: int) -> Array:
    bits = squares32(np.uint64(start) + np.arange(math.prod(shape), dtype=np.uint64), key)
    return ((bits >> np.uint64(8)).astype(np.float64) * 2.0**-24).reshape(shape)


def _counters(out: Any, count: Size, start: int) -> str:
    """start, start + 1, ..., start + count − 1."""
    if isinstance(count, int) and count <= STORED:
        return str(out.constant(np.uint64(start) + np.arange(count, dtype=np.uint64), "key"))
    bounds = [out.constant(start, "int"), out.size(count + start), out.constant(1, "int")]
    return str(out.cast(out.node("Range", bounds), "key"))


def _uniform_lower(out: Any, node: Node, key: str) -> str:
    """The upper 24 bits times 2⁻²⁴: exact in float32, and so the same number in every precision that holds it."""
    bits = _Bits(out)
    drawn = bits.squares32(_counters(out, product(node.shape), node.attrs["start"]), key)
    top = out.cast(bits.op("Div", drawn, out.constant(256, "key")), "float")
    flat = out.node("Mul", [top, out.constant(2.0**-24, "float")])
    return str(flat if node.rank == 1 else out.node("Reshape", [flat, out.shape(node.shape)], allowzero=1))


def _uniform_samples(rng: Generator) -> Sample:
    start = int(rng.integers(0, 2**62)) if rng.random() < 0.5 else 0
    return Sample((_fold_samples(rng).inputs[0],), {"shape": sizes(rng), "start": start})


random_uniform = define(  # uniform in [0, 1): element i is draw number start + i of the key
    "random_uniform", infer=_uniform_infer, grad=no_gradient(1), jvp=NONE, lower=_uniform_lower, reference=_uniform,
    samples=_uniform_samples, cost=lambda node: _rounds(product(node.shape)), defaults={"start": 0},
)


def random_normal(key: Node, shape: Shape, starts: tuple[int, int] = (0, 1 << 38)) -> Node:
    """Standard normal draws (Box and Muller 1958) from two uniform tensors, whose counters begin at `starts`."""
    radius, angle = (random_uniform(key, shape=shape, start=start) for start in starts)
    return sqrt(log(1.0 - radius) * -2.0) * cos(angle * (2.0 * math.pi))
