"""Reductions, products of matrices, and what only moves elements. A reduction drops its dimensions and a reshape puts
them back: one form, so that equal sums are one node; at the end the two become one again (`KEEP`)."""

from __future__ import annotations

from typing import Any

from .. import ops
from ..ir.body import place
from ..ir.graph import Node
from ..ir.types import Size, product as count_of
from ..ops.match import ELEMENTWISE, REDUCTIONS, axes_of, constant_along, drop_axes, kept, number, once, solid, spread
from .rewrite import Rules

RULES = Rules()
LAST = Rules()  # once all derivatives are taken: the stable forms are told by their keepdims
KEEP = Rules()
ONE = {"starts": 0, "stops": 1, "steps": 1}  # a slice of the only element


def _reduce(name: str, x: Node, axes: tuple[int, ...], keepdims: bool = False) -> Node:
    return x.graph.add(ops.OPS[name], (x,), {"axes": axes, "keepdims": keepdims})


# --- reductions


@RULES.on(*REDUCTIONS)
def dropped_dimensions(node: Node) -> Node | None:
    """sum(x, keepdims) = reshape(sum(x)), and of other reductions; axes are counted from the front"""
    axes = axes_of(node)
    if node.attrs["keepdims"] or node.attrs["axes"] != axes:
        return ops.reshape(_reduce(node.op.name, node.inputs[0], axes), shape=node.shape)
    return None


@RULES.on(*REDUCTIONS)
def nothing_reduced(node: Node) -> Node | None:
    """a reduction over no dimension, or over dimensions of size 1, is a reshape"""
    [x] = node.inputs
    return ops.reshape(x, shape=node.shape) if all(x.shape[axis] == 1 for axis in node.attrs["axes"]) else None


@RULES.on("reduce_sum", "reduce_max", "reduce_min", "reduce_prod")
def reduction_of_reduction(node: Node) -> Node | None:
    """sum(sum(x)) = sum(x) over all their dimensions"""
    [inner] = node.inputs
    if inner.op is not node.op or inner.attrs["keepdims"] or not once(inner):
        return None
    first = axes_of(inner)
    left = [i for i in range(inner.inputs[0].rank) if i not in first]
    axes = tuple(sorted((*first, *(left[i] for i in axes_of(node)))))
    return _reduce(node.op.name, inner.inputs[0], axes)


@RULES.on("reduce_sum", "reduce_max", "reduce_min")
def reduction_of_broadcast(node: Node) -> Node | None:
    """sum(broadcast(x)) = n sum(x), n elements repeated; max(broadcast(x)) = max(x)"""
    [wide] = node.inputs
    if wide.op.name != "broadcast_to" or node.attrs["keepdims"]:
        return None
    [x] = wide.inputs
    lead = wide.rank - x.rank
    axes = axes_of(node)
    repeated = [axis for axis in axes if axis < lead or (x.shape[axis - lead] == 1 and wide.shape[axis] != 1)]
    if not repeated:
        return None
    count = count_of(wide.shape[axis] for axis in repeated)
    if node.op.name != "reduce_sum" and not (isinstance(count, int) and count > 0):
        return None  # the greatest of nothing is -inf
    own = tuple(axis - lead for axis in axes if axis >= lead)
    result = spread(_reduce(node.op.name, x, own), node.shape)
    if node.op.name != "reduce_sum":
        return result
    return result * ops.cast(ops.make_size(node.graph, count), dtype=node.dtype)


@RULES.on("reduce_sum")
def sum_of_scaled(node: Node) -> Node | None:
    """sum(-x) = -sum(x); sum(x s) = s sum(x) and sum(x / s) = sum(x) / s, s constant along what is summed: in
    derivatives and updates, and where a number s makes the terms no smaller"""
    [x] = node.inputs
    if node.attrs["keepdims"] or not once(x) or node.dtype != "float":
        return None
    axes = axes_of(node)
    if x.op.name == "neg":
        return -_reduce("reduce_sum", x.inputs[0], axes)
    if x.op.name not in ("mul", "div"):
        return None
    a, b = x.inputs
    for y, s in ((a, b), (b, a)) if x.op.name == "mul" else ((a, b),):
        if y.shape == x.shape and constant_along(s, x.shape, axes) and (node.derived or _grows(s, x.op.name)):
            total, s = _reduce("reduce_sum", y, axes), drop_axes(s, x.rank, axes)
            return total * s if x.op.name == "mul" else total / s
    return None


