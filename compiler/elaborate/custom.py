"""Functions whose derivative is given in the language: `derivative f(g, y, x) = ...` beside `fn f(x)`.

The rule is elaborated at each application, with formal values for g (what flows back) and y (the result). It stands
beside the value in one node, `custom`: reverse mode puts the adjoint in the place of g, forward mode transposes the
rule, a second derivative derives it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from .. import ops
from ..diagnostics import error
from ..ir.graph import Node
from ..source import Span
from ..syntax import tree as syntax
from . import calls
from .context import Context, to_node
from .values import POISON, Argument, Declared, Tensor, Value, kind

if TYPE_CHECKING:
    from .scope import Frame


def attach(
    c: Context,
    frame: Frame,
    callee: Declared,
    rule: syntax.Derivative,
    bound: dict[str, Argument],
    value: Value,
    span: Span,
) -> Value:
    """The value of an fn with its rule for the derivative. E0414 if that does not fit."""
    fn = callee.declaration
    if value is POISON or not any(isinstance(argument.value, Tensor) for argument in bound.values()):
        return value  # of numbers known now there is no derivative
    if not isinstance(value, Tensor) or value.node.dtype != "float":
        raise error(
            "E0414",
            f"`{fn.name}` has a derivative: it returns one float value, not {kind(value)}",
            span,
            "applied here",
            more=[(rule.name_span, "its derivative")],
        )
    g, y = (ops.make_formal(c.graph, value.node.type) for _ in range(2))
    names = [parameter.name for parameter in rule.configuration[:2]]
    given = {name: Argument(name, Tensor(node, value.labels), span) for name, node in zip(names, (g, y), strict=True)}
    inner = frame.inner("fn", callee.unit, span)
    results = calls.run_body(
        c,
        inner,
        (*rule.configuration[:2], *fn.configuration),
        {**given, **bound},
        f"the derivative of `{fn.name}`",
        None,
        rule.body,
        span,
    )
    if results is POISON:
        return POISON
    sent = list(results) if isinstance(results, tuple) else [results]
    if len(sent) > len(fn.configuration):
        raise error(
            "E0414",
            f"the derivative of `{fn.name}` returns {len(sent)} values for {len(fn.configuration)} arguments",
            rule.name_span,
            "one for each argument, in order",
        )
    operands: list[Node] = []
    rules: list[Node] = []
    for parameter, back in zip(fn.configuration, sent, strict=False):
        argument = bound.get(parameter.name)
        if argument is None or not isinstance(argument.value, Tensor) or argument.value.node.dtype != "float":
            continue  # a number, or integers: nothing to differentiate with respect to
        if back is not None:
            operands.append(argument.value.node)
            rules.append(_fitting(c, back, argument.value.node, fn.name, parameter.name, rule))
    with c.at(frame, span):
        node = c.graph.add(ops.custom, [value.node, g, y, *operands, *rules], {"count": len(rules), "name": fn.name})
    return Tensor(node, value.labels, value.along)


def _fitting(c: Context, back: Value, x: Node, name: str, parameter: str, rule: syntax.Derivative) -> Node:
    """What flows back to an argument: floats of its shape, or a single number. E0414."""
    node = to_node(c, back)
    if node is not None and node.dtype in ("int", "bool"):
        node = ops.cast(node, dtype="float")
    if node is not None and (node.shape == x.shape or not node.rank):
        return ops.broadcast_to(node, shape=x.shape)
    what = kind(back) if node is None else f"`{node.type}`"
    raise error(
        "E0414",
        f"what flows back to `{parameter}` has the shape of `{parameter}`",
        _returned(rule),
        f"this is {what}",
        notes=[f"in this use of `{name}`, `{parameter}` is `{x.type}`"],
        help="`sum(g, axis = ...)` undoes a broadcast",
    )


def _returned(rule: syntax.Derivative) -> Span:
    last: Sequence[syntax.Statement] = [s for s in rule.body if isinstance(s, syntax.Return)]
    return last[-1].span if last else rule.name_span
