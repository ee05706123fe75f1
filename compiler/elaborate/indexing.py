"""`x[...]`: slices, numbers, `none`, `...`, rows by integer arrays, `v[c]`, and indexed names."""

from __future__ import annotations

from typing import Any

from .. import ops
from ..diagnostics import error
from ..ir.graph import Node
from ..ir.types import Dim, Size, product
from ..source import Span
from ..syntax import tree as syntax
from . import arithmetic, expressions, inside, scan, support
from .context import Context
from .scope import Frame
from .values import POISON, Indexed, Inner, Label, NamedDim, NamedInt, Range, Tensor, Value, clash, kind, plain


def index(c: Context, frame: Frame, expr: syntax.Index) -> Value:
    value = expressions.evaluate(c, frame, expr.value)
    if value is POISON:
        return POISON
    if isinstance(value, Indexed | list | tuple):
        return _entry(c, frame, value, expr)
    if isinstance(value, Inner):
        place = [str(expressions.static_int(c, frame, e, "the number of a layer")) for e in expr.places]
        return inside.entry(c, value, ",".join(place), expr.span)
    if not isinstance(value, Tensor):
        raise error("E0237", f"{kind(value)} has no elements", expr.value.span, f"this is {kind(value)}")
    aligned = _along(c, frame, value, expr)
    return aligned if aligned is not None else _tensor(c, frame, value, expr)


def _entry(c: Context, frame: Frame, value: Indexed | list[Value] | tuple[Value, ...], expr: syntax.Index) -> Value:
    if isinstance(value, list | tuple) and len(expr.places) == 1 and isinstance(expr.places[0], syntax.Slice):
        part = expr.places[0]
        bounds = [
            None if e is None else expressions.static_int(c, frame, e, "a bound")
            for e in (part.start, part.stop, part.step)
        ]
        if bounds[2] == 0:
            raise error("E0304", "a slice cannot step by 0", expr.span, "here")
        return value[slice(*bounds)]
    for e in expr.places:
        if isinstance(e, syntax.Slice):
            raise error(
                "E0240",
                f"a slice does not index {kind(value)}",
                e.span,
                "here",
                help="`stack(...)` makes a tensor of values of one shape",
            )
    place = tuple(expressions.static_int(c, frame, e, "the index of a list") for e in expr.places)
    if isinstance(value, Indexed):
        if place not in value.entries:
            raise error(
                "E0238",
                f"there is no `{expr.span.text}`",
                expr.span,
                f"index {list(place)} was never assigned",
                notes=[f"there are {len(value.entries)} entries"],
            )
        return value.entries[place]
    if len(place) != 1 or not -len(value) <= place[0] < len(value):
        raise error("E0238", f"index {list(place)} is outside a list of {len(value)}", expr.span, "here")
    return value[place[0]]


def _along(c: Context, frame: Frame, value: Tensor, expr: syntax.Index) -> Tensor | None:
    """`v[c]` where v is `float[c]`: the vector lies along dimension c of what it meets."""
    if value.node.rank != 1 or len(expr.places) != 1 or not isinstance(expr.places[0], syntax.Name):
        return None
    place = expressions.evaluate(c, frame, expr.places[0])
    if isinstance(place, NamedInt | NamedDim):
        label: Label = place.label
    elif expr.places[0].name in frame.dims or frame.label(expr.places[0].name) in value.names:
        label = frame.label(expr.places[0].name)
    else:
        return None
    if plain(place) != value.node.shape[0]:
        return None
    own = value.names[0]
    if own and clash(own, label):
        raise error(
            "E0313",
            f"dimension `{own[1]}` meets dimension `{label[1]}`",
            expr.span,
            f"its dimension is `{own[1]}`",
            notes=["both have the same size here, but two different names never meet"],
        )
    return Tensor(value.node, (), label)


def _tensor(c: Context, frame: Frame, value: Tensor, expr: syntax.Index) -> Value:
    places = list(expr.places)
    used = sum(not _is_none(e) and not isinstance(e, syntax.Ellipsis) for e in places)
    rank = value.node.rank
    if used > rank:
        raise error(
            "E0239",
            f"{used} indices for {rank} dimension{'s' * (rank != 1)}",
            expr.span,
            f"`{expr.value.span.text}` is `{value.node.type}`",
        )
    gaps = [i for i, e in enumerate(places) if isinstance(e, syntax.Ellipsis)]
    for i in gaps:
        expressions.evaluate(c, frame, places[i])  # `...name` is refused
    if len(gaps) > 1:
        raise error("E0323", "`...` appears at most once in an index", places[gaps[1]].span, "the second one")
    full = syntax.Slice(expr.span, None, None, None)
    if gaps:
        places[gaps[0] : gaps[0] + 1] = [full] * (rank - used)
    else:
        places += [full] * (rank - used)
    with c.within("operation", f"[{_written(expr)}]", expr.span):
        return _select(c, frame, value, places, expr.span)