def _grows(s: Node, how: str) -> bool:
    """Whether x s (or x / s) is at least as great as x, for a number s: then the sum of x does not overflow first."""
    value = number(s)
    return value is not None and (1 <= abs(value) < 1e15 if how == "mul" else 1e-15 < abs(value) <= 1)


@RULES.on("reduce_sum", "reduce_max", "reduce_min", "reduce_prod")
def reduction_of_moved(node: Node) -> Node | None:
    """a reduction over everything ignores reshape and transpose; sum(transpose(x)) = sum(x) over the same"""
    [x] = node.inputs
    if x.op.name not in ("reshape", "transpose") or node.attrs["keepdims"]:
        return None
    [y] = x.inputs
    axes = axes_of(node)
    if len(axes) == x.rank:
        return _reduce(node.op.name, y, tuple(range(y.rank)))
    if x.op.name == "transpose":
        perm = x.attrs["perm"]
        own = tuple(sorted(perm[axis] for axis in axes))
        order = [i for i in range(y.rank) if i not in own]
        rest = [perm[i] for i in range(x.rank) if i not in axes]
        return ops.transpose(_reduce(node.op.name, y, own), perm=tuple(order.index(i) for i in rest))
    return None


@KEEP.on("reshape")
def kept_dimensions(node: Node) -> Node | None:
    """reshape(sum(x)) = sum(x, keepdims)"""
    [x] = node.inputs
    if x.op.name not in REDUCTIONS or x.attrs["keepdims"] or not once(x):
        return None
    [y] = x.inputs
    axes = axes_of(x)
    return _reduce(x.op.name, y, axes, True) if kept(y.shape, axes) == node.shape else None


# --- reshape, transpose, broadcast


@RULES.on("reshape")
def reshape_chain(node: Node) -> Node | None:
    """reshape(reshape(x)) = reshape(x); reshape to its own shape = x"""
    [x] = node.inputs
    if x.shape == node.shape:
        return x
    return ops.reshape(x.inputs[0], shape=node.shape) if x.op.name == "reshape" else None


@RULES.on("reshape", "transpose", "slice")
def signs_and_scalars_out(node: Node) -> Node | None:
    """reshape(-x) = -reshape(x); reshape(x s) = reshape(x) s for a scalar s; of transpose and slice too"""
    [x] = node.inputs
    if x.op.name not in ("neg", "mul", "div") or not once(x) or not x.rank:
        return None

    def moved(y: Node) -> Node:
        return node.graph.add(node.op, (y,), node.attrs)

    if x.op.name == "neg":
        return -moved(x.inputs[0])
    a, b = x.inputs
    if x.op.name == "mul" and b.rank:
        a, b = b, a
    if b.rank or not a.rank or not node.rank:
        return None
    return moved(a) * b if x.op.name == "mul" else moved(a) / b


@LAST.on(*ELEMENTWISE)
def ones_in_front(node: Node) -> Node | None:
    """f(x, reshape(y, [1, ...])) = f(x, reshape(y, [...])): broadcasting adds leading ones anyway"""
    plain = [_without_ones(source) if source.rank == node.rank else source for source in node.inputs]
    if all(new is old for new, old in zip(plain, node.inputs, strict=True)):
        return None
    if all(source.rank < node.rank for source in plain):
        return None
    result = node.graph.add(node.op, plain, node.attrs)
    return result if result.shape == node.shape else None


