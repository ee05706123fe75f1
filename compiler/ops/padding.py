"""What makes a tensor larger or moves it round: pads, tiles, rolls; built from slices and concat."""

from __future__ import annotations

from collections.abc import Sequence

from ..ir.graph import Node
from ..ir.op import constant
from ..ir.types import Dim, Size, TypeProblem, normal_axis
from .elementwise import mul
from .shaping import broadcast_to, concat, expand_dims, reshape
from .slicing import flip, narrow, unslice

MODES = ("constant", "edge", "reflect", "symmetric", "wrap")


def pad(x: Node, before: Size, after: Size, *, axis: int, mode: str = "constant", value: float = 0.0) -> Node:
    """x with `before` and `after` more elements at the ends of one dimension. Modes are NumPy's.

    constant: `value`; edge: the last element again; reflect: mirrored at it, symmetric: mirrored behind it; wrap: from
    the other end. A free dimension is taken to be long enough. E0385 where there is nothing to take from.
    """
    at = normal_axis(axis, x.rank)
    size = x.shape[at]
    if before == 0 and after == 0:
        return x
    if mode == "constant":
        if value == 0.0 and x.dtype == "float":
            starts = tuple(before if i == at else 0 for i in range(x.rank))
            stops = tuple(before + s if i == at else s for i, s in enumerate(x.shape))
            shape = tuple(before + s + after if i == at else s for i, s in enumerate(x.shape))
            return unslice(x, shape=shape, starts=starts, stops=stops, steps=(1,) * x.rank)
        number = constant(x.graph, value, x.dtype)
        return _around(
            x,
            at,
            [broadcast_to(number, shape=(*x.shape[:at], width, *x.shape[at + 1 :])) for width in (before, after)],
            (before, after),
        )
    most = size - 1 if mode == "reflect" else size
    for width in (before, after):
        fits = not isinstance(width, int) or not isinstance(most, int) or width <= most or (mode == "edge" and most > 0)
        if not fits:
            raise TypeProblem(
                "E0385",
                f"`{mode}` takes at most {most} elements from a dimension of {size}",
                {0: f"this is `{x.type}`"},
            )
    if mode == "edge":
        ends = [narrow(x, at, 0, 1), narrow(x, at, size - 1, size)]
        parts = [
            broadcast_to(end, shape=(*x.shape[:at], width, *x.shape[at + 1 :]))
            for end, width in zip(ends, (before, after), strict=True)
        ]
    elif mode == "wrap":
        parts = [narrow(x, at, size - before, size), narrow(x, at, 0, after)]
    else:
        gap = 1 if mode == "reflect" else 0
        parts = [flip(narrow(x, at, gap, gap + before), at), flip(narrow(x, at, size - gap - after, size - gap), at)]
    return _around(x, at, parts, (before, after))


def _around(x: Node, at: int, parts: Sequence[Node], widths: tuple[Size, Size]) -> Node:
    first, last = ([part] if width != 0 else [] for part, width in zip(parts, widths, strict=True))
    return concat(*first, x, *last, axis=at)


def tile(x: Node, counts: Sequence[Size]) -> Node:
    """x laid side by side `counts` times along its last dimensions (as NumPy's); further counts make further ones."""
    lead = len(counts) - x.rank
    x = reshape(x, shape=(1,) * max(lead, 0) + x.shape)
    counts = (1,) * max(-lead, 0) + tuple(counts)
    if all(count == 1 for count in counts):
        return x
    spaced = tuple(part for size in x.shape for part in (1, size))
    wide = tuple(part for count, size in zip(counts, x.shape, strict=True) for part in (count, size))
    shape = tuple(count * size for count, size in zip(counts, x.shape, strict=True))
    return reshape(broadcast_to(reshape(x, shape=spaced), shape=wide), shape=shape)


def repeat(x: Node, count: Size, *, axis: int) -> Node:
    """Every element of a dimension `count` times, one after the other (NumPy's `repeat`)."""
    at = normal_axis(axis, x.rank)
    wide = (*x.shape[: at + 1], count, *x.shape[at + 1 :])
    shape = (*x.shape[:at], x.shape[at] * count, *x.shape[at + 1 :])
    return reshape(broadcast_to(expand_dims(x, at + 1), shape=wide), shape=shape)


def roll(x: Node, shift: int, *, axis: int) -> Node:
    """The elements of a dimension moved `shift` places on, the last ones to the front. A free dimension is taken to be
    as long."""
    at = normal_axis(axis, x.rank)
    size = x.shape[at]
    if isinstance(size, int):
        shift = shift % size if size else 0
    if shift == 0:
        return x
    cut = size - shift if shift > 0 else -shift
    return concat(narrow(x, at, cut, size), narrow(x, at, 0, cut), axis=at)


def cumprod(x: Node, *, axis: int, exclusive: bool = False, reverse: bool = False) -> Node:
    """The product of the elements up to each one, in ⌈log2 n⌉ steps (Hillis and Steele 1986): right at zeros, and so is
    the derivative. E0386 for a free dimension."""
    at = normal_axis(axis, x.rank)
    size = x.shape[at]
    if isinstance(size, Dim):
        raise TypeProblem(
            "E0386",
            f"`cumprod` needs the size of its dimension before the file runs, not `{size}`",
            {0: f"this is `{x.type}`"},
            "of positive values `exp(cumsum(log(x)))` is the same",
        )
    if reverse:
        return flip(cumprod(flip(x, at), axis=at, exclusive=exclusive), at)
    one = constant(x.graph, 1, x.dtype)

    def later(node: Node, by: int) -> Node:
        ones = broadcast_to(one, shape=(*x.shape[:at], min(by, size), *x.shape[at + 1 :]))
        return concat(ones, narrow(node, at, 0, max(size - by, 0)), axis=at) if by < size else ones

    total, step = later(x, 1) if exclusive else x, 1
    while step < size:
        total, step = mul(total, later(total, step)), step * 2
    return total
