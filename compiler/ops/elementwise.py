"""Operations on each element, with NumPy's broadcasting; the derivatives at kinks and ties are decided here."""
from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.random import Generator

from ..graph import Array, Node
from ..tensor_type import TensorType, TypeProblem, broadcast
from . import registry
from .registry import NONE, Op, Sample, constant, define, lift, no_gradient, onnx

ORDER = ("bool", "int", "float")


# --- dtypes


def meet(*inputs: Any) -> list[Node]:
    """Numbers lifted and dtypes made equal: bool meets int as int, int meets float as float."""
    graph = next(value.graph for value in inputs if isinstance(value, Node))
    nodes = [lift(graph, value, inputs) for value in inputs]
    dtype = ORDER[max(ORDER.index(node.dtype) for node in nodes)]
    return [cast(node, dtype=dtype) for node in nodes]


def _same(name: str, allowed: Sequence[str]) -> Callable[..., TensorType]:
    def infer(*types: TensorType, **attrs: Any) -> TensorType:
        for number, type in enumerate(types):
            if type.dtype not in allowed or type.dtype != types[0].dtype:
                raise TypeProblem("E0302", f"`{name}` does not take values of type `{type.dtype}`",
                                  {number: f"this is `{type}`"})
        return TensorType(types[0].dtype, broadcast(*[type.shape for type in types]))

    return infer


# --- samples


def shapes(rng: Generator, count: int) -> list[tuple[int, ...]]:
    """Shapes that broadcast together: rank 0 to 4, with sizes of 1 and now and then 0."""
    rank = int(rng.integers(0, 5))
    full = [int(size) for size in rng.choice([1, 2, 3, 4, 0], size=rank, p=[0.2, 0.3, 0.28, 0.2, 0.02])]
    result = []
    for _ in range(count):
        own = [1 if rng.random() < 0.2 else size for size in full]
        result.append(tuple(own[int(rng.integers(0, rank + 1)) if rng.random() < 0.3 else 0 :]))
    return result


def away(values: Array, *points: float) -> Array:
    """Values moved off kinks by at least 1e-2."""
    for point in points:
        near = np.abs(values - point) < 1e-2
        values = np.where(near, point + np.where(values < point, -1e-2, 1e-2), values)
    return values


def floats(low: float, high: float, count: int = 1, *kinks: float) -> Callable[[Generator], Sample]:
    return lambda rng: Sample(
        tuple(away(rng.uniform(low, high, shape), *kinks) for shape in shapes(rng, count)), {}
    )


# --- unary


def _unary(name: str, reference: Any, grad: Any, lower: Any, samples: Any, allowed: Sequence[str] = ("float",)) -> Op:
    return define(name, infer=_same(name, allowed), grad=grad, lower=lower, reference=reference, samples=samples)


neg = _unary("neg", np.negative, lambda g, y, x: [-g], onnx("Neg"), floats(-3, 3), ("float", "int"))
# |x|' = sign(x), so 0 at 0
abs_ = _unary("abs", np.abs, lambda g, y, x: [g * sign(x)], onnx("Abs"), floats(-3, 3, 1, 0.0), ("float", "int"))
sign = _unary("sign", np.sign, no_gradient(1), onnx("Sign"), floats(-3, 3, 1, 0.0), ("float", "int"))
exp = _unary("exp", np.exp, lambda g, y, x: [g * y], onnx("Exp"), floats(-3, 3))
log = _unary("log", np.log, lambda g, y, x: [g / x], onnx("Log"), floats(0.1, 4))
sqrt = _unary("sqrt", np.sqrt, lambda g, y, x: [g * 0.5 / y], onnx("Sqrt"), floats(0.1, 4))
sin = _unary("sin", np.sin, lambda g, y, x: [g * cos(x)], onnx("Sin"), floats(-4, 4))
cos = _unary("cos", np.cos, lambda g, y, x: [-(g * sin(x))], onnx("Cos"), floats(-4, 4))
tanh = _unary("tanh", np.tanh, lambda g, y, x: [g * (1.0 - y * y)], onnx("Tanh"), floats(-3, 3))
floor = _unary("floor", np.floor, no_gradient(1), onnx("Floor"), floats(-4, 4, 1, *range(-4, 5)))
ceil = _unary("ceil", np.ceil, no_gradient(1), onnx("Ceil"), floats(-4, 4, 1, *range(-4, 5)))
# ties go to the even neighbour, in NumPy and in ONNX
round_ = _unary("round", np.round, no_gradient(1), onnx("Round"),
                floats(-4, 4, 1, *[i + 0.5 for i in range(-5, 5)]))


