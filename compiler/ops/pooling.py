"""The greatest and the mean of each window, and their adjoints.

`max_pool` pads with minus infinity. Equal greatest values of a window share its derivative evenly, as they do in `max`
(PyTorch gives it to the first; after a relu, where windows of zeros tie, the difference is lost in relu'(0) = 0).
With c(p) the number of places where window p has its greatest value,

    max_unpool(g, x, y)[i] = Σ over the windows p with x[i] = y[p] of g[p] / c(p)
    max_select(u, x, y)[p] = Σ over the places i of window p with x[i] = y[p] of u[i] / c(p)

are adjoint to each other and piecewise constant in x: with `max_pool` they are closed under differentiation.
`avg_pool` counts the padding as zeros (count_include_pad in PyTorch); it is linear, and `avg_unpool` its adjoint.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..ir.apart import Slices, images
from ..ir.graph import Array, Node
from ..ir.op import NONE, OPS, Op, Sample, _None, define, free, per_element
from ..ir.types import Dim, Shape, Size, TensorType, TypeProblem, product
from .convolution import by_products, lower_adjoint
from .window import (
    Ints,
    extent,
    geometry,
    offsets,
    padded,
    reshaped,
    spatial_rank,
    spread_back,
    taken,
    window_count,
    windows,
)

_WIDE = 64  # windows in a row, beyond which a product with a matrix of zeros and ones costs more than it spares


def _infer(name: str, x: TensorType, kernel: Ints, strides: Ints, pads: Ints, dilations: Ints) -> TensorType:
    spatial_rank(name, x)
    count = window_count(name, x.shape[2:], kernel, strides, pads, dilations)
    n = len(kernel)
    for i, size in enumerate(x.shape[2:]):
        if _window_of_padding(size, count[i], kernel[i], strides[i], pads[i], pads[n + i], dilations[i]):
            raise TypeProblem(
                "E0365",
                f"a window of `{name}` would hold nothing but padding",
                {0: f"dimension {i + 2} is {size}, padded by {pads[i]} before and {pads[n + i]} after"},
                "a window reaches into the padding by less than its own size",
            )
    return x.with_shape((*x.shape[:2], *count))


def _window_of_padding(
    size: Size, count: Size, kernel: int, stride: int, before: int, after: int, dilation: int
) -> bool:
    """Whether some window misses the value; a free size is taken to be no smaller than the dilation."""
    if isinstance(size, Dim) or isinstance(count, Dim):
        return max(before, after) >= extent(kernel, dilation)
    first, last = -before, (count - 1) * stride - before  # where the first and the last window begin
    if first + (kernel - 1) * dilation < 0 or last >= size:
        return True
    if size >= dilation:
        return False  # the first element that is not before the value lies in it
    # Windows that begin before a value narrower than the dilation may step over it: by their beginnings modulo the
    # dilation, of which only so many differ.
    step = math.gcd(stride, dilation)
    starts = min(-(-before // stride), count)
    if starts >= dilation // step:
        return dilation - step + first % step >= size
    return any((first + p * stride) % dilation >= size for p in range(starts))


def _max_infer(x: TensorType, **how: Any) -> TensorType:
    return _infer("max_pool", x, **how)


def _unpool_infer(g: TensorType, x: TensorType, y: TensorType, **how: Any) -> TensorType:
    _same(_max_infer(x, **how), g=g, y=y)
    return x


def _select_infer(u: TensorType, x: TensorType, y: TensorType, **how: Any) -> TensorType:
    _same(_max_infer(x, **how), y=y)
    _same(x, u=u)
    return y


def _same(expected: TensorType, **found: TensorType) -> None:
    for name, type in found.items():
        if type != expected:
            raise TypeProblem("E0364", f"pooling these shapes goes with `{expected}`", {0: f"{name} is `{type}`"})


# --- NumPy


def _hits(x: Array, y: Array, kernel: Ints, strides: Ints, pads: Ints, dilations: Ints) -> Any:
    """[batch, channels, ...windows, ...kernel]: the share of each place in its window's greatest value."""
    hit = windows(x, kernel, strides, pads, dilations, -np.inf) == y[(..., *[None] * len(kernel))]
    places = tuple(range(-len(kernel), 0))
    return hit / np.maximum(hit.sum(places, keepdims=True), 1)


def _unpool(g: Array, x: Array, y: Array, **how: Any) -> Any:
    shares = _hits(x, y, **how) * g[(..., *[None] * len(how["kernel"]))]
    return spread_back(shares, x.shape, how["strides"], how["pads"], how["dilations"])


def _select(u: Array, x: Array, y: Array, **how: Any) -> Any:
    return np.sum(windows(u, **how) * _hits(x, y, **how), axis=tuple(range(-len(how["kernel"]), 0)))


