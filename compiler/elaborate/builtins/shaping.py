"""Functions that the compiler knows by name and that move elements: shapes, lists of tensors, indices."""

from __future__ import annotations

from ... import ops
from ...diagnostics import error
from ...ir.types import Dim, Size, divide, product, show_shape
from ...source import Span
from .. import support
from ..context import Context
from ..scope import Frame
from ..values import Argument, Indexed, Tensor, Value, kind, label_of, plain
from .arguments import axes, builtin, integer, named_shape_of, one_axis, shape_of, tensor

# --- shapes


@builtin
def size(c: Context, frame: Frame, span: Span, x: Argument, axis: Argument | None = None) -> Value:
    value = tensor(c, x)
    if axis is None or axis.value is None:
        return product(value.node.shape)
    if isinstance(axis.value, list | tuple):
        return product(value.node.shape[at] for at in axes(value, axis, span))
    return value.node.shape[one_axis(value, axis, 0, span)]


@builtin
def known_size(c: Context, frame: Frame, span: Span, x: Argument, axis: Argument | None = None) -> Value:
    """The size of a dimension where it must be a number: what unrolls over it asks for it so. E0387."""
    value = tensor(c, x)
    found = value.node.shape[one_axis(value, axis, 0, span)]
    if isinstance(found, Dim):
        raise error(
            "E0387",
            f"the size `{found}` must be known before the file runs",
            x.span,
            f"this is `{value.node.type}`",
            notes=["the work is unrolled over this dimension"],
            help="declare the dimension as a number",
        )
    return found


@builtin
def rank(c: Context, frame: Frame, span: Span, x: Argument) -> Value:
    return tensor(c, x).node.rank


@builtin
def transpose(c: Context, frame: Frame, span: Span, x: Argument, axes: Argument | None = None) -> Value:
    value = tensor(c, x)
    n = value.node.rank
    if axes is None:
        order = tuple(reversed(range(n)))
    else:
        given = axes.value if isinstance(axes.value, list | tuple) else [axes.value]
        order = tuple(one_axis(value, Argument(None, item, axes.span), 0, span) for item in given)
        if sorted(order) != list(range(n)):
            raise error("E0336", f"`axes` names each of the {n} dimensions once", axes.span, f"found {list(order)}")
    return Tensor(ops.transpose(value.node, perm=order), tuple(value.names[i] for i in order))


@builtin
def reshape(c: Context, frame: Frame, span: Span, x: Argument, shape: Argument) -> Value:
    value = tensor(c, x)
    sizes, labels = named_shape_of(shape)
    wanted = list(sizes)
    total = product(value.node.shape)
    open_ = [i for i, s in enumerate(wanted) if s == -1]
    if any(isinstance(s, int) and s < -1 for s in wanted):
        raise error("E0320", f"a dimension cannot be negative: {show_shape(wanted)}", shape.span, "here")
    if len(open_) > 1:
        raise error("E0337", "a shape leaves at most one size open", shape.span, "-1 appears twice")
    if open_:
        rest = product(s for i, s in enumerate(wanted) if i != open_[0])
        missing = divide(total, rest)
        if missing is None:
            raise error(
                "E0337",
                f"{show_shape(value.node.shape)} does not reshape to {shape.span.text}",
                shape.span,
                f"{total} elements do not divide by {rest}",
                more=[(x.span, f"this is `{value.node.type}`")],
            )
        wanted[open_[0]] = missing
    if product(wanted) != total:
        raise error(
            "E0337",
            f"{show_shape(value.node.shape)} does not reshape to {show_shape(wanted)}",
            shape.span,
            f"{product(wanted)} elements",
            more=[(x.span, f"{total} elements: `{value.node.type}`")],
        )
    return Tensor(ops.reshape(value.node, shape=tuple(wanted)), labels)


