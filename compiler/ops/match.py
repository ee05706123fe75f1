"""What rules ask about nodes."""

from __future__ import annotations

from collections.abc import Sequence

from .. import ops
from ..ir.graph import Node
from ..ir.op import constant, having
from ..ir.types import Shape

Number = float | int | bool
REDUCTIONS = ("reduce_sum", "reduce_max", "reduce_min", "reduce_prod", "logsumexp")
ELEMENTWISE = having(lambda op: op.elementwise and not op.marker)  # where `on_elements` holds, for rules to stand under


def number(node: Node) -> Number | None:
    """The value of a constant of rank 0."""
    if node.op.name == "constant" and not node.type.shape:
        value: Number = node.attrs["value"].item()
        return value
    return None


def is_number(node: Node, value: float) -> bool:
    return node.op.name == "constant" and not node.type.shape and bool(node.attrs["value"] == value)


def other(node: Node, value: float) -> Node | None:
    """The other operand, where one operand of a binary operation is this number."""
    a, b = node.inputs
    return a if is_number(b, value) else b if is_number(a, value) else None


def with_number(node: Node) -> tuple[Node, Number] | None:
    """The operand that is not a number, and the number, of a commutative operation."""
    a, b = node.inputs
    for x, c in ((a, b), (b, a)):
        value = number(c)
        if value is not None:
            return x, value
    return None


def like(node: Node, value: Number) -> Node:
    """A number of the dtype of a node."""
    return constant(node.graph, value, node.dtype)


def spread(x: Node, shape: Shape) -> Node:
    """x as a value of this shape: broadcast where it is smaller."""
    return ops.broadcast_to(x, shape=shape)


def hidden(node: Node) -> bool:
    """Whether an operation says nothing about the mathematics: its result is its first operand."""
    return node.op.marker or node.op.name == "cast"


def on_elements(node: Node) -> bool:
    """Whether it acts on each element, and is no marker, which rules do not look through."""
    return node.op.elementwise and not node.op.marker


def once(node: Node) -> bool:
    """Whether one node alone reads it."""
    return node.graph.once(node)


def is_op(node: Node, *names: str) -> bool:
    return node.op.name in names


def axes_of(node: Node) -> tuple[int, ...]:
    """The axes of a reduction, counted from the front, in order."""
    rank = node.inputs[0].rank
    return tuple(sorted(axis % rank for axis in node.attrs["axes"]))


def without(shape: Shape, axes: Sequence[int]) -> Shape:
    return tuple(size for i, size in enumerate(shape) if i not in axes)


def kept(shape: Shape, axes: Sequence[int]) -> Shape:
    return tuple(1 if i in axes else size for i, size in enumerate(shape))


def solid(shape: Shape) -> Shape:
    """A shape without its ones."""
    return tuple(size for size in shape if size != 1)


def bare(node: Node) -> Node:
    """A value without the reshapes around it that only add or take dimensions of size 1."""
    while node.op.name == "reshape" and solid(node.shape) == solid(node.inputs[0].shape):
        node = node.inputs[0]
    return node


def constant_along(node: Node, shape: Shape, axes: Sequence[int]) -> bool:
    """Whether a value that broadcasts to a shape is the same all along these axes of it."""
    lead = len(shape) - node.rank
    return all(axis < lead or node.shape[axis - lead] == 1 for axis in axes)


def drop_axes(node: Node, rank: int, axes: Sequence[int]) -> Node:
    """A value that is constant along these axes of a shape of this rank, without them."""
    lead = rank - node.rank
    return ops.reshape(node, shape=without(node.shape, [axis - lead for axis in axes if axis >= lead]))


def unsigned(node: Node, depth: int = 3) -> Node | None:
    """-node, where the node carries a sign that can be dropped for nothing: -x, x * -2, x * -s, -1 / n."""
    name = node.op.name
    if name == "neg":
        return node.inputs[0]
    if not depth:
        return None
    value = number(node)
    if value is not None:
        return like(node, -value) if node.dtype != "bool" and value < 0 else None
    if name not in ("mul", "div") or not (once(node) or not node.rank):
        return None
    a, b = node.inputs
    for x, s, first in ((a, b, True), (b, a, False)):
        if not s.rank:
            plain = unsigned(s, depth - 1)
            if plain is not None:
                operands = (x, plain) if first else (plain, x)
                return ops.mul(*operands) if name == "mul" else ops.div(*operands)
    return None


