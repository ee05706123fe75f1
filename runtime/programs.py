"""The text of a chain's program (native/chain.h), and what each operator becomes in it."""

from __future__ import annotations

import struct
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from onnx import AttributeProto, NodeProto, TensorProto

DOMAIN, VERSION = "dlc.native", 1
MOST_VALUES, MOST_INPUTS, MOST_OUTPUTS = 128, 64, 64  # as native/chain.h has them

FLOAT, DOUBLE, INT32, INT64, BOOL, UINT32, UINT64 = (
    TensorProto.FLOAT,
    TensorProto.DOUBLE,
    TensorProto.INT32,
    TensorProto.INT64,
    TensorProto.BOOL,
    TensorProto.UINT32,
    TensorProto.UINT64,
)
FLOATS = frozenset((FLOAT, DOUBLE))
SIGNED = FLOATS | {INT32, INT64}
UNSIGNED = frozenset((UINT32, UINT64))
NUMBERS = SIGNED | UNSIGNED
TRUTHS = frozenset((BOOL,))
# Operator -> the number of the operation in native/chain.h, how many operands, their types.
SAME: dict[str, tuple[int, int, frozenset[int]]] = {
    "Add": (3, 2, NUMBERS),
    "Sub": (4, 2, NUMBERS),
    "Mul": (5, 2, NUMBERS),
    "Div": (6, 2, FLOATS),
    "Pow": (9, 2, FLOATS),
    "Neg": (10, 1, FLOATS),
    "Abs": (11, 1, FLOATS),
    "Sqrt": (12, 1, FLOATS),
    "Reciprocal": (13, 1, FLOATS),
    "Sign": (14, 1, FLOATS),
    "Floor": (15, 1, FLOATS),
    "Ceil": (16, 1, FLOATS),
    "Exp": (17, 1, FLOATS),
    "Log": (18, 1, FLOATS),
    "Tanh": (19, 1, FLOATS),
    "Erf": (20, 1, FLOATS),
    "Sigmoid": (21, 1, FLOATS),
    "And": (27, 2, TRUTHS),
    "Or": (28, 2, TRUTHS),
    "Xor": (29, 2, TRUTHS),
    "Not": (30, 1, TRUTHS),
}
COMPARED: dict[str, tuple[int, frozenset[int]]] = {
    "Equal": (22, NUMBERS | TRUTHS),
    "Less": (23, NUMBERS),
    "LessOrEqual": (24, NUMBERS),
    "Greater": (25, NUMBERS),
    "GreaterOrEqual": (26, NUMBERS),
}
FOLDED = {"Max": (7, SIGNED), "Min": (8, SIGNED)}  # of any number of operands
CONST, CAST, WHERE, MAX, SHIFT, SUM, ROW_SUM, ROW_MAX = 0, 1, 2, 7, 31, 40, 41, 42
ROWS = {"ReduceSum": ROW_SUM, "ReduceMax": ROW_MAX}  # along the last axis, which stays
NUMBERS_ONLY = {"Cos": 32, "Sin": 33}  # of a single number: the C library computes them one by one
CASTS: dict[int, frozenset[int]] = {  # those that are defined for every number
    FLOAT: frozenset((DOUBLE, BOOL)),
    DOUBLE: frozenset((FLOAT, BOOL)),
    INT32: frozenset((FLOAT, DOUBLE, INT64, BOOL)),
    INT64: frozenset((FLOAT, DOUBLE, BOOL, UINT32, UINT64)),
    BOOL: frozenset((FLOAT, DOUBLE, INT32, INT64, UINT32, UINT64)),
    UINT32: frozenset((FLOAT, DOUBLE, INT64, UINT64)),
    UINT64: frozenset((INT64, UINT32)),
}

Size = int | str
Sizes = tuple[Size, ...]
Typed = tuple[int, Sizes]  # element type and shape; a name is a size that is the same wherever it stands


@dataclass(frozen=True)
class Part:
    """An elementwise node: its operation, the types of its operands and its result."""

    node: NodeProto
    kind: int  # of the result
    shape: Sizes
    write: Callable[[Program, list[int]], int]  # adds its instructions, gives the value that the result is
    rows: Sizes | None = None  # the shape of what is one number for each row here: the result has size 1 in its place

    @property
    def read(self) -> list[str]:
        """The values that it computes with."""
        return list(self.node.input)[: 1 if self.node.op_type in ROWS else None]

    @property
    def walked(self) -> Sizes:
        """The shape of the chain that it can be in."""
        return self.shape if self.rows is None else self.rows


