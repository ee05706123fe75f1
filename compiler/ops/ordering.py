"""Running sums, the greatest of a dimension, and elements taken along one: what sorting is made of."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..ir.apart import Slices, along_axis
from ..ir.graph import Array, Node
from ..ir.op import NONE, Op, Sample, define, free, linear, no_gradient
from ..ir.types import Size, TensorType, TypeProblem, broadcast, normal_axis
from .choice import ge, le, where
from .indexing import make_arange
from .operands import NUMBERS, sizes, wrong_dtype
from .shaping import broadcast_to, reshape

# --- running sums


def _cumsum_infer(x: TensorType, axis: int, exclusive: bool, reverse: bool) -> TensorType:
    if x.dtype not in NUMBERS:
        raise wrong_dtype("cumsum", 0, x)
    normal_axis(axis, x.rank)
    return x


def _cumsum(x: Array, axis: int, exclusive: bool, reverse: bool) -> Any:
    x = np.flip(x, axis) if reverse else x
    total = np.cumsum(x, axis)
    if exclusive:
        total = np.moveaxis(total, axis, 0)
        total = np.moveaxis(np.concatenate([np.zeros_like(total[:1]), total[:-1]]), 0, axis)
    return np.flip(total, axis) if reverse else total


def _cumsum_samples(rng: np.random.Generator) -> Sample:
    shape = sizes(rng, low=1, empty=0.1)
    values: Array = rng.uniform(-3, 3, shape)
    if rng.random() < 0.2:
        values = np.asarray(np.floor(values * 3), np.int64)
    attrs = {
        "axis": int(rng.integers(0, len(shape))),
        "exclusive": bool(rng.random() < 0.3),
        "reverse": bool(rng.random() < 0.3),
    }
    return Sample((values,), attrs)


_cumsum_op = define(
    "cumsum",
    infer=_cumsum_infer,
    samples=_cumsum_samples,
    reference=_cumsum,
    jvp=linear,
    cost=free,
    finite=True,
    monotone=(1,),
    apart=along_axis,
    grad=lambda g, y, x, axis, exclusive, reverse: [cumsum(g, axis=axis, exclusive=exclusive, reverse=not reverse)],
    lower=lambda out, node, x: str(
        out.node(
            "CumSum",
            [x, out.constant(node.attrs["axis"], "int")],
            exclusive=int(node.attrs["exclusive"]),
            reverse=int(node.attrs["reverse"]),
        )
    ),
)


def cumsum(x: Node, *, axis: int, exclusive: bool = False, reverse: bool = False) -> Node:
    """The sum of the elements up to each one, itself included unless `exclusive`; from the end if `reverse`."""
    return _cumsum_op(x, axis=normal_axis(axis, x.rank), exclusive=exclusive, reverse=reverse)


# --- the k greatest


def _top_infer(x: TensorType, k: Size, axis: int, largest: bool) -> TensorType:
    if x.dtype not in NUMBERS:
        raise wrong_dtype("top", 0, x)
    at = normal_axis(axis, x.rank)
    size = x.shape[at]
    if isinstance(k, int) and (k < 0 or (isinstance(size, int) and k > size)):
        raise TypeProblem("E0345", f"there are no {k} of {size}", {0: f"dimension {at} has {size}: `{x}`"})
    return TensorType("int", (*x.shape[:at], k, *x.shape[at + 1 :]))


def _top(x: Array, k: int, axis: int, largest: bool) -> Any:
    order = np.argsort(-x if largest else x, axis=axis, kind="stable")
    return np.take(order, np.arange(k), axis=axis)


def _top_lower(out: Any, node: Node, x: str) -> str:
    """TopK; of equal elements the earlier one is first, as the operator promises."""
    k = node.attrs["k"]
    count = out.shape([k])
    if 0 in node.shape:
        return str(out.node("Reshape", [out.constant(np.zeros(0), "int"), out.shape(node.shape)], allowzero=1))
    return str(
        out.node("TopK", [x, count], output=1, axis=node.attrs["axis"], largest=int(node.attrs["largest"]), sorted=1)
    )


def _top_samples(rng: np.random.Generator) -> Sample:
    shape = sizes(rng, low=1, most=5, empty=0.05)
    axis = int(rng.integers(0, len(shape)))
    values = rng.permutation(int(np.prod(shape))).reshape(shape) % 7  # with ties
    values = values.astype(np.int64 if rng.random() < 0.3 else np.float64)
    k = shape[axis] if rng.random() < 0.4 else int(rng.integers(0, shape[axis] + 1))
    return Sample((values,), {"k": k, "axis": axis, "largest": bool(rng.random() < 0.6)})


_top_op = define(
    "top",
    infer=_top_infer,
    grad=no_gradient(1),
    jvp=NONE,
    cost=free,
    lower=_top_lower,
    samples=_top_samples,
    reference=_top,
    finite=True,
    apart=along_axis,
)


def top(x: Node, k: Size, *, axis: int, largest: bool = True) -> Node:
    """Where the k greatest (or smallest) elements of a dimension stand, the greatest first; ties in their order.

    NaN has no place in an order: where it comes is not defined. E0345 if there are fewer.
    """
    return _top_op(x, k=k, axis=normal_axis(axis, x.rank), largest=largest)


def argsort(x: Node, *, axis: int, descending: bool = False) -> Node:
    """Where the elements stand that come first, second, ... in order; equal ones keep theirs."""
    return top(x, x.shape[normal_axis(axis, x.rank)], axis=axis, largest=descending)


# --- elements along a dimension


def _take_infer(x: TensorType, index: TensorType, axis: int, distinct: bool) -> TensorType:
    if index.dtype != "int":
        raise TypeProblem("E0302", "`take_along` takes integers as indices", {1: f"this is `{index}`"})
    at = normal_axis(axis, x.rank)
    rest = [shape[:at] + shape[at + 1 :] for shape in (x.shape, index.shape)]
    if index.rank != x.rank or rest[0] != rest[1]:
        raise TypeProblem(
            "E0343",
            f"`take_along` takes indices that differ from the value in dimension {at} only",
            {0: f"this is `{x}`", 1: f"this is `{index}`"},
        )
    return x.with_shape(index.shape)


def _take_samples(rng: np.random.Generator) -> Sample:
    shape = sizes(rng, low=1)
    axis = int(rng.integers(0, len(shape)))
    if distinct := bool(rng.random() < 0.4):
        order = np.argsort(rng.uniform(size=shape), axis=axis)
        index = np.take(order, np.arange(int(rng.integers(0, shape[axis] + 1))), axis=axis)
    else:
        wide = tuple(int(rng.integers(0, 4)) if i == axis else size for i, size in enumerate(shape))
        index = rng.integers(-shape[axis], shape[axis], wide)
    return Sample((rng.uniform(-3, 3, shape), index), {"axis": axis, "distinct": distinct})


_take_op = define(
    "take_along",
    infer=_take_infer,
    samples=_take_samples,
    jvp=linear,
    cost=free,
    grad=lambda g, y, x, index, axis, distinct: [
        _put_op(g, index, size=x.shape[axis], axis=axis, distinct=distinct),
        NONE,
    ],
    lower=lambda out, node, x, index: str(out.node("GatherElements", [x, index], axis=node.attrs["axis"])),
    reference=lambda x, index, axis, distinct: np.take_along_axis(x, index, axis),
    finite=True,
    monotone=(1, 0),
    apart=lambda node, number, axis: Slices.PLACED if (number, axis) == (0, node.attrs["axis"]) else axis,
    moves=True,
    index=True,
)


def take_along(x: Node, index: Node, *, axis: int, distinct: bool = False) -> Node:
    """y[.., i, ..] = x[.., index[.., i, ..], ..] along an axis; the other dimensions broadcast. E0343.

    `distinct` says that no index stands twice in a row: the derivative then needs no sums.
    """
    at = normal_axis(axis, x.rank)
    if index.rank != x.rank:
        raise TypeProblem(
            "E0343",
            f"`take_along` takes indices with the {x.rank} dimensions of the value",
            {0: f"this is `{x.type}`", 1: f"this is `{index.type}`"},
        )
    rest = broadcast(x.shape[:at] + x.shape[at + 1 :], index.shape[:at] + index.shape[at + 1 :])
    x, index = (broadcast_to(node, shape=(*rest[:at], node.shape[at], *rest[at:])) for node in (x, index))
    return _take_op(x, index, axis=at, distinct=distinct)


def _put_infer(g: TensorType, index: TensorType, size: Size, axis: int, distinct: bool) -> TensorType:
    if g.shape != index.shape or index.dtype != "int":
        raise TypeProblem("E0343", "one index for each element", {0: f"this is `{g}`", 1: f"this is `{index}`"})
    return g.with_shape((*g.shape[:axis], size, *g.shape[axis + 1 :]))


def _put(g: Array, index: Array, size: int, axis: int, distinct: bool) -> Array:
    result = np.zeros((*g.shape[:axis], size, *g.shape[axis + 1 :]), g.dtype)
    places: list[Array] = list(np.indices(g.shape, sparse=True))
    places[axis] = index
    np.add.at(result, tuple(places), g)
    return result


def _put_lower(out: Any, node: Node, g: str, index: str) -> str:
    """ScatterElements, which adds where an index may stand twice: on CUDA in any order then."""
    zeros = out.node("Expand", [out.constant(0.0, "float"), out.shape(node.shape)])
    more = {} if node.attrs["distinct"] else {"reduction": "add"}
    return str(out.node("ScatterElements", [zeros, index, g], axis=node.attrs["axis"], **more))


def _put_samples(rng: np.random.Generator) -> Sample:
    sample = _take_samples(rng)
    x, index = sample.inputs
    g = np.asarray(rng.uniform(-3, 3, index.shape))
    return Sample((g, index), {"size": x.shape[sample.attrs["axis"]], **sample.attrs})


_put_op: Op = define(  # the adjoint of take_along: zeros, to which the elements of g are added
    "put_along",
    infer=_put_infer,
    samples=_put_samples,
    lower=_put_lower,
    reference=_put,
    jvp=linear,
    cost=free,
    grad=lambda g, y, x, index, size, axis, distinct: [_take_op(g, index, axis=axis, distinct=distinct), NONE],
    finite=True,
    monotone=(1, 0),
    apart=along_axis,
    index=True,
)


# --- built from these


def sort(x: Node, *, axis: int, descending: bool = False) -> Node:
    """The elements of a dimension in order. The derivative goes back to where each stood."""
    return take_along(x, argsort(x, axis=axis, descending=descending), axis=axis, distinct=True)


def triangle(x: Node, k: int, *, lower: bool) -> Node:
    """x with 0 above (or below) the k-th diagonal of its last two dimensions."""
    rows, columns = x.shape[-2:]
    i = reshape(make_arange(x.graph, rows), shape=(rows, 1))
    j = make_arange(x.graph, columns)
    diagonal = j - i  # counted from the main one upwards
    return where(le(diagonal, k) if lower else ge(diagonal, k), x, 0.0 if x.dtype == "float" else 0)