def _max(x: Array, kernel: Ints, **how: Any) -> Any:
    return windows(x, kernel, **how, fill=-np.inf).max(axis=tuple(range(-len(kernel), 0)), initial=-np.inf)


# --- ONNX: windows that tile the value


def _tiles(shape: Shape, kernel: Ints, strides: Ints, pads: Ints, dilations: Ints) -> bool:
    """Whether the windows lie side by side and cover the value."""
    return (
        strides == kernel
        and not any(pads)
        and set(dilations) == {1}
        and all(size % k == 0 for size, k in zip(shape[2:], kernel, strict=True))
    )


class _Tiling:
    """A value of a window for each element in it, and the sum of the elements for each window.

    Rows of windows times a matrix of zeros and ones [w, k * w * k], which repeats each number in its window: the
    product is in the order of memory, and the matrix transposed sums. Four times as fast as Expand and ReduceSum.
    """

    def __init__(self, out: Any, shape: Shape, kernel: Ints) -> None:
        self.out, self.shape, self.kernel = out, shape, kernel
        self.count = tuple(size // k for size, k in zip(shape[2:], kernel, strict=True))
        self.n = len(kernel)
        last = self.count[-1]
        self.matrix: Array | None = None
        if isinstance(last, int) and last <= _WIDE and self.n < 3:
            high = kernel[-2] if self.n == 2 else 1
            wide = np.kron(np.eye(last), np.ones((1, kernel[-1])))
            self.matrix = np.tile(wide, (1, high))
        self.apart: list[Size] = [*shape[:2]]  # each dimension as windows and places
        self.lone: list[Size] = [*shape[:2]]
        for size, k in zip(self.count, kernel, strict=True):
            self.apart += [size, k]
            self.lone += [size, 1]

    def spread(self, y: str) -> str:
        out = self.out
        if self.matrix is not None:
            rows = reshaped(out, y, (product((*self.shape[:2], *self.count[:-1])), self.count[-1]))
            return reshaped(out, out.node("MatMul", [rows, out.constant(self.matrix, "float")]), self.shape)
        y = out.node("Expand", [reshaped(out, y, tuple(self.lone)), out.shape(tuple(self.apart))])
        return reshaped(out, y, self.shape)

    def total(self, x: str) -> str:
        out, result = self.out, (*self.shape[:2], *self.count)
        if self.matrix is not None:
            rows = reshaped(out, x, (product((*self.shape[:2], *self.count[:-1])), self.matrix.shape[1]))
            return reshaped(out, out.node("MatMul", [rows, out.constant(self.matrix.T, "float")]), result)
        x = reshaped(out, x, tuple(self.apart))
        return str(out.node("ReduceSum", [x, out.shape(range(3, 3 + 2 * self.n, 2))], keepdims=0))


# --- ONNX


def _pool(out: Any, op_type: str, x: str, kernel: Ints, strides: Ints, pads: Ints, fill: float, **more: Any) -> str:
    """The kernels take pads smaller than the kernel; others are written out."""
    if any(pad >= k for pad, k in zip(pads, kernel * 2, strict=True)):
        x, pads = padded(out, x, pads, fill), (0,) * len(pads)
    return str(
        out.node(op_type, [x], auto_pad="NOTSET", ceil_mode=0, kernel_shape=kernel, strides=strides, pads=pads, **more)
    )


def _max_lower(out: Any, node: Node, x: str) -> str:
    how = node.attrs
    return _pool(
        out,
        "MaxPool",
        x,
        how["kernel"],
        how["strides"],
        how["pads"],
        -np.inf,
        dilations=how["dilations"],
        storage_order=0,
    )


def _places(
    out: Any, x: str, y: str, count: Shape, kernel: Ints, strides: Ints, pads: Ints, dilations: Ints
) -> list[str]:
    """For each place of a window 1 where it has the greatest value of the window, else 0."""
    whole = padded(out, x, pads, -np.inf)
    return [
        out.cast(out.node("Equal", [taken(out, whole, at, count, strides, dilations), y]), "float")
        for at in offsets(kernel)
    ]


def _sum(out: Any, names: Sequence[str]) -> str:
    total = names[0]
    for name in names[1:]:
        total = out.node("Add", [total, name])
    return total


def _unpool_lower(out: Any, node: Node, g: str, x: str, y: str) -> str:
    """Where windows tile the value, hits * spread(g / count); else the shares of each place, put back by the adjoint
    of a convolution whose kernel has one channel for each place."""
    how, shape, count = node.attrs, node.shape, node.inputs[0].shape[2:]
    kernel = how["kernel"]
    if _tiles(shape, **how):
        tiling = _Tiling(out, shape, kernel)
        hit = out.cast(out.node("Equal", [x, tiling.spread(y)]), "float")
        share = out.node("Div", [g, tiling.total(hit)])
        return str(out.node("Mul", [hit, tiling.spread(share)]))
    hits = _places(out, x, y, count, **how)
    share = out.node("Div", [g, _sum(out, hits)])
    planes = product(shape[:2])
    parts = [reshaped(out, out.node("Mul", [hit, share]), (planes, 1, *count)) for hit in hits]
    joined = out.node("Concat", parts, axis=1) if len(parts) > 1 else parts[0]
    places = len(parts)
    put = out.constant(np.eye(places).reshape(places, 1, *kernel), "float")
    back = lower_adjoint(
        out,
        joined,
        (planes, places, *count),
        put,
        (places, 1, *kernel),
        (planes, 1, *shape[2:]),
        how["strides"],
        how["pads"],
        how["dilations"],
        1,
    )
    return reshaped(out, back, shape)


def _select_lower(out: Any, node: Node, u: str, x: str, y: str) -> str:
    how, shape, count = node.attrs, node.inputs[1].shape, node.shape[2:]
    if _tiles(shape, **how):
        tiling = _Tiling(out, shape, how["kernel"])
        hit = out.cast(out.node("Equal", [x, tiling.spread(y)]), "float")
        return str(out.node("Div", [tiling.total(out.node("Mul", [hit, u])), tiling.total(hit)]))
    hits = _places(out, x, y, count, **how)
    whole = padded(out, u, how["pads"])
    chosen = [
        out.node("Mul", [hit, taken(out, whole, at, count, how["strides"], how["dilations"])])
        for hit, at in zip(hits, offsets(how["kernel"]), strict=True)
    ]
    return str(out.node("Div", [_sum(out, chosen), _sum(out, hits)]))


def _avg_lower(out: Any, node: Node, x: str) -> str:
    how = node.attrs
    kernel, shape = how["kernel"], node.inputs[0].shape
    if out.precision == "float64":
        one = (product(shape[:2]), 1, *shape[2:])
        mean = out.constant(np.full((1, 1, *kernel), 1 / product(kernel)), "float")  # type: ignore[operator]
        y = by_products(
            out,
            reshaped(out, x, one),
            one,
            mean,
            (1, 1, *kernel),
            node.shape[2:],
            how["strides"],
            how["pads"],
            (1,) * len(kernel),
            1,
        )
        return reshaped(out, y, node.shape)
    return _pool(
        out,
        "AveragePool",
        x,
        kernel,
        how["strides"],
        how["pads"],
        0.0,
        count_include_pad=1,
        dilations=(1,) * len(kernel),
    )


def _avg_unpool_lower(out: Any, node: Node, g: str) -> str:
    how, shape, source = node.attrs, node.shape, node.inputs[0].shape
    kernel = how["kernel"]
    n, size = len(kernel), int(product(kernel))  # type: ignore[arg-type]
    if _tiles(shape, kernel, how["strides"], how["pads"], (1,) * n):
        return _Tiling(out, shape, kernel).spread(out.node("Mul", [g, out.constant(1 / size, "float")]))
    planes = product(shape[:2])
    mean = out.constant(np.full((1, 1, *kernel), 1 / size), "float")
    back = lower_adjoint(
        out,
        reshaped(out, g, (planes, 1, *source[2:])),
        (planes, 1, *source[2:]),
        mean,
        (1, 1, *kernel),
        (planes, 1, *shape[2:]),
        how["strides"],
        how["pads"],
        (1,) * n,
        1,
    )
    return reshaped(out, back, shape)


# --- samples


def _drawn(rng: np.random.Generator, dilate: bool) -> tuple[Array, dict[str, Any]]:
    """A value without near ties, and a window; no window lies in the padding alone."""
    while True:
        place = geometry(rng, dilate=dilate)
        sizes = place.pop("sizes")
        if rng.random() < 0.3:  # windows that tile the value
            n = len(sizes)
            place |= {"strides": place["kernel"], "pads": (0,) * (2 * n), "dilations": (1,) * n}
            sizes = tuple(k * int(times) for k, times in zip(place["kernel"], rng.integers(1, 4, n), strict=True))
        shape = (0 if rng.random() < 0.1 else int(rng.integers(1, 3)), int(rng.integers(1, 4)), *sizes)
        try:
            _infer("pool", TensorType("float", shape), **place)
        except TypeProblem:
            continue
        return rng.permutation(int(np.prod(shape))).reshape(shape) * 0.1 - 2.0, place


def _uniform(rng: np.random.Generator, shape: Sequence[int]) -> Array:
    return np.asarray(rng.uniform(-2, 2, shape))


def _max_samples(rng: np.random.Generator) -> Sample:
    x, how = _drawn(rng, True)
    return Sample((x,), how)


def _unpool_samples(rng: np.random.Generator) -> Sample:
    x, how = _drawn(rng, True)
    x, y = _tied(rng, x, how)
    return Sample((_uniform(rng, y.shape), x, y), how)


def _select_samples(rng: np.random.Generator) -> Sample:
    x, how = _drawn(rng, True)
    x, y = _tied(rng, x, how)
    return Sample((_uniform(rng, x.shape), x, y), how)


def _tied(rng: np.random.Generator, x: Array, how: dict[str, Any]) -> tuple[Array, Array]:
    """x, often with ties, and the greatest of its windows."""
    x = np.floor(x) if rng.random() < 0.5 else x
    return x, _max(x, **how)


def _avg_samples(rng: np.random.Generator) -> Sample:
    x, how = _drawn(rng, False)
    del how["dilations"]
    return Sample((_uniform(rng, x.shape),), how)


def _avg_unpool_samples(rng: np.random.Generator) -> Sample:
    sample = _avg_samples(rng)
    [x], how = sample.inputs, sample.attrs
    return Sample((_uniform(rng, _avg(x, **how).shape),), {"shape": x.shape, **how})


def _avg(x: Array, kernel: Ints, strides: Ints, pads: Ints) -> Any:
    return windows(x, kernel, strides, pads, (1,) * len(kernel)).mean(axis=tuple(range(-len(kernel), 0)))


def _avg_unpool(g: Array, shape: Ints, kernel: Ints, strides: Ints, pads: Ints) -> Any:
    parts = np.broadcast_to(g[(..., *[None] * len(kernel))], (*g.shape, *kernel)) / np.prod(kernel)
    return spread_back(parts, shape, strides, pads, (1,) * len(kernel))


def _avg_infer(x: TensorType, kernel: Ints, strides: Ints, pads: Ints) -> TensorType:
    return _infer("avg_pool", x, kernel, strides, pads, (1,) * len(kernel))


def _avg_unpool_infer(g: TensorType, shape: Shape, **how: Any) -> TensorType:
    _same(_avg_infer(TensorType("float", shape), **how), g=g)
    return TensorType("float", shape)


# --- the operations


def _by_first(op: str) -> Any:
    """The derivative of what is linear in its first operand, and piecewise constant in the others."""

    def grad(g: Node, y: Node, u: Node, x: Node, top: Node, **how: Any) -> list[Node | _None]:
        return [OPS[op](g, x, top, **how), NONE, NONE]

    return grad


def _first_tangent(tangents: Sequence[Node | None], y: Node, u: Node, x: Node, top: Node, **how: Any) -> Node | None:
    return None if tangents[0] is None else y.op(tangents[0], x, top, **how)


max_pool: Op = define(
    "max_pool",
    infer=_max_infer,
    lower=_max_lower,
    reference=_max,
    samples=_max_samples,
    cost=free,
    grad=lambda g, y, x, **how: [max_unpool(g, x, y, **how)],
    jvp=lambda tangents, y, x, **how: max_select(tangents[0], x, y, **how),
    finite=True,
    monotone=(1,),
    apart=images,
)

max_unpool: Op = define(
    "max_unpool",
    infer=_unpool_infer,
    lower=_unpool_lower,
    reference=_unpool,
    samples=_unpool_samples,
    cost=per_element,
    grad=_by_first("max_select"),
    jvp=_first_tangent,
    finite=True,
    apart=images,
)


def _select_apart(node: Node, number: int, axis: int) -> int | Slices:
    """Windows of u and x; of y each element goes with its own element of the result."""
    return axis if number == 2 else images(node, number, axis)


max_select: Op = define(
    "max_select",
    infer=_select_infer,
    lower=_select_lower,
    reference=_select,
    samples=_select_samples,
    cost=lambda node: product(node.inputs[0].shape),
    grad=_by_first("max_unpool"),
    jvp=_first_tangent,
    finite=True,
    apart=_select_apart,
)

avg_pool: Op = define(
    "avg_pool",
    infer=_avg_infer,
    lower=_avg_lower,
    reference=_avg,
    samples=_avg_samples,
    cost=per_element,
    grad=lambda g, y, x, **how: [avg_unpool(g, shape=x.shape, **how)],
    jvp=lambda tangents, y, x, **how: avg_pool(tangents[0], **how),
    finite=True,
    monotone=(1,),
    apart=images,
)

avg_unpool: Op = define(
    "avg_unpool",
    infer=_avg_unpool_infer,
    lower=_avg_unpool_lower,
    reference=_avg_unpool,
    samples=_avg_unpool_samples,
    cost=per_element,
    grad=lambda u, y, g, shape, **how: [avg_pool(u, **how)],
    jvp=lambda tangents, y, g, **how: avg_unpool(tangents[0], **how),
    finite=True,
    monotone=(1,),
    apart=images,
)
