"""Arithmetic on each element, with NumPy's broadcasting; the derivatives at kinks and ties are decided here."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ..ir.graph import Array, Node
from ..ir.op import NONE, Op, Sample, constant, define, free, no_gradient, onnx, per_element, pointwise
from .choice import and_, apart, eq, gt, lt, stop_gradient, where
from .operands import NUMBERS, cast, elementwise, floats, is_constant, meet, same, shapes, sometimes_ints
from .special import (
    lower_div,
    lower_erf,
    lower_expm1,
    lower_floordiv,
    lower_log1p,
    lower_mod,
    lower_sigmoid,
    lower_softplus,
)

Builder = Callable[..., Node]

# --- one operand


def _unary(
    name: str,
    reference: Any,
    grad: Any,
    lower: Any,
    samples: Any,
    ints: bool = False,
    cost: Any = per_element,
    arguments: tuple[str, ...] = ("x",),
    **facts: Any,
) -> Op:
    """grad is NONE where the operation is constant between jumps; arguments as of `Op`."""
    flat = grad is NONE
    return define(
        name,
        infer=same(name, NUMBERS if ints else ("float",)),
        grad=no_gradient(1) if flat else grad,
        jvp=NONE if flat else pointwise,
        lower=lower,
        reference=reference,
        samples=sometimes_ints(samples) if ints else samples,
        cost=cost,
        elementwise=True,
        arguments=arguments,
        **facts,
    )


def _sigmoid(x: Array) -> Array:
    small = np.exp(-np.abs(x))
    return np.where(x >= 0, 1 / (1 + small), small / (1 + small))


_WHOLE = range(-4, 5)  # where floor and ceil jump
neg: Op = _unary(
    "neg",
    np.negative,
    lambda g, y, x: [-g],
    onnx("Neg"),
    floats(-3, 3),
    ints=True,
    cost=free,
    finite=True,
    monotone=(-1,),
    arguments=(),
)
# |x|' = sign(x), so 0 at 0
abs_: Op = _unary(
    "abs",
    np.abs,
    lambda g, y, x: [g * sign(x)],
    onnx("Abs"),
    floats(-3, 3, kinks=[0]),
    ints=True,
    cost=free,
    finite=True,
)
sign: Op = _unary(
    "sign", np.sign, NONE, onnx("Sign"), floats(-3, 3, kinks=[0]), ints=True, cost=free, finite=True, monotone=(1,)
)
exp: Op = _unary("exp", np.exp, lambda g, y, x: [g * y], onnx("Exp"), floats(-3, 3), monotone=(1,))
expm1: Op = _unary("expm1", np.expm1, lambda g, y, x: [g * exp(x)], lower_expm1, floats(-3, 3), monotone=(1,))
log: Op = _unary("log", np.log, lambda g, y, x: [g / x], onnx("Log"), floats(0.1, 4), monotone=(1,))
log1p: Op = _unary("log1p", np.log1p, lambda g, y, x: [g / (x + 1.0)], lower_log1p, floats(-0.8, 4), monotone=(1,))
sqrt: Op = _unary(
    "sqrt", np.sqrt, lambda g, y, x: [g * 0.5 / y], onnx("Sqrt"), floats(0.1, 4), monotone=(1,)
)  # infinite at 0
sin: Op = _unary("sin", np.sin, lambda g, y, x: [g * cos(x)], onnx("Sin"), floats(-4, 4), finite=True)
cos: Op = _unary("cos", np.cos, lambda g, y, x: [-(g * sin(x))], onnx("Cos"), floats(-4, 4), finite=True)
tanh: Op = _unary(
    "tanh", np.tanh, lambda g, y, x: [g * (1.0 - y * y)], onnx("Tanh"), floats(-3, 3), finite=True, monotone=(1,)
)
sigmoid: Op = _unary(
    "sigmoid", _sigmoid, lambda g, y, x: [g * (y * (1.0 - y))], lower_sigmoid, floats(-5, 5), finite=True, monotone=(1,)
)
# a sigmoid that multiplies, by the kernel, which is 0 below -18; made by a pass only
gate: Op = _unary(
    "gate",
    _sigmoid,
    lambda g, y, x: [g * (y * (1.0 - y))],
    onnx("Sigmoid"),
    floats(-5, 5),
    finite=True,
    monotone=(1,),
    arguments=(),
)
softplus: Op = _unary(
    "softplus",
    lambda x: np.logaddexp(0.0, x),
    lambda g, y, x: [g * sigmoid(x)],
    lower_softplus,
    floats(-5, 5),
    finite=True,
    monotone=(1,),
    arguments=(),
)
# relu'(0) = 0; read off the result, so that the operand need not be kept
relu: Op = _unary(
    "relu",
    lambda x: np.maximum(x, 0.0),
    lambda g, y, x: [where(gt(y, 0.0), g, 0.0)],
    onnx("Relu"),
    floats(-3, 3, kinks=[0]),
    cost=free,
    finite=True,
    monotone=(1,),
    limit=True,
    arguments=(),
)
erf: Op = _unary(
    "erf",
    np.vectorize(math.erf, otypes=[np.float64]),
    lambda g, y, x: [g * (exp(-(x * x)) * (2 / math.sqrt(math.pi)))],
    lower_erf,
    floats(-3, 3),
    finite=True,
    monotone=(1,),
)
floor: Op = _unary(
    "floor", np.floor, NONE, onnx("Floor"), floats(-4, 4, kinks=_WHOLE), cost=free, finite=True, monotone=(1,)
)
ceil: Op = _unary(
    "ceil", np.ceil, NONE, onnx("Ceil"), floats(-4, 4, kinks=_WHOLE), cost=free, finite=True, monotone=(1,)
)
# ties go to the even neighbour, in NumPy and in ONNX
round_: Op = _unary(
    "round",
    np.round,
    NONE,
    onnx("Round"),
    floats(-4, 4, kinks=[i + 0.5 for i in _WHOLE]),
    cost=free,
    finite=True,
    monotone=(1,),
)


# --- two operands


def _nonzero(rng: np.random.Generator) -> Sample:
    a, b = (rng.uniform(0.3, 3, shape) * rng.choice([-1.0, 1.0], shape) for shape in shapes(rng, 2))
    return Sample((a, b), {})


def _off_steps(rng: np.random.Generator) -> Sample:
    """Quotients kept away from integers, where floor jumps."""
    a, b = _nonzero(rng).inputs
    whole = np.floor(a / b)
    apart = np.clip(a / b - whole, 0.05, 0.95)
    return Sample(((whole + apart) * np.broadcast_to(b, whole.shape), b), {})


def _mul_grad(g: Node, y: Node, a: Node, b: Node) -> list[Any]:
    return [NONE if is_constant(a) else g * b, NONE if is_constant(b) else g * a]


def _div_grad(g: Node, y: Node, a: Node, b: Node) -> list[Node]:
    """1 / b and −y / b."""
    by_a = g / b
    return [by_a, -(by_a * y)]


def _floordiv(a: Array, b: Array) -> Any:
    return np.round((a - np.mod(a, b)) / b) if a.dtype.kind == "f" else a // b


def _pow_grad(g: Node, y: Node, a: Node, b: Node) -> list[Any]:
    """b a^(b−1) and a^b log a. By the base it is right for a ≤ 0 too; where b is 0 it is 0, at a = 0 too.

    A constant exponent has no derivative; that by another one is taken as 0 where a ≤ 0 (there is none for a < 0).
    """
    if is_constant(b):
        power = b.attrs["value"]
        if not power.ndim and power == 1.0:
            return [g, NONE]
        less = constant(b.graph, np.where(power == 0, 0.0, power - 1.0), "float")
        slope = a if not power.ndim and power == 2.0 else pow_(a, less)
        return [g * (slope * b), NONE]
    positive = gt(a, 0.0)
    # Where a <= 0 nothing moves with the exponent, in second derivatives too; there 0^0 has derivative 0 by the base.
    held = where(positive, b, stop_gradient(b))
    by_a = where(and_(eq(b, 0.0), eq(a, 0.0)), 0.0, g * (held * pow_(a, held - 1.0)))
    return [by_a, where(positive, g * (y * log(where(positive, a, 1.0))), 0.0)]


def _power(a: Array, b: Array) -> Array:
    """In floats; of ints the whole part, as ONNX's conversion gives it."""
    result = np.power(a, b, dtype=np.float64) if a.dtype.kind == "f" else np.power(a.astype(np.float64), b)
    return result.astype(a.dtype)


