"""Operations that take dimensions away: sums, products, extremes, softmax and its kin."""
from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.random import Generator

from ..graph import Array, Node
from ..tensor_type import Dim, Shape, TensorType, TypeProblem, normal_axis, product
from . import elementwise as e
from .leaf import make_size
from .registry import Sample, define, no_gradient
from .shaping import broadcast_to, reshape


def _reduced(type: TensorType, axes: Sequence[int], keepdims: bool) -> TensorType:
    chosen = {normal_axis(axis, type.rank) for axis in axes}
    return type.with_shape(tuple(
        1 if i in chosen else size for i, size in enumerate(type.shape) if keepdims or i not in chosen
    ))


def _infer(name: str, allowed: Sequence[str]) -> Callable[..., TensorType]:
    def infer(x: TensorType, axes: tuple[int, ...], keepdims: bool = False) -> TensorType:
        if x.dtype not in allowed:
            raise TypeProblem("E0302", f"`{name}` does not take values of type `{x.dtype}`", {0: f"this is `{x}`"})
        return _reduced(x, axes, keepdims)

    return infer


def _axes_input(op_type: str) -> Callable[..., str]:
    """Sums take their axes as an input at opset 21; without axes nothing is reduced."""
    def lower(out: Any, node: Node, x: str) -> str:
        axes = out.constant(np.asarray(node.attrs["axes"], np.int64), "int")
        return str(out.node(op_type, [x, axes], keepdims=int(node.attrs["keepdims"]), noop_with_empty_axes=1))

    return lower


def spread(g: Node, x: Node, axes: Sequence[int], keepdims: bool) -> Node:
    """A reduced value (or its adjoint) with the taken dimensions put back as 1."""
    if keepdims:
        return g
    chosen = {axis % x.rank for axis in axes}
    return reshape(g, shape=tuple(1 if i in chosen else size for i, size in enumerate(x.shape)))


def _samples(low: float, high: float, distinct: bool = False) -> Callable[[Generator], Sample]:
    def samples(rng: Generator) -> Sample:
        rank = int(rng.integers(0, 5))
        shape = tuple(int(size) for size in rng.choice([1, 2, 3, 4], size=rank))
        axes = tuple(sorted(int(a) for a in rng.choice(rank, size=int(rng.integers(0, rank + 1)), replace=False))) if rank else ()
        values = rng.uniform(low, high, shape)
        if distinct:  # values a good step apart, so that no two tie
            values = (rng.permutation(values.size).reshape(shape) * 0.1 - values.size * 0.05)
        return Sample((values,), {"axes": axes, "keepdims": bool(rng.random() < 0.5)})

    return samples


reduce_sum = define(
    "reduce_sum", infer=_infer("sum", ("float", "int")),
    grad=lambda g, y, x, axes, keepdims=False: [broadcast_to(spread(g, x, axes, keepdims), shape=x.shape)],
    lower=_axes_input("ReduceSum"), defaults={"keepdims": False},
    reference=lambda x, axes, keepdims=False: np.sum(x, axis=axes, keepdims=keepdims),
    samples=_samples(-3, 3),
)


def _square_samples(rng: Generator) -> Sample:
    shape = tuple(int(size) for size in rng.integers(1, 5, int(rng.integers(1, 4))))
    axes = tuple(range(int(rng.integers(1, len(shape) + 1))))
    return Sample((rng.uniform(-3, 3, shape),), {"axes": axes, "keepdims": bool(rng.random() < 0.5)})


reduce_sum_square = define(  # sum of x^2 over at least one axis; made by fusing only
    "reduce_sum_square", infer=_infer("sum", ("float",)),
    grad=lambda g, y, x, axes, keepdims=False: [2.0 * x * spread(g, x, axes, keepdims)],
    lower=_axes_input("ReduceSumSquare"), defaults={"keepdims": False},
    reference=lambda x, axes, keepdims=False: np.sum(x * x, axis=axes, keepdims=keepdims),
    samples=_square_samples,
)


