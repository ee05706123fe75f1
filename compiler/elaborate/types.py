"""Type annotations: checking a value against `float[batch, n, ...]` and binding the names that are new."""

from __future__ import annotations

from .. import ops
from ..diagnostics import CompileError, error
from ..ir.types import Dim, Shape, Size, TensorType, show_shape
from ..source import Span
from ..syntax import foreign, tree as syntax
from . import expressions
from .context import Context, to_node
from .scope import Frame
from .values import DOTS, POISON, Label, Reported, Tensor, Value, kind, plain

DTYPES = ("float", "int", "bool")


def check_dtype(type: syntax.Type) -> str:
    """The dtype of an annotation. `vector` is for what a statement trains as a whole: E0521."""
    if type.dtype == "vector":
        raise error(
            "E0521",
            "`vector[n]` is all that a statement trains: the type of `theta` and `g` in an optimizer, of g in a clip",
            type.span,
            "not of this",
            help="a tensor of one dimension is `float[n]`",
        )
    if type.dtype not in DTYPES:
        word = Span(type.span.source, type.span.start, type.span.start + len(type.dtype))
        raise error(
            "E0309",
            f"there is no type `{type.dtype}`",
            word,
            "not a type",
            notes=["types are float, int and bool"],
            help=foreign.lookup(type.dtype, [foreign.TYPES], DTYPES),
        )
    return type.dtype


