"""Derivatives as functions of the language: placeholders, expanded once the whole graph is there.

A derivative by an intermediate value is taken by a `cut` of it, through which no rewrite looks.
"""

from __future__ import annotations

from ... import ops
from ...diagnostics import error
from ...ir.graph import Node
from ...ir.rebuild import rebuild
from ...ir.types import TypeProblem, show_shape
from ...source import Span
from .. import arithmetic
from ..context import Context
from ..scope import Frame
from ..values import Argument, Label, NamedDim, NamedInt, Tensor, Value, kind
from .arguments import builtin, tensor


def _pair(c: Context, y: Argument, x: Argument) -> tuple[Node, Node]:
    """What is derived, and the leaf it is derived by. E0401, E0403, E0404."""
    target, by = tensor(c, y), tensor(c, x)
    if target.node.dtype != "float":
        raise error("E0403", "only a float value can be differentiated", y.span, f"this is `{target.node.type}`")
    if by.node.dtype != "float":
        raise error("E0404", "a derivative is taken with respect to a float value", x.span, f"this is `{by.node.type}`")
    if not isinstance(x.value, Tensor) or by.node not in c.graph.order([target.node]):
        raise error(
            "E0401",
            f"the value does not depend on `{x.span.text}`",
            y.span,
            "this value",
            more=[(x.span, "its derivative with respect to this would always be zero")],
            help="differentiate with respect to something that it is computed from",
        )
    if by.node.op.name in ("input", "variable", "point"):
        return target.node, by.node
    leaf = ops.cut(by.node)
    return rebuild(c.graph, [target.node], {by.node: leaf})[0], leaf


def _scalar(c: Context, name: str, y: Argument) -> None:
    node = tensor(c, y).node
    if node.rank or node.dtype != "float":
        helps = {"int": "integers have no derivative", "bool": "booleans have no derivative"}
        raise error(
            "E0403",
            f"`{name}` takes the derivative of a single float number",
            y.span,
            f"this is `{node.type}`",
            help=helps.get(node.dtype, f"`{name}(sum(y), x)` is the derivative of the sum"),
        )


def _vector(c: Context, given: Argument, like: Node, of: Argument) -> Node:
    """A direction or weights: floats of the shape of `like`, or that broadcast to it. E0410."""
    node = tensor(c, given, "float").node
    try:
        return ops.broadcast_to(node, shape=like.shape)
    except TypeProblem:
        raise error(
            "E0410",
            f"shapes do not agree: {show_shape(node.shape)} along {show_shape(like.shape)}",
            given.span,
            f"this is `{node.type}`",
            more=[(of.span, f"this is `{like.type}`")],
            help=f"it has one number for each of `{of.span.text}`",
        ) from None


@builtin
def grad(c: Context, frame: Frame, span: Span, y: Argument, x: Argument) -> Value:
    _scalar(c, "grad", y)
    node, leaf = _pair(c, y, x)
    with c.at(frame, span):
        return Tensor(c.make(ops.gradient, [node, leaf], [y.span, x.span], span), tensor(c, x).labels)


@builtin
def jvp(c: Context, frame: Frame, span: Span, y: Argument, x: Argument, v: Argument) -> Value:
    node, leaf = _pair(c, y, x)
    with c.at(frame, span):
        direction = _vector(c, v, leaf, x)
        made = c.make(ops.tangent, [node, leaf, direction], [y.span, x.span, v.span], span)
        return Tensor(made, tensor(c, y).labels)


@builtin
def vjp(c: Context, frame: Frame, span: Span, y: Argument, x: Argument, u: Argument) -> Value:
    """The derivative of Σ u y, with u held."""
    node, leaf = _pair(c, y, x)
    with c.at(frame, span):
        weights = _vector(c, u, node, y)
        if leaf in c.graph.order([weights]):  # u is not derived by what it is computed from
            leaf, before = ops.cut(leaf), leaf
            [node] = rebuild(c.graph, [node], {before: leaf})
        total = ops.reduce_sum(node * weights, axes=range(node.rank))
        return Tensor(c.make(ops.gradient, [total, leaf], [y.span, x.span], span), tensor(c, x).labels)


@builtin
def hvp(c: Context, frame: Frame, span: Span, loss: Argument, x: Argument, v: Argument) -> Value:
    """Forward over reverse: the gradient, as x moves along v."""
    _scalar(c, "hvp", loss)
    node, leaf = _pair(c, loss, x)
    with c.at(frame, span):
        direction = _vector(c, v, leaf, x)
        slope = c.make(ops.gradient, [node, leaf], [loss.span, x.span], span)
        return Tensor(
            c.make(ops.tangent, [slope, leaf, direction], [loss.span, x.span, v.span], span), tensor(c, x).labels
        )


@builtin
def hessian(c: Context, frame: Frame, span: Span, loss: Argument, x: Argument) -> Value:
    _scalar(c, "hessian", loss)
    node, leaf = _pair(c, loss, x)
    with c.at(frame, span):
        slope = c.make(ops.gradient, [node, leaf], [loss.span, x.span], span)
        return Tensor(c.make(ops.jacobian, [slope, leaf], [loss.span, x.span], span), tensor(c, x).names * 2)


@builtin
def jacobian(c: Context, frame: Frame, span: Span, y: Argument, x: Argument, per: Argument | None = None) -> Value:
    node, leaf = _pair(c, y, x)
    ours, theirs = tensor(c, y).names, tensor(c, x).names
    pairs = _pairs(per, (node, ours, y), (leaf, theirs, x))
    labels = (
        *(ours[a] for a, _ in pairs),
        *(label for i, label in enumerate(ours) if i not in [a for a, _ in pairs]),
        *(label for i, label in enumerate(theirs) if i not in [b for _, b in pairs]),
    )
    with c.at(frame, span):
        return Tensor(c.make(ops.jacobian, [node, leaf], [y.span, x.span], span, per=pairs), labels)


def _pairs(
    per: Argument | None, *sides: tuple[Node, tuple[Label | None, ...], Argument]
) -> tuple[tuple[int, int], ...]:
    """The dimensions that `per` names, in y and in x. E0412 if one of them has it not, or twice."""
    if per is None or per.value is None:
        return ()
    pairs = []
    for item in per.value if isinstance(per.value, list | tuple) else [per.value]:
        if not isinstance(item, NamedInt | NamedDim):
            raise error(
                "E0412",
                f"`per` takes the name of a dimension, not {kind(item)}",
                per.span,
                "here",
                help="`jacobian(h, x, per = batch)`",
            )
        found = []
        for node, names, argument in sides:
            if names.count(item.label) != 1:
                many = "no" if item.label not in names else "more than one"
                raise error(
                    "E0412",
                    f"`{argument.span.text}` has {many} dimension named `{item.label[1]}`",
                    per.span,
                    "it pairs the rows of both",
                    more=[(argument.span, f"this is `{node.type}`")],
                    notes=[
                        "its dimensions are " + arithmetic.show_labels(names)
                        if any(names)
                        else "none of its dimensions has a name"
                    ],
                    help="a type on the left names them: `h: float[batch, k] = ...`",
                )
            found.append(names.index(item.label))
        pairs.append((found[0], found[1]))
    if len({a for a, _ in pairs}) < len(pairs):
        raise error("E0412", "`per` names a dimension twice", per.span, "here")
    return tuple(pairs)
