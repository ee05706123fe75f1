"""Operations that move elements without changing them: reshape, transpose, broadcast, concat."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..ir.apart import Slices, aligned
from ..ir.graph import Node
from ..ir.op import OPS, Op, Sample, constant, define, free, linear
from ..ir.types import Dim, Shape, Size, TensorType, TypeProblem, broadcast, divide, normal_axis, product, show_shape
from .operands import shapes, sizes
from .slicing import narrow


def _reshape_infer(x: TensorType, shape: Shape) -> TensorType:
    if product(x.shape) != product(shape):
        raise TypeProblem(
            "E0337",
            f"{show_shape(x.shape)} does not reshape to {show_shape(shape)}",
            {0: f"{product(x.shape)} elements, not {product(shape)}"},
        )
    return x.with_shape(shape)


def _reshape_lower(out: Any, node: Node, x: str) -> str:
    """One free size is −1 to ONNX; several that stay in place are 0, which copies; else the shape is computed."""
    shape, before = node.shape, node.inputs[0].shape
    free = [i for i, size in enumerate(shape) if isinstance(size, Dim)]
    if not free or 0 in shape:
        return str(out.node("Reshape", [x, out.shape(shape)], allowzero=1))
    if len(free) == 1:
        open_ = -1
    elif all(shape[i : i + 1] == before[i : i + 1] for i in free):
        open_ = 0
    else:
        return str(out.node("Reshape", [x, out.shape(shape)], allowzero=1))
    wanted = np.array([open_ if isinstance(size, Dim) else size for size in shape], np.int64)
    return str(out.node("Reshape", [x, out.constant(wanted, "int")], allowzero=0))


def _reshape_samples(rng: np.random.Generator) -> Sample:
    before = list(sizes(rng, empty=0.25))
    after = [int(before[i]) for i in rng.permutation(len(before))]
    for _ in range(int(rng.integers(0, 3))):
        at = int(rng.integers(0, len(after) + 1))
        if len(after) > 1 and rng.random() < 0.5:  # two neighbours in one
            at %= len(after) - 1
            after[at : at + 2] = [after[at] * after[at + 1]]
        else:
            after.insert(at, 1)
    return Sample((rng.uniform(-3, 3, before),), {"shape": tuple(after)})


def _reshape_apart(node: Node, number: int, axis: int) -> int | Slices:
    """The dimension of that size with as many elements in front of it."""
    shape = node.inputs[0].shape
    before = product(shape[:axis])
    same = (i for i, size in enumerate(node.shape) if size == shape[axis] and product(node.shape[:i]) == before)
    return next(same, Slices.PLACED)


_reshape = define(
    "reshape",
    infer=_reshape_infer,
    grad=lambda g, y, x, shape: [reshape(g, shape=x.shape)],
    lower=_reshape_lower,
    reference=lambda x, shape: np.reshape(x, shape),
    samples=_reshape_samples,
    jvp=linear,
    cost=free,
    finite=True,
    monotone=(1,),
    apart=_reshape_apart,
    moves=True,
)


def reshape(x: Node, *, shape: Shape) -> Node:
    """The elements of x in another shape; x itself if it has it. E0337."""
    return x if x.shape == tuple(shape) else _reshape(x, shape=tuple(shape))


def _transpose_infer(x: TensorType, perm: tuple[int, ...]) -> TensorType:
    if sorted(perm) != list(range(x.rank)):
        raise TypeProblem(
            "E0336", f"a transpose names each of {x.rank} dimensions once, not {list(perm)}", {0: f"this is `{x}`"}
        )
    return x.with_shape(tuple(x.shape[i] for i in perm))


def _transpose_samples(rng: np.random.Generator) -> Sample:
    shape = sizes(rng, empty=0.25)
    return Sample((rng.uniform(-3, 3, shape),), {"perm": tuple(int(i) for i in rng.permutation(len(shape)))})


_transpose = define(
    "transpose",
    infer=_transpose_infer,
    samples=_transpose_samples,
    jvp=linear,
    cost=free,
    grad=lambda g, y, x, perm: [transpose(g, perm=[int(i) for i in np.argsort(perm)])],
    lower=lambda out, node, x: str(out.node("Transpose", [x], perm=node.attrs["perm"])) if node.rank else x,
    reference=lambda x, perm: np.transpose(x, perm),
    finite=True,
    monotone=(1,),
    apart=lambda node, number, axis: list(node.attrs["perm"]).index(axis),
    moves=True,
)


def transpose(x: Node, *, perm: Sequence[int]) -> Node:
    """Dimension i of the result is dimension perm[i] of x. E0336."""
    return x if tuple(perm) == tuple(range(x.rank)) else _transpose(x, perm=tuple(perm))


def _broadcast_infer(x: TensorType, shape: Shape) -> TensorType:
    if broadcast(x.shape, shape) != tuple(shape):
        raise TypeProblem(
            "E0310", f"{show_shape(x.shape)} does not broadcast to {show_shape(shape)}", {0: f"this is `{x}`"}
        )
    return x.with_shape(tuple(shape))


def _broadcast_samples(rng: np.random.Generator) -> Sample:
    before, other = shapes(rng, 2)
    return Sample((rng.uniform(-3, 3, before),), {"shape": np.broadcast_shapes(before, other)})


def _broadcast_lower(out: Any, node: Node, x: str) -> str:
    """Expand; which does not take a 1 to 0, so that what is empty is written as such. Of a number dimensions of 1 that
    come first are its own: a row of n ones needs the shape [n] alone, which is often there."""
    if 0 in node.shape and 0 not in node.inputs[0].shape:
        nothing = out.constant(np.zeros(0), node.dtype)
        return str(out.node("Reshape", [nothing, out.shape(node.shape)], allowzero=1))
    source, shape = node.inputs[0], node.shape
    if source.op is OPS["constant"] and not source.rank and shape[:1] == (1,) and len(shape) > 1:
        x, shape = out.constant(np.full((1,) * len(shape), source.attrs["value"]), source.dtype), shape[1:]
    return str(out.node("Expand", [x, out.shape(shape)]))


_broadcast_to = define(
    "broadcast_to",
    infer=_broadcast_infer,
    grad=lambda g, y, x, shape: [g],  # the differentiate loop sums it back
    lower=_broadcast_lower,
    jvp=linear,
    cost=free,
    reference=lambda x, shape: np.broadcast_to(x, shape),
    samples=_broadcast_samples,
    finite=True,
    monotone=(1,),
    apart=aligned,
    moves=True,
)


def broadcast_to(x: Node, *, shape: Shape) -> Node:
    """x repeated to a shape it broadcasts to; x itself if it has it. E0310."""
    return x if x.shape == tuple(shape) else _broadcast_to(x, shape=tuple(shape))


def _concat_infer(*types: TensorType, axis: int) -> TensorType:
    first = types[0]
    at = normal_axis(axis, first.rank)
    total: Size = 0
    for number, type in enumerate(types):
        others = [shape[:at] + shape[at + 1 :] for shape in (first.shape, type.shape)]
        if type.dtype != first.dtype or type.rank != first.rank or others[0] != others[1]:
            raise TypeProblem(
                "E0342",
                f"`concat` along axis {axis} needs all other dimensions equal",
                {0: f"the first is `{first}`", number: f"number {number + 1} is `{type}`"},
            )
        total = total + type.shape[at]
    return first.with_shape((*first.shape[:at], total, *first.shape[at + 1 :]))


def _concat_grad(g: Node, y: Node, *xs: Node, axis: int) -> list[Node]:
    """Each part takes its slice."""
    at, parts = axis % y.rank, []
    start: Size = 0
    for x in xs:
        parts.append(narrow(g, at, start, start + x.shape[at]))
        start = start + x.shape[at]
    return parts


def _concat_jvp(tangents: Sequence[Node | None], y: Node, *xs: Node, axis: int) -> Node:
    """The tangents side by side, with zeros for the parts that do not move."""
    zero = constant(y.graph, 0.0, "float")
    moved = [broadcast_to(zero, shape=x.shape) if t is None else t for x, t in zip(xs, tangents, strict=True)]
    return concat(*moved, axis=axis)


def _concat_samples(rng: np.random.Generator) -> Sample:
    shape = sizes(rng, low=1, empty=0.1)
    axis = int(rng.integers(0, len(shape)))
    parts = tuple(
        rng.uniform(-3, 3, (*shape[:axis], int(size), *shape[axis + 1 :]))
        for size in rng.integers(0, 4, int(rng.integers(1, 4)))
    )
    return Sample(parts, {"axis": axis})


def _concat_lower(out: Any, node: Node, *xs: str) -> str:
    return str(out.node("Concat", xs, axis=node.attrs["axis"] % node.rank)) if len(xs) > 1 else xs[0]


concat: Op = define(
    "concat",
    infer=_concat_infer,
    grad=_concat_grad,
    jvp=_concat_jvp,
    samples=_concat_samples,
    cost=free,
    lower=_concat_lower,
    reference=lambda *xs, axis: np.concatenate(xs, axis),
    finite=True,
    monotone=(1,),
    apart=lambda node, number, axis: Slices.PLACED if axis == node.attrs["axis"] % node.rank else axis,
    moves=True,
)


# --- built from these


def expand_dims(x: Node, axis: int) -> Node:
    """A dimension of 1 put in at the axis of the result."""
    axis = normal_axis(axis, x.rank + 1)
    return reshape(x, shape=(*x.shape[:axis], 1, *x.shape[axis:]))


def squeeze(x: Node, axis: int) -> Node:
    """A dimension of 1 taken out. E0337 if it is another size."""
    axis = normal_axis(axis, x.rank)
    return reshape(x, shape=x.shape[:axis] + x.shape[axis + 1 :])


def moveaxis(x: Node, source: int, destination: int) -> Node:
    """A dimension moved to another place, the others in their order."""
    source, destination = normal_axis(source, x.rank), normal_axis(destination, x.rank)
    perm = [i for i in range(x.rank) if i != source]
    perm.insert(destination, source)
    return transpose(x, perm=perm)


def swap_last(x: Node) -> Node:
    """The transpose of the last two dimensions."""
    return transpose(x, perm=(*range(x.rank - 2), x.rank - 1, x.rank - 2))


def stack(xs: Sequence[Node], axis: int = 0) -> Node:
    """Values of one shape along a new dimension. E0342."""
    return concat(*[expand_dims(x, axis) for x in xs], axis=normal_axis(axis, xs[0].rank + 1))


def split(x: Node, parts: int, axis: int = -1) -> tuple[Node, ...]:
    """Equal parts along a dimension. E0339 if it does not divide."""
    at = normal_axis(axis, x.rank)
    step = divide(x.shape[at], parts)
    if step is None:
        raise TypeProblem(
            "E0339", f"a dimension of {x.shape[at]} does not split into {parts} equal parts", {0: f"this is `{x.type}`"}
        )
    return tuple(narrow(x, at, step * i, step * (i + 1)) for i in range(parts))
