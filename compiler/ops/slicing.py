"""Slices, and their adjoints."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..ir.apart import Slices
from ..ir.graph import Array, Node
from ..ir.op import Op, Sample, define, free, linear
from ..ir.types import Shape, Size, TensorType, normal_axis, product
from .operands import sizes

BEFORE_ALL = -(2**63) + 1  # "to before the first element" of a backward slice, to ONNX


def _length(start: Size, stop: Size, step: int) -> Size:
    """How many elements there are from start to before stop. Of free sizes it is taken that stop lies beyond start."""
    span = stop - start if step > 0 else start - stop
    length = span if abs(step) == 1 else (span + abs(step) - 1) // abs(step)
    return max(0, length) if isinstance(length, int) else length


def _infer(x: TensorType, starts: Shape, stops: Shape, steps: tuple[int, ...]) -> TensorType:
    return x.with_shape(tuple(_length(*bounds) for bounds in zip(starts, stops, steps, strict=True)))


def _slices(starts: Sequence[int], stops: Sequence[int], steps: Sequence[int]) -> tuple[slice, ...]:
    """Python's slices; a backward one to before the first element has stop −1 here and None there."""
    return tuple(
        slice(start, None if step < 0 and stop < 0 else stop, step)
        for start, stop, step in zip(starts, stops, steps, strict=True)
    )


def _lower(out: Any, node: Node, x: str) -> str:
    """Only the axes that are cut are named."""
    starts, stops, steps = (node.attrs[name] for name in ("starts", "stops", "steps"))
    shape = node.inputs[0].shape
    cut = [i for i in range(node.rank) if (starts[i], stops[i], steps[i]) != (0, shape[i], 1)]
    if not cut:
        return x
    ends = [BEFORE_ALL if steps[i] < 0 and stops[i] == -1 else stops[i] for i in cut]
    bounds = [out.shape(values) for values in ([starts[i] for i in cut], ends, cut, [steps[i] for i in cut])]
    return str(out.node("Slice", [x, *bounds]))


def _apart(node: Node, number: int, axis: int) -> int | Slices:
    """A dimension that is taken as a whole stays; of `slice` and its adjoint."""
    whole = (node if node.op is unslice else node.inputs[0]).shape[axis]
    bounds = [node.attrs[name][axis] for name in ("starts", "stops", "steps")]
    return axis if bounds == [0, whole, 1] else Slices.PLACED


def _samples(rng: np.random.Generator) -> Sample:
    shape = sizes(rng, most=5, empty=0.1)
    bounds = []
    for size in shape:
        step = int(rng.choice([1, 1, 2, -1, -2]))
        first, end = sorted(int(v) for v in rng.integers(0, size + 1, 2))
        if step > 0:
            bounds.append((first, end, step))
        else:
            bounds.append((max(end - 1, 0), first - 1 if end else 0, step))
    starts, stops, steps = (tuple(b[i] for b in bounds) for i in range(3))
    return Sample((rng.uniform(-3, 3, shape),), {"starts": starts, "stops": stops, "steps": steps})


_slice = define(
    "slice",
    infer=_infer,
    lower=_lower,
    samples=_samples,
    jvp=linear,
    cost=free,
    grad=lambda g, y, x, starts, stops, steps: [unslice(g, shape=x.shape, starts=starts, stops=stops, steps=steps)],
    reference=lambda x, starts, stops, steps: x[_slices(starts, stops, steps)],
    finite=True,
    monotone=(1,),
    apart=_apart,
    moves=True,
)


def slice_(x: Node, *, starts: Shape, stops: Shape, steps: Sequence[int]) -> Node:
    """x[starts:stops:steps], one entry for each dimension; x itself if that is all of it.

    Bounds are in 0..size and may be free sizes; a backward slice to the first element stops at −1.
    """
    if tuple(starts) == (0,) * x.rank and tuple(stops) == x.shape and tuple(steps) == (1,) * x.rank:
        return x
    return _slice(x, starts=tuple(starts), stops=tuple(stops), steps=tuple(steps))


def narrow(x: Node, axis: int, start: Size, stop: Size) -> Node:
    """Elements start to stop of one dimension."""
    axis = normal_axis(axis, x.rank)
    return slice_(
        x,
        starts=tuple(start if i == axis else 0 for i in range(x.rank)),
        stops=tuple(stop if i == axis else size for i, size in enumerate(x.shape)),
        steps=(1,) * x.rank,
    )


def flip(x: Node, axis: int) -> Node:
    """The elements of one dimension in reverse."""
    axis = normal_axis(axis, x.rank)
    return slice_(
        x,
        starts=tuple(size - 1 if i == axis else 0 for i, size in enumerate(x.shape)),
        stops=tuple(-1 if i == axis else size for i, size in enumerate(x.shape)),
        steps=tuple(-1 if i == axis else 1 for i in range(x.rank)),
    )


def _put_back(x: Array, shape: tuple[int, ...], starts: Any, stops: Any, steps: Any) -> Array:
    result = np.zeros(shape, x.dtype)
    result[_slices(starts, stops, steps)] = x
    return result


def _put_back_lower(out: Any, node: Node, x: str) -> str:
    """Zeros around the slice; a backward one is flipped first, and a step of k spread by k − 1 zeros between."""
    starts, steps = node.attrs["starts"], node.attrs["steps"]
    shape: list[Size] = list(node.inputs[0].shape)
    zero = out.constant(0, node.dtype)
    if product(shape) == 0:
        return str(out.node("Expand", [zero, out.shape(node.shape)]))
    before: list[Size] = []
    for axis, step in enumerate(steps):
        first = starts[axis]
        here = out.shape([axis])
        if step < 0:
            back = out.shape([-1])
            x = out.node("Slice", [x, back, out.shape([BEFORE_ALL]), here, back])
            first = first + (shape[axis] - 1) * step
        if abs(step) > 1:  # [n] -> [n, 1] -> [n, k] -> [n k] -> without the last k − 1
            x = out.node("Unsqueeze", [x, out.shape([axis + 1])])
            pads = [0] * (2 * len(shape) + 2)
            pads[len(shape) + 1 + axis + 1] = abs(step) - 1
            x = out.node("Pad", [x, out.shape(pads), zero])
            shape[axis] = shape[axis] * abs(step)
            x = out.node("Reshape", [x, out.shape(tuple(shape))], allowzero=1)
            shape[axis] = shape[axis] - (abs(step) - 1)
            x = out.node("Slice", [x, out.shape([0]), out.shape([shape[axis]]), here])
        before.append(first)
    after = [size - first - length for size, first, length in zip(node.shape, before, shape, strict=True)]
    if not any(before + after):
        return x
    return str(out.node("Pad", [x, out.shape([*before, *after]), zero]))


def _put_back_samples(rng: np.random.Generator) -> Sample:
    sample = _samples(rng)
    whole = sample.inputs[0]
    part = whole[_slices(**sample.attrs)]
    return Sample((part,), {"shape": whole.shape, **sample.attrs})


unslice: Op = define(  # the adjoint of slice: zeros of a shape, with x where the slice was
    "unslice",
    infer=lambda x, shape, starts, stops, steps: x.with_shape(shape),
    lower=_put_back_lower,
    grad=lambda g, y, x, shape, starts, stops, steps: [slice_(g, starts=starts, stops=stops, steps=steps)],
    reference=_put_back,
    samples=_put_back_samples,
    jvp=linear,
    cost=free,
    finite=True,
    monotone=(1,),
    apart=_apart,
)