@builtin
def broadcast_to(c: Context, frame: Frame, span: Span, x: Argument, shape: Argument) -> Value:
    value = tensor(c, x)
    sizes, labels = named_shape_of(shape)
    node = c.make(ops.broadcast_to, [value.node], [x.span], span, shape=sizes)
    old = (None,) * (len(sizes) - value.node.rank) + value.names
    return Tensor(
        node, tuple(new or (name if name not in labels else None) for new, name in zip(labels, old, strict=True))
    )


def _items(c: Context, argument: Argument) -> list[Tensor]:
    value = argument.value
    if isinstance(value, Indexed):
        value = list(value.entries.values())
    if not isinstance(value, list | tuple) or not value:
        raise error(
            "E0338",
            f"a list of tensors is needed here, not {kind(value)}",
            argument.span,
            f"this is {kind(value)}",
            help="write `[a, b]`",
        )
    items = [tensor(c, Argument(None, item, argument.span)) for item in value]
    order = ("bool", "int", "float")
    dtype = order[max(order.index(item.node.dtype) for item in items)]
    return [
        Tensor(ops.cast(item.node, dtype=dtype) if item.node.dtype != dtype else item.node, item.labels)
        for item in items
    ]


@builtin
def concat(c: Context, frame: Frame, span: Span, values: Argument, axis: Argument | None = None) -> Value:
    items = _items(c, values)
    at = one_axis(items[0], axis, 0, span)
    node = c.make(ops.concat, [item.node for item in items], [values.span] * len(items), span, axis=at)
    return Tensor(node, tuple(None if i == at else name for i, name in enumerate(items[0].names)))


def stacked(c: Context, argument: Argument, at: int) -> Tensor:
    items = _items(c, argument)
    parts = [ops.expand_dims(item.node, at) for item in items]
    names = items[0].names
    node = c.make(ops.concat, parts, [argument.span] * len(parts), argument.span, axis=at)
    return Tensor(node, (*names[:at], None, *names[at:]))


@builtin
def stack(c: Context, frame: Frame, span: Span, values: Argument, axis: Argument | None = None) -> Value:
    n = _items(c, values)[0].node.rank + 1
    at = integer(axis, 0, "the axis")
    if not -n <= at < n:
        raise error(
            "E0314", f"axis {at} does not exist: the result has {n} dimensions", axis.span if axis else span, "here"
        )
    return stacked(c, values, at % n)


@builtin
def split(c: Context, frame: Frame, span: Span, x: Argument, parts: Argument, axis: Argument | None = None) -> Value:
    value = tensor(c, x)
    at = one_axis(value, axis, -1, span)
    if isinstance(parts.value, list | tuple):
        return _split_by_sizes(c, value, parts, at, x)
    count = integer(parts, None, "the number of parts")
    step = divide(value.node.shape[at], count) if count > 0 else None
    if step is None:
        raise error(
            "E0339",
            f"a dimension of {value.node.shape[at]} does not split into {count} equal parts",
            parts.span,
            "here",
            more=[(x.span, f"this is `{value.node.type}`")],
        )
    result = []
    for i in range(count):
        starts = tuple(step * i if j == at else 0 for j in range(value.node.rank))
        stops = tuple(step * (i + 1) if j == at else s for j, s in enumerate(value.node.shape))
        node = ops.slice_(value.node, starts=starts, stops=stops, steps=(1,) * value.node.rank)
        result.append(Tensor(node, tuple(None if j == at else name for j, name in enumerate(value.names))))
    return tuple(result)


def _split_by_sizes(c: Context, value: Tensor, parts: Argument, at: int, x: Argument) -> Value:
    """Parts of the sizes given; one of them may be -1: what is left."""
    given = list(shape_of(parts))
    total = value.node.shape[at]
    open_ = [i for i, size in enumerate(given) if size == -1]
    known: Size = 0
    for i, size in enumerate(given):
        known = known if i in open_ else known + size
    if len(open_) == 1:
        given[open_[0]] = total - known
        known = total
    if known != total or len(open_) > 1 or any(isinstance(size, int) and size < 0 for size in given):
        raise error(
            "E0339",
            f"a dimension of {total} does not split into parts of {parts.span.text}",
            parts.span,
            f"together {known}" if len(open_) < 2 else "-1 appears twice",
            more=[(x.span, f"this is `{value.node.type}`")],
        )
    result: list[Value] = []
    start: Size = 0
    for size in given:
        node = ops.narrow(value.node, at, start, start + size)
        result.append(Tensor(node, tuple(None if j == at else name for j, name in enumerate(value.names))))
        start = start + size
    return tuple(result)