def _without_ones(node: Node) -> Node:
    if node.op.name != "reshape" or not node.rank or node.shape[0] != 1:
        return node
    [x] = node.inputs
    if x.op.name in REDUCTIONS and once(x):  # it can keep its dimensions itself
        return node
    ones = next((i for i, size in enumerate(node.shape) if size != 1), node.rank)
    return ops.reshape(x, shape=node.shape[ones:])


@RULES.on(*ELEMENTWISE)
def computed_already(node: Node) -> Node | None:
    """f(reshape(x), s) = reshape(f(x, s)), where f(x, s) is computed anyway: s scalars, or vectors along a last
    dimension that the reshape leaves"""
    moved = [source for source in node.inputs if source.op.name == "reshape" and source.rank == node.rank]
    if not moved or any(source.rank > 1 for source in node.inputs if source not in moved):
        return None
    before = {source.inputs[0].shape for source in moved}
    if any(source.rank for source in node.inputs if source not in moved) or any(s.shape != node.shape for s in moved):
        before = {shape[:-1] for shape in before}
        for source in moved:  # only what stands before the last dimension is reshaped
            [x] = source.inputs
            if not x.rank or x.shape[-1] != source.shape[-1] or source.shape[:-1] != node.shape[:-1]:
                return None
    if len(before) != 1:
        return None
    plain = [source.inputs[0] if source in moved else source for source in node.inputs]
    twin = node.graph.known(node.op, plain, node.attrs)
    return None if twin is None else ops.reshape(twin, shape=node.shape)


@RULES.on("reshape")
def reshape_of_broadcast(node: Node) -> Node | None:
    """reshape(broadcast(x)) = broadcast(reshape(x)), where it only adds or takes dimensions of size 1"""
    [wide] = node.inputs
    if wide.op.name != "broadcast_to":
        return None
    [x] = wide.inputs
    if count_of(x.shape) == 1:
        return spread(ops.reshape(x, shape=()), node.shape)
    if solid(wide.shape) != solid(node.shape):
        return None
    own = (1,) * (wide.rank - x.rank) + x.shape
    sizes = iter([size for size, full in zip(own, wide.shape, strict=True) if full != 1])
    return spread(ops.reshape(x, shape=tuple(1 if full == 1 else next(sizes) for full in node.shape)), node.shape)


@RULES.on("transpose", "slice")
def move_of_single(node: Node) -> Node | None:
    """transpose(broadcast(s)) = broadcast(s), and so on, for a single element s"""
    [x] = node.inputs
    if x.op.name != "broadcast_to" or count_of(x.inputs[0].shape) != 1:
        return None
    return spread(ops.reshape(x.inputs[0], shape=()), node.shape)


@RULES.on("pick", "gather")
def pick_of_single(node: Node) -> Node | None:
    """pick(broadcast(s), i) = broadcast(s) for a single element s"""
    x = node.inputs[0]
    if x.op.name != "broadcast_to" or count_of(x.inputs[0].shape) != 1:
        return None
    return spread(ops.reshape(x.inputs[0], shape=()), node.shape)


@RULES.on("transpose")
def transpose_chain(node: Node) -> Node | None:
    """transpose(transpose(x)) = transpose(x) or x; moving only dimensions of size 1 is a reshape"""
    [x] = node.inputs
    perm = node.attrs["perm"]
    if perm == tuple(range(node.rank)):
        return x
    if x.op.name == "transpose":
        return ops.transpose(x.inputs[0], perm=tuple(x.attrs["perm"][i] for i in perm))
    real = [i for i in perm if x.shape[i] != 1]
    return ops.reshape(x, shape=node.shape) if real == sorted(real) else None


@RULES.on("broadcast_to")
def broadcast_chain(node: Node) -> Node | None:
    """broadcast(broadcast(x)) = broadcast(x); to its own shape = x; broadcast(reshape(x)) = broadcast(x) where the
    reshape puts ones in front"""
    [x] = node.inputs
    if x.shape == node.shape:
        return x
    if x.op.name == "broadcast_to":
        return spread(x.inputs[0], node.shape)
    if x.op.name == "reshape":
        shape = x.inputs[0].shape
        if x.shape == (1,) * (x.rank - len(shape)) + shape:
            return spread(x.inputs[0], node.shape)
    return None