def opposite(a: Node, b: Node) -> bool:
    """Whether a = -b is seen at once."""
    if (a.op.name == "neg" and a.inputs[0] is b) or (b.op.name == "neg" and b.inputs[0] is a):
        return True
    if a.op.name == b.op.name == "sub":
        return a.inputs == b.inputs[::-1]
    if a.op.name == b.op.name == "mul":
        first, second = with_number(a), with_number(b)
        return first is not None and second is not None and first[0] is second[0] and first[1] == -second[1]
    return False


def complement(a: Node, b: Node) -> bool:
    """Whether a + b = 1 is seen at once; through casts of integers and Booleans too."""
    if a.op.name == b.op.name == "cast":
        a, b = a.inputs[0], b.inputs[0]
        if (a.op.name == "not" and a.inputs[0] is b) or (b.op.name == "not" and b.inputs[0] is a):
            return True
    return any(x.op.name == "sub" and x.inputs[1] is y and is_number(x.inputs[0], 1) for x, y in ((a, b), (b, a)))


def one_minus(node: Node) -> Node | None:
    """a, where the node is 1 - a; through a cast too."""
    if node.op.name == "sub" and is_number(node.inputs[0], 1):
        return node.inputs[1]
    if node.op.name == "cast":
        [x] = node.inputs
        inner = x.inputs[0] if x.op.name == "not" else one_minus(x)
        return None if inner is None else ops.cast(inner, dtype=node.dtype)
    return None


def finite(node: Node) -> bool:
    """Whether no element can be infinite or NaN."""
    if node.dtype != "float":
        return True
    drawn = node.op.name in ("one_hot", "random_uniform", "random_normal")
    return drawn or (node.op.name == "cast" and node.inputs[0].dtype != "float")


def mild(s: Node, depth: int = 3) -> bool:
    """Whether a scalar is away from 0 and infinity, and so are products of a few: a number, a size, their products."""
    value = number(s)
    if value is not None:
        return 1e-15 < abs(value) < 1e15
    if s.op.name == "cast":
        return s.inputs[0].op.name == "size"
    return s.op.name in ("mul", "div") and depth > 0 and not s.rank and all(mild(x, depth - 1) for x in s.inputs)


def reorders(node: Node, *factors: Node) -> bool:
    """Whether factors of a product may meet before what the text multiplies them by: in derivatives and updates,
    and where they are mild. Elsewhere what was finite might overflow, or a NaN be lost."""
    numbers = bool(factors) and all(number(s) is not None for s in factors)
    return all(map(mild, factors)) or (node.derived and not numbers)


def nonnegative(node: Node, depth: int = 6) -> bool:
    """Whether no element can be negative (NaN may be)."""
    name = node.op.name
    if name in (
        "exp",
        "softmax",
        "sigmoid",
        "abs",
        "sqrt",
        "relu",
        "softplus",
        "one_hot",
        "random_uniform",
        "reduce_sum_square",
        "size",
    ):
        return True
    if name == "mul" and node.inputs[0] is node.inputs[1]:
        return True
    value = number(node)
    if value is not None:
        return value >= 0
    if name == "sub" and is_number(node.inputs[0], 1.0):
        return node.inputs[1].op.name in ("sigmoid", "softmax", "one_hot", "random_uniform")
    through = (
        "reshape",
        "transpose",
        "broadcast_to",
        "slice",
        "reduce_sum",
        "reduce_max",
        "reduce_min",
        "reduce_prod",
        "add",
        "mul",
        "div",
        "maximum",
        "minimum",
        "concat",
        "cast",
    )
    if not depth or name not in (*through, "pick", "gather", "where", "pow") or len(node.inputs) > 4:
        return False
    sources = {"pick": node.inputs[:1], "gather": node.inputs[:1], "pow": node.inputs[:1], "where": node.inputs[1:]}
    return all(nonnegative(source, depth - 1) for source in sources.get(name, node.inputs))
