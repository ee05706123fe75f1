"""ONNX forms of elementary functions that ONNX has not, or that ONNX Runtime has not in every precision."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..ir.graph import Node
from ..ir.types import Dim, Size, product

# Rational Chebyshev approximations of erf and erfc by W. J. Cody 1969, "Rational Chebyshev approximations for the
# error function", Math. Comp. 23: numerator and denominator for |x| <= 0.46875 (in x²) and for 0.46875 < |x| <= 4.
_NEAR = (
    (3.16112374387056560, 1.13864154151050156e2, 3.77485237685302021e2, 3.20937758913846947e3, 1.85777706184603153e-1),
    (2.36012909523441209e1, 2.44024637934444173e2, 1.28261652607737228e3, 2.84423683343917062e3),
)
TAIL = (
    (
        5.64188496988670089e-1,
        8.88314979438837594,
        6.61191906371416295e1,
        2.98635138197400131e2,
        8.81952221241769090e2,
        1.71204761263407058e3,
        2.05107837782607147e3,
        1.23033935479799725e3,
        2.15311535474403846e-8,
    ),
    (
        1.57449261107098347e1,
        1.17693950891312499e2,
        5.37181101862009858e2,
        1.62138957456669019e3,
        3.29079923573345963e3,
        4.36261909014324716e3,
        3.43936767414372164e3,
        1.23033935480374942e3,
    ),
)


def lower_erf(out: Any, node: Node, x: str) -> str:
    """The kernel; in float64, which has none, Cody's approximation, to a few units of the last place.

    1 − erfc(|x|) beyond 0.46875. At 4 erfc is 1.5e-8 and falls fast, so that the form for the middle serves
    beyond it too; at 6 it vanishes against 1.
    """
    if out.precision != "float64":
        return str(out.node("Erf", [x]))

    def number(value: float) -> str:
        return str(out.constant(value, "float"))

    def rational(z: str, above: Sequence[float], below: Sequence[float]) -> str:
        """Cody's order: the last coefficient above leads, and the denominator's leading one is 1."""
        p, q = out.node("Mul", [z, number(above[-1])]), z
        for a, b in zip(above[:-2], below[:-1], strict=True):
            p = out.node("Mul", [out.node("Add", [p, number(a)]), z])
            q = out.node("Mul", [out.node("Add", [q, number(b)]), z])
        p, q = out.node("Add", [p, number(above[-2])]), out.node("Add", [q, number(below[-1])])
        return str(out.node("Div", [p, q]))

    size = out.node("Abs", [x])
    near = out.node("Mul", [x, rational(out.node("Mul", [x, x]), *_NEAR)])
    capped = out.node("Min", [size, number(6.0)])
    bell = out.node("Exp", [out.node("Neg", [out.node("Mul", [capped, capped])])])
    tail = out.node("Mul", [bell, rational(capped, *TAIL)])
    far = out.node("Mul", [out.node("Sign", [x]), out.node("Sub", [number(1.0), tail])])
    return str(out.node("Where", [out.node("Less", [size, number(0.46875)]), near, far]))


def lower_expm1(out: Any, node: Node | None, x: str) -> str:
    """e^x − 1 = tanh(x/2) (e^x + 1) for |x| < 1: no cancellation near 0."""
    one = out.constant(1.0, "float")
    power = out.node("Exp", [x])
    half = out.node("Tanh", [out.node("Mul", [x, out.constant(0.5, "float")])])
    near = out.node("Mul", [half, out.node("Add", [power, one])])
    small = out.node("Less", [out.node("Abs", [x]), one])
    return str(out.node("Where", [small, near, out.node("Sub", [power, one])]))


def lower_log1p(out: Any, node: Node | None, x: str) -> str:
    """log(1 + x) = log(u) x / (u − 1) with u the rounded 1 + x, and x where u is 1 (Kahan, in Higham 2002, 1.14.1)."""
    one = out.constant(1.0, "float")
    u = out.node("Add", [x, one])
    exact = out.node("Sub", [u, one])
    tiny = out.node("Equal", [exact, out.constant(0.0, "float")])
    plain = out.node("Or", [tiny, out.node("Equal", [u, out.constant(np.inf, "float")])])
    ratio = out.node("Where", [plain, one, out.node("Div", [x, out.node("Where", [plain, one, exact])])])
    return str(out.node("Where", [tiny, x, out.node("Mul", [out.node("Log", [u]), ratio])]))


def lower_softplus(out: Any, node: Node, x: str) -> str:
    """max(x, 0) + log1p(e^−|x|): the kernel has no float64, and on some providers overflows."""
    tail = out.node("Exp", [out.node("Neg", [out.node("Abs", [x])])])
    return str(out.node("Add", [out.node("Relu", [x]), lower_log1p(out, node, tail)]))


def lower_div(out: Any, node: Node, a: str, b: str) -> str:
    """Div. A numerator of one element has no more dimensions than the denominator: where ONNX Runtime finds that it is
    a 1, it makes (1 / b) * y into y / b, whose shape is that of y and b alone."""
    numerator, denominator = node.inputs
    more = numerator.rank - denominator.rank
    if more > 0 and all(size == 1 for size in numerator.shape):
        b = out.node("Unsqueeze", [b, out.constant(np.arange(more), "int")])
    return str(out.node("Div", [a, b]))


def lower_sigmoid(out: Any, node: Node, x: str) -> str:
    """1 / (1 + e^−x), to 3 units of the last place everywhere. The kernel Sigmoid is off by 1e-5 of its value at -5, by
    all of it from -18 on; in float64 by 1e-3 at -30."""
    one = out.constant(1.0, "float")
    return str(out.node("Reciprocal", [out.node("Add", [out.node("Exp", [out.node("Neg", [x])]), one])]))


def lower_mod(out: Any, node: Node, a: str, b: str) -> str:
    """The remainder with the sign of b: of C's, which has the sign of a, where the signs differ b is added."""
    if node.dtype == "int":
        return str(out.node("Mod", [a, _divisor(out, node.inputs[1], b)[0]], fmod=0))
    rest = out.node("Mod", [a, b], fmod=1)
    other = out.node("Less", [out.node("Mul", [out.node("Sign", [rest]), b]), out.constant(0.0, "float")])
    return str(out.node("Where", [other, out.node("Add", [rest, b]), rest]))


