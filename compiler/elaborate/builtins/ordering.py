"""Functions that the compiler knows by name: order along a dimension, running sums, pads, tiles, triangles."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ... import ops
from ...diagnostics import did_you_mean, error
from ...ir.graph import Node
from ...ir.types import Dim, Size
from ...source import Span
from .. import support
from ..context import Context
from ..scope import Frame
from ..values import Argument, Label, Tensor, Value, kind, plain
from .arguments import axes, builtin, integer, one_axis, shape_of, tensor, truth

# --- running sums and products


def _running(name: str, operation: Callable[..., Node]) -> None:
    def run(
        c: Context,
        frame: Frame,
        span: Span,
        x: Argument,
        axis: Argument | None = None,
        exclusive: Argument | None = None,
        reverse: Argument | None = None,
    ) -> Value:
        value = tensor(c, x)
        if value.node.dtype == "bool":
            value = tensor(c, x, "int")
        at = one_axis(value, axis, -1, span)
        node = c.make(
            operation,
            [value.node],
            [x.span],
            span,
            axis=at,
            exclusive=truth(exclusive, "exclusive"),
            reverse=truth(reverse, "reverse"),
        )
        return Tensor(node, value.labels)

    run.__name__ = name
    builtin(run)


_running("cumsum", ops.cumsum)
_running("cumprod", ops.cumprod)


# --- order


def _except(names: tuple[Label | None, ...], at: int) -> tuple[Label | None, ...]:
    return tuple(None if i == at else name for i, name in enumerate(names))


def _sorting(name: str, operation: Callable[..., Node]) -> None:
    def run(
        c: Context,
        frame: Frame,
        span: Span,
        x: Argument,
        axis: Argument | None = None,
        descending: Argument | None = None,
    ) -> Value:
        value = tensor(c, x)
        at = one_axis(value, axis, -1, span)
        node = c.make(operation, [value.node], [x.span], span, axis=at, descending=truth(descending, "descending"))
        return Tensor(node, value.labels)

    run.__name__ = name
    builtin(run)


_sorting("sort", ops.sort)
_sorting("argsort", ops.argsort)


def _count(argument: Argument) -> Size:
    value = argument.value
    if isinstance(value, bool) or not isinstance(value, int | Dim):
        raise error(
            "E0308", "k must be an integer that is known before the file runs", argument.span, f"this is {kind(value)}"
        )
    return plain(value)


@builtin
def top(c: Context, frame: Frame, span: Span, x: Argument, k: Argument, axis: Argument | None = None) -> Value:
    value = tensor(c, x)
    at = one_axis(value, axis, -1, span)
    node = c.make(lambda node: ops.top(node, _count(k), axis=at), [value.node], [x.span], span)
    return Tensor(node, _except(value.names, at))


@builtin
def top_values(c: Context, frame: Frame, span: Span, x: Argument, k: Argument, axis: Argument | None = None) -> Value:
    value = tensor(c, x)
    at = one_axis(value, axis, -1, span)
    node = c.make(
        lambda node: ops.take_along(node, ops.top(node, _count(k), axis=at), axis=at, distinct=True),
        [value.node],
        [x.span],
        span,
    )
    return Tensor(node, _except(value.names, at))


@builtin
def take_along(
    c: Context, frame: Frame, span: Span, x: Argument, index: Argument, axis: Argument | None = None
) -> Value:
    value, at = tensor(c, x), tensor(c, index, "int")
    i = one_axis(value, axis, -1, span)
    support.ask_index(c, at.node, value.node.shape[i])
    node = c.make(ops.take_along, [value.node, at.node], [x.span, index.span], span, axis=i)
    return Tensor(node, tuple(at.names[k] if k == i else name for k, name in enumerate(value.names)))


# --- pads, tiles, rolls


def _widths(c: Context, value: Tensor, width: Argument, chosen: Sequence[int]) -> list[tuple[Size, Size]]:
    """What `width` says for each axis: a number for all of them, [before, after] for all, or such a pair for each."""
    given = width.value

    def size(item: object) -> Size:
        if isinstance(item, bool) or not isinstance(item, int | Dim) or (isinstance(item, int) and item < 0):
            raise error(
                "E0384",
                f"a padding width is an integer, 0 or more, not {kind(item)}",
                width.span,
                f"this is {kind(given)}",
                help="write `pad(x, 1)` or `pad(x, [before, after], axis = 1)`",
            )
        return plain(item)

    if not isinstance(given, list | tuple):
        return [(size(given), size(given))] * len(chosen)
    if any(isinstance(item, list | tuple) for item in given):
        if len(given) != len(chosen) or not all(isinstance(item, list | tuple) and len(item) == 2 for item in given):
            raise error(
                "E0384",
                f"a pair [before, after] for each of {len(chosen)} axes is needed",
                width.span,
                f"{len(given)} given",
                help="`axis = [...]` says which axes are padded",
            )
        return [(size(a), size(b)) for a, b in given]
    if len(given) != 2:
        raise error(
            "E0384",
            "a width is one number, a pair [before, after], or a list of pairs",
            width.span,
            f"{len(given)} numbers given",
        )
    return [(size(given[0]), size(given[1]))] * len(chosen)


@builtin
def pad(
    c: Context,
    frame: Frame,
    span: Span,
    x: Argument,
    width: Argument,
    axis: Argument | None = None,
    mode: Argument | None = None,
    value: Argument | None = None,
) -> Value:
    source = tensor(c, x)
    chosen = axes(source, axis, span)
    how = "constant" if mode is None or mode.value is None else mode.value
    if not isinstance(how, str) or how not in ops.MODES:
        raise error(
            "E0384",
            f"`pad` has no mode {kind(how) if not isinstance(how, str) else repr(how)}",
            mode.span if mode else span,
            "not known",
            notes=["the modes are " + ", ".join(ops.MODES)],
            help=did_you_mean(how, ops.MODES) if isinstance(how, str) else None,
        )
    number: float = 0.0
    if value is not None and value.value is not None:
        if not isinstance(value.value, int | float):
            raise error(
                "E0308",
                "the value of a pad is a number known before the file runs",
                value.span,
                f"this is {kind(value.value)}",
            )
        number = value.value
        if source.node.dtype == "int" and isinstance(number, float):
            source = tensor(c, x, "float")
    node, names = source.node, list(source.names)
    for at, (before, after) in zip(chosen, _widths(c, source, width, chosen), strict=True):
        if (before, after) != (0, 0):
            node = c.make(ops.pad, [node], [x.span], span, before=before, after=after, axis=at, mode=how, value=number)
            names[at] = None
    return Tensor(node, tuple(names))


@builtin
def tile(c: Context, frame: Frame, span: Span, x: Argument, counts: Argument) -> Value:
    value = tensor(c, x)
    given = shape_of(counts)
    if any(isinstance(count, int) and count < 0 for count in given):
        raise error("E0320", "a value cannot be tiled a negative number of times", counts.span, "here")
    node = ops.tile(value.node, given)
    same = len(given) <= value.node.rank
    names = value.names if same else (None,) * (len(given) - value.node.rank) + value.names
    counted = (1,) * (node.rank - len(given)) + given
    return Tensor(node, tuple(name if count == 1 else None for name, count in zip(names, counted, strict=True)))


@builtin
def roll(c: Context, frame: Frame, span: Span, x: Argument, shift: Argument, axis: Argument | None = None) -> Value:
    value = tensor(c, x)
    at = one_axis(value, axis, -1, span)
    return Tensor(ops.roll(value.node, integer(shift, None, "the shift"), axis=at), value.labels)


# --- triangles


def _triangle(name: str, lower: bool) -> None:
    def run(c: Context, frame: Frame, span: Span, x: Argument, k: Argument | None = None) -> Value:
        value = tensor(c, x)
        if value.node.dtype == "bool":
            value = tensor(c, x, "int")
        if value.node.rank < 2:
            raise error("E0318", f"`{name}` takes matrices", x.span, f"this is `{value.node.type}`")
        return Tensor(ops.triangle(value.node, integer(k, 0, "the diagonal"), lower=lower), value.labels)

    run.__name__ = name
    builtin(run)


_triangle("tril", True)
_triangle("triu", False)


@builtin
def eye(c: Context, frame: Frame, span: Span, n: Argument) -> Value:
    """The identity matrix of a size."""
    size = _count(n)
    i = ops.make_arange(c.graph, size)
    return Tensor(ops.cast(ops.eq(ops.expand_dims(i, 1), i), dtype="float"))
