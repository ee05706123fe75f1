"""Operations that move elements without changing them."""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.random import Generator

from ..graph import Array, Node
from ..tensor_type import Dim, Shape, Size, TensorType, TypeProblem, broadcast, normal_axis, product, show_shape
from .registry import Sample, define

END = -(2**63) + 1  # "to before the first element" of a backward slice, in ONNX


# --- reshape, transpose, broadcast


def _reshape_infer(x: TensorType, shape: Shape) -> TensorType:
    if product(x.shape) != product(shape):
        raise TypeProblem("E0337", f"{show_shape(x.shape)} does not reshape to {show_shape(shape)}",
                          {0: f"{product(x.shape)} elements, not {product(shape)}"})
    return x.with_shape(shape)


def _reshape_lower(out: Any, node: Node, x: str) -> str:
    """One free size is left to ONNX as −1, which needs no node; several are computed."""
    shape = node.shape
    free = [i for i, size in enumerate(shape) if isinstance(size, Dim)]
    if len(free) == 1 and 0 not in shape:
        wanted = out.constant(np.array([-1 if i in free else size for i, size in enumerate(shape)], np.int64), "int")
    else:
        wanted = out.shape(shape)
    return str(out.node("Reshape", [x, wanted], allowzero=1))


def _reshape_samples(rng: Generator) -> Sample:
    before, after = [((2, 3), (3, 2)), ((4,), (2, 2)), ((), (1, 1)), ((2, 1, 3), (6,)), ((0, 2), (2, 0)), ((2, 2, 2), (4, 1, 2))][
        int(rng.integers(0, 6))]
    return Sample((rng.uniform(-3, 3, before),), {"shape": after})


_reshape = define(
    "reshape", infer=_reshape_infer, grad=lambda g, y, x, shape: [reshape(g, shape=x.shape)], lower=_reshape_lower,
    reference=lambda x, shape: np.reshape(x, shape), samples=_reshape_samples,
)


def reshape(x: Node, *, shape: Shape) -> Node:
    """The elements of x in another shape; x itself if it has it."""
    return x if x.shape == tuple(shape) else _reshape(x, shape=tuple(shape))


def _perm_samples(rng: Generator) -> Sample:
    rank = int(rng.integers(0, 5))
    x = rng.uniform(-3, 3, tuple(int(size) for size in rng.integers(1, 5, rank)))
    return Sample((x,), {"perm": tuple(int(i) for i in rng.permutation(rank))})


_transpose = define(
    "transpose", infer=lambda x, perm: x.with_shape(tuple(x.shape[i] for i in perm)),
    grad=lambda g, y, x, perm: [transpose(g, perm=tuple(int(i) for i in np.argsort(perm)))],
    lower=lambda out, node, x: str(out.node("Transpose", [x], perm=list(node.attrs["perm"]))),
    reference=lambda x, perm: np.transpose(x, perm), samples=_perm_samples,
)


def transpose(x: Node, *, perm: Sequence[int]) -> Node:
    """Dimension i of the result is dimension perm[i] of x."""
    perm = tuple(perm)
    if sorted(perm) != list(range(x.rank)):
        raise TypeProblem("E0336", f"a transpose names each of {x.rank} dimensions once, not {list(perm)}")
    return x if perm == tuple(range(x.rank)) else _transpose(x, perm=perm)


def _broadcast_infer(x: TensorType, shape: Shape) -> TensorType:
    if broadcast(x.shape, shape) != tuple(shape):
        raise TypeProblem("E0310", f"{show_shape(x.shape)} does not broadcast to {show_shape(shape)}", {0: f"this is `{x}`"})
    return x.with_shape(tuple(shape))


def _broadcast_samples(rng: Generator) -> Sample:
    before, after = [((), (2, 3)), ((3,), (2, 3)), ((2, 1), (2, 3)), ((1,), (1,)), ((1, 2), (0, 2)), ((2, 1, 1), (3, 2, 4, 1))][
        int(rng.integers(0, 6))]
    return Sample((rng.uniform(-3, 3, before),), {"shape": after})


_broadcast_to = define(
    "broadcast_to", infer=_broadcast_infer, grad=lambda g, y, x, shape: [g],  # the differentiate loop sums it back
    lower=lambda out, node, x: str(out.node("Expand", [x, out.shape(node.shape)])),
    reference=lambda x, shape: np.broadcast_to(x, shape), samples=_broadcast_samples,
)


def broadcast_to(x: Node, *, shape: Shape) -> Node:
    """x repeated to a shape it broadcasts to; x itself if it has it."""
    return x if x.shape == tuple(shape) else _broadcast_to(x, shape=tuple(shape))


# --- concat, slice