def _sigmoid(x: Array) -> Array:
    small = np.exp(-np.abs(x))
    return np.where(x >= 0, 1 / (1 + small), small / (1 + small))


sigmoid = _unary("sigmoid", _sigmoid, lambda g, y, x: [g * (y * (1.0 - y))], onnx("Sigmoid"), floats(-5, 5))


def _lower_expm1(out: Any, node: Node, x: str) -> str:
    """e^x − 1 = 2 sinh(x/2) e^(x/2) = tanh(x/2) (e^x + 1): without cancellation near 0."""
    half = out.node("Tanh", [out.node("Mul", [x, out.constant(0.5, "float")])])
    near = out.node("Mul", [half, out.node("Add", [out.node("Exp", [x]), out.constant(1.0, "float")])])
    far = out.node("Sub", [out.node("Exp", [x]), out.constant(1.0, "float")])
    small = out.node("Less", [out.node("Abs", [x]), out.constant(1.0, "float")])
    return str(out.node("Where", [small, near, far]))


expm1 = _unary("expm1", np.expm1, lambda g, y, x: [g * exp(x)], _lower_expm1, floats(-3, 3))


def _lower_log1p(out: Any, node: Node, x: str) -> str:
    """log(1 + x) = log(u) x / (u − 1) with u = 1 + x rounded (Kahan), and x itself where u is 1."""
    one = out.constant(1.0, "float")
    u = out.node("Add", [x, one])
    d = out.node("Sub", [u, one])
    tiny = out.node("Equal", [d, out.constant(0.0, "float")])
    endless = out.node("Equal", [u, out.constant(np.inf, "float")])
    safe = out.node("Where", [out.node("Or", [tiny, endless]), one, d])
    ratio = out.node("Where", [endless, one, out.node("Div", [x, safe])])
    return str(out.node("Where", [tiny, x, out.node("Mul", [out.node("Log", [u]), ratio])]))


log1p = _unary("log1p", np.log1p, lambda g, y, x: [g / (1.0 + x)], _lower_log1p, floats(-0.8, 4))


def _lower_softplus(out: Any, node: Node, x: str) -> str:
    """max(x, 0) + log1p(exp(−|x|)); the kernel of ONNX Runtime overflows for large x and lacks float64."""
    tail = out.node("Exp", [out.node("Neg", [out.node("Abs", [x])])])
    return str(out.node("Add", [out.node("Relu", [x]), _lower_log1p(out, node, tail)]))


softplus = _unary("softplus", lambda x: np.logaddexp(0.0, x), lambda g, y, x: [g * sigmoid(x)], _lower_softplus, floats(-5, 5))
# relu'(0) = 0
relu = _unary("relu", lambda x: np.maximum(x, 0.0), lambda g, y, x: [where(gt(y, 0.0), g, 0.0)],
              onnx("Relu"), floats(-3, 3, 1, 0.0))


# erf in float64 by W. J. Cody 1969 (rational Chebyshev approximations): ONNX Runtime has the kernel in float32 only.
_ERF_SMALL = ((3.16112374387056560, 1.13864154151050156e2, 3.77485237685302021e2, 3.20937758913846947e3, 1.85777706184603153e-1),
              (2.36012909523441209e1, 2.44024637934444173e2, 1.28261652607737228e3, 2.84423683343917062e3))
_ERF_MIDDLE = ((5.64188496988670089e-1, 8.88314979438837594, 6.61191906371416295e1, 2.98635138197400131e2,
                8.81952221241769090e2, 1.71204761263407058e3, 2.05107837782607147e3, 1.23033935479799725e3,
                2.15311535474403846e-8),
               (1.57449261107098347e1, 1.17693950891312499e2, 5.37181101862009858e2, 1.62138957456669019e3,
                3.29079923573345963e3, 4.36261909014324716e3, 3.43936767414372164e3, 1.23033935480374942e3))