def _written(expr: syntax.Index) -> str:
    """What stands between the brackets of `x[:, t]`."""
    return ", ".join(" ".join(place.span.text.split()) for place in expr.places)


def _is_none(expr: syntax.Expr) -> bool:
    return isinstance(expr, syntax.Constant) and expr.value is None


def _select(c: Context, frame: Frame, value: Tensor, places: list[syntax.Expr], span: Span) -> Value:
    node, labels = value.node, list(value.names)
    starts: list[Size] = [0] * node.rank
    stops: list[Size] = list(node.shape)
    steps = [1] * node.rank
    shape: list[Size | None] = []  # of the result; None where an integer array goes
    names: list[Label | None] = []
    arrays: list[tuple[int, Tensor, Span]] = []
    axis = 0
    for place in places:
        if _is_none(place):
            shape.append(1)
            names.append(None)
            continue
        size = node.shape[axis]
        if isinstance(place, syntax.Slice):
            starts[axis], stops[axis], steps[axis], length = _slice(c, frame, place, size)
            shape.append(length)
            names.append(labels[axis] if length == size else None)
        else:
            at = expressions.evaluate(c, frame, place)
            if at is POISON:
                return POISON
            if isinstance(at, list | tuple):
                at = _listed(c, at, size, place.span)
            if isinstance(at, Range):
                raise error(
                    "E0240", "a range of elements is written with `:`", place.span, "found `..`", help="write `x[a:b]`"
                )
            if isinstance(at, int | Dim) and not isinstance(at, bool):
                starts[axis], stops[axis] = _element(plain(at), size, place.span)
            elif isinstance(at, Tensor) and at.node.dtype == "int":
                scan.check_range(c, at.node, size, place.span)
                support.ask_index(c, at.node, size)
                arrays.append((axis, at, place.span))
                shape.append(None)
                names.append(None)
            else:
                raise error(
                    "E0240",
                    f"an index is an integer, a slice or an int tensor, not {kind(at)}",
                    place.span,
                    f"this is {kind(at)}",
                )
        axis += 1
    with c.at(frame, span):
        if any(
            start != 0 or stop != size or step != 1
            for start, stop, size, step in zip(starts, stops, node.shape, steps, strict=True)
        ):
            node = c.make(
                ops.slice_, [node], [span], span, starts=tuple(starts), stops=tuple(stops), steps=tuple(steps)
            )
        # Single elements first, those of the outermost scan before those of the scans in it: what an inner scan reads
        # is then the same in all its iterations.
        wide = [array for array in arrays if array[1].node.rank]
        together = len(wide) > 1
        gone: list[int] = []  # dimensions that single elements took away
        for axis, at, place_span in sorted(
            (array for array in arrays if not (together and array[1].node.rank)),
            key=lambda array: (array[1].node.rank, array[1].node.id),
        ):
            left = axis - sum(other < axis for other in gone)
            node = c.make(ops.gather, [node, at.node], [span, place_span], span, axis=left)
            if not at.node.rank:
                gone.append(axis)
        if together:
            marks = [j for j, length in enumerate(shape) if length is None]
            single = {j for j, array in zip(marks, arrays, strict=True) if not array[1].node.rank}
            names = [name for j, name in enumerate(names) if j not in single]
            shape = [length for j, length in enumerate(shape) if j not in single]
            wide = [
                (axis - sum(1 for other, index, _ in arrays if other < axis and not index.node.rank), at, place)
                for axis, at, place in wide
            ]
            node, shape, names = _at_once(c, node, wide, shape, names, span)
        for _, at, _ in () if together else arrays:
            i = shape.index(None)
            shape[i : i + 1] = at.node.shape
            names[i : i + 1] = at.names
        if tuple(shape) != node.shape:
            node = ops.reshape(node, shape=tuple(size for size in shape if size is not None))
    return Tensor(node, tuple(names))


def _listed(c: Context, places: list[Value] | tuple[Value, ...], size: Size, span: Span) -> Value:
    """A list of integers as the int tensor that it stands for, as in NumPy: E0238 for one outside, E0240."""
    whole = [at for at in places if isinstance(at, int) and not isinstance(at, bool)]
    if not places or len(whole) < len(places):
        raise error(
            "E0240",
            f"an index is an integer, a slice or an int tensor, not {kind(places)}",
            span,
            "not integers that are known now",
            help="`stack([i, j])` makes a tensor of values; `x[i, j]` indexes two dimensions",
        )
    for at in whole:
        _element(plain(at), size, span)
    return Tensor(ops.constant(c.graph, [plain(at) for at in whole], "int"))