# --- matmul


@RULES.on("matmul")
def transposes_in(node: Node) -> Node | None:
    """aᵀ @ b = matmul(a, b, ta)"""
    (a, b), ta, tb = node.inputs, node.attrs["ta"], node.attrs["tb"]
    if not _swaps_last(a) and not _swaps_last(b):
        return None
    if _swaps_last(a):
        a, ta = a.inputs[0], not ta
    if _swaps_last(b):
        b, tb = b.inputs[0], not tb
    return ops.matmul(a, b, ta=ta, tb=tb)


@RULES.on("transpose")
def transpose_of_matmul(node: Node) -> Node | None:
    """(a @ b)ᵀ = bᵀ @ aᵀ"""
    [x] = node.inputs
    if x.op.name != "matmul" or not _swaps_last(node) or not once(x):
        return None
    a, b = x.inputs
    return ops.matmul(b, a, ta=not x.attrs["tb"], tb=not x.attrs["ta"])


def _swaps_last(node: Node) -> bool:
    n = node.rank
    return node.op.name == "transpose" and n > 1 and node.attrs["perm"] == (*range(n - 2), n - 1, n - 2)


@RULES.on("matmul")
def signs_out_of_matmul(node: Node) -> Node | None:
    """(-a) @ b = -(a @ b)"""
    a, b = node.inputs
    if a.op.name != "neg" and b.op.name != "neg":
        return None
    both = a.op.name == b.op.name
    a, b = (x.inputs[0] if x.op.name == "neg" else x for x in (a, b))
    product = node.graph.add(node.op, (a, b), node.attrs)
    return product if both else -product


# --- concat, slice, pick


@RULES.on("concat")
def concat_of_one(node: Node) -> Node | None:
    """concat(x) = x"""
    return node.inputs[0] if len(node.inputs) == 1 else None


def _is_all(shape: tuple[Size, ...], attrs: Any) -> bool:
    return all(
        a == 0 and b == size and step == 1
        for a, b, step, size in zip(attrs["starts"], attrs["stops"], attrs["steps"], shape, strict=True)
    )


@RULES.on("slice", "unslice")
def slice_of_all(node: Node) -> Node | None:
    """a slice that takes everything = x, and its adjoint"""
    [x] = node.inputs
    return x if x.shape == node.shape and _is_all(x.shape, node.attrs) else None


@RULES.on("slice")
def slice_of_slice(node: Node) -> Node | None:
    """x[a:b][c:d] = x[a+c:a+d]"""
    [x] = node.inputs
    if x.op.name != "slice" or any(step != 1 for step in (*x.attrs["steps"], *node.attrs["steps"])):
        return None
    offset = x.attrs["starts"]
    starts, stops = (tuple(a + b for a, b in zip(offset, node.attrs[k], strict=True)) for k in ("starts", "stops"))
    return ops.slice_(x.inputs[0], starts=starts, stops=stops, steps=node.attrs["steps"])


@RULES.on("slice")
def slice_of_concat(node: Node) -> Node | None:
    """concat(a, b)[what lies in b] = b[...]"""
    [x] = node.inputs
    if x.op.name != "concat":
        return None
    axis = x.attrs["axis"] % x.rank
    start, stop = node.attrs["starts"][axis], node.attrs["stops"][axis]
    if not isinstance(start, int) or not isinstance(stop, int) or node.attrs["steps"][axis] != 1:
        return None
    offset = 0
    for part in x.inputs:
        size = part.shape[axis]
        if not isinstance(size, int):
            return None
        if offset <= start < stop <= offset + size:
            starts, stops = (
                tuple(v - offset if i == axis else v for i, v in enumerate(node.attrs[k])) for k in ("starts", "stops")
            )
            return ops.slice_(part, starts=starts, stops=stops, steps=node.attrs["steps"])
        offset += size
    return None


