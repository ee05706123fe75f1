"""Picking elements by integer arrays, and the adjoints."""
from __future__ import annotations

from typing import Any

import numpy as np
from numpy.random import Generator

from ..graph import Array, Graph, Node
from ..tensor_type import Dim, Shape, Size, TensorType, TypeProblem, normal_axis, product, show_shape
from .registry import NONE, Sample, define, no_gradient
from .shaping import expand_dims

ONE_HOT_ROWS = 4096  # a table of at most so many rows gathers its adjoint by one product, which is deterministic everywhere


def _ints(type: TensorType, number: int) -> None:
    if type.dtype != "int":
        raise TypeProblem("E0302", "an index is a whole number", {number: f"this is `{type}`"},
                          "`target y: int[batch]` declares whole numbers")


def _gather_infer(table: TensorType, index: TensorType, axis: int) -> TensorType:
    _ints(index, 1)
    at = normal_axis(axis, table.rank)
    return table.with_shape((*table.shape[:at], *index.shape, *table.shape[at + 1 :]))


def _gather_samples(rng: Generator) -> Sample:
    rank = int(rng.integers(1, 4))
    shape = tuple(int(size) for size in rng.integers(1, 5, rank))
    axis = int(rng.integers(0, rank))
    index = rng.integers(0, shape[axis], tuple(int(s) for s in rng.integers(1, 4, int(rng.integers(0, 3)))))
    return Sample((rng.uniform(-3, 3, shape), np.asarray(index)), {"axis": axis})


gather = define(  # whole rows along an axis: table[..., index, ...]
    "gather", infer=_gather_infer, samples=_gather_samples, defaults={"axis": 0},
    grad=lambda g, y, table, index, axis: [scatter_add(g, index, shape=table.shape, axis=axis), NONE],
    lower=lambda out, node, table, index: str(out.node("Gather", [table, index], axis=node.attrs["axis"])),
    reference=lambda table, index, axis: np.take(table, index, axis=axis),
)


def _scatter_infer(g: TensorType, index: TensorType, shape: Shape, axis: int) -> TensorType:
    _ints(index, 1)
    return g.with_shape(shape)


def _scatter(g: Array, index: Array, shape: tuple[int, ...], axis: int) -> Array:
    result = np.zeros(shape, g.dtype)
    axis %= len(shape)
    rows = np.moveaxis(g, tuple(range(axis, axis + index.ndim)), tuple(range(index.ndim)))
    np.add.at(np.moveaxis(result, axis, 0), index, rows)
    return result


def _scatter_lower(out: Any, node: Node, g: str, index: str) -> str:
    """Rows are added through a product with the one-hot matrix of a small table; else by ScatterND."""
    shape, axis = node.shape, node.attrs["axis"] % node.rank
    source, at = node.inputs
    rows, rank = shape[axis], at.rank
    rest = shape[:axis] + shape[axis + 1 :]
    count, width = product(at.shape), product(rest)
    # the index dimensions first: [*index, *rest]
    perm = [*range(axis, axis + rank), *range(axis), *range(axis + rank, source.rank)]
    if perm != list(range(source.rank)):
        g = out.node("Transpose", [g], perm=perm)
    flat = out.node("Reshape", [g, out.shape((count, width))], allowzero=1)
    column = out.node("Reshape", [index, out.shape((count, 1))], allowzero=1)
    if isinstance(rows, int) and rows <= ONE_HOT_ROWS:
        counted = out.constant(np.arange(rows, dtype=np.int64), "int")
        wrapped = out.node("Where", [out.node("Less", [column, out.constant(0, "int")]),
                                     out.node("Add", [column, out.constant(rows, "int")]), column])
        hot = out.cast(out.node("Equal", [wrapped, counted]), "float")
        total = out.node("Gemm", [hot, flat], transA=1, transB=0)
    else:
        zeros = out.node("Expand", [out.constant(0.0, "float"), out.shape((rows, width))])
        total = out.node("ScatterND", [zeros, column, flat], reduction="add")
    total = out.node("Reshape", [total, out.shape((rows, *rest))], allowzero=1)
    if axis:
        total = out.node("Transpose", [total], perm=[*range(1, axis + 1), 0, *range(axis + 1, node.rank)])
    return str(total)


