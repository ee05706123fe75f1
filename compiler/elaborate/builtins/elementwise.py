"""Functions that the compiler knows by name: those that act on each element, reduce, and ask a distribution."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ... import ops
from ...diagnostics import error
from ...ir.graph import Node
from ...ir.types import Dim, Shape, TensorType, TypeProblem
from ...source import Span
from .. import arithmetic, calls, distributions
from ..context import Context, to_node
from ..scope import Frame
from ..values import BUILTINS, Argument, Builtin, Distributed, Indexed, Label, Parts, Reversed, Tensor, Value, kind
from .arguments import axes, builtin, named_shape_of, one_axis, tensor, truth
from .shaping import stacked

# --- elementwise


WHOLE = ("floor", "ceil", "round")  # of a number known now an int: `dense(round(1.5 * hidden))`


def _on_elements(operation: ops.Op) -> None:
    """Gives specs an operation by its name. One that takes integers keeps them, others make floats of them."""
    keeps_ints = _takes_ints(operation)

    def run(c: Context, frame: Frame, span: Span, **given: Argument) -> Value:
        arguments = [
            x if keeps_ints or not _is_whole(x.value) else Argument(x.name, tensor(c, x, "float"), x.span)
            for x in (given[name] for name in operation.arguments)
        ]
        values = [argument.value for argument in arguments]
        if all(isinstance(value, int | float) for value in values):
            return _number(operation, values, keeps_ints)
        for argument in arguments:
            if not isinstance(argument.value, Tensor | Parts | int | float | Dim):
                tensor(c, argument)  # says what is wrong
        spans = tuple(argument.span for argument in arguments)
        return arithmetic.elementwise(c, frame, operation, values, span, spans)

    BUILTINS[operation.name] = Builtin(operation.name, tuple((name, True) for name in operation.arguments), run)


def _takes_ints(operation: ops.Op) -> bool:
    try:
        operation.infer(*[TensorType("int", ())] * len(operation.arguments))
    except TypeProblem:
        return False
    return True


def _is_whole(value: Value) -> bool:
    return isinstance(value, Dim) or (isinstance(value, Tensor) and value.node.dtype in ("int", "bool"))


def _number(operation: ops.Op, values: list[Value], keeps_ints: bool) -> int | float:
    """The value of numbers that are known now."""
    if keeps_ints and all(isinstance(value, int) for value in values):  # Python's own, of any size
        return int(operation.reference(*[np.asarray(int(value), object) for value in values]))
    with np.errstate(all="ignore"):
        result = float(operation.reference(*[np.float64(value) for value in values]))
    return int(result) if operation.name in WHOLE and abs(result) < 2**53 else result


for _operation in ops.OPS.values():
    if _operation.arguments:
        _on_elements(_operation)


@builtin
def where(c: Context, frame: Frame, span: Span, condition: Argument, a: Argument, b: Argument) -> Value:
    if isinstance(condition.value, bool):
        return (a if condition.value else b).value
    for argument in (a, b):
        if not isinstance(argument.value, int | float | Dim | Parts):
            tensor(c, argument)
    if tensor(c, condition).node.dtype != "bool":
        raise error(
            "E0305",
            "the first argument of `where` is a boolean for each element",
            condition.span,
            f"this is {kind(condition.value)}",
            help="compare: `where(x > 0, a, b)`; a mask of zeros and ones by `where(mask != 0, a, b)`",
        )
    return arithmetic.elementwise(
        c, frame, ops.where, [condition.value, a.value, b.value], span, (condition.span, a.span, b.span)
    )


@builtin
def stop_gradient(c: Context, frame: Frame, span: Span, x: Argument) -> Value:
    if isinstance(x.value, int | float):
        return x.value
    value = tensor(c, x)
    return Tensor(ops.stop_gradient(value.node), value.labels, value.along)


@builtin
def all_rows(c: Context, frame: Frame, span: Span, x: Argument) -> Value:
    value = tensor(c, x)
    return Tensor(ops.all_rows(value.node), value.labels, value.along)


@builtin
def is_finite(c: Context, frame: Frame, span: Span, x: Argument) -> Value:
    value = tensor(c, x, "float")
    return Tensor(ops.lt(ops.abs_(value.node), float("inf")), value.labels)


@builtin
def reverse(c: Context, frame: Frame, span: Span, turns: Argument) -> Value:
    if isinstance(turns.value, Tensor | list):
        raise error(
            "E0371",
            f"`reverse` is the order of a scan's iterations, not of {kind(turns.value)}",
            turns.span,
            f"this is {kind(turns.value)}",
            help="`scan t over reverse(time)`; `x[:, ::-1]` reverses a tensor",
        )
    return Reversed(turns.value)


@builtin
def is_nan(c: Context, frame: Frame, span: Span, x: Argument) -> Value:
    value = tensor(c, x, "float")
    return Tensor(ops.is_nan(value.node), value.labels)


@builtin
def to_int(c: Context, frame: Frame, span: Span, x: Argument) -> Value:
    """Towards zero; 0 of NaN and of what is beyond the integers, of which a kernel's Cast makes anything."""
    if isinstance(x.value, int | float):
        return int(x.value) if abs(x.value) < 2.0**63 else 0
    value = tensor(c, x)
    node = value.node
    if node.dtype == "float":
        node = ops.where(ops.lt(ops.abs_(node), 2.0**63), node, 0.0)
    return Tensor(ops.cast(node, dtype="int"), value.labels, value.along)