class Program:
    """The text of a program that grows (native/chain.h)."""

    def __init__(self) -> None:
        self.inputs: dict[str, int] = {}
        self.kinds: list[int] = []
        self.code: list[tuple[int, int, int, int, int]] = []
        self.values: dict[str, int] = {}
        self.constants: dict[tuple[int, int], int] = {}

    def add(self, operation: int, kind: int, *operands: int) -> int:
        """A result's number counts from MOST_INPUTS here: how many inputs there will be is known at the end."""
        a, b, c = (*operands, 0, 0, 0)[:3]
        self.code.append((operation, kind, a, b, c))
        return MOST_INPUTS + len(self.code) - 1

    def text(self, outputs: Sequence[str], narrow: Collection[str], last: bool) -> list[int]:
        """`narrow`: outputs of one number for each row; `last`: nothing reads the outputs soon."""
        count = len(self.inputs)

        def place(value: int) -> int:
            return value if value < MOST_INPUTS else value - MOST_INPUTS + count

        words = [VERSION, count, len(self.code), len(outputs), int(last), *self.kinds]
        for operation, kind, *operands in self.code:
            given = (
                0 if operation == CONST else 1 if operation in (SUM, ROW_SUM, ROW_MAX) else 3
            )  # operands that are values
            words += [operation, kind, *map(place, operands[:given]), *operands[given:]]
        places = {name: place(self.values[name]) for name in outputs}
        return words + [~places[name] if name in narrow else places[name] for name in outputs]


def same(operation: int, kind: int) -> Callable[[Program, list[int]], int]:
    return lambda program, operands: program.add(operation, kind, *operands)


def _folded(operation: int, kind: int) -> Callable[[Program, list[int]], int]:
    def write(program: Program, operands: list[int]) -> int:
        value = operands[0]
        for operand in operands[1:]:
            value = program.add(operation, kind, value, operand)
        return value

    return write


def _relu(kind: int) -> Callable[[Program, list[int]], int]:
    zero = struct.pack("=f" if kind == FLOAT else "=d", 0.0)
    return lambda program, operands: program.add(MAX, kind, operands[0], constant(program, kind, zero))


def constant(program: Program, kind: int, data: bytes) -> int:
    bits = int.from_bytes(data.ljust(8, b"\0"), "little", signed=True)
    if (kind, bits) not in program.constants:
        program.constants[kind, bits] = program.add(CONST, kind, bits)
    return program.constants[kind, bits]


def form(node: NodeProto, kinds: list[int]) -> tuple[int, Callable[[Program, list[int]], int]] | None:
    """The type of the result and what to write, for a node whose operands have these types; None for what is not
    elementwise, or has an attribute or a type that the kernel does not know."""
    op, attributes, first = node.op_type, {a.name: a for a in node.attribute}, kinds[0]
    if op == "Cast":
        to = attributes.pop("to", AttributeProto()).i
        if attributes or to not in CASTS.get(first, frozenset()):
            return None
        return to, same(CAST, to)
    if op == "BitShift" and first in UNSIGNED and kinds == [first, first]:
        right = attributes.pop("direction", AttributeProto()).s == b"RIGHT" and not attributes
        return (first, same(SHIFT, first)) if right else None
    if attributes:
        return None
    if op == "Where":
        fits = len(kinds) == 3 and first == BOOL and kinds[1] == kinds[2] in NUMBERS | TRUTHS
        return (kinds[1], same(WHERE, kinds[1])) if fits else None
    if any(kind != first for kind in kinds):
        return None
    if op in SAME and len(kinds) == SAME[op][1] and first in SAME[op][2]:
        return first, same(SAME[op][0], first)
    if op in COMPARED and len(kinds) == 2 and first in COMPARED[op][1]:
        return BOOL, same(COMPARED[op][0], first)
    if op in FOLDED and len(kinds) > 1 and first in FOLDED[op][1]:
        return first, _folded(FOLDED[op][0], first)
    if op == "Relu" and len(kinds) == 1 and first in FLOATS:
        return first, _relu(first)
    return None


def broadcast(shapes: Sequence[Sizes]) -> Sizes | None:
    """The shape of a result, None where sizes of different names meet."""
    rank = max(map(len, shapes))
    sizes: list[Size] = [1] * rank
    for shape in shapes:
        for k, size in enumerate(shape, rank - len(shape)):
            if sizes[k] == 1:
                sizes[k] = size
            elif size not in (1, sizes[k]):
                return None
    return tuple(sizes)