@RULES.on("slice")
def slice_of_transpose(node: Node) -> Node | None:
    """transpose(x)[a:b] = transpose(x[a:b]), where nothing else reads transpose(x): fewer elements are moved"""
    [x] = node.inputs
    if x.op.name != "transpose" or not once(x):
        return None
    perm, own = x.attrs["perm"], ("starts", "stops", "steps")
    bounds = {name: tuple(node.attrs[name][perm.index(axis)] for axis in range(x.rank)) for name in own}
    return ops.transpose(ops.slice_(x.inputs[0], **bounds), perm=perm)


@RULES.on("slice")
def last_iteration(node: Node) -> Node | None:
    """y[last iteration] = h after the last one, of a scan whose iterations emit the state h as y: nothing need be
    emitted, and the derivative begins at the state"""
    [x] = node.inputs
    if x.op.name != "result":
        return None
    [scan], index = x.inputs, x.attrs["index"]
    axis, length, body = place(scan, index), scan.attrs["length"], scan.attrs["body"]
    if axis is None:
        return None
    last = 0 if scan.attrs["reverse"] else length - 1
    if (node.attrs["starts"][axis], node.attrs["stops"][axis], node.attrs["steps"][axis]) != (last, last + 1, 1):
        return None
    state = next((k for k in range(scan.attrs["states"]) if body.roots[k] is body.roots[index]), None)
    if state is None:
        return None
    bounds = {name: tuple(v if i != axis else new for i, v in enumerate(node.attrs[name])) for name, new in ONE.items()}
    return ops.slice_(ops.expand_dims(ops.result(scan, state), axis), **bounds)


@RULES.on("pick")
def pick_inside(node: Node) -> Node | None:
    """pick(x - s, i) = pick(x, i) - s, s constant along each row; of +, *, /, -x, exp and log too: on fewer elements"""
    x, index = node.inputs
    if x.op.name in ("neg", "exp", "log"):
        return node.graph.add(x.op, (ops.pick(x.inputs[0], index),))
    if x.op.name not in ("add", "sub", "mul", "div"):
        return None
    a, b = x.inputs
    last = (x.rank - 1,)
    if not constant_along(a, x.shape, last) and not constant_along(b, x.shape, last):
        return None
    picked = [
        drop_axes(y, x.rank, last) if constant_along(y, x.shape, last) else ops.pick(spread(y, x.shape), index)
        for y in (a, b)
    ]
    return spread(node.graph.add(x.op, picked), node.shape)


@RULES.on("reduce_sum")
def sum_of_one_hot(node: Node) -> Node | None:
    """sum(one_hot(i) x) along the last dimension = pick(x, i), where i is known to be in range"""
    [x] = node.inputs
    if x.op.name != "mul" or node.attrs["keepdims"] or x.rank - 1 not in axes_of(node):
        return None
    a, b = x.inputs
    for hot, y in ((a, b), (b, a)):
        if hot.op.name == "one_hot" and hot.shape == x.shape and hot.shape[-1] != 1 and _in_range(hot):
            picked = ops.pick(spread(y, x.shape), hot.inputs[0])
            return _reduce("reduce_sum", picked, tuple(axis for axis in axes_of(node) if axis != x.rank - 1))
    return None


def _in_range(hot: Node) -> bool:
    """Labels that are inputs are checked before the first step; the index of an extreme is in range by itself."""
    [index] = hot.inputs
    if index.op.name in ("argmax", "argmin"):
        [x] = index.inputs
        return bool(x.shape[index.attrs["axis"]] == hot.attrs["depth"])
    return index.op.name == "input"


@RULES.on("reduce_sum")
def sum_of_hot(node: Node) -> Node | None:
    """sum(one_hot(i)) = 1, where i is known to be in range"""
    [x] = node.inputs
    if x.op.name == "one_hot" and node.attrs["axes"] == (x.rank - 1,) and _in_range(x):
        return spread(ops.constant(node.graph, 1.0, "float"), node.shape)
    return None