# --- reductions


def _reduction(name: str, operation: Callable[..., Node], dtype: str | None) -> None:
    def run(
        c: Context,
        frame: Frame,
        span: Span,
        x: Argument,
        axis: Argument | None = None,
        keepdims: Argument | None = None,
    ) -> Value:
        if isinstance(x.value, list | Indexed):
            x = Argument(x.name, stacked(c, x, 0), x.span)
        if isinstance(x.value, Parts):
            if axis is not None and axis.value is not None:
                raise error("E0316", "a gradient of several parts has no axes", axis.span, "here")
            return _over_parts(c, frame, span, x, run)
        value = tensor(c, x)
        if name in ("max", "min") and axis is not None and axis.name is None:
            _greater_of_two(c, name, x, axis)
        if value.node.dtype == "bool" and name in ("sum", "prod", "max", "min"):
            value = tensor(c, x, "int")
        if dtype == "float" and value.node.dtype != "float":
            value = tensor(c, x, "float")
        if dtype == "bool" and value.node.dtype != "bool":
            raise error("E0302", f"`{name}` takes booleans", x.span, f"this is `{value.node.type}`")
        chosen, keep = axes(value, axis, span), truth(keepdims, "keepdims")
        node = (
            c.make(operation, [value.node], [x.span], span, axes=chosen, keepdims=keep)
            if chosen or name in ("logsumexp",)
            else value.node
        )
        return Tensor(node, _without(value.names, chosen, keep))

    def _over_parts(c: Context, frame: Frame, span: Span, x: Argument, whole: Callable[..., Value]) -> Value:
        results = [whole(c, frame, span, Argument(None, part, x.span)).node for part in x.value.items]
        combine = {"sum": ops.add, "prod": ops.mul, "max": ops.maximum, "min": ops.minimum}.get(name)
        if combine is None:
            raise error(
                "E0316",
                f"`{name}` does not act on a gradient of several parts",
                span,
                "here",
                help="sum, prod, max and min do",
            )
        total = results[0]
        for result in results[1:]:
            total = combine(total, result)
        return Tensor(total)

    run.__name__ = name
    builtin(run)


def _greater_of_two(c: Context, name: str, x: Argument, axis: Argument) -> None:
    """`max(x, 0)` is often written for `maximum(x, 0)`. W0203, E0314."""
    which = "greater" if name == "max" else "lesser"
    said = f"`{name}imum({x.span.text}, {axis.span.text})` takes the {which} of two, element by element"
    if isinstance(axis.value, float | Tensor):
        raise error("E0314", f"an axis is a number or a name, not {kind(axis.value)}", axis.span, "the axis", help=said)
    if type(axis.value) is int:
        c.problems.warn(
            error(
                "W0203",
                f"`{name}` works along axis {axis.value}",
                axis.span,
                "this is the axis",
                help=f"{said}; if the axis is meant write `axis = {axis.span.text}`",
            )
        )


def _without(names: tuple[Label | None, ...], chosen: tuple[int, ...], keep: bool) -> tuple[Label | None, ...]:
    return tuple((None if i in chosen else name) for i, name in enumerate(names) if keep or i not in chosen)


_reduction("sum", ops.reduce_sum, None)
_reduction("prod", ops.reduce_prod, None)
_reduction("max", ops.reduce_max, None)
_reduction("min", ops.reduce_min, None)
_reduction("mean", ops.mean, "float")
_reduction("any", ops.any_, "bool")
_reduction("all", ops.all_, "bool")


@builtin
def logsumexp(
    c: Context, frame: Frame, span: Span, x: Argument, axis: Argument | None = None, keepdims: Argument | None = None
) -> Value:
    value = tensor(c, x, "float")
    chosen, keep = axes(value, axis, span), truth(keepdims, "keepdims")
    node = c.make(ops.logsumexp, [value.node], [x.span], span, axes=chosen, keepdims=keep)
    return Tensor(node, _without(value.names, chosen, keep))