def _scatter_samples(rng: Generator) -> Sample:
    sample = _gather_samples(rng)
    table, index = sample.inputs
    axis = sample.attrs["axis"]
    g = rng.uniform(-3, 3, np.take(table, index, axis=axis).shape)
    return Sample((g, index), {"shape": table.shape, "axis": axis})


scatter_add = define(  # the adjoint of gather: zeros of a shape, with the rows of g added where index says
    "scatter_add", infer=_scatter_infer, samples=_scatter_samples, lower=_scatter_lower, reference=_scatter,
    grad=lambda g, y, x, index, shape, axis: [gather(g, index, axis=axis), NONE], defaults={"axis": 0},
)


def _pick_infer(x: TensorType, index: TensorType) -> TensorType:
    _ints(index, 1)
    if not x.rank or x.shape[:-1] != index.shape:
        raise TypeProblem("E0343", "`pick` takes one index for each row", {
            0: f"its rows are {show_shape(x.shape[:-1])}: `{x}`", 1: f"the indices are {show_shape(index.shape)}"})
    return x.with_shape(index.shape)


def _pick_samples(rng: Generator) -> Sample:
    shape = tuple(int(size) for size in rng.integers(1, 5, int(rng.integers(1, 4))))
    return Sample((rng.uniform(-3, 3, shape), np.asarray(rng.integers(0, shape[-1], shape[:-1]))), {})


def _pick_lower(out: Any, node: Node, x: str, index: str) -> str:
    last = out.constant(np.asarray([-1], np.int64), "int")
    found = out.node("GatherElements", [x, out.node("Unsqueeze", [index, last])], axis=-1)
    return str(out.node("Squeeze", [found, last]))


def _pick_grad(g: Node, y: Node, x: Node, index: Node) -> list[Any]:
    hot = one_hot(index, depth=x.shape[-1])
    return [expand_dims(g, g.rank) * hot, NONE]


pick = define(  # x[..., index]: one element of each row
    "pick", infer=_pick_infer, grad=_pick_grad, lower=_pick_lower, samples=_pick_samples,
    reference=lambda x, index: np.take_along_axis(x, index[..., None], -1)[..., 0],
)


def _hot_infer(index: TensorType, depth: Size) -> TensorType:
    _ints(index, 0)
    return TensorType("float", (*index.shape, depth))


def _hot_lower(out: Any, node: Node, index: str) -> str:
    depth = node.attrs["depth"]
    if isinstance(depth, Dim):
        counted = out.node("Range", [out.constant(0, "int"), out.size(depth), out.constant(1, "int")])
    else:
        counted = out.constant(np.arange(depth, dtype=np.int64), "int")
    column = out.node("Unsqueeze", [index, out.constant(np.asarray([-1], np.int64), "int")])
    return str(out.cast(out.node("Equal", [column, counted]), "float"))


one_hot = define(  # 1 at the index, 0 elsewhere; all 0 where the index is outside
    "one_hot", infer=_hot_infer, grad=no_gradient(1), lower=_hot_lower,
    reference=lambda index, depth: (index[..., None] == np.arange(depth)).astype(np.float64),
    samples=lambda rng: Sample((rng.integers(0, 4, tuple(int(s) for s in rng.integers(0, 4, int(rng.integers(0, 3))))),),
                               {"depth": int(rng.integers(1, 6))}),
)


def _range_lower(out: Any, node: Node) -> str:
    size = node.attrs["size"]
    if isinstance(size, int):
        return str(out.constant(np.arange(size, dtype=np.int64), "int"))
    return str(out.node("Range", [out.constant(0, "int"), out.size(size), out.constant(1, "int")]))


arange = define(
    "arange", infer=lambda size: TensorType("int", (size,)), grad=no_gradient(0), lower=_range_lower,
    reference=lambda size: np.arange(size, dtype=np.int64), samples=None,
)


def make_arange(graph: Graph, size: Size) -> Node:
    """0, 1, ..., size − 1."""
    return graph.add(arange, (), {"size": size})


