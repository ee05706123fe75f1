"""Random draws that are functions of a key: the same numbers on every provider, and again after a resume.

A word is 64 random bits: a counter times an odd number is added to the key (Weyl 1916), and the sum is squared twice,
its upper bits brought down to the lower ones after each square (the middle square of von Neumann 1949 with a Weyl
sequence, as in Widynski 2017, "Middle Square Weyl Sequence RNG", arXiv:1704.00358, and 2020, arXiv:2004.06278). All is
unsigned 64-bit multiplication, addition and division, which every provider computes exactly; nothing depends on the
order of evaluation. docs/file-format.md says how keys and draws are made, tests/test_draws.py how good they are.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from dlc.runtime.random import DOWN, FACTOR, K0, STRIDE, mixed, words

from ..ir.graph import Array, Graph, Node
from ..ir.op import NONE, Sample, constant, define, no_gradient, per_element
from ..ir.types import Shape, Size, TensorType, TypeProblem, divide, product
from .leaf import seed
from .operands import sizes

HALF = 1 << 32
WORD = 1 << 64
STORED = 4096  # counters up to so many are stored in the file, beyond they are counted when it runs
DIGITS = 24  # bits of a uniform
FEW = 1 / 128  # shares nearer to 0 or 1 are decided by 32 bits each, not by 16


class _Bits:
    """Writes the generator as uint64 nodes."""

    def __init__(self, out: Any) -> None:
        self.out = out

    def op(self, op_type: str, a: str, b: str | int) -> str:
        """One node; a number is a constant, modulo 2⁶⁴."""
        return str(self.out.node(op_type, [a, self.out.constant(b % WORD, "key") if isinstance(b, int) else b]))

    def mixed(self, x: str, factor: int) -> str:
        y = self.op("Add", self.op("Div", self.op("Mul", x, x), HALF), x)
        z = self.op("Mul", y, y)
        return self.op("Mul", self.op("Add", z, self.op("Div", z, 1 << DOWN)), factor)


# --- keys


def _fold_infer(key: TensorType, data: TensorType) -> TensorType:
    if key.dtype != "key" or data.dtype not in ("int", "key") or key.rank or data.rank:
        operands = {0: f"this is `{key}`", 1: f"this is `{data}`"}
        raise TypeProblem("E0302", "a key is folded with an integer", operands)
    return key


def _fold(key: Array, data: Array) -> Array:
    with np.errstate(over="ignore"):
        return mixed(np.asarray(key + np.asarray(data).astype(np.uint64) * np.uint64(FACTOR)), STRIDE)


def _fold_lower(out: Any, node: Node, key: str, data: str) -> str:
    bits = _Bits(out)
    return bits.mixed(bits.op("Add", bits.op("Mul", out.cast(data, "key"), FACTOR), key), STRIDE)


def _key_sample(rng: np.random.Generator) -> Array:
    return np.asarray(rng.integers(0, 2**64, dtype=np.uint64))


def _fold_samples(rng: np.random.Generator) -> Sample:
    data = rng.integers(0, 2**40) if rng.random() < 0.7 else rng.integers(0, 2**64, dtype=np.uint64)
    return Sample((_key_sample(rng), np.asarray(data)), {})


_fold_op = define(  # the two odd numbers change places, so that no key is the word of a draw
    "fold",
    infer=_fold_infer,
    grad=no_gradient(2),
    jvp=NONE,
    lower=_fold_lower,
    reference=_fold,
    samples=_fold_samples,
    cost=per_element,
)


def fold(key: Node, data: Node | int) -> Node:
    """A new key from a key and an integer."""
    return _fold_op(key, data if isinstance(data, Node) else constant(key.graph, data, "int"))


def seed_key(graph: Graph) -> Node:
    """The key of the seed."""
    return _fold_op(constant(graph, K0, "key"), graph.add(seed))


# --- words


def _words_infer(key: TensorType, shape: Shape, start: int) -> TensorType:
    if key.dtype != "key" or key.rank:
        raise TypeProblem("E0302", "a draw takes a key", {0: f"this is `{key}`"})
    return TensorType("key", tuple(shape))


def _words(key: Array, shape: tuple[int, ...], start: int) -> Array:
    with np.errstate(over="ignore"):
        return words(np.uint64(start) + np.arange(math.prod(shape), dtype=np.uint64), key).reshape(shape)


def _words_lower(out: Any, node: Node, key: str) -> str:
    """Stored counters are shared by all draws of one size; where they begin is added to the key."""
    bits, count = _Bits(out), product(node.shape)
    if node.attrs["start"]:
        key = bits.op("Add", key, node.attrs["start"] * STRIDE)
    if isinstance(count, int) and count <= STORED:
        with np.errstate(over="ignore"):
            steps = out.constant(np.arange(count, dtype=np.uint64) * np.uint64(STRIDE), "key")
    else:
        counters = out.node("Range", [out.constant(0, "int"), out.size(count), out.constant(1, "int")])
        steps = bits.op("Mul", out.cast(counters, "key"), STRIDE)
    drawn = bits.mixed(bits.op("Add", steps, key), FACTOR)
    return drawn if node.rank == 1 else str(out.node("Reshape", [drawn, out.shape(node.shape)], allowzero=1))


def _words_samples(rng: np.random.Generator) -> Sample:
    start = int(rng.integers(0, 2**64, dtype=np.uint64)) if rng.random() < 0.5 else 0
    return Sample((_key_sample(rng),), {"shape": sizes(rng, empty=0.25), "start": start})


random_words = define(  # element i is word number start + i of the key
    "random_words",
    infer=_words_infer,
    grad=no_gradient(1),
    jvp=NONE,
    lower=_words_lower,
    reference=_words,
    samples=_words_samples,
    cost=per_element,
    defaults={"start": 0},
)


# --- what words become


def _of_words(name: str, dtype: str) -> Any:
    def infer(drawn: TensorType, **attrs: Any) -> TensorType:
        if drawn.dtype != "key":
            raise TypeProblem("E0302", f"`{name}` takes random words", {0: f"this is `{drawn}`"})
        return drawn.with_dtype(dtype)

    return infer


def _uniform(drawn: Array) -> Array:
    bits: Array = (drawn >> np.uint64(40)).astype(np.float64) * 2.0**-24
    return bits


def _uniform_lower(out: Any, node: Node, drawn: str) -> str:
    """As many of the upper bits as float32 holds: exact, and so the same number in every precision."""
    top = out.cast(_Bits(out).op("Div", drawn, 1 << (64 - DIGITS)), "uint32")
    return str(out.node("Mul", [out.cast(top, "float"), out.constant(2.0**-DIGITS, "float")]))


def _word_samples(rng: np.random.Generator) -> Sample:
    return Sample((rng.integers(0, 2**64, sizes(rng, empty=0.25), dtype=np.uint64),), {})


_uniform_op = define(  # in [0, 1), the upper 24 bits of each word
    "random_uniform",
    infer=_of_words("random_uniform", "float"),
    grad=no_gradient(1),
    jvp=NONE,
    lower=_uniform_lower,
    reference=_uniform,
    samples=_word_samples,
    cost=per_element,
    elementwise=True,
    finite=True,
)


def random_uniform(key: Node, shape: Shape, start: int = 0) -> Node:
    """Uniform draws in [0, 1), multiples of 2⁻²⁴: one word each."""
    return _uniform_op(random_words(key, shape=shape, start=start))


def _normal(drawn: Array) -> Array:
    upper, lower = (half.astype(np.float64) for half in (drawn >> np.uint64(32), drawn % np.uint64(HALF)))
    made: Array = np.sqrt(np.log((upper + 1) * 2.0**-32) * -2) * np.sin((lower - 2.0**31) * (math.pi * 2.0**-32))
    return made


def _normal_lower(out: Any, node: Node, drawn: str) -> str:
    """In float64 to the last step, so that every provider rounds to the same number (ONNX Runtime's Log of float32 is
    off by up to 3.4 ulp)."""

    def op(op_type: str, x: str, value: float) -> str:
        return str(out.node(op_type, [x, out.constant(value, "float64")]))

    upper = out.cast(out.cast(_Bits(out).op("Div", drawn, HALF), "uint32"), "float64")
    lower = out.cast(out.cast(drawn, "uint32"), "float64")
    radius = out.node("Sqrt", [op("Mul", out.node("Log", [op("Mul", op("Add", upper, 1.0), 2.0**-32)]), -2.0)])
    angle = op("Mul", op("Add", lower, -(2.0**31)), math.pi * 2.0**-32)
    return str(out.cast(out.node("Mul", [radius, out.node("Sin", [angle])]), "float"))


_normal_op = define(  # Box and Muller 1958; the sine of an angle in [-pi/2, pi/2) is distributed like that of any angle
    "random_normal",
    infer=_of_words("random_normal", "float"),
    grad=no_gradient(1),
    jvp=NONE,
    lower=_normal_lower,
    reference=_normal,
    cost=per_element,
    samples=_word_samples,
    elementwise=True,
    finite=True,
)


def random_normal(key: Node, shape: Shape, start: int = 0) -> Node:
    """Standard normal draws: one word each, its upper half for the radius and its lower half for the angle."""
    return _normal_op(random_words(key, shape=shape, start=start))


def _whole_lower(out: Any, node: Node, drawn: str) -> str:
    return str(out.cast(_Bits(out).op("Div", drawn, 2), "int"))


random_whole = define(  # integers in [0, 2⁶³), the upper 63 bits of each word
    "random_whole",
    infer=_of_words("random_whole", "int"),
    grad=no_gradient(1),
    jvp=NONE,
    lower=_whole_lower,
    reference=lambda drawn: (drawn >> np.uint64(1)).astype(np.int64),
    cost=per_element,
    samples=_word_samples,
    elementwise=True,
    finite=True,
)


# --- decisions


def lanes(share: float) -> int:
    """How many decisions a word serves: four of 16 bits, or two of 32 where the share is near 0 or 1."""
    return 4 if FEW <= share <= 1 - FEW else 2


def _limits(share: float) -> Array:
    """Below which 32-bit number a decision is true, for each row of two lanes: [lanes / 2, 1]."""
    rows = [min(round(share * HALF), HALF - 1), round(share * 2**16) << 16][: lanes(share) // 2]
    return np.array(rows, np.uint32).reshape(-1, 1)


def _below_infer(drawn: TensorType, share: float, shape: Shape) -> TensorType:
    if drawn.dtype != "key" or drawn.rank != 1:
        raise TypeProblem("E0302", "decisions take a vector of random words", {0: f"this is `{drawn}`"})
    if drawn.shape[0] != words_for(product(shape), share):
        raise TypeProblem(
            "E0310", "this many random words are not enough for this many decisions", {0: f"this is `{drawn}`"}
        )
    return TensorType("bool", tuple(shape))


def words_for(count: Size, share: float) -> Size:
    """How many words `count` decisions take."""
    each = lanes(share)
    even = divide(count, each)
    return (count + (each - 1)) // each if even is None else even


def _below(drawn: Array, share: float, shape: tuple[int, ...]) -> Array:
    halves = np.concatenate([drawn >> np.uint64(32), drawn]).astype(np.uint32)
    rows = [halves, halves << np.uint32(16)][: lanes(share) // 2]
    made: Array = (np.stack(rows) < _limits(share)).reshape(-1)[: math.prod(shape)].reshape(shape)
    return made


def _below_lower(out: Any, node: Node, drawn: str) -> str:
    """Lanes are rows, for ONNX Runtime works along long rows. 32-bit numbers take half the time of 64-bit ones."""
    share, count = node.attrs["share"], product(node.shape)
    upper = out.cast(_Bits(out).op("Div", drawn, HALF), "uint32")
    bits = out.node("Concat", [upper, out.cast(drawn, "uint32")], axis=0)
    limits = _limits(share)
    if len(limits) == 2:
        bits = out.node("Mul", [out.constant(np.array([[1], [1 << 16]], np.uint32), "uint32"), bits])
    else:
        limits = limits[0]
    below = out.node("Less", [bits, out.constant(limits, "uint32")])
    flat = len(limits) == 1
    if divide(count, lanes(share)) is None:
        if not flat:
            below = out.node("Reshape", [below, out.shape((-1,))])
        start, axis = out.shape((0,)), out.shape((0,))
        below, flat = out.node("Slice", [below, start, out.shape((count,)), axis]), True
    return str(below if flat and node.rank == 1 else out.node("Reshape", [below, out.shape(node.shape)], allowzero=1))


def _below_samples(rng: np.random.Generator) -> Sample:
    share = float(rng.choice([0.5, 0.1, 0.9, 0.001, 0.9999, 1e-9, rng.uniform()]))
    shape = sizes(rng, empty=0.25)
    drawn = rng.integers(0, 2**64, -(-math.prod(shape) // lanes(share)), dtype=np.uint64)
    return Sample((drawn,), {"share": share, "shape": shape})


_below_op = define(
    "random_below",
    infer=_below_infer,
    grad=no_gradient(1),
    jvp=NONE,
    lower=_below_lower,
    reference=_below,
    samples=_below_samples,
    cost=per_element,
    finite=True,
)


def random_below(key: Node, shape: Shape, share: float, start: int = 0) -> Node:
    """True with probability `share`, a number in (0, 1): to 2⁻¹⁶ / 2, or to 2⁻³² / 2 where it is near 0 or 1."""
    drawn = random_words(key, shape=(words_for(product(shape), share),), start=start)
    return _below_op(drawn, share=share, shape=tuple(shape))


__all__ = [
    "STRIDE",
    "fold",
    "random_below",
    "random_normal",
    "random_uniform",
    "random_whole",
    "random_words",
    "seed_key",
]
