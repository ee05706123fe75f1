"""Trigonometric and hyperbolic functions and their inverses, the cube root, erfc: ONNX has no operator for them, or
ONNX Runtime no kernel on every provider or in every precision. Each is written from elementary operators, accurate to a
few units of the last place, and its derivative is the textbook's.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..ir.graph import Node
from ..ir.op import Op, Sample, Sampler, define, per_element, pointwise
from .choice import eq, where
from .elementwise import exp, neg, sqrt
from .operands import elementwise, floats, same, shapes
from .special import TAIL, lower_erf, lower_expm1, lower_log1p


class Value:
    """The name of an ONNX value with arithmetic: `(x * x + 1.0).sqrt()` writes nodes."""

    def __init__(self, out: Any, name: str) -> None:
        self.out, self.name = out, name

    def _do(self, op_type: str, *others: Value | float) -> Value:
        names = [v.name if isinstance(v, Value) else str(self.out.constant(float(v), "float")) for v in others]
        return Value(self.out, str(self.out.node(op_type, [self.name, *names])))

    def _of(self, number: float) -> Value:
        return Value(self.out, str(self.out.constant(float(number), "float")))

    def __add__(self, other: Value | float) -> Value:
        return self._do("Add", other)

    def __sub__(self, other: Value | float) -> Value:
        return self._do("Sub", other)

    def __mul__(self, other: Value | float) -> Value:
        return self._do("Mul", other)

    def __truediv__(self, other: Value | float) -> Value:
        return self._do("Div", other)

    def __rsub__(self, other: float) -> Value:
        return self._of(other)._do("Sub", self)

    def __radd__(self, other: float) -> Value:
        return self._do("Add", other)

    def __rmul__(self, other: float) -> Value:
        return self._do("Mul", other)

    def __rtruediv__(self, other: float) -> Value:
        return self._of(other)._do("Div", self)

    def __neg__(self) -> Value:
        return self._do("Neg")

    def __lt__(self, other: Value | float) -> Value:
        return self._do("Less", other)

    def sqrt(self) -> Value:
        return self._do("Sqrt")

    def exp(self) -> Value:
        return self._do("Exp")

    def abs(self) -> Value:
        return self._do("Abs")

    def sign(self) -> Value:
        return self._do("Sign")

    def least(self, other: Value | float) -> Value:
        return self._do("Min", other)

    def most(self, other: Value | float) -> Value:
        return self._do("Max", other)

    def log1p(self) -> Value:
        return Value(self.out, lower_log1p(self.out, None, self.name))

    def expm1(self) -> Value:
        return Value(self.out, lower_expm1(self.out, None, self.name))

    def choose(self, yes: Value, no: Value) -> Value:
        """yes where this holds, else no."""
        return self._do("Where", yes, no)


def _writes(form: Callable[..., Value]) -> Callable[..., str]:
    """The lowering rule of a formula on values."""
    return lambda out, node, *names: form(*[Value(out, name) for name in names]).name


def polynomial(z: Value, coefficients: Sequence[float]) -> Value:
    """c0 + c1 z + c2 z² ..., by Horner's rule."""
    total = z * coefficients[-1] + coefficients[-2]
    for c in reversed(coefficients[:-2]):
        total = total * z + c
    return total


# --- inverse trigonometric


def _positive_arctan(a: Value) -> Value:
    """arctan of a ≥ 0. arctan(a) = π/2 − arctan(1 / a) above 1; then the angle is halved twice, arctan(t) =
    2 arctan(t / (1 + √(1 + t²))) (Abramowitz and Stegun 1964, 4.4.34 with both arguments equal), which leaves
    t ≤ tan(π/16) = 0.199 to the series t − t³/3 + t⁵/5 ... (4.4.42), cut where it falls below the precision."""
    beyond = a._of(1.0) < a
    t = beyond.choose(1.0 / a, a)
    for _ in range(2):
        t = t / ((t * t + 1.0).sqrt() + 1.0)
    terms = 6 if a.out.precision != "float64" else 12
    series = polynomial(t * t, [(-1) ** k / (2 * k + 1) for k in range(terms)])
    angle = t * series * 4.0
    return beyond.choose(math.pi / 2 - angle, angle)


def _arctan(x: Value) -> Value:
    return x.sign() * _positive_arctan(x.abs())


def _arcsin(x: Value) -> Value:
    """arctan(x / √((1 − x)(1 + x))): nothing cancels near ±1; NaN beyond."""
    return _arctan(x / ((1.0 - x) * (x + 1.0)).sqrt())


def _arccos(x: Value) -> Value:
    """2 arctan(√((1 − x) / (1 + x)))"""
    return _positive_arctan(((1.0 - x) / (x + 1.0)).sqrt()) * 2.0