def _lower_erf(out: Any, node: Node, x: str) -> str:
    if out.precision != "float64":
        return str(out.node("Erf", [x]))

    def number(value: float) -> str:
        return str(out.constant(value, "float"))

    def rational(z: str, above: Sequence[float], below: Sequence[float]) -> str:
        """Cody's form: the last coefficient above leads, and the ones below start from 1."""
        p, q = out.node("Mul", [z, number(above[-1])]), z
        for a, b in zip(above[:-2], below[:-1], strict=True):
            p = out.node("Mul", [out.node("Add", [p, number(a)]), z])
            q = out.node("Mul", [out.node("Add", [q, number(b)]), z])
        return str(out.node("Div", [out.node("Add", [p, number(above[-2])]), out.node("Add", [q, number(below[-1])])]))

    size = out.node("Abs", [x])
    inside = out.node("Less", [size, number(0.46875)])
    near = out.node("Mul", [x, rational(out.node("Mul", [x, x]), *_ERF_SMALL)])
    # beyond 6 erf is 1 to the last bit; the middle form holds to 4, and to 1e-16 beyond since its tail vanishes
    capped = out.node("Min", [size, number(6.0)])
    tail = out.node("Mul", [out.node("Exp", [out.node("Neg", [out.node("Mul", [capped, capped])])]),
                            rational(capped, *_ERF_MIDDLE)])
    far = out.node("Mul", [out.node("Sign", [x]), out.node("Sub", [number(1.0), tail])])
    return str(out.node("Where", [inside, near, far]))


erf = _unary("erf", np.vectorize(math.erf, otypes=[np.float64]),
             lambda g, y, x: [g * (2 / math.sqrt(math.pi) * exp(-(x * x)))], _lower_erf, floats(-3, 3))


# --- binary


def _binary(name: str, reference: Any, grad: Any, lower: Any, samples: Any, allowed: Sequence[str] = ("float", "int"),
            commutative: bool = False) -> Callable[..., Node]:
    op = define(name, infer=_same(name, allowed), grad=grad, lower=lower, reference=reference, samples=samples,
                commutative=commutative)

    def build(*inputs: Any) -> Node:
        return op(*meet(*inputs))

    return build


add = _binary("add", np.add, lambda g, y, a, b: [g, g], onnx("Add"), floats(-3, 3, 2), commutative=True)
sub = _binary("sub", np.subtract, lambda g, y, a, b: [g, -g], onnx("Sub"), floats(-3, 3, 2))
mul = _binary("mul", np.multiply, lambda g, y, a, b: [g * b, g * a], onnx("Mul"), floats(-3, 3, 2), commutative=True)


def _nonzero(rng: Generator) -> Sample:
    a, b = (rng.uniform(0.3, 3, shape) * rng.choice([-1.0, 1.0], shape) for shape in shapes(rng, 2))
    return Sample((a, b), {})


_div = _binary("div", np.divide, lambda g, y, a, b: [g / b, -(g * (y / b))], onnx("Div"), _nonzero, ("float",))


def div(a: Any, b: Any) -> Node:
    """Division of numbers: ints meet as floats."""
    a, b = meet(a, b)
    return _div(cast(a, dtype="float"), cast(b, dtype="float"))


def _lower_floordiv(out: Any, node: Node, a: str, b: str) -> str:
    if node.dtype == "float":
        return str(out.node("Floor", [out.node("Div", [a, b])]))
    # ONNX divides ints towards zero: take one off where the remainder has the other sign
    quotient = out.node("Div", [a, b])
    rest = out.node("Sub", [a, out.node("Mul", [quotient, b])])
    zero = out.constant(0, "int")
    off = out.node("Less", [out.node("Mul", [out.node("Sign", [rest]), out.node("Sign", [b])]), zero])
    return str(out.node("Sub", [quotient, out.cast(off, "int")]))