def _prod_grad(g: Node, y: Node, x: Node, axes: tuple[int, ...], keepdims: bool = False) -> list[Node]:
    """The product of the other factors: y / x where no factor is 0; where one is, the product of the rest for it
    and 0 for the others; where two are, 0."""
    zero = e.eq(x, 0.0)
    count = reduce_sum(e.cast(zero, dtype="float"), axes=axes, keepdims=True)
    rest = reduce_prod(e.where(zero, 1.0, x), axes=axes, keepdims=True)
    safe = e.where(zero, 1.0, x)
    alone = e.where(e.eq(count, 1.0), rest, 0.0)
    return [spread(g, x, axes, keepdims) * e.where(zero, alone, e.where(e.eq(count, 0.0), rest / safe, 0.0))]


reduce_prod = define(
    "reduce_prod", defaults={"keepdims": False}, infer=_infer("prod", ("float", "int")), grad=_prod_grad, lower=_axes_input("ReduceProd"),
    reference=lambda x, axes, keepdims=False: np.prod(x, axis=axes, keepdims=keepdims), samples=_samples(0.3, 2),
)


def _extreme_grad(g: Node, y: Node, x: Node, axes: tuple[int, ...], keepdims: bool = False) -> list[Node]:
    """Equal extremes share the derivative evenly."""
    hit = e.cast(e.eq(x, spread(y, x, axes, keepdims)), dtype="float")
    return [hit * (spread(g, x, axes, keepdims) / reduce_sum(hit, axes=axes, keepdims=True))]


def _extreme(name: str, op_type: str, function: Any, empty: float) -> Any:
    def reference(x: Array, axes: tuple[int, ...], keepdims: bool = False) -> Any:
        start = empty if x.dtype.kind == "f" else (np.iinfo(np.int64).min if empty < 0 else np.iinfo(np.int64).max)
        return function(x, axis=axes, keepdims=keepdims, initial=start)

    return define(name, defaults={"keepdims": False}, infer=_infer(name.removeprefix("reduce_"), ("float", "int")), grad=_extreme_grad,
                  lower=_axes_input(op_type), reference=reference, samples=_samples(-3, 3, distinct=True))


reduce_max = _extreme("reduce_max", "ReduceMax", np.max, -np.inf)
reduce_min = _extreme("reduce_min", "ReduceMin", np.min, np.inf)


def _arg(name: str, op_type: str, function: Any) -> Any:
    def infer(x: TensorType, axis: int) -> TensorType:
        if not x.rank:
            raise TypeProblem("E0314", f"`{name}` needs a dimension", {0: f"this is `{x}`"})
        if x.shape[normal_axis(axis, x.rank)] == 0:
            raise TypeProblem("E0341", f"`{name}` of nothing", {0: f"the dimension is empty: `{x}`"})
        return _reduced(TensorType("int", x.shape), (axis,), False)

    def samples(rng: Generator) -> Sample:
        sample = _samples(-3, 3, distinct=True)(rng)
        x = sample.inputs[0] if sample.inputs[0].ndim else sample.inputs[0].reshape(1)
        return Sample((x,), {"axis": int(rng.integers(-x.ndim, x.ndim))})

    return define(
        name, infer=infer, grad=no_gradient(1), samples=samples,
        lower=lambda out, node, x: str(out.node(op_type, [x], axis=node.attrs["axis"], keepdims=0)),
        reference=lambda x, axis: function(x, axis=axis),
    )


argmax = _arg("argmax", "ArgMax", np.argmax)  # the first of several greatest
argmin = _arg("argmin", "ArgMin", np.argmin)


def _logsumexp(x: Array, axes: tuple[int, ...], keepdims: bool = False) -> Any:
    top = np.max(x, axis=axes, keepdims=True, initial=-np.inf)
    top = np.where(np.isfinite(top), top, 0.0)
    total = np.log(np.sum(np.exp(x - top), axis=axes, keepdims=True)) + top
    return total if keepdims else np.sum(total, axis=axes)


