"""Booleans, choices by them, conversions, and markers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..ir.apart import Slices
from ..ir.graph import Node
from ..ir.op import NONE, NUMPY, Op, Sample, define, free, lift, no_gradient, onnx, pointwise
from ..ir.types import TensorType, TypeProblem, broadcast
from .operands import NUMBERS, cast, meet, same, shapes, sizes


def apart(rng: np.random.Generator) -> Sample:
    """Two operands that nowhere tie: at least 0.04 lies between any two of their numbers."""
    a, b = (np.round(rng.uniform(-3, 3, shape), 1) for shape in shapes(rng, 2))
    return Sample((a + 0.02, b - 0.02), {})


def _some_equal(rng: np.random.Generator) -> Sample:
    """Operands that tie now and then; floats or ints."""
    a, b = (rng.integers(-2, 3, shape) for shape in shapes(rng, 2))
    dtype = np.int64 if rng.random() < 0.5 else np.float64
    return Sample((a.astype(dtype), b.astype(dtype)), {})


def _compare(
    name: str,
    reference: Any,
    lower: Callable[..., str],
    allowed: Sequence[str] = NUMBERS,
    monotone: tuple[int, ...] = (),
) -> Callable[[Any, Any], Node]:
    infer = same(name, allowed)
    op = define(
        name,
        infer=lambda a, b: infer(a, b).with_dtype("bool"),
        grad=no_gradient(2),
        jvp=NONE,
        lower=lower,
        reference=reference,
        samples=_some_equal,
        cost=free,
        elementwise=True,
        finite=True,
        monotone=monotone,
    )

    def build(a: Any, b: Any) -> Node:
        a, b = meet(name, a, b)
        if a.dtype == "bool" and "bool" not in allowed:
            a, b = cast(a, dtype="int"), cast(b, dtype="int")
        return op(a, b)

    build.__name__ = name
    return build


eq = _compare("eq", np.equal, onnx("Equal"), (*NUMBERS, "bool"))
ne = _compare(
    "ne", np.not_equal, lambda out, node, a, b: str(out.node("Not", [out.node("Equal", [a, b])])), (*NUMBERS, "bool")
)
lt = _compare("lt", np.less, onnx("Less"), monotone=(-1, 1))
le = _compare("le", np.less_equal, onnx("LessOrEqual"), monotone=(-1, 1))
gt = _compare("gt", np.greater, onnx("Greater"), monotone=(1, -1))
ge = _compare("ge", np.greater_equal, onnx("GreaterOrEqual"), monotone=(1, -1))


def _truths(count: int) -> Callable[[np.random.Generator], Sample]:
    return lambda rng: Sample(tuple(rng.random(shape) < 0.5 for shape in shapes(rng, count)), {})


not_ = define(
    "not",
    infer=same("not", ("bool",)),
    grad=no_gradient(1),
    jvp=NONE,
    lower=onnx("Not"),
    reference=np.logical_not,
    samples=_truths(1),
    cost=free,
    elementwise=True,
    finite=True,
    monotone=(-1,),
)
and_ = define(
    "and",
    infer=same("and", ("bool",)),
    grad=no_gradient(2),
    jvp=NONE,
    lower=onnx("And"),
    reference=np.logical_and,
    samples=_truths(2),
    commutative=True,
    cost=free,
    elementwise=True,
    finite=True,
    monotone=(1,),
)
or_ = define(
    "or",
    infer=same("or", ("bool",)),
    grad=no_gradient(2),
    jvp=NONE,
    lower=onnx("Or"),
    reference=np.logical_or,
    samples=_truths(2),
    commutative=True,
    cost=free,
    elementwise=True,
    finite=True,
    monotone=(1,),
)


def _with_nan(rng: np.random.Generator) -> Sample:
    [shape] = shapes(rng, 1)
    values = np.where(rng.random(shape) < 0.3, np.nan, rng.uniform(-3, 3, shape))
    return Sample((np.where(rng.random(shape) < 0.2, np.inf, values),), {})


is_nan = define(
    "is_nan",
    infer=lambda x: same("is_nan", ("float",))(x).with_dtype("bool"),
    grad=no_gradient(1),
    jvp=NONE,
    lower=onnx("IsNaN"),
    reference=np.isnan,
    samples=_with_nan,
    cost=free,
    elementwise=True,
    finite=True,
)


# --- choice


def _where_infer(condition: TensorType, a: TensorType, b: TensorType) -> TensorType:
    if condition.dtype != "bool":
        raise TypeProblem("E0305", "`where` chooses by a boolean", {0: f"this is `{condition}`"})
    if a.dtype != b.dtype or a.dtype == "key":
        operands = {1: f"this is `{a}`", 2: f"this is `{b}`"}
        raise TypeProblem("E0302", "`where` chooses between values of one type", operands)
    return TensorType(a.dtype, broadcast(condition.shape, a.shape, b.shape))


def _where_lower(out: Any, node: Node, c: str, a: str, b: str) -> str:
    """Where; of Booleans (c and a) or (not c and b), since no provider has Where for them."""
    if node.dtype == "bool":
        sides = [out.node("And", [c, a]), out.node("And", [out.node("Not", [c]), b])]
        return str(out.node("Or", sides))
    return str(out.node("Where", [c, a, b]))


def _where_samples(rng: np.random.Generator) -> Sample:
    c, a, b = shapes(rng, 3)
    if rng.random() < 0.1:
        return Sample((rng.random(c) < 0.5, rng.random(a) < 0.5, rng.random(b) < 0.5), {})
    return Sample((rng.random(c) < 0.5, rng.uniform(-3, 3, a), rng.uniform(-3, 3, b)), {})


def _where_jvp(tangents: Sequence[Node | None], y: Node, c: Node, a: Node, b: Node) -> Node | None:
    """The tangent of the side that was chosen."""
    _, da, db = tangents
    return None if da is None and db is None else where(c, 0.0 if da is None else da, 0.0 if db is None else db)


_where = define(
    "where",
    infer=_where_infer,
    lower=_where_lower,
    reference=np.where,
    samples=_where_samples,
    grad=lambda g, y, c, a, b: [NONE, where(c, g, 0.0), where(c, 0.0, g)],
    jvp=_where_jvp,
    cost=free,
    elementwise=True,
    finite=True,
    moves=True,
)


def where(condition: Node, a: Any, b: Any) -> Node:
    """a where the condition holds, else b; a and b meet in one dtype."""
    if not isinstance(a, Node) and not isinstance(b, Node):
        a = lift(condition.graph, a)
    return _where(condition, *meet("where", a, b))


# --- conversion and markers


def _cast_samples(rng: np.random.Generator) -> Sample:
    [shape] = shapes(rng, 1)
    whole = rng.integers(-3, 4, shape)
    target = str(rng.choice(["float", "int", "bool"]))
    if target == "float":
        return Sample((whole if rng.random() < 0.5 else whole > 0,), {"dtype": target})
    values = np.where(rng.random(shape) < 0.3, 0.0, whole + rng.uniform(0.1, 0.9, shape))
    return Sample((values,), {"dtype": target})


define(  # to bool: whether it is not 0; from float to int: towards zero
    "cast",
    infer=lambda x, dtype: x.with_dtype(dtype),
    grad=lambda g, y, x, dtype: [g if x.dtype == dtype == "float" else NONE],
    jvp=pointwise,
    cost=free,
    lower=lambda out, node, x: out.cast(x, node.attrs["dtype"]),
    reference=lambda x, dtype: np.asarray(x).astype(NUMPY[dtype]),
    samples=_cast_samples,
    elementwise=True,
    finite=True,
)

stop_gradient = define(
    "stop_gradient",
    infer=lambda x: x,
    grad=no_gradient(1),
    jvp=NONE,
    cost=free,
    lower=lambda out, node, x: x,
    reference=lambda x: x,
    samples=lambda rng: Sample((rng.uniform(-3, 3, shapes(rng, 1)[0]),), {}),
    elementwise=True,
    finite=True,
    monotone=(1,),
    marker=True,
    moves=True,
)


def _mark(name: str, lower: Callable[..., str] = lambda out, node, x: x) -> Op:
    """A value that is what it is of, and that no rewrite looks through."""
    return define(
        name,
        infer=lambda x: x,
        grad=lambda g, y, x: [g],
        jvp=pointwise,
        cost=free,
        lower=lower,
        reference=lambda x: x,
        samples=lambda rng: Sample((rng.uniform(-3, 3, shapes(rng, 1)[0]),), {}),
        elementwise=True,
        finite=True,
        monotone=(1,),
        marker=True,
        moves=True,
    )


cut = _mark("cut")  # an intermediate value by which a derivative is taken
# What a metric reads of all rows of a data set at once: its own value, which an evaluation keeps.
all_rows = _mark("all_rows", lambda out, node, x: str(out.node("Identity", [x])))
point = _mark("point")  # where an optimizer's rule stands, until no derivative is left to be taken by it


def _tie_infer(x: TensorType, *since: TensorType) -> TensorType:
    for number, type in enumerate(since, 1):
        if type.dtype != "float":
            raise TypeProblem("E0302", "a value is tied to floats", {number: f"this is `{type}`"})
    return x


def _tie_lower(out: Any, node: Node, x: str, *since: str) -> str:
    """where(c, x, s), with s a sum of single elements and c = s is NaN or is not: true, but not known before they are.

    One pass over x. A Reshape by a computed shape would copy nothing, but a shape is a value of the host: on CUDA each
    block would wait for the device.
    """
    firsts = []
    for name, source in zip(since, node.inputs[1:], strict=True):
        if source.rank:
            ends = [out.constant(np.full(source.rank, end, np.int64), "int") for end in (0, 1)]
            name = out.node("Slice", [name, *ends])
        firsts.append(name)
    first = firsts[0] if len(firsts) == 1 else out.node("Sum", firsts)
    s = out.node("ReduceSum", [first], keepdims=0)  # 0 where one is empty
    unknown = out.node("IsNaN", [s if out.precision == "float64" else out.cast(s, "float32")])
    always = out.node("Or", [unknown, out.node("Not", [unknown])])
    if node.dtype == "float":
        return str(out.node("Where", [always, x, s]))
    if node.dtype == "int":
        return str(out.node("Where", [always, x, out.constant(0, "int")]))
    never = out.node("Not", [always])
    if node.dtype == "bool":
        return str(out.node("Or", [x, never]))
    return str(out.node("Add", [x, out.cast(never, "key")]))


tie = define(  # x, but not before some other values are computed: no rewrite looks through it
    "tie",
    infer=_tie_infer,
    grad=lambda g, y, x, *since: [g, *[NONE] * len(since)],
    cost=free,
    lower=_tie_lower,
    jvp=lambda tangents, y, x, *since: tangents[0],
    reference=lambda x, *since: x,
    samples=lambda rng: Sample(tuple(rng.uniform(-3, 3, sizes(rng, empty=0.1)) for _ in range(3)), {}),
    finite=True,
    marker=True,
    apart=lambda node, number, axis: Slices.UNREAD if number else axis,
    moves=True,
)
