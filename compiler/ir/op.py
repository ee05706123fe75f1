"""One call of `define` per primitive operation: its type rule, derivative, ONNX form, NumPy meaning and samples."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias

import numpy as np

from .apart import Apart, aligned
from .graph import Array, Graph, Node
from .types import Shape, Size, TensorType, product


class _None:
    """The derivative of an input that has none: integers, indices, booleans, piecewise constant operations."""

    def __repr__(self) -> str:
        return "NONE"


NONE = _None()


class Emitter(Protocol):
    """What a lowering rule writes with; `lower/emit.py` implements it."""

    precision: str  # one of PRECISIONS: what `float` means in this file
    parts: dict[str, list[str]]  # of a scan, by what `scan` returned: the names of its results

    def node(self, op_type: str, inputs: Sequence[str], *, output: int = 0, **attributes: Any) -> str:
        """Writes one ONNX node and returns the name of its output of that number."""

    def scan(self, node: Node, names: Sequence[str]) -> str:
        """Writes a scan; returns a name under which `parts` has those of its results."""

    def constant(self, value: Any, dtype: str) -> str:
        """The name of an initializer, shared if equal. dtype: "float", "int", "bool", "key", or an ONNX name."""

    def size(self, size: Size) -> str:
        """The name of an int64 scalar that holds a size."""

    def shape(self, shape: Shape) -> str:
        """The name of an int64 vector that holds a shape."""

    def further(self, name: str, number: int) -> str:
        """Another output of the LayerNormalization that makes `name`."""

    def cast(self, name: str, dtype: str) -> str:
        """A Cast node. dtype as in `constant`."""


@dataclass(frozen=True)
class Sample:
    """Inputs and attributes on which an operation is tested. Float inputs keep 1e-3 away from kinks."""

    inputs: tuple[Array, ...]
    attrs: dict[str, Any]


Sampler: TypeAlias = "Callable[[np.random.Generator], Sample]"


@dataclass(frozen=True, eq=False)
class Op:
    """A primitive operation; calling it makes a node.

    infer(*types, **attrs) -> TensorType, or TypeProblem.
    grad(g, y, *inputs, **attrs) -> for each input the adjoint (of the input's dtype, of a shape that
        broadcasting made from the input's: the differentiate loop sums it back) or NONE. Kinks and ties
        are decided here, in words.
    jvp: how a small change of the inputs moves the result, forward mode. `pointwise` where the operation acts
        element by element, `linear` where it is linear in each float input by itself (products too), NONE where
        it has no derivative, else (tangents, y, *inputs, **attrs) -> the tangent of y, of a shape that broadcasts
        to y's. tangents has one entry for each input, None where it is zero; None comes back for zero.
    cost(node) -> how many multiplications, divisions and elementary functions one evaluation takes, a Size.
        `free` where there are none (moves, sums, comparisons), `per_element` for one in each element of the result.
    lower(emitter, node, *names) -> name. names are those of the inputs.
    reference(*arrays, **attrs) -> array. Sizes among the attrs have become ints. Floats are float64.
    samples(rng) -> Sample: a random one at each call, over shapes and values.

    Facts, which passes ask for instead of names; tests/test_op_facts.py holds each to the reference on samples.
    elementwise: each element of the result is the same function of the elements at its place in the operands,
        which broadcast to the result's shape.
    finite: finite operands, each with an element at least, give finite values; of magnitudes up to 1000, so
        overflow aside.
    monotone: 1 where the result never falls as an operand grows, -1 where it never grows; one number for each
        operand, or one for all of them. () where nothing of the kind holds or is known.
    moves: each element of the result is an element of an operand of the result's dtype, whatever that element is: its
        place and the other operands decide. So a function of each element may be taken before or after.
    index: the last operand says, in integers, which elements of the others the operation reads or writes.
    limit: each element of the result is one of an operand or 0, whichever lies above (or below) the other.
    apart(node, operand, dimension) -> what becomes of the slices along that dimension of that operand: the dimension of
        the result along which slice i moves slice i alone, or one of `Slices`, which says how they do not stay apart.
        None where nothing is stated: they may meet. An elementwise operation has it of its broadcasting.
    marker: its value is its first operand; it stands there for a pass, and no rewrite looks through it.
    arguments: of an elementwise operation, what specs call its operands; () where they do not call it by its name.
    """

    name: str
    infer: Callable[..., TensorType]
    grad: Callable[..., Sequence[Node | _None]]
    jvp: Callable[..., Node | None] | _None
    lower: Callable[..., str]
    reference: Callable[..., Any]
    samples: Sampler | None
    cost: Callable[[Node], Size]
    commutative: bool = False
    elementwise: bool = False
    finite: bool = False
    monotone: tuple[int, ...] = ()
    moves: bool = False
    index: bool = False
    limit: bool = False
    apart: Apart | None = None
    marker: bool = False
    arguments: tuple[str, ...] = ()
    defaults: Mapping[str, Any] = field(default_factory=dict)  # of attributes that may be left out

    def __call__(self, *inputs: Any, **attrs: Any) -> Node:
        """The node of this operation on nodes and numbers. Mixed dtypes meet in the operations that say so."""
        graph = next(value.graph for value in inputs if isinstance(value, Node))
        return graph.add(self, [lift(graph, value, inputs) for value in inputs], attrs)

    def __repr__(self) -> str:
        return f"Op({self.name})"


OPS: dict[str, Op] = {}


def define(name: str, **rules: Any) -> Op:
    """Makes an operation and registers it. Every rule of `Op` must be given."""
    if name in OPS:
        raise ValueError(f"operation {name!r} is defined twice")
    if rules.get("elementwise"):
        rules.setdefault("apart", aligned)
    OPS[name] = Op(name, **rules)
    return OPS[name]


def having(fact: Callable[[Op], bool]) -> tuple[str, ...]:
    """The names of the operations of which a fact holds, in the order of their definitions."""
    return tuple(op.name for op in OPS.values() if fact(op))


def lift(graph: Graph, value: Any, beside: Sequence[Any] = ()) -> Node:
    """A number as a constant of the dtype of the nodes beside it (a float makes an int meet as float)."""
    if isinstance(value, Node):
        return value
    dtypes = [node.dtype for node in beside if isinstance(node, Node)]
    if isinstance(value, bool):
        dtype = "bool"
    elif isinstance(value, int) and "float" not in dtypes:
        dtype = "int"
    else:
        dtype = "float"
    return constant(graph, value, dtype)


NUMPY: dict[str, np.dtype[Any]] = {
    "float": np.dtype(np.float64),
    "int": np.dtype(np.int64),
    "bool": np.dtype(np.bool_),
    "key": np.dtype(np.uint64),
}


def constant(graph: Graph, value: Any, dtype: str) -> Node:
    """A constant node; `value` is a number or an array."""
    return graph.add(OPS["constant"], (), {"value": np.asarray(value, NUMPY[dtype]), "dtype": dtype})


def no_gradient(count: int) -> Callable[..., Sequence[_None]]:
    """The grad rule of an operation none of whose inputs has a derivative."""
    return lambda g, y, *inputs, **attrs: [NONE] * count


def pointwise(tangents: Sequence[Node | None], y: Node, *inputs: Node, **attrs: Any) -> Node | None:
    """Forward mode of an operation on each element by itself: its Jacobian is diagonal, so that the reverse rule
    applied to a tangent is the forward one."""
    moved = [(i, t) for i, t in enumerate(tangents) if t is not None]
    parts = [y.op.grad(t, y, *inputs, **attrs)[i] for i, t in moved]
    return total([part for part in parts if isinstance(part, Node)])


def linear(tangents: Sequence[Node | None], y: Node, *inputs: Node, **attrs: Any) -> Node | None:
    """Forward mode of an operation that is linear in each of its float inputs: the operation with one of them
    replaced by its tangent, summed over them."""
    return total(
        [y.graph.add(y.op, [*inputs[:i], t, *inputs[i + 1 :]], attrs) for i, t in enumerate(tangents) if t is not None]
    )


def total(parts: Sequence[Node]) -> Node | None:
    """The sum; None of nothing."""
    if not parts:
        return None
    result = parts[0]
    for part in parts[1:]:
        result = result + part
    return result


def free(node: Node) -> Size:
    """The cost of what multiplies nothing."""
    return 0


def per_element(node: Node) -> Size:
    """The cost of one multiplication, division or elementary function for each element of the result."""
    return product(node.shape)


def onnx(op_type: str, **attributes: Any) -> Callable[..., str]:
    """The lowering rule of an operation that is one ONNX operator on the same inputs."""
    return lambda out, node, *names: out.node(op_type, names, **attributes)