def _pow_samples(rng: np.random.Generator) -> Sample:
    a, b = shapes(rng, 2)
    if rng.random() < 0.1:
        return Sample((rng.integers(-3, 4, a), rng.integers(0, 4, b)), {})
    return Sample((rng.uniform(0.3, 2, a), rng.uniform(-2, 3, b)), {})


def _shared(chosen: Callable[[Node, Node], Node]) -> Callable[..., list[Any]]:
    """What is chosen takes the derivative. At a tie each takes half; but beside a constant the constant takes it
    all, so that max(x, 0) has derivative 0 at 0."""

    def grad(g: Node, y: Node, a: Node, b: Node) -> list[Any]:
        if is_constant(b):
            return [where(chosen(a, b), g, 0.0), NONE]
        if is_constant(a):
            return [NONE, where(chosen(b, a), g, 0.0)]
        half = where(eq(a, b), g * 0.5, 0.0)
        return [where(chosen(a, b), g, half), where(chosen(b, a), g, half)]

    return grad


_pair = sometimes_ints(floats(-3, 3, 2))
add: Builder = elementwise(
    "add",
    np.add,
    lambda g, y, a, b: [g, g],
    onnx("Add"),
    _pair,
    commutative=True,
    cost=free,
    finite=True,
    monotone=(1,),
)
sub: Builder = elementwise(
    "sub", np.subtract, lambda g, y, a, b: [g, -g], onnx("Sub"), _pair, cost=free, finite=True, monotone=(1, -1)
)
mul: Builder = elementwise("mul", np.multiply, _mul_grad, onnx("Mul"), _pair, commutative=True, finite=True)
_divide: Builder = elementwise("div", np.divide, _div_grad, lower_div, _nonzero, allowed=("float",))
_between = sometimes_ints(_off_steps)
# a − b ⌊a / b⌋, with the sign of b; between jumps linear in both
mod: Builder = elementwise("mod", np.mod, lambda g, y, a, b: [g, -(g * floordiv(a, b))], lower_mod, _between)
floordiv: Builder = elementwise("floordiv", _floordiv, NONE, lower_floordiv, _between)
pow_: Builder = elementwise("pow", _power, _pow_grad, onnx("Pow"), _pow_samples)
_distinct = sometimes_ints(apart)
maximum: Builder = elementwise(
    "maximum",
    np.maximum,
    _shared(gt),
    onnx("Max"),
    _distinct,
    commutative=True,
    cost=free,
    finite=True,
    monotone=(1,),
    limit=True,
    arguments=("x", "y"),
)
minimum: Builder = elementwise(
    "minimum",
    np.minimum,
    _shared(lt),
    onnx("Min"),
    _distinct,
    commutative=True,
    cost=free,
    finite=True,
    monotone=(1,),
    limit=True,
    arguments=("x", "y"),
)


def div(a: Any, b: Any) -> Node:
    """The quotient, of ints too a float."""
    a, b = meet("div", a, b)
    return _divide(cast(a, dtype="float"), cast(b, dtype="float"))
