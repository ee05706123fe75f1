"""The functions that the compiler knows by name, and how they read their arguments.

A builtin takes `(c, frame, span, ...)` and then its arguments, as `Argument`s; None where one is left out.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable

from ... import ops
from ...diagnostics import error
from ...ir.types import Dim, Size
from ...source import Span
from .. import arithmetic
from ..context import Context, to_node
from ..values import BUILTINS, DOTS, Argument, Builtin, Label, Tensor, Value, kind, label_of, plain


def builtin(function: Callable[..., Value]) -> Callable[..., Value]:
    """Registers a function under its name (a trailing underscore falls away); its signature is the language's."""
    name = function.__name__.rstrip("_")
    parameters = list(inspect.signature(function).parameters.values())[3:]
    BUILTINS[name] = Builtin(name, tuple((p.name, p.default is p.empty) for p in parameters), function)
    return function


def builtin_of(name: str) -> Callable[[Callable[..., Value]], Callable[..., Value]]:
    """Registers a function of any arguments, which it is given as a list."""

    def register(function: Callable[..., Value]) -> Callable[..., Value]:
        BUILTINS[name] = Builtin(name, (("x", True),), function, open=True)
        return function

    return register


# --- reading arguments


def tensor(c: Context, argument: Argument, dtype: str | None = None) -> Tensor:
    """An argument as a tensor; numbers become constants, int meets float as float."""
    value = argument.value
    node = to_node(c, value)
    if node is None:
        raise error(
            "E0301",
            f"a tensor is needed here, not {kind(value)}",
            argument.span,
            f"this is {kind(value)}",
            help=arithmetic.application_help(value) or _sizes_help(value),
        )
    if dtype is not None and node.dtype != dtype:
        if dtype == "int" and node.dtype == "float":
            raise error(
                "E0302",
                "integers are needed here",
                argument.span,
                f"this is `{node.type}`",
                help="`target y: int[batch]` declares integers",
            )
        node = ops.cast(node, dtype=dtype)
    return Tensor(
        node, value.labels if isinstance(value, Tensor) else (), value.along if isinstance(value, Tensor) else None
    )


def _sizes_help(value: Value) -> str | None:
    """For a list where a tensor belongs: of sizes, as in `ones([n])` of other libraries, or of values."""
    if not isinstance(value, list | tuple) or not value:
        return None
    if all(isinstance(item, int | Dim) and not isinstance(item, bool) for item in value):
        sizes = ", ".join(str(plain(item)) for item in value)
        return f"`broadcast_to(1.0, [{sizes}])` is a tensor of that shape, `stack([...])` one of these numbers"
    return "`stack([...])` makes a tensor of values of one shape"


def integer(argument: Argument | None, default: int | None, what: str) -> int:
    """An integer known now; the default where it is left out or `none`, if there is one."""
    if default is not None and (argument is None or argument.value is None):
        return default
    assert argument is not None
    if isinstance(argument.value, bool) or not isinstance(argument.value, int):
        raise error(
            "E0308",
            f"{what} must be an integer that is known before the file runs",
            argument.span,
            f"this is {kind(argument.value)}",
        )
    return int(argument.value)


def truth(argument: Argument | None, what: str) -> bool:
    if argument is None or argument.value is None:
        return False
    if not isinstance(argument.value, bool):
        raise error("E0302", f"{what} is `true` or `false`", argument.span, f"this is {kind(argument.value)}")
    return argument.value


def axes(x: Tensor, argument: Argument | None, span: Span) -> tuple[int, ...]:
    """`axis` as numbers: a number, a dimension's name, a list of them, `...`, or none for all."""
    rank = x.node.rank
    if argument is None or argument.value is None:
        return tuple(range(rank))
    given = argument.value if isinstance(argument.value, list | tuple) else [argument.value]
    found: list[int] = []
    for item in given:
        label = label_of(item)
        if item is ...:
            found += [i for i, known in enumerate(x.names) if known is not None and known[1].startswith(DOTS)]
        elif label is not None and label in x.names:
            if x.names.count(label) > 1:
                raise error(
                    "E0334",
                    f"two dimensions are named `{label[1]}`",
                    argument.span,
                    "which one?",
                    notes=["its dimensions are " + arithmetic.show_labels(x.names)],
                    help="give the axis by number",
                )
            found.append(x.names.index(label))
        elif label is None and isinstance(item, int) and not isinstance(item, bool):
            if not -rank <= item < rank:
                raise error(
                    "E0314",
                    f"axis {int(item)} does not exist: the value has {rank} dimension{'s' * (rank != 1)}",
                    argument.span,
                    f"the value is `{x.node.type}`",
                )
            found.append(int(item) % rank)
        else:
            what = f"an axis is a number or a name, not {kind(item)}"
            if label:
                what = f"no dimension of the value is named `{label[1]}`"
            raise error(
                "E0314",
                what,
                argument.span,
                f"the value is `{x.node.type}`",
                notes=["its dimensions are " + arithmetic.show_labels(x.names)] if any(x.names) else [],
                help=None if label else "`axis = 0` is the first dimension, `axis = -1` the last",
            )
    if len(set(found)) < len(found):
        raise error("E0334", "an axis is given twice", argument.span, "here")
    return tuple(sorted(found))


def one_axis(x: Tensor, argument: Argument | None, default: int, span: Span) -> int:
    if argument is None or argument.value is None:
        if not x.node.rank:
            raise error("E0314", "a single number has no dimensions", span, f"this is `{x.node.type}`")
        return default % x.node.rank
    found = axes(x, argument, span)
    if len(found) != 1:
        raise error("E0314", "one axis is needed here", argument.span, f"{len(found)} given")
    return found[0]


def shape_of(argument: Argument) -> tuple[Size, ...]:
    value = argument.value
    items = list(value) if isinstance(value, list | tuple) else [value]
    for item in items:
        if isinstance(item, bool) or not isinstance(item, int | Dim):
            raise error(
                "E0335",
                f"a shape is a list of sizes, not {kind(item)}",
                argument.span,
                f"this is {kind(item)}",
                help="`/` makes a float: `//` divides integers"
                if isinstance(item, float) and item.is_integer()
                else "write `[batch, 8]`",
            )
    return tuple(plain(item) for item in items)


def named_shape_of(argument: Argument) -> tuple[tuple[Size, ...], tuple[Label | None, ...]]:
    """The sizes of a shape, and the names of those that were read from dimensions: in `[batch, 8]` the first."""
    sizes = shape_of(argument)
    items = argument.value if isinstance(argument.value, list | tuple) else [argument.value]
    labels = [label_of(item) for item in items]
    return sizes, tuple(label if labels.index(label) == i else None for i, label in enumerate(labels))