def dimension(c: Context, frame: Frame, expr: syntax.Expr) -> Size:
    """A size written in a type, all of whose names are known."""
    value = expressions.evaluate(c, frame, expr)
    if value is POISON:
        raise Reported
    if isinstance(value, Dim):
        return plain(value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise error("E0319", f"a dimension is an integer, not {kind(value)}", expr.span, f"this is {kind(value)}")
    if value < 0:
        raise error("E0320", f"a dimension cannot be negative: {value}", expr.span, f"this is {value}")
    return int(value)


def known_size(frame: Frame, name: str) -> Size | None:
    """The size a dimension name already has: bound by a type, or an int argument of that name."""
    value = frame.names.get(name)
    if isinstance(value, int | Dim) and not isinstance(value, bool):
        return plain(value)
    return frame.dims.get(name)


def declared_shape(
    c: Context, frame: Frame, type: syntax.Type, *, free: bool = False
) -> tuple[Shape, tuple[Label | None, ...]]:
    """The shape of something made here (a param, a state, an input). With `free`, new names are free dimensions."""
    shape: list[Size] = []
    labels: list[Label | None] = []
    for expr in type.dims or ():
        if isinstance(expr, syntax.Ellipsis) and expr.name is not None:
            sizes = _listed(frame, expr.name, expr.span)
            shape += sizes
            labels += [None] * len(sizes)
            continue
        if isinstance(expr, syntax.Ellipsis):
            raise error(
                "E0321",
                "`...` stands for dimensions of a value that exists",
                expr.span,
                "what is made here needs every dimension",
            )
        if isinstance(expr, syntax.Name):
            size = known_size(frame, expr.name)
            if size is None and free:
                size = Dim.name(expr.name)
                frame.dims[expr.name] = size
            if size is None and expr.name not in expressions.CONSTANTS:
                size = dimension(c, frame, expr)
            labels.append(frame.label(expr.name))
            shape.append(size if size is not None else dimension(c, frame, expr))
            if isinstance(shape[-1], int) and shape[-1] < 0:
                raise error(
                    "E0320", f"a dimension cannot be negative: {shape[-1]}", expr.span, f"`{expr.name}` is {shape[-1]}"
                )
        else:
            shape.append(dimension(c, frame, expr))
            labels.append(None)
    return tuple(shape), tuple(labels)


def _listed(frame: Frame, name: str, span: Span) -> list[Size]:
    """The sizes of `...name`: a list of integers that the frame knows by that name."""
    found = frame.names.get(name)
    if found is POISON:
        raise Reported
    if not isinstance(found, list | tuple):
        raise error(
            "E0368",
            f"`...{name}` spreads a list of sizes",
            span,
            f"`{name}` is {kind(found)}" if name in frame.names else f"there is no list `{name}` here",
        )
    for size in found:
        if isinstance(size, bool) or not isinstance(size, int | Dim) or (isinstance(size, int) and size < 0):
            raise error("E0368", f"`...{name}` spreads a list of sizes", span, f"it holds {kind(size)}")
    return [plain(size) for size in found]


def declared(
    c: Context, frame: Frame, type: syntax.Type, *, free: bool = False
) -> tuple[TensorType, tuple[Label | None, ...]]:
    """The type of something made here."""
    dtype = check_dtype(type)
    shape, labels = declared_shape(c, frame, type, free=free)
    return TensorType(dtype, shape), labels


def check_value(c: Context, frame: Frame, value: Value, type: syntax.Type, what: str, span: Span | None) -> Value:
    """A value that must have an annotated type: checked, its dimensions named, new names bound in the frame.

    A bare `int`, `float` or `bool` also takes a number known before the file runs, and leaves it one.
    """
    if value is POISON:
        return POISON
    dtype = check_dtype(type)
    if type.dims is None:
        return _check_scalar(c, value, dtype, type, what, span)
    if (
        isinstance(value, bool)
        and dtype == "bool"
        and len(type.dims) == 1
        and isinstance(type.dims[0], syntax.Ellipsis)
    ):
        return value  # of any shape, so of none: it stays known before the file runs
    if not isinstance(value, Tensor):
        node = to_node(c, value)
        if node is None:
            raise no_tensor(value, type, what, span)
        value = Tensor(node)
    value = _convert(c, value, dtype, type, what, span)
    return Tensor(value.node, _match(c, frame, value, type, what, span))


def no_tensor(value: Value, type: syntax.Type, what: str, span: Span | None) -> CompileError:
    """E0301 for a value in the place of a tensor."""
    found = kind(value)
    return error(
        "E0301", f"{what} takes a tensor, not {found}", span, f"this is {found}", more=[(type.span, "declared here")]
    )


def check_made(
    c: Context,
    value: Value,
    type: TensorType,
    labels: tuple[Label | None, ...],
    declared: syntax.Type,
    what: str,
    span: Span | None,
) -> Value:
    """A value in place of a parameter whose shape is known: of that type. E0301, E0302, E0311."""
    if value is POISON:
        return POISON
    node = to_node(c, value)
    if node is None:
        raise no_tensor(value, declared, what, span)
    given = _convert(c, Tensor(node), type.dtype, declared, what, span)
    if given.node.shape != type.shape:
        raise error(
            "E0311",
            f"{what} is {show_shape(type.shape)}, not {show_shape(node.shape)}",
            span,
            f"this is `{node.type}`",
            more=[(declared.span, f"declared as `{type}`")],
        )
    return Tensor(given.node, labels)


def _check_scalar(c: Context, value: Value, dtype: str, type: syntax.Type, what: str, span: Span | None) -> Value:
    if isinstance(value, Tensor):
        if value.node.rank:
            raise error(
                "E0322",
                f"{what} is a single {dtype}, not a tensor",
                span,
                f"this is `{value.node.type}`",
                more=[(type.span, "declared here")],
            )
        return _convert(c, value, dtype, type, what, span)
    fits = {
        "bool": isinstance(value, bool),
        "int": isinstance(value, int | Dim) and not isinstance(value, bool),
        "float": isinstance(value, int | float | Dim) and not isinstance(value, bool),
    }[dtype]
    if not fits:
        raise error(
            "E0302",
            f"{what} takes a value of type `{dtype}`",
            span,
            f"this is {kind(value)}",
            more=[(type.span, "declared here")],
        )
    return float(value) if dtype == "float" and isinstance(value, int) else value


def _convert(c: Context, value: Tensor, dtype: str, type: syntax.Type, what: str, span: Span | None) -> Tensor:
    """bool meets int as int, int meets float as float; never the other way."""
    order = ("bool", "int", "float")
    if value.node.dtype == dtype:
        return value
    if value.node.dtype not in order or order.index(value.node.dtype) > order.index(dtype):
        raise error(
            "E0302",
            f"{what} takes a value of type `{dtype}`",
            span,
            f"this is `{value.node.type}`",
            more=[(type.span, "declared here")],
            help="`round(x)`, `floor(x)` and `argmax` return integers; a comparison returns a bool",
        )
    return Tensor(ops.cast(value.node, dtype=dtype), value.labels, value.along)


def _match(
    c: Context, frame: Frame, value: Tensor, type: syntax.Type, what: str, span: Span | None
) -> tuple[Label | None, ...]:
    dims = type.dims or ()
    shape = value.node.shape
    gaps = [i for i, expr in enumerate(dims) if isinstance(expr, syntax.Ellipsis)]
    for i in gaps:
        _check_plain(dims[i])
    if len(gaps) > 1:
        raise error("E0323", "`...` appears at most once in a type", dims[gaps[1]].span, "the second one")
    fixed = len(dims) - len(gaps)
    if len(shape) < fixed or (not gaps and len(shape) != fixed):
        at_least = "at least " if gaps else ""
        raise error(
            "E0324",
            f"{what} needs {at_least}{fixed} dimension{'s' * (fixed != 1)}, found {len(shape)}",
            span,
            f"this is `{value.node.type}`",
            more=[(type.span, f"`{type.span.text}` declared here")],
            help="`none` in an index adds a dimension of 1: `x[:, none]`"
            if 0 < len(shape) == fixed - 1
            else "a number in an index removes a dimension: `x[:, 0]`"
            if not gaps and len(shape) == fixed + 1
            else f"`reshape(x, [{', '.join(['batch', '...', '...', '...'][:fixed])}])` gives it as many"
            if shape and fixed > 1
            else None,
        )
    rest = len(shape) - fixed
    labels: list[Label | None] = []
    position = 0
    # Plain names bind first, so that `float[2 * n, n]` finds n whatever its place.
    late: list[tuple[syntax.Expr, Size]] = []
    for expr in dims:
        if isinstance(expr, syntax.Ellipsis):
            labels += [frame.label(f"{DOTS}{i}") for i in reversed(range(rest))]
            position += rest
            continue
        size = shape[position]
        if isinstance(expr, syntax.Name):
            _bind(frame, expr, size, value, position, what, span)
            label = frame.label(expr.name)
            labels.append(label)
            frame.came_from.setdefault(label, value.names[position])
        else:
            labels.append(None)
            late.append((expr, size))
        position += 1
    for expr, size in late:
        expected = dimension(c, frame, expr)
        if expected != size:
            raise error(
                "E0311",
                f"{what} has a dimension of {size} where {expected} is declared",
                span,
                f"this is `{value.node.type}`",
                more=[(expr.span, f"declared as {expected}")],
            )
    if gaps:
        start = gaps[0]
        for own, outer in zip(labels[start : start + rest], value.names[start : start + rest], strict=True):
            # of a dimension without a name outside, `...0` is none there
            if own is not None and outer != own and frame.came_from.get(own) is None:
                frame.came_from[own] = outer
    return tuple(labels)


def _check_plain(expr: syntax.Expr) -> None:
    """`...name` is for what is made; `...` alone matches dimensions of what exists."""
    if isinstance(expr, syntax.Ellipsis) and expr.name is not None:
        raise error(
            "E0368",
            f"`...{expr.name}` is allowed only in the type of something that is made",
            expr.span,
            "this value exists already",
            help="`...` alone matches any run of dimensions",
        )


def _bind(
    frame: Frame, expr: syntax.Name, size: Size, value: Tensor, position: int, what: str, span: Span | None
) -> None:
    known = known_size(frame, expr.name)
    if known is None:
        frame.dims[expr.name] = plain(size)
    elif known != size:
        raise error(
            "E0311",
            f"dimension `{expr.name}` has two sizes: {known} and {size}",
            span,
            f"dimension {position} of {show_shape(value.node.shape)} is {size}",
            more=[(expr.span, f"`{expr.name}` is {known} here")],
        )
    else:
        frame.dims.setdefault(expr.name, known)