def _arctan2(y: Value, x: Value) -> Value:
    """The angle of (x, y): the arctan of |y| / |x|, in the quadrant of the signs; 0 at the origin. −0 counts as 0: with
    y = −0 and a negative x the angle is π, not −π."""
    origin = y.abs().most(x.abs())
    ratio = y.abs() / (origin._do("Equal", 0.0)).choose(x._of(1.0), x.abs())
    equal = y.abs()._do("Equal", x.abs())  # of two infinities too
    angle = _positive_arctan((origin._do("Equal", 0.0)).choose(x._of(0.0), equal.choose(x._of(1.0), ratio)))
    angle = (x < 0.0).choose(math.pi - angle, angle)
    return (y < 0.0).choose(-angle, angle)


# --- hyperbolic and inverse hyperbolic


def _sinh(x: Value) -> Value:
    """(e + e / (e + 1)) / 2 with e = e^|x| − 1 below 1, where e^x − e^−x would cancel; else half of E² − E⁻² with
    E = e^(|x|/2), which overflows no sooner than the result."""
    a = x.abs()
    e = a.least(1.0).expm1()
    root = (a * 0.5).exp()
    far = root * 0.5 * root - 0.5 / root / root
    return x.sign() * (a < 1.0).choose((e + e / (e + 1.0)) * 0.5, far)


def _cosh(x: Value) -> Value:
    root = (x.abs() * 0.5).exp()
    return root * 0.5 * root + 0.5 / root / root


def _arcsinh(x: Value) -> Value:
    """log(1 + a + a² / (1 + √(1 + a²))), a = |x| (Abramowitz and Stegun 1964, 4.6.20, without cancellation near 0);
    above 1 the last term is a / (1/a + √(1 + 1/a²)), so that no square overflows."""
    a = x.abs()
    small = a.least(1.0)
    near = small * small / ((small * small + 1.0).sqrt() + 1.0)
    inverse = 1.0 / a.most(1.0)
    far = a / (inverse + (inverse * inverse + 1.0).sqrt())
    return x.sign() * (a + (a < 1.0).choose(near, far)).log1p()


def _arccosh(x: Value) -> Value:
    """log(1 + t + √t √(t + 2)), t = x − 1 (Abramowitz and Stegun 1964, 4.6.21); NaN below 1."""
    t = x - 1.0
    return (t + t.sqrt() * (t + 2.0).sqrt()).log1p()


def _arctanh(x: Value) -> Value:
    """log(1 + 2 a / (1 − a)) / 2, a = |x| (Abramowitz and Stegun 1964, 4.6.22); NaN beyond ±1."""
    a = x.abs()
    return x.sign() * (a * 2.0 / (1.0 - a)).log1p() * 0.5


# --- roots


def _hypot(a: Value, b: Value) -> Value:
    """m √(1 + (n / m)²), m the greater and n the smaller: no square overflows."""
    a, b = a.abs(), b.abs()
    m, n = a.most(b), a.least(b)
    ratio = n / m._do("Equal", 0.0).choose(m._of(1.0), m)
    ratio = n._do("Equal", m).choose(m._of(1.0), ratio)  # of two infinities too
    return m * (ratio * ratio + 1.0).sqrt()


# --- erfc

# W. J. Cody 1969 (see special.py): erfc(x) x e^(x²) = 1/√π − r(1/x²) for x > 4; numerator and denominator of r.
_FAR = (
    (
        6.58749161529837803e-4,
        1.60837851487422766e-2,
        1.25781726111229246e-1,
        3.60344899949804439e-1,
        3.05326634961232344e-1,
        1.63153871373020978e-2,
    ),
    (
        2.33520497626869185e-3,
        6.05183413124413191e-2,
        5.27905102951428412e-1,
        1.87295284992346725,
        2.56852019228982242,
        1.0,
    ),
)


def _erfc(out: Any, node: Node, x: str) -> str:
    """1 − erf(x) below 0.5; above it Cody's forms, which lose nothing where erfc is small."""
    value = Value(out, x)
    below = 1.0 - Value(out, lower_erf(out, node, x))
    bell = (-(value * value)).exp()
    middle = value.most(0.46875).least(4.0)
    above, under = TAIL
    top = polynomial(middle, [above[-2], *above[-3::-1], above[-1]])
    tail = top / polynomial(middle, [*under[::-1], 1.0])
    z = 1.0 / (value.most(4.0) * value.most(4.0))
    r = z * polynomial(z, _FAR[0]) / polynomial(z, _FAR[1])
    far = (1 / math.sqrt(math.pi) - r) / value.most(4.0)
    beyond = bell * (value < 4.0).choose(tail, far)
    return (value < 0.5).choose(below, beyond).name


