"""Expressions: names, calls and attributes; what operators do is in `arithmetic.py`."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeVar

from .. import ops
from ..diagnostics import did_you_mean, error
from ..ir.types import Dim
from ..source import Span
from ..syntax import foreign, tree as syntax
from . import arithmetic, builtins, calls, control, distributions, indexing, inside, meant, scan
from .context import Context, poisoned
from .scope import Frame
from .values import (
    POISON,
    Argument,
    Builtin,
    Declared,
    Distributed,
    Inner,
    Instance,
    Parts,
    Range,
    Tensor,
    Value,
    kind,
    named_size,
    plain,
)

CONSTANTS = {"pi": math.pi, "inf": math.inf, "nan": math.nan}
Step = TypeVar("Step", bound=syntax.Expr)


def evaluate(c: Context, frame: Frame, expr: syntax.Expr) -> Value:
    """The value of an expression. POISON where it uses something already reported."""
    if isinstance(expr, syntax.Binary):
        return _chain(c, frame, expr)
    if isinstance(expr, syntax.Pipe):
        return _pipes(c, frame, expr)
    return _EVALUATE[type(expr)](c, frame, expr)


def _spine(top: Step, below: Callable[[Step], syntax.Expr]) -> tuple[syntax.Expr, list[Step]]:
    """What leans to the left may be long and is walked, not recursed into: the innermost left side, and the steps
    of the kind of `top` from it to `top`."""
    steps, left = [top], below(top)
    while isinstance(left, type(top)):
        steps.append(left)
        left = below(left)
    return left, steps[::-1]


def _chain(c: Context, frame: Frame, expr: syntax.Binary) -> Value:
    """a + b + c ..."""
    left, steps = _spine(expr, lambda step: step.left)
    value = evaluate(c, frame, left)
    for step in steps:
        if step.op in ("and", "or") and isinstance(value, bool) and value == (step.op == "or"):
            continue  # decided: the right side need not even make sense (`size(x, 0) > 0 and ...`)
        right = evaluate(c, frame, step.right)
        value = arithmetic.binary(c, frame, step.op, value, right, step.span, (step.left.span, step.right.span))
    return value


def _pipes(c: Context, frame: Frame, expr: syntax.Pipe) -> Value:
    """a |> f |> g ..."""
    left, steps = _spine(expr, lambda step: step.left)
    value = evaluate(c, frame, left)
    for step in steps:
        value = pipe(c, frame, Argument(None, value, step.left.span), step.right, step.span)
        if c.seen is not None:
            c.note(frame, step.span, value)
    return value


def pipe(c: Context, frame: Frame, first: Argument, right: syntax.Expr, span: Span) -> Value:
    """`first |> right`: first goes first into the last argument list of what stands right."""
    function, extra = right, None
    if isinstance(right, syntax.Call):
        callee = evaluate(c, frame, right.function)
        extra = calls.arguments(c, frame, right.arguments)
        if poisoned(callee, first.value, *(argument.value for argument in extra)):
            return POISON
        if calls.is_maker(callee):  # `dense(64)`: the instance first, then the value through it
            callee, extra = calls.call(c, frame, callee, extra, right.span), []
    else:
        callee, extra = evaluate(c, frame, function), []
        if poisoned(callee, first.value):
            return POISON
        if calls.is_maker(callee):  # `layer_norm` without a list is `layer_norm()`
            callee = calls.call(c, frame, callee, [], right.span)
    return calls.call(c, frame, callee, [first, *extra], span, right.span)


# --- operators


def _list(c: Context, frame: Frame, items: tuple[syntax.Expr, ...]) -> Value:
    """The items of a list or tuple; poison as a whole if one is, so that nobody need look inside."""
    values = [evaluate(c, frame, item) for item in items]
    return POISON if poisoned(*values) else values


def _tuple(c: Context, frame: Frame, expr: syntax.Tuple) -> Value:
    values = _list(c, frame, expr.items)
    return values if values is POISON else tuple(values)


def _unary(c: Context, frame: Frame, expr: syntax.Unary) -> Value:
    value = evaluate(c, frame, expr.operand)
    if value is POISON:
        return POISON
    if expr.op == "not":
        if isinstance(value, bool):
            return not value
        if isinstance(value, Tensor) and value.node.dtype == "bool":
            return arithmetic.elementwise(c, frame, ops.not_, [value], expr.span, (expr.operand.span,))
        raise error("E0301", f"`not` takes booleans, not {kind(value)}", expr.operand.span, f"this is {kind(value)}")
    if isinstance(value, int | float | Dim):
        value = value if isinstance(value, float) else plain(value)
        return value if expr.op == "+" else arithmetic.bounded(-value, expr.span)
    if isinstance(value, Tensor | Parts):
        if isinstance(value, Tensor) and value.node.dtype == "bool":
            value = Tensor(ops.cast(value.node, dtype="int"), value.labels, value.along)  # 0 and 1, as beside another
        if expr.op == "+":
            return value
        return arithmetic.elementwise(c, frame, ops.neg, [value], expr.span, (expr.operand.span,))
    raise error(
        "E0301",
        f"`{expr.op}` takes tensors and numbers, not {kind(value)}",
        expr.operand.span,
        f"this is {kind(value)}",
        help=arithmetic.application_help(value),
    )


# --- names


def named(c: Context, frame: Frame, expr: syntax.Name, otherwise: str | None = None) -> Value:
    """What a name means. `otherwise`: the way out where nothing is called so, nor nearly."""
    value = lookup(c, frame, expr.name, expr.span)
    if c.seen is not None:
        c.note(frame, expr.span, value)
    if value is None:
        if later := builtins.LATER.get(expr.name):
            raise error("E0244", f"`{expr.name}` is not in this version", expr.span, later[0], help=later[1])
        known = list(frame.names) + list(frame.dims) + c.library.known(frame.unit) + list(builtins.BUILTINS)
        known += list(c.functions) if frame.kind in ("train", "configuration") else []
        below = meant.defined_below(frame, expr)
        raise scan.unfinished(c, expr) or error(
            "E0201",
            f"`{expr.name}` is not defined",
            expr.span,
            "not found here",
            more=[(below, "it is defined below")] if below else [],
            help="a name is known below the line that defines it: change the order"
            if below
            else foreign.lookup(expr.name, [foreign.NAMES, foreign.SETTINGS], known, [*frame.names, *frame.dims])
            or otherwise
            or f"give it a value on a line above, `{expr.name} = ...`, or make it an argument of the declaration",
        )
    return None if value is NOTHING else value


NOTHING = object()  # the value `none`, where None means not found


def lookup(c: Context, frame: Frame, name: str, span: Span | None) -> Value:
    """What a name means: local, dimension, pass, declaration, builtin, a term of the model. None if nothing."""
    around: Frame | None = frame
    while around is not None:
        if name in around.names:
            value = around.names[name]
            if isinstance(value, int) and not isinstance(value, bool) and around.dims.get(name) == value:
                return named_size(int(value), around.label(name))  # an argument that a type uses as a dimension's name
            return NOTHING if value is None else value
        if name in around.states:
            slot = around.states[name]
            return Tensor(slot.value, slot.labels)
        if name in around.dims:
            return named_size(around.dims[name], around.label(name))
        around = around.home
    own = frame.unit.find(name)
    if own:
        return Declared(*own)
    if name in CONSTANTS:
        return CONSTANTS[name]
    if name in ("training", "predicting"):
        if not (frame.fixed and name == "training"):
            c.read[name] = None
        return getattr(frame, name)
    if name == "step":
        return Tensor(c.step())
    if name in ("steps", "observations"):
        return Tensor(c.counter(name))
    found = c.library.find(name, frame.unit)
    if found:
        return Declared(*found)
    if name in builtins.BUILTINS:
        return builtins.BUILTINS[name]
    if name in frame.terms:
        return frame.terms[name]
    return c.functions.get(name) if frame.kind in ("train", "configuration") else None


def _part_of_tensor(c: Context, frame: Frame, expr: syntax.Attribute) -> str:
    """What is meant by a part of a tensor: a function of this language, or of another."""
    if isinstance(lookup(c, frame, expr.name, None), Declared | Builtin):
        return f"a function comes first: `{expr.name}({expr.value.span.text})`"
    return foreign.lookup(expr.name, [foreign.NAMES]) or PARTS


PARTS = "write `size(x, 0)` for a size, `transpose(x)` for a transpose"


def _attribute(c: Context, frame: Frame, expr: syntax.Attribute) -> Value:
    if isinstance(expr.value, syntax.Name):
        unit = c.library.qualified(expr.value.name, frame.unit)
        if unit is not None and expr.value.name not in frame.names:
            found = unit.find(expr.name)
            if found is None:
                raise error(
                    "E0201",
                    f"`{expr.value.name}` has no `{expr.name}`",
                    expr.name_span,
                    "not found",
                    help=did_you_mean(expr.name, unit.visible()),
                )
            return Declared(*found)
    value = evaluate(c, frame, expr.value)
    if value is POISON:
        return POISON
    if isinstance(value, Instance):
        return calls.part(c, frame, value, expr.name, expr.name_span)
    if isinstance(value, Inner):
        return inside.part(c, value, expr.name, expr.name_span)
    if isinstance(value, Distributed):
        return distributions.equation(c, frame, value, expr.name, expr.name_span)
    raise error(
        "E0211",
        f"{kind(value)} has no parts",
        expr.name_span,
        f"`.{expr.name}` reads a part of a layer or distribution",
        help=_part_of_tensor(c, frame, expr) if isinstance(value, Tensor) else None,
    )


# --- the rest


def _call(c: Context, frame: Frame, expr: syntax.Call) -> Value:
    """f(a)(b)(c) ..."""
    function, steps = _spine(expr, lambda step: step.function)
    value = evaluate(c, frame, function)
    for call in steps:
        arguments = calls.arguments(c, frame, call.arguments)
        if poisoned(value, *(argument.value for argument in arguments)):
            return POISON
        value = calls.call(c, frame, value, arguments, call.span, call.function.span)
        if c.seen is not None:
            c.note(frame, call.span, value)
    return value


def _range(c: Context, frame: Frame, expr: syntax.Range) -> Value:
    start, stop = evaluate(c, frame, expr.start), evaluate(c, frame, expr.stop)
    return POISON if poisoned(start, stop) else Range(start, stop)


def static_int(c: Context, frame: Frame, expr: syntax.Expr, what: str) -> int:
    """An int known now. E0308 otherwise."""
    value = evaluate(c, frame, expr)
    if isinstance(value, bool) or not isinstance(value, int):
        raise error(
            "E0308",
            f"{what} must be an integer that is known before the file runs",
            expr.span,
            f"this is {kind(value)}",
        )
    return int(value)


def _ellipsis(c: Context, frame: Frame, expr: syntax.Ellipsis) -> Value:
    if expr.name is not None:
        raise error(
            "E0368",
            f"`...{expr.name}` is allowed only in the type of something that is made",
            expr.span,
            "here",
            help="`param W: float[n, ...kernel]`",
        )
    return ...


_EVALUATE: dict[type, Any] = {
    syntax.Number: lambda c, frame, expr: expr.value,
    syntax.Text: lambda c, frame, expr: expr.value,
    syntax.Constant: lambda c, frame, expr: expr.value,
    syntax.Ellipsis: _ellipsis,
    syntax.Name: named,
    syntax.Tuple: _tuple,
    syntax.List: lambda c, frame, expr: _list(c, frame, expr.items),
    syntax.Mapping: lambda c, frame, expr: {e.name: evaluate(c, frame, e.value) for e in expr.entries},
    syntax.Unary: _unary,
    syntax.Range: _range,
    syntax.Choice: lambda c, frame, expr: control.choice(c, frame, expr),
    syntax.Call: _call,
    syntax.Index: lambda c, frame, expr: indexing.index(c, frame, expr),
    syntax.Attribute: _attribute,
}