def _concat_infer(*types: TensorType, axis: int) -> TensorType:
    first = types[0]
    at = normal_axis(axis, first.rank)
    total: Size = 0
    for number, type in enumerate(types):
        if type.dtype != first.dtype or type.rank != first.rank or any(
                a != b for i, (a, b) in enumerate(zip(type.shape, first.shape, strict=True)) if i != at):
            raise TypeProblem("E0342", f"`concat` along axis {axis} needs the other dimensions equal",
                              {0: f"the first is `{first}`", number: f"number {number + 1} is `{type}`"})
        total = total + type.shape[at]
    return first.with_shape((*first.shape[:at], total, *first.shape[at + 1 :]))


def _concat_grad(g: Node, y: Node, *xs: Node, axis: int) -> list[Node]:
    at, start, parts = axis % y.rank, 0, []
    offset: Size = start
    for x in xs:
        parts.append(narrow(g, at, offset, offset + x.shape[at]))
        offset = offset + x.shape[at]
    return parts


def _concat_samples(rng: Generator) -> Sample:
    rank = int(rng.integers(1, 4))
    shape, axis = [int(size) for size in rng.integers(1, 4, rank)], int(rng.integers(0, rank))
    parts = []
    for size in rng.integers(0, 4, int(rng.integers(1, 4))):
        parts.append(rng.uniform(-3, 3, (*shape[:axis], int(size), *shape[axis + 1 :])))
    return Sample(tuple(parts), {"axis": axis})


concat = define(
    "concat", infer=_concat_infer, grad=_concat_grad,
    lower=lambda out, node, *xs: str(out.node("Concat", xs, axis=node.attrs["axis"])) if len(xs) > 1 else xs[0],
    reference=lambda *xs, axis: np.concatenate(xs, axis), samples=_concat_samples,
)


