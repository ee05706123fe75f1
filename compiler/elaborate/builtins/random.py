"""Builtins that draw: each place in the text has draws of its own, keyed by seed, step and the iteration of a scan."""

from __future__ import annotations

from collections.abc import Callable

from ... import ops
from ...diagnostics import error
from ...ir.graph import Node
from ...ir.types import Dim, Size, TensorType
from ...source import Span
from ...syntax import tree as syntax
from .. import calls, distributions, expressions
from ..context import Context
from ..scope import Frame
from ..values import Argument, Distributed, Label, Tensor, Value, kind, label_of, plain
from .arguments import builtin, one_axis, tensor


def _noise(name: str, draws: Callable[..., Node]) -> None:
    def run(c: Context, frame: Frame, span: Span, x: Argument) -> Value:
        value = tensor(c, x)
        with c.at(frame, span):
            key, start = c.draw(value.node.shape)
            return Tensor(draws(key, value.node.shape, start), value.labels)

    run.__name__ = name
    builtin(run)


_noise("uniform_like", ops.random_uniform)
_noise("normal_like", ops.random_normal)


@builtin
def permutation(c: Context, frame: Frame, span: Span, n: Argument) -> Value:
    value = n.value
    if isinstance(value, bool) or not isinstance(value, int | Dim) or (isinstance(value, int) and value < 0):
        said = str(value) if isinstance(value, int) else kind(value)
        raise error(
            "E0308",
            "`permutation` takes a size",
            n.span,
            f"this is {said}",
            help="`shuffle(x)` puts the rows of x into a random order",
        )
    label = label_of(value)
    return Tensor(_order(c, frame, span, plain(value)), (label,))


@builtin
def shuffle(c: Context, frame: Frame, span: Span, x: Argument, axis: Argument | None = None) -> Value:
    value = tensor(c, x)
    along = one_axis(value, axis, 0, x.span)
    return Tensor(ops.gather(value.node, _order(c, frame, span, value.node.shape[along]), axis=along), value.labels)


def _order(c: Context, frame: Frame, span: Span, size: Size) -> Node:
    """The numbers from 0 in a random order: that of as many integers drawn."""
    with c.at(frame, span):
        key, start = c.draw((size,))
        drawn = ops.random_whole(ops.random_words(key, shape=(size,), start=start))
        return ops.argsort(drawn, axis=0)


@builtin
def bernoulli_like(c: Context, frame: Frame, span: Span, x: Argument, p: Argument) -> Value:
    value, share = tensor(c, x), p.value
    shape = value.node.shape
    with c.at(frame, span):
        if isinstance(share, int | float) and not isinstance(share, bool):
            if not 0 <= share <= 1:
                raise error("E0393", f"a probability is a number from 0 to 1, not {share}", p.span, f"this is {share}")
            if share in (0, 1):
                return Tensor(ops.broadcast_to(ops.constant(c.graph, bool(share), "bool"), shape=shape), value.labels)
            key, start = c.draw(shape)
            return Tensor(ops.random_below(key, shape, float(share), start), value.labels)
        node = tensor(c, p).node
        key, start = c.draw(shape)
        below = c.make(ops.lt, [ops.random_uniform(key, shape, start), node], [x.span, p.span], span)
        if below.shape != shape:
            raise error(
                "E0310",
                "the probability has more elements than what is drawn",
                p.span,
                f"this is `{node.type}`",
                more=[(x.span, f"this is `{value.node.type}`")],
            )
        return Tensor(below, value.labels)


def drawn_input(
    c: Context,
    frame: Frame,
    statement: syntax.Input | syntax.Target,
    drawn: syntax.Expr,
    type: TensorType,
    labels: tuple[Label | None, ...],
) -> Tensor:
    """A draw for an input: in training and evaluation its value, beside the predicting graph what a runtime feeds."""
    rule = expressions.evaluate(c, frame, drawn)
    if calls.is_maker(rule):
        rule = calls.call(c, frame, rule, [], drawn.span)
    if not isinstance(rule, Distributed):
        raise error("E0236", f"`~` takes a distribution, not {kind(rule)}", drawn.span, f"this is {kind(rule)}")
    like = Tensor(ops.broadcast_to(ops.constant(c.graph, 0, type.dtype), shape=type.shape), labels)
    return distributions.draw(c, frame, rule, like, statement.span)