def lower_floordiv(out: Any, node: Node, a: str, b: str) -> str:
    """⌊a / b⌋, as Python defines it. Of floats (a − a mod b) / b: the division leaves nothing over, so that rounding
    has no say. Of ints the quotient towards 0, less 1 where a rest has the other sign: a − a mod b may wrap around."""
    if node.dtype == "float":
        exact = out.node("Sub", [a, lower_mod(out, node, a, b)])
        return str(out.node("Round", [out.node("Div", [exact, b])]))
    divisor, factor = _divisor(out, node.inputs[1], b)
    toward = out.node("Div", [a, divisor])
    rest = out.node("Sub", [a, out.node("Mul", [toward, divisor])])
    signs = out.node("Mul", [out.node("Sign", [rest]), out.node("Sign", [divisor])])
    below = out.cast(out.node("Less", [signs, out.constant(0, "int")]), "int")
    quotient = out.node("Sub", [toward, below])
    return str(quotient if factor is None else out.node("Mul", [quotient, factor]))


def _divisor(out: Any, source: Node, b: str) -> tuple[str, str | None]:
    """Integers by which a processor divides, and what the quotient is to be multiplied with.

    It ends the process at a division by 0, and at that of the least number by -1: by 1 both have the right remainder,
    and times b the right quotient (by 0 both are 0, as in NumPy).
    """
    if source.op.name == "constant" and not np.isin(source.attrs["value"], (0, -1)).any():
        return b, None
    one = out.constant(1, "int")
    unsafe = out.node("Or", [out.node("Equal", [b, out.constant(value, "int")]) for value in (0, -1)])
    return str(out.node("Where", [unsafe, one, b])), str(out.node("Where", [unsafe, b, one]))


def taken(node: Node) -> Size:
    """Of how many elements each result of a reduction is made."""
    [x] = node.inputs
    return product(x.shape[axis] for axis in node.attrs["axes"])


def lower_logsumexp(out: Any, node: Node, x: str) -> str:
    """max + log Σ e^(x − max), the max kept finite, so that infinities come out as they should.

    Ten times as fast as the kernel ReduceLogSumExp on wide rows, and no slower on narrow ones.
    """
    if not node.attrs["axes"]:
        return x
    axes = out.shape(node.attrs["axes"])
    top = finite_top(out, x, axes)
    terms = out.node("Exp", [out.node("Sub", [x, top])])
    write = out.doubled if out.long(taken(node)) else out.node
    total = out.node("Add", [out.node("Log", [write("ReduceSum", [terms, axes], keepdims=1)]), top])
    return str(total if node.attrs["keepdims"] else out.node("Squeeze", [total, axes]))