def _lower_mod(out: Any, node: Node, a: str, b: str) -> str:
    if node.dtype == "int":
        return str(out.node("Mod", [a, b], fmod=0))
    return str(out.node("Sub", [a, out.node("Mul", [out.node("Floor", [out.node("Div", [a, b])]), b])]))


def _off_steps(rng: Generator) -> Sample:
    """Quotients kept away from whole numbers, where the functions jump."""
    a, b = _nonzero(rng).inputs
    quotient = np.broadcast_arrays(a / b)[0]
    whole = np.floor(quotient)
    apart = np.clip(quotient - whole, 0.05, 0.95)
    return Sample(((whole + apart) * np.broadcast_to(b, quotient.shape), b), {})


floordiv = _binary("floordiv", np.floor_divide, no_gradient(2), _lower_floordiv, _off_steps)
# a − floor(a / b) b has the sign of b
mod = _binary("mod", np.mod, lambda g, y, a, b: [g, -(g * floordiv(a, b))], _lower_mod, _off_steps)


def _pow_grad(g: Node, y: Node, a: Node, b: Node) -> list[Any]:
    """b a^(b−1) and a^b log a; an exponent that is a constant has no derivative, and then a may be negative or 0."""
    by_a = g * (b * pow_(a, b - 1.0))
    if b.op.name == "constant":
        exponent = b.attrs["value"]
        if exponent.size and (exponent == 0).any():  # 0 a^(−1) is 0, at a = 0 too
            by_a = where(eq(b, 0.0), 0.0, g * (b * pow_(a, where(eq(b, 0.0), 1.0, b) - 1.0)))
        return [by_a, NONE]
    safe = where(gt(a, 0.0), a, 1.0)
    return [by_a, where(gt(a, 0.0), g * (y * log(safe)), 0.0)]


def _pow_reference(a: Array, b: Array) -> Any:
    return np.power(np.asarray(a, np.float64), b) if np.asarray(a).dtype.kind == "f" else np.asarray(
        np.power(np.asarray(a, np.float64), b), np.int64)


def _pow_samples(rng: Generator) -> Sample:
    a, b = shapes(rng, 2)
    return Sample((rng.uniform(0.3, 2, a), rng.uniform(-2, 3, b)), {})


pow_ = _binary("pow", _pow_reference, _pow_grad, onnx("Pow"), _pow_samples)


def _share(chooses_first: Callable[..., Node]) -> Callable[..., list[Any]]:
    """The greater (or lesser) takes the derivative. At a tie each takes half; but against a constant the constant
    takes all, so that max(x, 0) has derivative 0 at 0."""

    def grad(g: Node, y: Node, a: Node, b: Node) -> list[Any]:
        if b.op.name == "constant":
            return [where(chooses_first(a, b), g, 0.0), NONE]
        if a.op.name == "constant":
            return [NONE, where(chooses_first(b, a), g, 0.0)]
        half = where(eq(a, b), g * 0.5, 0.0)
        return [where(chooses_first(a, b), g, half), where(chooses_first(b, a), g, half)]

    return grad


def _apart(rng: Generator) -> Sample:
    a, b = (rng.uniform(-3, 3, shape) for shape in shapes(rng, 2))
    return Sample((np.round(a, 1) + 0.02, np.round(b, 1) - 0.02), {})


def _by_choice(op_type: str, compare: str) -> Callable[..., str]:
    """Max and Min of ONNX Runtime lose NaN of one side in places; ints lack kernels on some providers."""
    return lambda out, node, a, b: str(out.node(op_type, [a, b]))


maximum = _binary("maximum", np.maximum, _share(lambda a, b: gt(a, b)), _by_choice("Max", "Greater"), _apart, commutative=True)
minimum = _binary("minimum", np.minimum, _share(lambda a, b: lt(a, b)), _by_choice("Min", "Less"), _apart, commutative=True)


# --- truth values


def _compare(name: str, reference: Any, lower: Any, allowed: Sequence[str] = ("float", "int")) -> Callable[..., Node]:
    same = _same(name, allowed)
    op = define(name, infer=lambda a, b: same(a, b).with_dtype("bool"), grad=no_gradient(2), lower=lower,
                reference=reference, samples=_apart)

    def build(a: Any, b: Any) -> Node:
        a, b = meet(a, b)
        if a.dtype == "bool" and "bool" not in allowed:
            a, b = cast(a, dtype="int"), cast(b, dtype="int")
        return op(a, b)

    return build