def _at_once(
    c: Context,
    node: Node,
    arrays: list[tuple[int, Tensor, Span]],
    shape: list[Size | None],
    names: list[Label | None],
    span: Span,
) -> tuple[Node, list[Size | None], list[Label | None]]:
    """Several integer arrays index together: x[i, j][k] = x[i[k], j[k]]; and the shape and names with their dimensions.

    The dimensions that they index become one. As in NumPy the dimensions of the elements come first where slices stand
    between the arrays.
    """
    marks = [j for j, length in enumerate(shape) if length is None]
    apart = marks[-1] - marks[0] >= len(marks)
    taken = [axis for axis, _, _ in arrays]
    rest = [axis for axis in range(node.rank) if axis not in taken]
    sizes = [node.shape[axis] for axis in taken]
    flat: Any = None
    for (_, at, place), size in zip(arrays, sizes, strict=True):
        count = ops.make_size(c.graph, size) if isinstance(size, Dim) else size
        own = ops.where(ops.lt(at.node, 0), ops.add(at.node, count), at.node)
        flat = own if flat is None else c.make(ops.add, [ops.mul(flat, count), own], [span, place], span)
    rows = ops.transpose(node, perm=[*taken, *rest])
    rows = ops.reshape(rows, shape=(product(sizes), *[node.shape[axis] for axis in rest]))
    found: Node = c.make(ops.gather, [rows, flat], [span, arrays[0][2]], span, axis=0)
    lead = 0 if apart else sum(axis < taken[0] for axis in rest)
    n = flat.rank
    found = ops.transpose(found, perm=[*range(n, n + lead), *range(n), *range(n + lead, found.rank)])

    tensors: list[Value] = [at for _, at, _ in arrays]
    labels = arithmetic.merge_labels(tensors, span, tuple(place for _, _, place in arrays))
    first = 0 if apart else marks[0]
    kept = [j for j in range(len(shape)) if j not in marks]
    before, after = [j for j in kept if j < first], [j for j in kept if j >= first]
    sized = [*[shape[j] for j in before], *flat.shape, *[shape[j] for j in after]]
    named = [*[names[j] for j in before], *(labels if len(labels) == n else [None] * n), *[names[j] for j in after]]
    return found, sized, named


def _element(at: Size, size: Size, span: Span) -> tuple[Size, Size]:
    if isinstance(at, int) and isinstance(size, int):
        if not -size <= at < size:
            raise error(
                "E0238", f"index {at} is outside a dimension of {size}", span, f"valid indices are 0 to {size - 1}"
            )
        at = at % size
    elif isinstance(at, int) and at < 0:
        at = size + at
    beyond = at - size
    if isinstance(beyond, int) and beyond >= 0:
        raise error("E0238", f"index {at} is outside a dimension of {size}", span, f"valid indices are 0 to {size - 1}")
    return at, at + 1


def _slice(c: Context, frame: Frame, part: syntax.Slice, size: Size) -> tuple[Size, Size, int, Size]:
    """Start, stop, step and length of a slice; NumPy's rule, with free sizes taken as large enough."""
    step = 1 if part.step is None else expressions.static_int(c, frame, part.step, "the step of a slice")
    if step == 0:
        raise error("E0304", "a slice cannot step by 0", part.span, "here")
    bounds: list[Any] = []
    for expr in (part.start, part.stop):
        value = None if expr is None else expressions.evaluate(c, frame, expr)
        if value is not None and (isinstance(value, bool) or not isinstance(value, int | Dim)):
            raise error(
                "E0308",
                "a bound of a slice must be an integer that is known before the file runs",
                expr.span if expr else part.span,
                f"this is {kind(value)}",
            )
        bounds.append(None if value is None else plain(value))
    if isinstance(size, int) and all(b is None or isinstance(b, int) for b in bounds):
        first, last, _ = slice(bounds[0], bounds[1], step).indices(size)
        return first, last, step, len(range(first, last, step))
    start: Any = bounds[0]
    stop: Any = bounds[1]
    if step < 0:
        if start is not None or stop is not None:
            raise error(
                "E0242",
                "a backward slice of a free dimension takes all of it",
                part.span,
                "here",
                help="write `x[::-1]`",
            )
        return size - 1, -1, step, -((0 - size) // -step) if step != -1 else size
    start = 0 if start is None else start + size if isinstance(start, int) and start < 0 else start
    stop = size if stop is None else stop + size if isinstance(stop, int) and stop < 0 else stop
    length = stop - start
    if isinstance(length, int) and length <= 0:
        return start, start, step, 0
    return start, stop, step, length if step == 1 else (length + step - 1) // step


def take(node: Node, at: int, axis: int) -> Node:
    """One element of a dimension, which goes away."""
    axis %= node.rank
    starts = tuple(at if i == axis else 0 for i in range(node.rank))
    stops = tuple(at + 1 if i == axis else size for i, size in enumerate(node.shape))
    part = ops.slice_(node, starts=starts, stops=stops, steps=(1,) * node.rank)
    return ops.reshape(part, shape=node.shape[:axis] + node.shape[axis + 1 :])