@builtin
def flip(c: Context, frame: Frame, span: Span, x: Argument, axis: Argument | None = None) -> Value:
    value = tensor(c, x)
    node = value.node
    for at in axes(value, axis, span):
        node = ops.flip(node, at)
    return Tensor(node, value.labels)


# --- indices


@builtin
def pick(c: Context, frame: Frame, span: Span, x: Argument, index: Argument) -> Value:
    value, at = tensor(c, x), tensor(c, index, "int")
    if value.node.rank:
        support.ask_index(c, at.node, value.node.shape[-1])
    return Tensor(c.make(ops.pick, [value.node, at.node], [x.span, index.span], span), value.names[:-1])


@builtin
def gather(
    c: Context, frame: Frame, span: Span, table: Argument, index: Argument, axis: Argument | None = None
) -> Value:
    value, at = tensor(c, table), tensor(c, index, "int")
    i = one_axis(value, axis, 0, span)
    support.ask_index(c, at.node, value.node.shape[i])
    node = c.make(ops.gather, [value.node, at.node], [table.span, index.span], span, axis=i)
    return Tensor(node, (*value.names[:i], *at.names, *value.names[i + 1 :]))


@builtin
def scatter_add(
    c: Context,
    frame: Frame,
    span: Span,
    values: Argument,
    index: Argument,
    size: Argument,
    axis: Argument | None = None,
) -> Value:
    value, at = tensor(c, values, "float"), tensor(c, index, "int")
    count = _a_size(size, "the size")
    first = integer(axis, 0, "the axis")
    rank = value.node.rank - at.node.rank + 1
    if rank < 1 or not -rank <= first < rank:
        raise error(
            "E0314",
            f"axis {first} does not exist: the result has {max(rank, 0)} dimensions",
            axis.span if axis else span,
            "here",
            more=[(values.span, f"this is `{value.node.type}`"), (index.span, f"this is `{at.node.type}`")],
        )
    first %= rank
    shape = (*value.node.shape[:first], count, *value.node.shape[first + at.node.rank :])
    node = c.make(ops.scatter_add, [value.node, at.node], [values.span, index.span], span, shape=shape, axis=first)
    return Tensor(node, (*value.names[:first], None, *value.names[first + at.node.rank :]))


def _a_size(argument: Argument, what: str) -> Size:
    if isinstance(argument.value, bool) or not isinstance(argument.value, int | Dim):
        raise error(
            "E0308",
            f"{what} must be an integer that is known before the file runs",
            argument.span,
            f"this is {kind(argument.value)}",
        )
    if isinstance(argument.value, int) and argument.value < 0:
        raise error("E0320", f"a dimension cannot be negative: {int(argument.value)}", argument.span, "here")
    return plain(argument.value)


@builtin
def one_hot(c: Context, frame: Frame, span: Span, index: Argument, depth: Argument) -> Value:
    at = tensor(c, index, "int")
    count = _a_size(depth, "the depth")
    if isinstance(count, int) and count < 1:
        raise error("E0308", "the depth of `one_hot` is an integer above 0", depth.span, f"this is {count}")
    support.ask_index(c, at.node, count)
    return Tensor(c.make(ops.one_hot, [at.node], [index.span], span, depth=count), (*at.names, None))


@builtin
def arange(c: Context, frame: Frame, span: Span, n: Argument) -> Value:
    value = n.value
    if isinstance(value, bool) or not isinstance(value, int | Dim):
        raise error("E0308", "`arange` takes a size", n.span, f"this is {kind(value)}")
    label = label_of(value)
    return Tensor(ops.make_arange(c.graph, plain(value)), (label,))