def _length(start: Size, stop: Size, step: int) -> Size:
    span = stop - start if step > 0 else start - stop
    if isinstance(span, int):
        return max(0, -(-span // abs(step)))
    return span if abs(step) == 1 else (span + abs(step) - 1) // abs(step)


def _slice_infer(x: TensorType, starts: Shape, stops: Shape, steps: tuple[int, ...]) -> TensorType:
    return x.with_shape(tuple(_length(*bounds) for bounds in zip(starts, stops, steps, strict=True)))


def _slices(starts: Sequence[int], stops: Sequence[int], steps: Sequence[int]) -> tuple[slice, ...]:
    return tuple(slice(a, None if step < 0 and b < 0 else b, step) for a, b, step in zip(starts, stops, steps, strict=True))


def _slice_lower(out: Any, node: Node, x: str) -> str:
    """Only the axes that are cut are named."""
    attrs, size = node.attrs, node.inputs[0].shape
    cut = [i for i in range(node.rank) if (attrs["starts"][i], attrs["stops"][i], attrs["steps"][i]) != (0, size[i], 1)]
    stops = [END if attrs["steps"][i] < 0 and attrs["stops"][i] == -1 else attrs["stops"][i] for i in cut]
    starts = [attrs["starts"][i] for i in cut]

    def vector(sizes: Sequence[Size]) -> str:
        if any(isinstance(s, Dim) for s in sizes):
            return str(out.shape(tuple(sizes)))
        return str(out.constant(np.asarray(sizes, np.int64), "int"))

    return str(out.node("Slice", [x, vector(starts), vector(stops), out.constant(np.asarray(cut, np.int64), "int"),
                                  out.constant(np.asarray([attrs["steps"][i] for i in cut], np.int64), "int")]))


def _slice_samples(rng: Generator) -> Sample:
    rank = int(rng.integers(0, 4))
    shape = tuple(int(size) for size in rng.integers(1, 6, rank))
    bounds = []
    for size in shape:
        step = int(rng.choice([1, 1, 2, -1, -2]))
        a, b = sorted(int(v) for v in rng.integers(0, size + 1, 2))
        start, stop, _ = slice(*((a, b) if step > 0 else (b - 1 if b else None, a - 1 if a else None)), step).indices(size)
        bounds.append((start, stop, step))
    return Sample((rng.uniform(-3, 3, shape),), {
        "starts": tuple(b[0] for b in bounds), "stops": tuple(b[1] for b in bounds), "steps": tuple(b[2] for b in bounds)})


_slice = define(
    "slice", infer=_slice_infer, lower=_slice_lower, samples=_slice_samples,
    grad=lambda g, y, x, starts, stops, steps: [unslice(g, shape=x.shape, starts=starts, stops=stops, steps=steps)],
    reference=lambda x, starts, stops, steps: x[_slices(starts, stops, steps)],
)


def slice_(x: Node, *, starts: Shape, stops: Shape, steps: Sequence[int]) -> Node:
    """x[starts:stops:steps], one entry for each dimension; x itself if that is all of it."""
    if all(a == 0 and b == size and step == 1 for a, b, size, step in zip(starts, stops, x.shape, steps, strict=True)):
        return x
    return _slice(x, starts=tuple(starts), stops=tuple(stops), steps=tuple(steps))


def _unslice(x: Array, shape: tuple[int, ...], starts: Any, stops: Any, steps: Any) -> Array:
    result = np.zeros(shape, x.dtype)
    result[_slices(starts, stops, steps)] = x
    return result


def _unslice_lower(out: Any, node: Node, x: str) -> str:
    """Zeros around the slice. A step of k is undone by k − 1 zeros after each element; a backward one by flipping."""
    attrs, source = node.attrs, node.inputs[0]
    rank = node.rank
    shape: list[Size] = list(source.shape)
    zero = out.constant(0.0, "float")

    def vector(sizes: Sequence[Size]) -> str:
        if any(isinstance(s, Dim) for s in sizes):
            return str(out.shape(tuple(sizes)))
        return str(out.constant(np.asarray(sizes, np.int64), "int"))

    before: list[Size] = [0] * rank
    for i, step in enumerate(attrs["steps"]):
        first = attrs["starts"][i]
        if step < 0:
            axis = out.constant(np.asarray([i], np.int64), "int")
            x = out.node("Slice", [x, vector([-1]), vector([END]), axis, vector([-1])])
            first = first + (shape[i] - 1) * step
        if abs(step) > 1:  # [n] -> [n, 1] -> [n, k] -> [n k] -> the last k − 1 zeros go
            wide = [*shape[: i + 1], 1, *shape[i + 1 :]]
            x = out.node("Reshape", [x, out.shape(tuple(wide))], allowzero=1)
            pads = [0] * (2 * rank + 2)
            pads[rank + 1 + i + 1] = abs(step) - 1
            x = out.node("Pad", [x, vector(pads), zero])
            shape[i] = shape[i] * abs(step)
            x = out.node("Reshape", [x, out.shape(tuple(shape))], allowzero=1)
            kept = shape[i] - (abs(step) - 1)
            axis = out.constant(np.asarray([i], np.int64), "int")
            x = out.node("Slice", [x, vector([0]), vector([kept]), axis])
            shape[i] = kept
        before[i] = first
    after = [size - b - s for size, b, s in zip(node.shape, before, shape, strict=True)]
    if product(source.shape) == 0:
        return str(out.node("Expand", [zero, out.shape(node.shape)]))
    return str(out.node("Pad", [x, vector([*before, *after]), zero]))


def _unslice_samples(rng: Generator) -> Sample:
    sample = _slice_samples(rng)
    x = sample.inputs[0]
    part = x[_slices(sample.attrs["starts"], sample.attrs["stops"], sample.attrs["steps"])]
    return Sample((part,), {"shape": x.shape, **sample.attrs})


unslice = define(  # the adjoint of slice: zeros of a shape with x put where the slice was
    "unslice", infer=lambda x, shape, starts, stops, steps: x.with_shape(shape), lower=_unslice_lower,
    grad=lambda g, y, x, shape, starts, stops, steps: [slice_(g, starts=starts, stops=stops, steps=steps)],
    reference=_unslice, samples=_unslice_samples,
)


# --- built from these


def narrow(x: Node, axis: int, start: Size, stop: Size) -> Node:
    """Elements start to stop of one dimension."""
    return slice_(x, starts=tuple(start if i == axis else 0 for i in range(x.rank)),
                  stops=tuple(stop if i == axis else size for i, size in enumerate(x.shape)), steps=(1,) * x.rank)


def flip(x: Node, axis: int) -> Node:
    axis = normal_axis(axis, x.rank)
    last = x.shape[axis] - 1
    return slice_(x, starts=tuple(last if i == axis else 0 for i in range(x.rank)),
                  stops=tuple(-1 if i == axis else size for i, size in enumerate(x.shape)),
                  steps=tuple(-1 if i == axis else 1 for i in range(x.rank)))


def expand_dims(x: Node, axis: int) -> Node:
    axis = normal_axis(axis, x.rank + 1)
    return reshape(x, shape=(*x.shape[:axis], 1, *x.shape[axis:]))


def squeeze(x: Node, axis: int) -> Node:
    axis = normal_axis(axis, x.rank)
    return reshape(x, shape=x.shape[:axis] + x.shape[axis + 1 :])


def swap_last(x: Node) -> Node:
    """The transpose of the last two dimensions."""
    return transpose(x, perm=(*range(x.rank - 2), x.rank - 1, x.rank - 2))
