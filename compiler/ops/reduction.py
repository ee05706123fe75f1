"""Operations that take dimensions away: sums, products, extremes; softmax and its kin."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..ir.apart import along_axes, along_axis
from ..ir.graph import Array, Node
from ..ir.op import NONE, Sample, Sampler, define, free, linear, no_gradient, per_element
from ..ir.types import Dim, Shape, Size, TensorType, TypeProblem, normal_axis, product
from .choice import eq, gt, not_, where
from .elementwise import exp, maximum
from .leaf import make_size
from .operands import NUMBERS, cast, sizes, wrong_dtype
from .shaping import broadcast_to, reshape
from .special import finite_top, lower_arg, lower_logsumexp, lower_product, taken


def _reduced(type: TensorType, axes: Sequence[int], keepdims: bool) -> TensorType:
    chosen = {normal_axis(axis, type.rank) for axis in axes}
    return type.with_shape(
        tuple(1 if i in chosen else size for i, size in enumerate(type.shape) if keepdims or i not in chosen)
    )


def _infer(name: str, allowed: Sequence[str]) -> Callable[..., TensorType]:
    def infer(x: TensorType, axes: tuple[int, ...], keepdims: bool) -> TensorType:
        if x.dtype not in allowed:
            raise wrong_dtype(name, 0, x)
        return _reduced(x, axes, keepdims)

    return infer


def _lower(op_type: str) -> Callable[..., str]:
    """The axes are an input of the operator; without any, nothing is reduced."""

    def lower(out: Any, node: Node, x: str) -> str:
        if op_type == "ReduceSumSquare" and not node.attrs["axes"]:
            return str(out.node("Mul", [x, x]))
        axes = out.shape(node.attrs["axes"])
        sums = op_type in ("ReduceSum", "ReduceSumSquare") and node.dtype == "float"
        write = out.doubled if sums and out.long(taken(node)) else out.node
        return str(write(op_type, [x, axes], keepdims=int(node.attrs["keepdims"]), noop_with_empty_axes=1))

    return lower


def spread(reduced: Node, x: Node, axes: Sequence[int], keepdims: bool) -> Node:
    """A reduced value, or its adjoint, with the dimensions that were taken put back as 1."""
    if keepdims:
        return reduced
    chosen = {axis % x.rank for axis in axes}
    return reshape(reduced, shape=tuple(1 if i in chosen else size for i, size in enumerate(x.shape)))


def _inputs(node: Node) -> Size:
    """One multiplication for each element of the operand."""
    return product(node.inputs[0].shape)


def _samples(low: float, high: float, distinct: bool = False, ints: bool = True) -> Sampler:
    def samples(rng: np.random.Generator) -> Sample:
        shape = sizes(rng, empty=0.25)
        rank = len(shape)
        axes = sorted(int(a) for a in rng.permutation(rank)[: int(rng.integers(0, rank + 1))])
        values: Array = rng.uniform(low, high, shape)
        if distinct:  # a good step apart, so that no two tie
            values = rng.permutation(values.size).reshape(shape) * 0.1 - values.size * 0.05
        if ints and rng.random() < 0.1:
            values = np.asarray(np.floor(values * 3), np.int64)
        return Sample((values,), {"axes": tuple(axes), "keepdims": bool(rng.random() < 0.5)})

    return samples


def _reduction(name: str, **rules: Any) -> Callable[..., Node]:
    """Defines a reduction; the builder counts axes from the front, so that equal reductions are one node."""
    op = define(name, defaults={"keepdims": False}, apart=along_axes, **rules)

    def build(x: Node, *, axes: Sequence[int], keepdims: bool = False) -> Node:
        return op(x, axes=tuple(sorted(normal_axis(axis, x.rank) for axis in axes)), keepdims=keepdims)

    build.__name__ = name
    return build


reduce_sum = _reduction(
    "reduce_sum",
    infer=_infer("sum", NUMBERS),
    lower=_lower("ReduceSum"),
    grad=lambda g, y, x, axes, keepdims: [broadcast_to(spread(g, x, axes, keepdims), shape=x.shape)],
    reference=lambda x, axes, keepdims: np.sum(x, axis=axes, keepdims=keepdims),
    samples=_samples(-3, 3),
    jvp=linear,
    cost=free,
    finite=True,
    monotone=(1,),
)

reduce_sum_square = _reduction(  # Σ x², made by fusing only
    "reduce_sum_square",
    infer=_infer("sum", ("float",)),
    lower=_lower("ReduceSumSquare"),
    grad=lambda g, y, x, axes, keepdims: [spread(g, x, axes, keepdims) * 2.0 * x],
    jvp=lambda tangents, y, x, axes, keepdims: reduce_sum(tangents[0] * x, axes=axes, keepdims=keepdims) * 2.0,
    cost=_inputs,
    reference=lambda x, axes, keepdims: np.sum(x * x, axis=axes, keepdims=keepdims),
    samples=_samples(-3, 3, ints=False),
    finite=True,
)


def _others(x: Node, axes: tuple[int, ...]) -> Node:
    """The product of the other factors, right at zeros too, and so is its derivative.

    It is r / x times the zeros among the others, with r the product of the factors that are not 0: of one zero that is
    the zero itself, which is 0 but has a derivative; of more it is 0.
    """
    zero = eq(x, 0.0)
    safe, zeros, hit = where(zero, 1.0, x), where(zero, x, 0.0), cast(zero, dtype="float")
    rest = reduce_prod(safe, axes=axes, keepdims=True)
    other, count = (reduce_sum(part, axes=axes, keepdims=True) - part for part in (zeros, hit))
    return rest / safe * where(eq(count, 0.0), 1.0, where(eq(count, 1.0), other, 0.0))


def _by_weights(weights: Callable[..., Node]) -> dict[str, Callable[..., Any]]:
    """Both rules of a reduction whose derivative by each element is a weight: of the operand's shape, what
    `weights(y, x, axes, keepdims)` gives."""

    def grad(g: Node, y: Node, x: Node, axes: tuple[int, ...], keepdims: bool) -> list[Node]:
        return [spread(g, x, axes, keepdims) * weights(y, x, axes, keepdims)]

    def jvp(tangents: Sequence[Node], y: Node, x: Node, axes: tuple[int, ...], keepdims: bool) -> Node:
        return reduce_sum(tangents[0] * weights(y, x, axes, keepdims), axes=axes, keepdims=keepdims)

    return {"grad": grad, "jvp": jvp}


reduce_prod = _reduction(
    "reduce_prod",
    infer=_infer("prod", NUMBERS),
    lower=lower_product,
    cost=_inputs,
    **_by_weights(lambda y, x, axes, keepdims: _others(x, axes)),
    reference=lambda x, axes, keepdims: np.prod(x, axis=axes, keepdims=keepdims),
    samples=_samples(0.3, 2),
    finite=True,
)


def _extreme_grad(g: Node, y: Node, x: Node, axes: tuple[int, ...], keepdims: bool) -> list[Node]:
    """Equal extremes share the derivative evenly."""
    hit = cast(eq(x, spread(y, x, axes, keepdims)), dtype="float")
    return [hit * (spread(g, x, axes, keepdims) / reduce_sum(hit, axes=axes, keepdims=True))]


def _extreme_jvp(tangents: Sequence[Node], y: Node, x: Node, axes: tuple[int, ...], keepdims: bool) -> Node:
    """The mean tangent of the equal extremes; 0 of nothing."""
    hit = cast(eq(x, spread(y, x, axes, keepdims)), dtype="float")
    moved, count = (reduce_sum(part, axes=axes, keepdims=keepdims) for part in (hit * tangents[0], hit))
    return moved / maximum(count, 1.0)


def _extreme(name: str, op_type: str, function: Any, worst: float) -> Callable[..., Node]:
    """The extreme of nothing is the worst number there is, as ONNX has it."""

    def reference(x: Array, axes: tuple[int, ...], keepdims: bool) -> Any:
        limits = np.iinfo(np.int64)
        start = worst if x.dtype.kind == "f" else limits.min if worst < 0 else limits.max
        return function(x, axis=axes, keepdims=keepdims, initial=start)

    return _reduction(
        name,
        infer=_infer(name.removeprefix("reduce_"), NUMBERS),
        grad=_extreme_grad,
        jvp=_extreme_jvp,
        cost=free,
        lower=_lower(op_type),
        reference=reference,
        samples=_samples(-3, 3, distinct=True),
        finite=True,
        monotone=(1,),
    )


reduce_max = _extreme("reduce_max", "ReduceMax", np.max, -np.inf)
reduce_min = _extreme("reduce_min", "ReduceMin", np.min, np.inf)


def _arg(name: str, op_type: str, function: Any) -> Callable[..., Node]:
    def infer(x: TensorType, axis: int) -> TensorType:
        if x.dtype not in NUMBERS:
            raise wrong_dtype(name, 0, x)
        if x.shape[normal_axis(axis, x.rank)] == 0:
            raise TypeProblem("E0345", f"`{name}` of nothing", {0: f"the dimension is empty: `{x}`"})
        return _reduced(TensorType("int", x.shape), (axis,), False)

    def samples(rng: np.random.Generator) -> Sample:
        shape = list(sizes(rng, low=1))
        axis = int(rng.integers(-len(shape), len(shape)))
        if len(shape) > 1 and rng.random() < 0.15:  # of no rows
            shape[axis % len(shape) - 1] = 0
        values = rng.permutation(int(np.prod(shape))).reshape(shape) % 7  # with ties
        values = values.astype(np.int64 if rng.random() < 0.5 else np.float64)
        return Sample((values,), {"axis": axis})

    op = define(
        name,
        infer=infer,
        grad=no_gradient(1),
        jvp=NONE,
        cost=free,
        samples=samples,
        finite=True,
        lower=lower_arg(op_type),
        apart=along_axis,
        reference=lambda x, axis: function(x, axis=axis),
    )

    def build(x: Node, *, axis: int) -> Node:
        return op(x, axis=normal_axis(axis, x.rank))

    build.__name__ = name
    return build


argmax = _arg("argmax", "ArgMax", np.argmax)  # the first of several greatest
argmin = _arg("argmin", "ArgMin", np.argmin)


LEAST = -float(np.finfo(np.float64).max)


def _logsumexp(x: Array, axes: tuple[int, ...], keepdims: bool) -> Any:
    top = np.clip(np.max(x, axis=axes, keepdims=True, initial=-np.inf), LEAST, -LEAST)
    total = np.log(np.sum(np.exp(x - top), axis=axes, keepdims=True)) + top
    return total if keepdims else np.squeeze(total, axis=axes)


def _share(y: Node, x: Node, axes: tuple[int, ...], keepdims: bool) -> Node:
    """The softmax, which never exceeds 1; where all is -inf it is taken as 0, not as NaN."""
    if len(axes) == 1:
        return softmax(x, axis=axes[0], guarded=not _is_score(x))
    top = spread(y, x, axes, keepdims)
    return exp(x - (top if _is_score(x) else where(eq(top, -np.inf), 0.0, top)))


_BOUNDED = (
    "matmul",
    "gemm",
    "vecmat",
    "conv",
    "contract",
    "standardize",
    "variable",
    "exp",
    "tanh",
    "sigmoid",
    "softmax",
    "relu",
    "softplus",
    "abs",
    "sin",
    "cos",
    "erf",
)
_THROUGH = (
    "add",
    "sub",
    "mul",
    "neg",
    "where",
    "maximum",
    "minimum",
    "concat",
    "reshape",
    "transpose",
    "slice",
    "broadcast_to",
    "gather",
    "pick",
    "reduce_sum",
    "cast",
)


def _is_score(x: Node, depth: int = 8) -> bool:
    """Whether x is plainly made of products and parameters. There is no -inf among those but by overflow, and the
    kernel Softmax spares passes over memory."""
    name = x.op.name
    if name == "constant":
        return bool(np.isfinite(x.attrs["value"]).all())
    if name in _BOUNDED or x.dtype != "float":
        return True
    if name == "div":
        return x.inputs[1].op.name in ("constant", "cast") and _is_score(x.inputs[0], depth - 1)
    return name in _THROUGH and depth > 0 and all(_is_score(source, depth - 1) for source in x.inputs)


logsumexp = _reduction(
    "logsumexp",
    infer=_infer("logsumexp", ("float",)),
    **_by_weights(_share),
    cost=_inputs,
    lower=lower_logsumexp,
    reference=_logsumexp,
    samples=_samples(-3, 3, ints=False),
    finite=True,
    monotone=(1,),
)


def _softmax_infer(x: TensorType, axis: int, guarded: bool = False) -> TensorType:
    if x.dtype != "float":
        raise wrong_dtype("softmax", 0, x)
    normal_axis(axis, x.rank)
    return x


def _softmax(x: Array, axis: int, guarded: bool) -> Any:
    top = np.max(x, axis=axis, keepdims=True, initial=-np.inf)
    terms = np.exp(x - (np.clip(top, LEAST, -LEAST) if guarded else top))
    total = np.sum(terms, axis=axis, keepdims=True)
    return terms / (np.where(total == 0, 1, total) if guarded else total)


def _softmax_lower(out: Any, node: Node, x: str) -> str:
    """The kernel, which makes NaN of nothing but -inf; guarded e^(x - top) / Σ with a top that is finite."""
    axis = node.attrs["axis"] % node.rank
    if not node.attrs["guarded"]:
        return str(out.node("Softmax", [x], axis=axis))
    axes = out.shape([axis])
    terms = out.node("Exp", [out.node("Sub", [x, finite_top(out, x, axes)])])
    total = out.node("ReduceSum", [terms, axes], keepdims=1)
    nothing = out.node("Equal", [total, out.constant(0.0, "float")])
    return str(out.node("Div", [terms, out.node("Where", [nothing, out.constant(1.0, "float"), total])]))


def _softmax_grad(g: Node, y: Node, x: Node, axis: int, guarded: bool) -> list[Node]:
    """y (g − Σ g y)"""
    return [y * (g - reduce_sum(g * y, axes=(axis % x.rank,), keepdims=True))]


def _softmax_samples(rng: np.random.Generator) -> Sample:
    shape = sizes(rng, low=1, empty=0.25)
    axis, guarded = int(rng.integers(-len(shape), len(shape))), bool(rng.random() < 0.3)
    return Sample((rng.uniform(-3, 3, shape),), {"axis": axis, "guarded": guarded})


_softmax_op = define(
    "softmax",
    infer=_softmax_infer,
    grad=_softmax_grad,
    reference=_softmax,
    samples=_softmax_samples,
    defaults={"guarded": False},
    lower=_softmax_lower,
    jvp=lambda tangents, y, x, axis, guarded: _softmax_grad(tangents[0], y, x, axis, guarded)[0],  # it is symmetric
    cost=lambda node: 2 * product(node.shape),  # the power and the quotient
    finite=True,
    apart=along_axis,
)


def softmax(x: Node, *, axis: int, guarded: bool = False) -> Node:
    """e^x / Σ e^x along an axis, which the node holds counted from the front; guarded it is 0, not NaN, where all is
    -inf."""
    return _softmax_op(x, axis=normal_axis(axis, x.rank), guarded=guarded)


def _log_softmax(x: Array, axis: int) -> Any:
    return x - _logsumexp(x, (axis,), True)


def _log_softmax_grad(g: Node, y: Node, x: Node, axis: int) -> list[Node]:
    return [g - softmax(x, axis=axis) * reduce_sum(g, axes=(axis % x.rank,), keepdims=True)]


def _log_softmax_jvp(tangents: Sequence[Node], y: Node, x: Node, axis: int) -> Node:
    """dx − Σ softmax(x) dx"""
    [dx] = tangents
    return dx - reduce_sum(softmax(x, axis=axis) * dx, axes=(axis % x.rank,), keepdims=True)


def _without_guard(sample: Sample) -> Sample:
    return Sample(sample.inputs, {"axis": sample.attrs["axis"]})


log_softmax = define(  # x − logsumexp(x), made by fusing only: one kernel for the seven of a logsumexp
    "log_softmax",
    infer=_softmax_infer,
    grad=_log_softmax_grad,
    reference=_log_softmax,
    samples=lambda rng: _without_guard(_softmax_samples(rng)),
    jvp=_log_softmax_jvp,
    cost=per_element,
    lower=lambda out, node, x: str(out.node("LogSoftmax", [x], axis=node.attrs["axis"] % node.rank)),
    finite=True,
    apart=along_axis,
)


# --- built from these


def mean(x: Node, axes: Sequence[int], keepdims: bool = False) -> Node:
    """Σ x / count, as a float. The mean of nothing is NaN."""
    x, axes = cast(x, dtype="float"), tuple(axes)
    if not axes:
        return x
    count = product(x.shape[axis] for axis in axes)
    total = reduce_sum(x, axes=axes, keepdims=keepdims)
    return total / (cast(make_size(x.graph, count), dtype="float") if isinstance(count, Dim) else float(count))


def any_(x: Node, axes: Sequence[int], keepdims: bool = False) -> Node:
    """Whether one of them holds; false of nothing."""
    return gt(reduce_sum(cast(x, dtype="int"), axes=tuple(axes), keepdims=keepdims), 0)


def all_(x: Node, axes: Sequence[int], keepdims: bool = False) -> Node:
    """Whether all of them hold; true of nothing."""
    return eq(reduce_sum(cast(not_(x), dtype="int"), axes=tuple(axes), keepdims=keepdims), 0)


def sum_to(x: Node, shape: Shape) -> Node:
    """Undoes broadcasting: sums over what was spread from `shape`; what is smaller than `shape` is spread to it."""
    lead = x.rank - len(shape)
    leading = tuple(range(lead))
    ones = tuple(i for i in range(max(lead, 0), x.rank) if shape[i - lead] == 1 and x.shape[i] != 1)
    if leading and ones:
        kept = tuple(1 if i in ones else x.shape[i] for i in range(lead, x.rank))
        x = reshape(reduce_sum(x, axes=leading + ones), shape=kept)
    elif leading or ones:
        x = reduce_sum(x, axes=leading + ones, keepdims=bool(ones))
    return broadcast_to(x, shape=shape)
