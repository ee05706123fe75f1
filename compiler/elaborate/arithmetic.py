"""Arithmetic: numbers and sizes are worked out here, tensors become nodes; names of dimensions are kept."""

from __future__ import annotations

import math
from typing import Any

from .. import ops
from ..diagnostics import error
from ..ir.types import Dim, weight
from ..source import Span
from . import meant
from .context import Context, poisoned, to_node
from .scope import Frame
from .values import DOTS, POISON, Declared, Instance, Label, Parts, Tensor, Value, clash, kind, plain

MAX_WEIGHT = 256  # names in a size, each as often as it stands there
BINARY = {
    "+": ops.add,
    "-": ops.sub,
    "*": ops.mul,
    "/": ops.div,
    "//": ops.floordiv,
    "%": ops.mod,
    "^": ops.pow_,
    "==": ops.eq,
    "!=": ops.ne,
    "<": ops.lt,
    "<=": ops.le,
    ">": ops.gt,
    ">=": ops.ge,
    "and": ops.and_,
    "or": ops.or_,
}


def binary(
    c: Context, frame: Frame, op: str, left: Value, right: Value, span: Span, spans: tuple[Span | None, Span | None]
) -> Value:
    """left op right on numbers, sizes, texts, tensors and parts."""
    if poisoned(left, right):
        return POISON
    if op in ("==", "!=") and (left is None or right is None or isinstance(left, str | list | tuple)):
        return _same(left, right, {}) == (op == "==")
    if isinstance(left, Parts) or isinstance(right, Parts):
        return _on_parts(c, frame, lambda a, b: binary(c, frame, op, a, b, span, spans), [left, right], span)
    if isinstance(left, int | float | Dim) and isinstance(right, int | float | Dim) and op != "@":
        value = _static(op, left, right, span)
        if value is not NotImplemented:
            return value
    operands = []
    for value, place in ((left, spans[0]), (right, spans[1])):
        if not isinstance(value, Tensor | int | float | Dim):
            raise error(
                "E0301",
                f"`{op}` takes tensors and numbers, not {kind(value)}",
                place,
                f"this is {kind(value)}",
                help=application_help(value),
            )
        operands.append(value)
    if op == "@":
        return _matmul(c, frame, operands, span, spans)
    return elementwise(c, frame, BINARY[op], operands, span, spans)


def _same(left: Value, right: Value, known: dict[tuple[int, int], bool]) -> bool:
    """Whether two static values are equal; lists within lists may share their parts many times over."""
    if isinstance(left, list | tuple) and isinstance(right, list | tuple):
        key = (id(left), id(right))
        if key not in known:
            known[key] = len(left) == len(right) and all(_same(a, b, known) for a, b in zip(left, right, strict=True))
        return known[key]
    return (
        left is right
        or (type(left) is type(right) and isinstance(left, str) and left == right)
        or (isinstance(left, int | float | Dim) and isinstance(right, int | float | Dim) and left == right)
    )


def application_help(value: Value) -> str | None:
    if isinstance(value, Instance):
        return "apply the layer to a value: `layer(x)` or `x |> layer`"
    if isinstance(value, Declared):
        return f"call it: `{value.declaration.name}(...)`"
    return None


def elementwise(
    c: Context,
    frame: Frame,
    operation: Any,
    operands: list[Value],
    span: Span,
    spans: tuple[Span | None, ...],
    **attrs: Any,
) -> Value:
    """An operation on each element, with broadcasting, `v[c]` alignment and named dimensions."""
    if any(isinstance(value, Parts) for value in operands):
        return _on_parts(
            c, frame, lambda *parts: elementwise(c, frame, operation, list(parts), span, spans, **attrs), operands, span
        )
    operands, along = _aligned(operands, spans)
    labels = merge_labels(operands, span, spans)
    with c.at(frame, span):
        nodes = [_lifted(c, value, operands) for value in operands]
        node = c.make(operation, nodes, spans, span, **attrs)
    return Tensor(node, labels if len(labels) == node.rank else (), along)