def _lower_logsumexp(out: Any, node: Node, x: str) -> str:
    """max + log Σ exp(x − max): ONNX Runtime's ReduceLogSumExp does the same on the CPU, but not on every provider."""
    axes = out.constant(np.asarray(node.attrs["axes"], np.int64), "int")
    top = out.node("ReduceMax", [x, axes], keepdims=1, noop_with_empty_axes=1)
    terms = out.node("Exp", [out.node("Sub", [x, top])])
    total = out.node("Add", [out.node("Log", [out.node("ReduceSum", [terms, axes], keepdims=1, noop_with_empty_axes=1)]), top])
    return total if node.attrs["keepdims"] else str(out.node("Squeeze", [total, axes]) if node.attrs["axes"] else total)


logsumexp = define(
    "logsumexp", defaults={"keepdims": False}, infer=_infer("logsumexp", ("float",)),
    grad=lambda g, y, x, axes, keepdims=False: [
        spread(g, x, axes, keepdims) * (softmax(x, axis=axes[0] % x.rank) if len(axes) == 1
                                        else e.exp(x - spread(y, x, axes, keepdims)))
    ],
    lower=_lower_logsumexp, reference=_logsumexp, samples=_samples(-3, 3),
)


def _softmax(x: Array, axis: int) -> Any:
    return np.exp(x - _logsumexp(x, (axis,), True))


def _softmax_grad(g: Node, y: Node, x: Node, axis: int) -> list[Node]:
    gy = g * y
    return [gy - y * reduce_sum(gy, axes=(axis % x.rank,), keepdims=True)]


def _softmax_samples(rng: Generator) -> Sample:
    rank = int(rng.integers(1, 5))
    x = rng.uniform(-3, 3, tuple(int(size) for size in rng.choice([1, 2, 3, 4], size=rank)))
    return Sample((x,), {"axis": int(rng.integers(0, rank))})


def _softmax_infer(x: TensorType, axis: int) -> TensorType:
    normal_axis(axis, x.rank)
    return _infer("softmax", ("float",))(x, (axis,), True).with_shape(x.shape)


softmax = define(
    "softmax", infer=_softmax_infer, grad=_softmax_grad,
    lower=lambda out, node, x: str(out.node("Softmax", [x], axis=node.attrs["axis"])),
    reference=_softmax, samples=_softmax_samples,
)


# --- built from these


def mean(x: Node, axes: Sequence[int], keepdims: bool = False) -> Node:
    """Σ x / count. The mean of nothing is NaN."""
    x = e.cast(x, dtype="float")
    axes = tuple(axes)
    if not axes:
        return x
    count = product(x.shape[axis] for axis in axes)
    total = reduce_sum(x, axes=axes, keepdims=keepdims)
    return total / (e.cast(make_size(x.graph, count), dtype="float") if isinstance(count, Dim) else float(count))


def any_(x: Node, axes: Sequence[int], keepdims: bool = False) -> Node:
    return e.gt(reduce_sum(e.cast(x, dtype="int"), axes=tuple(axes), keepdims=keepdims), 0)


def all_(x: Node, axes: Sequence[int], keepdims: bool = False) -> Node:
    return e.eq(reduce_sum(e.cast(e.not_(x), dtype="int"), axes=tuple(axes), keepdims=keepdims), 0)


def sum_to(x: Node, shape: Shape) -> Node:
    """Undoes broadcasting: sums what was spread, so that the result has this shape."""
    if x.shape == shape:
        return x
    lead = x.rank - len(shape)
    axes = tuple(range(lead)) + tuple(
        i for i, size in enumerate(shape, lead) if size == 1 and x.shape[i] != 1
    )
    if axes:
        x = reduce_sum(x, axes=axes, keepdims=False)
    if x.shape != shape:
        squeezed = tuple(size for i, size in enumerate(shape, lead) if i not in axes)
        x = reshape(x, shape=shape) if x.shape == squeezed else broadcast_to(x, shape=shape)
    return x