def _lower_ne(out: Any, node: Node, a: str, b: str) -> str:
    return str(out.node("Not", [out.node("Equal", [a, b])]))


eq = _compare("eq", np.equal, onnx("Equal"), ("float", "int", "bool"))
ne = _compare("ne", np.not_equal, _lower_ne, ("float", "int", "bool"))
lt = _compare("lt", np.less, onnx("Less"))
le = _compare("le", np.less_equal, onnx("LessOrEqual"))
gt = _compare("gt", np.greater, onnx("Greater"))
ge = _compare("ge", np.greater_equal, onnx("GreaterOrEqual"))


def _truths(count: int) -> Callable[[Generator], Sample]:
    return lambda rng: Sample(tuple(rng.random(shape) < 0.5 for shape in shapes(rng, count)), {})


not_ = define("not", infer=_same("not", ("bool",)), grad=no_gradient(1), lower=onnx("Not"), reference=np.logical_not,
              samples=_truths(1))
and_ = define("and", infer=_same("and", ("bool",)), grad=no_gradient(2), lower=onnx("And"), reference=np.logical_and,
              samples=_truths(2), commutative=True)
or_ = define("or", infer=_same("or", ("bool",)), grad=no_gradient(2), lower=onnx("Or"), reference=np.logical_or,
             samples=_truths(2), commutative=True)


# --- choice, conversion, markers


def _where_infer(condition: TensorType, a: TensorType, b: TensorType) -> TensorType:
    if condition.dtype != "bool":
        raise TypeProblem("E0305", "`where` chooses by a truth value", {0: f"this is `{condition}`"})
    if a.dtype != b.dtype:
        raise TypeProblem("E0302", "`where` chooses between values of one type", {1: f"this is `{a}`", 2: f"this is `{b}`"})
    return TensorType(a.dtype, broadcast(condition.shape, a.shape, b.shape))


def _where_samples(rng: Generator) -> Sample:
    c, a, b = shapes(rng, 3)
    return Sample((rng.random(c) < 0.5, rng.uniform(-3, 3, a), rng.uniform(-3, 3, b)), {})


def _zero(g: Node) -> Any:
    return constant(g.graph, 0, "float")


_where = define("where", infer=_where_infer, grad=lambda g, y, c, a, b: [NONE, where(c, g, _zero(g)), where(c, _zero(g), g)],
                lower=onnx("Where"), reference=np.where, samples=_where_samples)


def where(condition: Node, a: Any, b: Any) -> Node:
    """a where the condition holds, else b; a and b meet in one dtype."""
    graph = condition.graph
    if not isinstance(a, Node) and not isinstance(b, Node):
        a = lift(graph, a)
    a, b = meet(a, b)
    return _where(condition, a, b)


_cast = define(  # to a bool: not equal to 0; from float to int: towards zero
    "cast", infer=lambda x, dtype: x.with_dtype(dtype),
    grad=lambda g, y, x, dtype: [g if x.dtype == "float" and dtype == "float" else NONE],
    lower=lambda out, node, x: out.cast(x, node.attrs["dtype"]),
    reference=lambda x, dtype: np.asarray(x).astype(registry.NUMPY[dtype]),
    samples=lambda rng: Sample((rng.integers(-3, 4, shapes(rng, 1)[0]),), {"dtype": "float"}),
)


def cast(x: Node, *, dtype: str) -> Node:
    """x as another dtype; x itself if it has it."""
    return x if x.dtype == dtype else _cast(x, dtype=dtype)


def _identity(out: Any, node: Node, x: str) -> str:
    return x


stop_gradient = define("stop_gradient", infer=lambda x: x, grad=no_gradient(1), lower=_identity, reference=lambda x: x, samples=None)
# Marks an intermediate value by which a derivative is taken: no rewrite looks through it.
cut = define("cut", infer=lambda x: x, grad=lambda g, y, x: [g], lower=_identity, reference=lambda x: x, samples=None)