# --- the operations


def _unary(name: str, reference: Any, grad: Any, form: Any, samples: Sampler, **facts: Any) -> Op:
    return define(
        name,
        infer=same(name, ("float",)),
        grad=grad,
        jvp=pointwise,
        lower=form,
        reference=reference,
        samples=samples,
        cost=per_element,
        elementwise=True,
        arguments=("x",),
        **facts,
    )


tan = _unary(
    "tan",
    np.tan,
    lambda g, y, x: [g * (y * y + 1.0)],
    _writes(lambda x: x._do("Sin") / x._do("Cos")),
    floats(-1.3, 1.3),
    finite=True,
)
arcsin = _unary(
    "arcsin",
    np.arcsin,
    lambda g, y, x: [g / sqrt((1.0 - x) * (x + 1.0))],
    _writes(_arcsin),
    floats(-0.9, 0.9),
    monotone=(1,),
)
arccos = _unary(
    "arccos",
    np.arccos,
    lambda g, y, x: [-(g / sqrt((1.0 - x) * (x + 1.0)))],
    _writes(_arccos),
    floats(-0.9, 0.9),
    monotone=(-1,),
)
arctan = _unary(
    "arctan",
    np.arctan,
    lambda g, y, x: [g / (x * x + 1.0)],
    _writes(_arctan),
    floats(-4, 4),
    finite=True,
    monotone=(1,),
)
sinh: Op = _unary("sinh", np.sinh, lambda g, y, x: [g * cosh(x)], _writes(_sinh), floats(-3, 3), monotone=(1,))
cosh: Op = _unary("cosh", np.cosh, lambda g, y, x: [g * sinh(x)], _writes(_cosh), floats(-3, 3))
arcsinh = _unary(
    "arcsinh",
    np.arcsinh,
    lambda g, y, x: [g / sqrt(x * x + 1.0)],
    _writes(_arcsinh),
    floats(-4, 4),
    finite=True,
    monotone=(1,),
)
arccosh = _unary(
    "arccosh",
    np.arccosh,
    lambda g, y, x: [g / (sqrt(x - 1.0) * sqrt(x + 1.0))],
    _writes(_arccosh),
    floats(1.1, 5),
    monotone=(1,),
)
arctanh = _unary(
    "arctanh",
    np.arctanh,
    lambda g, y, x: [g / ((1.0 - x) * (x + 1.0))],
    _writes(_arctanh),
    floats(-0.9, 0.9),
    monotone=(1,),
)
# infinite at 0, where the curve stands upright
cbrt = _unary(
    "cbrt",
    np.cbrt,
    lambda g, y, x: [g / (y * y * 3.0)],
    _writes(lambda x: x.sign() * x.abs()._do("Pow", 1 / 3)),
    lambda rng: _off_zero(rng, 1),
    finite=True,
    monotone=(1,),
)
erfc = _unary(
    "erfc",
    np.vectorize(math.erfc, otypes=[np.float64]),
    lambda g, y, x: [g * (exp(neg(x * x)) * (-2 / math.sqrt(math.pi)))],
    _erfc,
    floats(-3, 5),
    finite=True,
    monotone=(-1,),
)


def _off_zero(rng: np.random.Generator, count: int) -> Sample:
    values = [rng.uniform(0.3, 4, shape) * rng.choice([-1.0, 1.0], shape) for shape in shapes(rng, count)]
    return Sample(tuple(values), {})


def _hypot_grad(g: Node, y: Node, a: Node, b: Node) -> list[Node]:
    """a / y and b / y; 0 at the origin, where there is none, and so are second derivatives."""
    share = where(eq(y, 0.0), 0.0, g / y)
    return [share * a, share * b]


def _arctan2_grad(g: Node, y: Node, a: Node, b: Node) -> list[Node]:
    """b / (a² + b²) and −a / (a² + b²); 0 at the origin, where there is none, and so are second derivatives."""
    square = a * a + b * b
    share = where(eq(square, 0.0), 0.0, g / square)
    return [share * b, -(share * a)]


hypot = elementwise(
    "hypot",
    np.hypot,
    _hypot_grad,
    _writes(_hypot),
    lambda rng: _off_zero(rng, 2),
    allowed=("float",),
    commutative=True,
    finite=True,
    arguments=("x", "y"),
)
arctan2 = elementwise(
    "arctan2",
    np.arctan2,
    _arctan2_grad,
    _writes(_arctan2),
    lambda rng: _off_zero(rng, 2),
    allowed=("float",),
    finite=True,
    arguments=("y", "x"),
)