def finite_top(out: Any, x: str, axes: str) -> str:
    """The greatest along some axes, which stay; of infinities the greatest number there is, with their sign."""
    bound = float(np.finfo(out.precision).max)
    least, most = (out.constant(end, "float") for end in (-bound, bound))
    return str(out.node("Clip", [out.node("ReduceMax", [x, axes], keepdims=1), least, most]))


def lower_arg(op_type: str) -> Callable[[Any, Node, str], str]:
    """ArgMax or ArgMin. CUDA has them of floats only: of integers it is the least index at which the extreme
    stands, the first of several too."""
    least = {"ArgMax": "ReduceMax", "ArgMin": "ReduceMin"}[op_type]

    def lower(out: Any, node: Node, x: str) -> str:
        source = node.inputs[0]
        axis = node.attrs["axis"] % source.rank
        if source.dtype == "float":
            return str(out.node(op_type, [x], axis=axis, keepdims=0))
        axes = out.shape([axis])
        size, across = source.shape[axis], (-1, *[1] * (source.rank - 1 - axis))
        if isinstance(size, Dim):
            places = out.node("Range", [out.constant(0, "int"), out.size(size), out.constant(1, "int")])
            places = out.node("Reshape", [places, out.shape(across)])
        else:
            places = out.constant(np.arange(size, dtype=np.int64).reshape(across), "int")
        hit = out.node("Equal", [x, out.node(least, [x, axes], keepdims=1)])
        return str(out.node("ReduceMin", [out.node("Where", [hit, places, out.size(size)]), axes], keepdims=0))

    return lower


_HALVINGS = 32  # of a free size: no dimension has more than 2^32 elements


def lower_product(out: Any, node: Node, x: str) -> str:
    """ReduceProd. CUDA has it of floats only, and the CPU computes it of integers in doubles: those are multiplied
    in pairs until one is left, exact to the last bit."""
    source, shape = node.inputs[0], list(node.inputs[0].shape)
    axes = sorted(axis % source.rank for axis in node.attrs["axes"])
    if not axes:
        return x
    if source.dtype == "float":
        named = out.shape(axes)
        return str(out.node("ReduceProd", [x, named], keepdims=int(node.attrs["keepdims"])))
    row = len(axes) == source.rank > 1 and any(isinstance(size, Dim) for size in shape)
    if row:  # all of them in a row: halved once, not once for each free size
        x = out.node("Reshape", [x, out.shape([-1])])
        shape, axes = [product(shape)], [0]
    for axis in axes:
        size, shape[axis] = shape[axis], 1
        if isinstance(size, Dim):
            one = out.node("Expand", [out.constant(1, "int"), out.shape(tuple(shape))])
            x = _halved_often(out, x, axis, one)
        elif size:
            x = _halved(out, x, axis, size)
        else:
            left = tuple(1 if i in axes else size for i, size in enumerate(shape))
            x = out.node("Expand", [out.constant(1, "int"), out.shape(left)])
            break
    if row:
        return str(out.node("Reshape", [x, out.shape(node.shape)]))
    named = out.shape(axes)
    return x if node.attrs["keepdims"] else str(out.node("Squeeze", [x, named]))


def _slice(out: Any, x: str, axis: int, start: int, stop: int, *step: int) -> str:
    bounds = [out.shape([bound]) for bound in (start, stop, axis, *step)]
    return str(out.node("Slice", [x, *bounds]))


def _halved(out: Any, x: str, axis: int, size: int) -> str:
    """The product along an axis of known size: the first half with the second."""
    while size > 1:
        half = size // 2
        pairs = out.node("Mul", [_slice(out, x, axis, 0, half), _slice(out, x, axis, half, 2 * half)])
        x = out.node("Concat", [pairs, _slice(out, x, axis, 2 * half, size)], axis=axis) if size % 2 else pairs
        size -= half
    return x


def _halved_often(out: Any, x: str, axis: int, one: str) -> str:
    """The product along an axis of any size: a 1 is put behind, and each even place meets the odd one after it. What
    has one element stays as it is."""
    end = int(np.iinfo(np.int64).max)
    for _ in range(_HALVINGS):
        longer = out.node("Concat", [x, one], axis=axis)
        x = out.node("Mul", [_slice(out, longer, axis, 0, -1, 2), _slice(out, longer, axis, 1, end, 2)])
    return _slice(out, out.node("Concat", [x, one], axis=axis), axis, 0, 1)  # the 1, where there was nothing
