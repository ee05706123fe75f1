"""Random chains of elementwise operations as ONNX models, and what NumPy makes of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from dlc.runtime import native
from numpy.random import Generator
from onnx import ModelProto, helper, numpy_helper

# The tests of the kernels, and the kinds of lanes that are narrower than this processor's.
FILES = [
    f"tests/test_{of}.py"
    for of in (
        "native", "native_operations", "native_filters", "native_sums", "native_squares", "native_rows", "native_large",
        "regions", "recurrences", "each", "in_place", "guard",
    )
]  # fmt: skip
LANES = ["plain", "avx2", "avx512"]
NARROWER = LANES[: LANES.index(native.lanes() or "plain")]

FLOATS = ("float32", "float64")
UNSIGNED = ("uint32", "uint64")
SIGNED = (*FLOATS, "int32", "int64")
NUMBERS = (*SIGNED, *UNSIGNED)
SPECIAL = {
    kind: np.array(
        [0.0, -0.0, 1, -1, np.inf, -np.inf, np.nan, np.finfo(kind).max, np.finfo(kind).tiny, np.finfo(kind).eps], kind
    )
    for kind in FLOATS
}

Array = np.ndarray[Any, Any]


def larger(x: Array, y: Array) -> Array:
    """NaN if either is; of zeros the second, which NumPy leaves to the processor."""
    return np.where((x > y) | (x != x), x, y)


def smaller(x: Array, y: Array) -> Array:
    return np.where((x < y) | (x != x), x, y)


def relu(x: Array) -> Array:
    return larger(x, x.dtype.type(0))


def sigmoid(x: Array) -> Array:
    wide = x.astype(np.longdouble)
    e = np.exp(-np.abs(wide))
    return np.asarray(np.where(wide < 0, e, 1) / (1 + e)).astype(x.dtype)


def erf(x: Array) -> Array:
    from scipy.special import erf as of

    return np.asarray(of(x.astype(np.float64))).astype(x.dtype)


# Operator -> the types that it takes, the number of operands, what it does.
EXACT: dict[str, tuple[tuple[str, ...], int, Callable[..., Array]]] = {
    "Add": (NUMBERS, 2, np.add),
    "Sub": (NUMBERS, 2, np.subtract),
    "Mul": (NUMBERS, 2, np.multiply),
    "Div": (FLOATS, 2, np.divide),
    "Max": (SIGNED, 2, larger),
    "Min": (SIGNED, 2, smaller),
    "Neg": (FLOATS, 1, np.negative),
    "Abs": (FLOATS, 1, np.abs),
    "Sqrt": (FLOATS, 1, np.sqrt),
    "Reciprocal": (FLOATS, 1, lambda x: x.dtype.type(1) / x),
    "Sign": (FLOATS, 1, np.sign),
    "Floor": (FLOATS, 1, np.floor),
    "Ceil": (FLOATS, 1, np.ceil),
    "Relu": (FLOATS, 1, relu),
}
CLOSE: dict[str, tuple[tuple[str, ...], int, Callable[..., Array]]] = {
    "Exp": (FLOATS, 1, np.exp),
    "Log": (FLOATS, 1, np.log),
    "Tanh": (FLOATS, 1, np.tanh),
    "Erf": (FLOATS, 1, erf),
    "Sigmoid": (FLOATS, 1, sigmoid),
}
COMPARED: dict[str, Callable[..., Array]] = {
    "Equal": np.equal,
    "Less": np.less,
    "LessOrEqual": np.less_equal,
    "Greater": np.greater,
    "GreaterOrEqual": np.greater_equal,
}
LOGIC: dict[str, Callable[..., Array]] = {"And": np.logical_and, "Or": np.logical_or, "Xor": np.logical_xor}
CASTS = [
    ("float32", "float64"), ("float64", "float32"), ("bool", "float32"), ("bool", "float64"), ("bool", "int32"),
    ("bool", "int64"), ("float32", "bool"), ("float64", "bool"), ("int32", "bool"), ("int64", "bool"),
    ("int32", "float32"), ("int64", "float32"), ("int32", "float64"), ("int64", "float64"), ("int32", "int64"),
    ("int64", "uint32"), ("int64", "uint64"), ("uint64", "int64"), ("uint64", "uint32"), ("uint32", "uint64"),
    ("uint32", "int64"), ("uint32", "float32"), ("uint32", "float64"), ("bool", "uint32"), ("bool", "uint64"),
]  # fmt: skip


def element(kind: str) -> int:
    return int(helper.np_dtype_to_tensor_dtype(np.dtype(kind)))


def random_shape(rng: Generator) -> tuple[int, ...]:
    """Of rank 0 to 3, at most 40,000 elements."""
    sizes = [0, 1, 1, 2, 3, 5, 17, 64, 100, 257] if rng.random() < 0.7 else [300, 1000, 33]
    while True:
        shape = tuple(int(rng.choice(sizes)) for _ in range(int(rng.integers(0, 4))))
        if math.prod(shape) <= 40_000:
            return shape


def narrowed(rng: Generator, shape: tuple[int, ...]) -> tuple[int, ...]:
    """A shape that is broadcast to the given one: some sizes 1, some leading ones left out."""
    own = tuple(1 if rng.random() < 0.3 else size for size in shape)
    return own[int(rng.integers(0, len(own) + 1)) :] if rng.random() < 0.4 else own


def numbers(rng: Generator, kind: str, shape: tuple[int, ...]) -> Array:
    if kind == "bool":
        return np.asarray(rng.random(shape) < 0.5)
    if kind in UNSIGNED:
        return np.asarray(rng.integers(0, np.iinfo(kind).max, shape, kind, endpoint=True), kind)
    if np.dtype(kind).kind == "i":
        return np.asarray(rng.integers(-9, 9, shape), kind)
    x = np.asarray(rng.normal(0, 3, shape), kind)
    if x.size and rng.random() < 0.3:
        flat = x.reshape(-1)
        at = rng.integers(0, flat.size, max(1, flat.size // 7))
        flat[at] = rng.choice(SPECIAL[kind], at.size)
        x = flat.reshape(shape)
    return x


class Draft:
    """A chain that grows, and its values by NumPy. `exact`: of operations that IEEE 754 defines to the last bit."""

    def __init__(self, rng: Generator, exact: bool) -> None:
        self.rng, self.exact, self.nodes, self.shape = rng, exact, [], random_shape(rng)
        self.feeds: dict[str, Array] = {}
        self.held: dict[str, Array] = {}
        self.values: dict[str, Array] = {}
        self.made: list[str] = []

    def operand(self, kind: str) -> str:
        """A value of the type: one that was made, or a new input or number."""
        fit = [name for name, value in self.values.items() if value.dtype == kind]
        if fit and self.rng.random() < 0.75:
            recent = fit[-6:]
            return recent[int(self.rng.integers(0, len(recent)))]
        if self.rng.random() < 0.3:
            name, value = f"c{len(self.held)}", numbers(self.rng, kind, ())
            self.held[name] = value
        else:
            name, value = f"x{len(self.feeds)}", numbers(self.rng, kind, narrowed(self.rng, self.shape))
            self.feeds[name] = value
        self.values[name] = value
        return name

    def add(self, op: str, kind: str, operands: list[str], value: Array, **attributes: Any) -> None:
        name = f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, operands, [name], name=name, **attributes))
        self.values[name] = np.asarray(value, kind)
        self.made.append(name)

    def grow(self) -> None:
        rng, pick = self.rng, self.rng.random()
        table = EXACT if self.exact or pick < 0.6 else {**EXACT, **CLOSE}
        with np.errstate(all="ignore"):
            if pick < 0.7:
                op = str(rng.choice(list(table)))
                kinds, count, of = table[op]
                kind = str(rng.choice(kinds))
                given = [self.operand(kind) for _ in range(count)]
                self.add(op, kind, given, of(*(self.values[name] for name in given)))
            elif pick < 0.8:
                op, kind = str(rng.choice(list(COMPARED))), str(rng.choice(NUMBERS))
                given = [self.operand(kind), self.operand(kind)]
                self.add(op, "bool", given, COMPARED[op](*(self.values[name] for name in given)))
            elif pick < 0.85:
                op = str(rng.choice([*LOGIC, "Not"]))
                given = [self.operand("bool") for _ in range(1 if op == "Not" else 2)]
                of = np.logical_not if op == "Not" else LOGIC[op]
                self.add(op, "bool", given, of(*(self.values[name] for name in given)))
            elif pick < 0.88:
                kind = str(rng.choice(UNSIGNED))
                given = [self.operand(kind), f"c{len(self.held)}"]
                self.held[given[1]] = np.array(rng.integers(0, np.dtype(kind).itemsize * 8), kind)
                value = self.values[given[0]] >> self.held[given[1]]
                self.add("BitShift", kind, given, value, direction="RIGHT")
            elif pick < 0.93:
                kind = str(rng.choice(NUMBERS))
                given = [self.operand("bool"), self.operand(kind), self.operand(kind)]
                self.add("Where", kind, given, np.where(*(self.values[name] for name in given)))
            else:
                frm, to = CASTS[int(rng.integers(0, len(CASTS)))]
                given = [self.operand(frm)]
                self.add("Cast", to, given, self.values[given[0]].astype(to), to=element(to))

    def outputs(self) -> list[str]:
        """The last value and some others."""
        return sorted({self.made[-1], *(name for name in self.made if self.rng.random() < 0.2)}, key=self.made.index)

    def model(self, outputs: list[str], named: bool) -> ModelProto:
        """`named`: sizes are names, as those of a batch are."""
        shapes = {name: list(value.shape) for name, value in self.feeds.items()}
        if named:
            shapes = {name: [s if s == 1 else f"n{s}" for s in shape] for name, shape in shapes.items()}
        graph = helper.make_graph(
            self.nodes,
            "g",
            [helper.make_tensor_value_info(n, element(str(v.dtype)), shapes[n]) for n, v in self.feeds.items()],
            [helper.make_tensor_value_info(n, element(str(self.values[n].dtype)), None) for n in outputs],
            [numpy_helper.from_array(value, name) for name, value in self.held.items()],
        )
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)


def mangled(rng: Generator, program: Sequence[int], values: Sequence[int], most: int) -> list[int]:
    """A program with fewer than `most` of its integers replaced."""
    wrong = list(program)
    for at in rng.integers(0, len(wrong), int(rng.integers(1, most))):
        wrong[at] = int(rng.choice(values))
    return wrong


def runs_or_says(run: Callable[[], object], *told: str) -> bool:
    """Whether it runs; what refuses it speaks of one of these words."""
    try:
        run()
    except Exception as problem:
        assert any(word in str(problem) for word in told), problem
        return False
    return True


def draft(seed: int, exact: bool) -> Draft:
    rng = np.random.default_rng(seed)
    made = Draft(rng, exact)
    for _ in range(int(rng.integers(2, 25))):
        made.grow()
    return made
