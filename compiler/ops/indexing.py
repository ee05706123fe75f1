"""Elements chosen by integers, and the adjoints. Everything here is deterministic on every provider."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..ir.apart import Slices
from ..ir.graph import Array, Graph, Node
from ..ir.op import NONE, Op, Sample, define, free, linear, no_gradient
from ..ir.types import Dim, Shape, Size, TensorType, TypeProblem, normal_axis, product, show_shape
from .operands import sizes
from .shaping import expand_dims

# The adjoint of a gather is a product with a one-hot matrix for tables of at most so many rows: exact sums in one
# order everywhere. Beyond, that matrix is too large, and ScatterND adds, on CUDA in any order.
ONE_HOT_ROWS = 4096


def _needs_ints(name: str, number: int, type: TensorType) -> None:
    if type.dtype != "int":
        raise TypeProblem(
            "E0302",
            f"`{name}` takes integers as indices",
            {number: f"this is `{type}`"},
            "`target y: int[batch]` declares integers",
        )


def counted(out: Any, size: Size) -> str:
    """0, 1, ..., size − 1."""
    if isinstance(size, Dim):
        return str(out.node("Range", [out.constant(0, "int"), out.size(size), out.constant(1, "int")]))
    return str(out.constant(np.arange(size, dtype=np.int64), "int"))


def _hot(out: Any, column: str, depth: Size) -> str:
    """Rows with 1 where the index in `column` (of last dimension 1) says, else 0."""
    return str(out.cast(out.node("Equal", [column, counted(out, depth)]), "float"))


# --- gather and its adjoint


def _gather_infer(table: TensorType, index: TensorType, axis: int) -> TensorType:
    _needs_ints("gather", 1, index)
    at = normal_axis(axis, table.rank)
    return table.with_shape((*table.shape[:at], *index.shape, *table.shape[at + 1 :]))


def _gather_samples(rng: np.random.Generator) -> Sample:
    shape = list(sizes(rng, low=1, high=4, most=3))
    axis = int(rng.integers(-len(shape), len(shape)))
    if rng.random() < 0.2:  # slices of no elements
        shape = [size if at == axis % len(shape) else 0 for at, size in enumerate(shape)]
    index = rng.integers(-shape[axis], shape[axis], sizes(rng, high=2, most=3, empty=0.1))
    return Sample((rng.uniform(-3, 3, shape), np.asarray(index)), {"axis": axis})


def _gather_apart(node: Node, number: int, axis: int) -> int | Slices:
    table, index = node.inputs
    chosen: int = node.attrs["axis"] % table.rank
    if number == 1:
        return chosen + axis
    return Slices.PLACED if axis == chosen else axis if axis < chosen else axis + index.rank - 1


def _gather_lower(out: Any, node: Node, table: str, index: str) -> str:
    return str(out.node("Gather", [table, index], axis=node.attrs["axis"] % node.inputs[0].rank))


gather = define(  # whole slices along an axis; a negative index counts from the end
    "gather",
    infer=_gather_infer,
    samples=_gather_samples,
    defaults={"axis": 0},
    jvp=linear,
    cost=free,
    grad=lambda g, y, table, index, axis: [scatter_add(g, index, shape=table.shape, axis=axis), NONE],
    lower=_gather_lower,
    reference=lambda table, index, axis: np.take(table, index, axis=axis),
    finite=True,
    monotone=(1, 0),
    apart=_gather_apart,
    moves=True,
    index=True,
)


def _scatter_infer(g: TensorType, index: TensorType, shape: Shape, axis: int) -> TensorType:
    _needs_ints("scatter_add", 1, index)
    at = normal_axis(axis, len(shape))
    wanted = (*shape[:at], *index.shape, *shape[at + 1 :])
    if g.shape != wanted:
        raise TypeProblem("E0310", f"slices of {show_shape(shape)} are needed", {0: f"{g}, not {show_shape(wanted)}"})
    return g.with_shape(shape)


def _scatter(g: Array, index: Array, shape: tuple[int, ...], axis: int) -> Array:
    result = np.zeros(shape, g.dtype)
    axis %= len(shape)
    rows = np.moveaxis(g, range(axis, axis + index.ndim), range(index.ndim))
    np.add.at(np.moveaxis(result, axis, 0), index, rows)
    return result


def _scatter_lower(out: Any, node: Node, g: str, index: str) -> str:
    """Rows [count, width] are added up as one-hotᵀ @ rows, or by ScatterND into a table that is too large for it."""
    shape, axis = node.shape, node.attrs["axis"] % node.rank
    source, at = node.inputs
    rest = shape[:axis] + shape[axis + 1 :]
    rows, count, width = shape[axis], product(at.shape), product(rest)
    perm = [*range(axis, axis + at.rank), *range(axis), *range(axis + at.rank, source.rank)]
    if perm != list(range(source.rank)):
        g = out.node("Transpose", [g], perm=perm)
    flat = out.node("Reshape", [g, out.shape((count, width))], allowzero=1)
    column = out.node("Reshape", [index, out.shape((count, 1))], allowzero=1)
    if isinstance(rows, int) and rows <= ONE_HOT_ROWS:
        negative = out.node("Less", [column, out.constant(0, "int")])
        column = out.node("Where", [negative, out.node("Add", [column, out.constant(rows, "int")]), column])
        total = out.node("Gemm", [_hot(out, column, rows), flat], transA=1, transB=0)
    else:
        zeros = out.node("Expand", [out.constant(0.0, "float"), out.shape((rows, width))])
        total = out.node("ScatterND", [zeros, column, flat], reduction="add")
    if len(rest) != 1:
        total = out.node("Reshape", [total, out.shape((rows, *rest))], allowzero=1)
    if axis:
        total = out.node("Transpose", [total], perm=[*range(1, axis + 1), 0, *range(axis + 1, node.rank)])
    return str(total)


def _scatter_samples(rng: np.random.Generator) -> Sample:
    sample = _gather_samples(rng)
    table, index = sample.inputs
    g = rng.uniform(-3, 3, np.take(table, index, axis=sample.attrs["axis"]).shape)
    return Sample((g, index), {"shape": table.shape, **sample.attrs})


def _scatter_apart(node: Node, number: int, axis: int) -> int | Slices:
    chosen, several = node.attrs["axis"] % node.rank, node.inputs[1].rank
    if number == 1 or chosen <= axis < chosen + several:
        return Slices.ONE
    return axis if axis < chosen else axis - several + 1


scatter_add: Op = define(  # the adjoint of gather: zeros of a shape, to which the slices of g are added
    "scatter_add",
    infer=_scatter_infer,
    samples=_scatter_samples,
    lower=_scatter_lower,
    reference=_scatter,
    jvp=linear,
    cost=free,
    grad=lambda g, y, x, index, shape, axis: [gather(g, index, axis=axis), NONE],
    defaults={"axis": 0},
    finite=True,
    monotone=(1, 0),
    apart=_scatter_apart,
    index=True,
)


# --- one of each row


def _pick_infer(x: TensorType, index: TensorType) -> TensorType:
    _needs_ints("pick", 1, index)
    if not x.rank or x.shape[:-1] != index.shape:
        raise TypeProblem(
            "E0343",
            "`pick` takes one index for each row",
            {0: f"its rows are {show_shape(x.shape[:-1])}: `{x}`", 1: f"the indices are {show_shape(index.shape)}"},
        )
    return x.with_shape(index.shape)


def _pick_samples(rng: np.random.Generator) -> Sample:
    shape = (*sizes(rng, high=4, empty=0.25), int(rng.integers(1, 5)))
    return Sample((rng.uniform(-3, 3, shape), np.asarray(rng.integers(-shape[-1], shape[-1], shape[:-1]))), {})


def _pick_lower(out: Any, node: Node, x: str, index: str) -> str:
    last = out.shape([node.rank])
    found = out.node("GatherElements", [x, out.node("Unsqueeze", [index, last])], axis=node.rank)
    return str(out.node("Squeeze", [found, last]))


pick = define(  # x[..., index]: one element of each row; a negative index counts from the end
    "pick",
    infer=_pick_infer,
    lower=_pick_lower,
    samples=_pick_samples,
    jvp=linear,
    cost=free,
    grad=lambda g, y, x, index: [expand_dims(g, g.rank) * one_hot(index, depth=x.shape[-1], wrap=True), NONE],
    reference=lambda x, index: np.take_along_axis(x, index[..., None], -1)[..., 0],
    finite=True,
    monotone=(1, 0),
    apart=lambda node, number, axis: Slices.PLACED if axis == node.rank else axis,
    moves=True,
    index=True,
)


def _one_hot_infer(index: TensorType, depth: Size, wrap: bool) -> TensorType:
    _needs_ints("one_hot", 0, index)
    return TensorType("float", (*index.shape, depth))


def _one_hot_lower(out: Any, node: Node, index: str) -> str:
    """Equal and Cast: the kernel OneHot has no float64."""
    if node.attrs["wrap"]:
        depth = node.attrs["depth"]
        whole = out.size(depth) if isinstance(depth, Dim) else out.constant(depth, "int")
        index = out.node("Mod", [index, whole], fmod=0)
    column = out.node("Unsqueeze", [index, out.shape([node.rank - 1])])
    return _hot(out, column, node.attrs["depth"])


def _one_hot(index: Array, depth: int, wrap: bool) -> Array:
    index = index % depth if wrap else index
    return np.asarray(index[..., None] == np.arange(depth), np.float64)


# 1 at the index, 0 elsewhere; all 0 where the index is below 0 or beyond the depth, unless it is to `wrap` around it
one_hot: Op = define(
    "one_hot",
    infer=_one_hot_infer,
    grad=no_gradient(1),
    jvp=NONE,
    cost=free,
    lower=_one_hot_lower,
    reference=_one_hot,
    defaults={"wrap": False},
    samples=lambda rng: Sample(
        (rng.integers(-1, 5, sizes(rng, high=4, empty=0.1)),),
        {"depth": int(rng.integers(1, 6)), "wrap": bool(rng.random() < 0.5)},
    ),
    finite=True,
    apart=lambda node, number, axis: axis,
    index=True,
)


arange = define(
    "arange",
    infer=lambda size: TensorType("int", (size,)),
    grad=no_gradient(0),
    jvp=NONE,
    cost=free,
    lower=lambda out, node: counted(out, node.attrs["size"]),
    reference=lambda size: np.arange(size, dtype=np.int64),
    samples=lambda rng: Sample((), {"size": int(rng.integers(0, 9))}),
    finite=True,
)


def make_arange(graph: Graph, size: Size) -> Node:
    """0, 1, ..., size − 1."""
    return graph.add(arange, (), {"size": size})