def _arg(name: str, operation: Callable[..., Node]) -> None:
    def run(c: Context, frame: Frame, span: Span, x: Argument, axis: Argument | None = None) -> Value:
        value = tensor(c, x)
        at = one_axis(value, axis, -1, span)
        return Tensor(c.make(operation, [value.node], [x.span], span, axis=at), _without(value.names, (at,), False))

    run.__name__ = name
    builtin(run)


_arg("argmax", ops.argmax)
_arg("argmin", ops.argmin)


# --- draws, derivatives, distributions


@builtin
def zeros_like(c: Context, frame: Frame, span: Span, x: Argument) -> Value:
    value = tensor(c, x)
    return Tensor(ops.broadcast_to(ops.constant(c.graph, 0, value.node.dtype), shape=value.node.shape), value.labels)


@builtin
def ones_like(c: Context, frame: Frame, span: Span, x: Argument) -> Value:
    value = tensor(c, x)
    return Tensor(ops.broadcast_to(ops.constant(c.graph, 1, value.node.dtype), shape=value.node.shape), value.labels)


@builtin
def clipped(c: Context, frame: Frame, span: Span, x: Argument) -> Value:
    """x after the `clip:` lines of the train block, in an optimizer."""
    value = tensor(c, x, "float")
    if c.clipping is None:
        raise error(
            "E0524",
            "`clipped` belongs in an optimizer",
            span,
            "not here",
            help="`clamp(x, lo, hi)` keeps a value within limits; `clip: global_norm(1.0)` clips gradients",
        )
    asks: Frame | None = frame
    while asks is not None and asks.subject is None:  # an fn asks for the optimizer that calls it
        asks = asks.caller
    assert asks is not None and asks.subject is not None
    return Tensor(c.clipping.ask(asks.path, asks.subject, value.node, span), value.labels)


def _distribution(c: Context, frame: Frame, argument: Argument) -> Distributed:
    value = argument.value
    if calls.is_maker(value):
        value = calls.call(c, frame, value, [], argument.span)
    if not isinstance(value, Distributed):
        raise error(
            "E0236", f"a distribution is needed here, not {kind(value)}", argument.span, f"this is {kind(value)}"
        )
    return value


@builtin
def joint(c: Context, frame: Frame, span: Span, distribution: Argument) -> Value:
    d = _distribution(c, frame, distribution)
    return Distributed(d.declaration, d.unit, d.configuration, True, d.weights)


@builtin
def weighted(c: Context, frame: Frame, span: Span, distribution: Argument, mask: Argument) -> Value:
    d = _distribution(c, frame, distribution)
    return Distributed(d.declaration, d.unit, d.configuration, d.joint, tensor(c, mask))


@builtin
def draw(
    c: Context,
    frame: Frame,
    span: Span,
    distribution: Argument,
    shape: Argument | None = None,
    like: Argument | None = None,
) -> Value:
    d = _distribution(c, frame, distribution)
    if shape is not None and like is not None:
        raise error(
            "E0216", "the shape of a draw is given twice", like.span, "again here", more=[(shape.span, "first here")]
        )
    if like is not None:
        given = tensor(c, like)
        sizes, labels = given.node.shape, given.labels
    elif shape is not None:
        sizes, labels = named_shape_of(shape)
    else:
        sizes, labels = _shape_of_a_value(c, frame, d, distribution.span)
    zeros = Tensor(ops.broadcast_to(ops.constant(c.graph, 0, "float"), shape=sizes), labels)
    return distributions.draw(c, frame, d, zeros, span, typed=False)


def _shape_of_a_value(c: Context, frame: Frame, d: Distributed, span: Span) -> tuple[Shape, tuple[Label | None, ...]]:
    """The shape of one value: that of the equation `like`, else that of the parameters together. E0310."""
    if "like" in distributions.equations(d.declaration):
        like = tensor(c, Argument(None, distributions.equation(c, frame, d, "like", span), span))
        return like.node.shape, like.labels
    nodes = [node for v in d.configuration.names.values() if (node := to_node(c, v)) is not None]
    try:
        return ops.broadcast(*[node.shape for node in nodes]), ()
    except TypeProblem as problem:
        raise error(
            "E0310",
            f"the parameters of `{d.declaration.name}` do not broadcast: {problem.message}",
            span,
            "drawn from here",
            help="`draw(d, shape = [...])` sets the shape; so does an equation `like` in the distribution",
        ) from None


@builtin
def log_density(c: Context, frame: Frame, span: Span, distribution: Argument, value: Argument) -> Value:
    d = _distribution(c, frame, distribution)
    subject = Argument(None, tensor(c, value), value.span)
    return distributions.equation(c, frame, d, "log_density", span, subject)