def _lifted(c: Context, value: Value, beside: list[Value]) -> Any:
    """Numbers stay numbers beside a tensor, so that they take its dtype; sizes become nodes."""
    if isinstance(value, Tensor):
        return value.node
    if isinstance(value, Dim) or not any(isinstance(other, Tensor | Dim) for other in beside):
        return to_node(c, value)
    return plain(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _on_parts(c: Context, frame: Frame, operation: Any, operands: list[Value], span: Span) -> Value:
    counts = {len(value.items) for value in operands if isinstance(value, Parts)}
    if len(counts) > 1 or any(isinstance(value, Tensor) and value.node.rank for value in operands):
        raise error("E0316", "a gradient of several parts combines only with numbers and its own parts", span, "here")
    return Parts(
        tuple(
            operation(*[value.items[i] if isinstance(value, Parts) else value for value in operands])
            for i in range(counts.pop())
        )
    )


def _aligned(operands: list[Value], spans: tuple[Span | None, ...]) -> tuple[list[Value], Label | None]:
    """Reshapes every `v[c]` to lie along dimension c of the widest other operand; or keeps `along` if there is none."""
    tensors = [value for value in operands if isinstance(value, Tensor)]
    if not any(tensor.along for tensor in tensors):
        return operands, None
    wide = [tensor for tensor in tensors if tensor.along is None and tensor.node.rank > 0]
    alongs = {tensor.along for tensor in tensors if tensor.along}
    if not wide:
        if len(alongs) > 1:
            one, other = [tensor.along for tensor in tensors if tensor.along][:2]
            raise error(
                "E0315",
                "two vectors along different dimensions combine with nothing else",
                spans[0],
                "here",
                notes=["they lie along " + show_labels((one, other))],
                help="combine each with a value that has its dimension: `x * a[c] + b[d]`",
            )
        return operands, alongs.pop()
    result: list[Value] = []
    for value, place in zip(operands, spans, strict=False):
        if isinstance(value, Tensor) and value.along:
            name = value.along[1]
            host = max(wide, key=lambda tensor: (value.along in tensor.names, tensor.node.rank))
            if value.along not in host.names:
                raise error(
                    "E0315",
                    f"no dimension of the other value is `{name}`",
                    place,
                    f"lies along `{name}`",
                    notes=[f"the other value is `{host.node.type}` with the dimensions " + show_labels(host.names)],
                )
            axis = host.names.index(value.along)
            shape = (value.node.shape[0],) + (1,) * (host.node.rank - axis - 1)
            value = Tensor(ops.reshape(value.node, shape=shape), (value.along,) + (None,) * (len(shape) - 1))
        result.append(value)
    return result, None


def show_labels(labels: tuple[Label | None, ...]) -> str:
    names = (label[1] if label else "?" for label in labels)
    return "[" + ", ".join(DOTS if name.startswith(DOTS) else name for name in names) + "]"


def merge_labels(operands: list[Value], span: Span, spans: tuple[Span | None, ...]) -> tuple[Label | None, ...]:
    """Named dimensions of a broadcast result. Two different names of one scope never meet: E0313."""
    tensors = [(value, place) for value, place in zip(operands, spans, strict=False) if isinstance(value, Tensor)]
    rank = max((value.node.rank for value, _ in tensors), default=0)
    merged: list[Label | None] = [None] * rank
    owner: list[Span | None] = [None] * rank
    for value, place in tensors:
        for i, label in enumerate(value.names, rank - value.node.rank):
            if label is None or value.node.shape[i - rank] == 1:
                continue
            seen = merged[i]
            if seen is not None and clash(seen, label):
                notes, help = meant.two_names(label[1], value.node.shape[i - rank])
                raise error(
                    "E0313",
                    f"dimension `{seen[1]}` meets dimension `{label[1]}`",
                    owner[i],
                    f"dimension {i - rank} is `{seen[1]}`",
                    more=[(place, f"dimension {i - rank} is `{label[1]}`")],
                    notes=notes,
                    help=help,
                )
            if seen is None:
                merged[i], owner[i] = label, place
    for value, _ in tensors if None in merged else ():  # where all have one element, the first name stays
        for i, label in enumerate(value.names, rank - value.node.rank):
            if (
                merged[i] is None
                and label is not None
                and all(other.node.rank < rank - i or other.node.shape[i - rank] == 1 for other, _ in tensors)
            ):
                merged[i] = label
    return tuple(merged)


def _matmul(
    c: Context, frame: Frame, operands: list[Value], span: Span, spans: tuple[Span | None, Span | None]
) -> Value:
    """NumPy's `@`: vectors are rows on the left and columns on the right."""
    a, b = operands
    for value, place in zip(operands, spans, strict=True):
        if not isinstance(value, Tensor) or value.node.rank == 0:
            raise error(
                "E0318",
                "`@` multiplies matrices and vectors",
                place,
                f"this is {kind(value)}",
                help="use `*` for numbers",
            )
    x, y = a.names[-1], b.names[-2 if b.node.rank > 1 else -1]
    if x and y and x != y and x[0] == y[0] and a.node.shape[-1] == b.node.shape[-2 if b.node.rank > 1 else -1]:
        raise error(
            "E0313",
            f"dimension `{x[1]}` meets dimension `{y[1]}`",
            spans[0],
            f"its last dimension is `{x[1]}`",
            more=[(spans[1], f"its first is `{y[1]}`")],
            notes=["both have the same size here, but two different names never meet"],
        )
    with c.at(frame, span):
        left = ops.expand_dims(a.node, 0) if a.node.rank == 1 else a.node
        right = ops.expand_dims(b.node, 1) if b.node.rank == 1 else b.node
        node = c.make(ops.matmul, [left, right], spans, span)
        labels = [None] * (node.rank - 2) + [
            a.names[-2] if a.node.rank > 1 else None,
            b.names[-1] if b.node.rank > 1 else None,
        ]
        for names in (a.names[:-2], b.names[:-2]):
            for i, label in enumerate(reversed(names), 3):
                labels[-i] = labels[-i] or label
        if a.node.rank == 1:
            node, labels = ops.squeeze(node, -2), labels[:-2] + labels[-1:]
        if b.node.rank == 1:
            node, labels = ops.squeeze(node, -1), labels[:-1]
    return Tensor(node, tuple(labels))


def _static(op: str, left: Any, right: Any, span: Span) -> Value:
    """Arithmetic on numbers and sizes; NotImplemented where only the running file knows the result."""
    free = isinstance(left, Dim) or isinstance(right, Dim)
    if op in ("and", "or"):
        if isinstance(left, bool) and isinstance(right, bool):
            return (left and right) if op == "and" else (left or right)
        raise error("E0301", f"`{op}` takes booleans", span, f"{kind(left)} {op} {kind(right)}")
    left, right = plain(left), plain(right)
    if free:
        if isinstance(left, float) or isinstance(right, float) or op in ("/", "^"):
            return NotImplemented
        if op in ("==", "!="):
            return (op == "==") if left == right else NotImplemented
        if op in ("<", "<=", ">", ">="):
            return NotImplemented
    if op in ("/", "//", "%") and not free and right == 0:
        raise error("E0304", "division by zero", span, "the right side is 0")
    if isinstance(left, bool | int) and isinstance(right, bool | int) and op == "^":
        return _power(int(left), int(right), span)
    if free:
        cost = weight(left) + weight(right) if op in ("+", "-") else weight(left) * weight(right)
        if cost > MAX_WEIGHT:
            raise error(
                "E0344",
                "the arithmetic on free dimensions is too long",
                span,
                "the size made here",
                notes=[f"a size may have {MAX_WEIGHT} names in it"],
            )
    try:
        value = _ARITHMETIC[op](left, right)
    except OverflowError:
        value = math.inf
    except ZeroDivisionError:
        raise error("E0304", "division by zero", span, "a negative power of 0") from None
    if isinstance(value, complex):
        return math.nan
    return bounded(value, span)


def _power(base: int, exponent: int, span: Span) -> Value:
    if exponent < 0:
        if base == 0:
            raise error("E0304", "division by zero", span, "a negative power of 0")
        return float(base) ** exponent
    if abs(base) > 1 and exponent * abs(base).bit_length() > 4096:
        raise error(
            "E0303",
            "a number is too large for an int of 64 bits",
            span,
            "here",
            help="a float may be larger: write `10.0^40`",
        )
    return bounded(base**exponent, span)


def bounded(value: Any, span: Span) -> Any:
    if isinstance(value, int) and not isinstance(value, bool) and not -(2**63) <= value < 2**63:
        raise error(
            "E0303",
            "a number is too large for an int of 64 bits",
            span,
            "here",
            help="a float may be larger: write `10.0^40`",
        )
    return value


_ARITHMETIC: dict[str, Any] = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
    "/": lambda a, b: a / b,
    "//": lambda a, b: a // b,
    "%": lambda a, b: a % b,
    "^": lambda a, b: a**b,
    "==": lambda a, b: a == b,
    "!=": lambda a, b: a != b,
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
}
