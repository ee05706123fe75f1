"""Distributions: their equations, asked for a density, a mean or a draw."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from .. import ops
from ..diagnostics import CompileError, did_you_mean, error
from ..source import Span
from ..syntax import tree as syntax
from . import assignments, calls, statements
from .context import Context, to_node
from .scope import Frame
from .values import Argument, Distributed, Tensor, Value, kind

EQUATIONS = ("log_density", "draw", "like")
WEIGHTS = "weights"  # what a metric counts its observations by: `none`, or as `weighted` says


def equations(declaration: syntax.Distribution) -> list[str]:
    """The names that the body of a distribution defines."""
    return [name for statement in declaration.body if (name := _defined(statement)) is not None]


def _defined(statement: syntax.Statement) -> str | None:
    """The one name that a statement gives a value to, as an equation does."""
    if not isinstance(statement, syntax.Assign) or len(statement.targets) != 1:
        return None
    [target] = statement.targets
    return target.name if isinstance(target, syntax.Name) else None


def equation(
    c: Context, frame: Frame, value: Distributed, name: str, span: Span, subject: Argument | None = None
) -> Value:
    """An equation of a distribution (`log_density` and `draw` need the subject), or one of its parameters."""
    if name in value.configuration.names and subject is None:
        return value.configuration.names[name]
    declaration = value.declaration
    what = f"`{declaration.name}`"
    names = equations(declaration)
    if name not in names:
        known = [*names, *value.configuration.names]
        raise error(
            "E0224",
            f"the distribution {what} has no `{name}`",
            span,
            "not defined there",
            notes=["it has " + ", ".join(known)],
            help=did_you_mean(name, known),
        )
    place = [_defined(statement) for statement in declaration.body].index(name)
    checked = name != "draw"  # what a draw is shaped like is no value of the distribution
    inner = _run(c, frame, value, declaration.body[: place + 1], span, subject, checked)
    return calls.outward(inner, inner.names[name])


def terms(declaration: syntax.Distribution, kind_: str) -> list[syntax.Term]:
    """What a distribution declares of itself for a model that does not: `output probability = ...`, `metric ...`."""
    return [part for part in declaration.body if isinstance(part, syntax.Term) and part.kind == kind_]


def shown(c: Context, frame: Frame, value: Distributed, term: syntax.Term, span: Span, subject: Tensor) -> Value:
    """The value of such an output, or of such a metric, which is given the value that is observed and its weights."""
    body = value.declaration.body
    given = Argument(None, subject, span) if term.kind == "metric" else None
    inner = _run(c, frame, value, body[: body.index(term) + 1], span, given, False)
    return calls.outward(inner, inner.shown)


def _run(
    c: Context,
    frame: Frame,
    value: Distributed,
    body: Sequence[syntax.Statement],
    span: Span,
    subject: Argument | None,
    checked: bool,
) -> Frame:
    """The frame of a distribution after the last statement of `body`, and those that it needs."""
    declaration = value.declaration
    what = f"`{declaration.name}`"
    inner = frame.inner("distribution", value.unit, span)
    inner.adopt(value.configuration)
    try:
        with c.deeper(what, span):
            if subject is not None and declaration.flow:
                flow = declaration.flow[0] if checked else replace(declaration.flow[0], within=None)
                with c.at(inner, span):
                    calls.settle(c, inner, [flow], {flow.name: subject}, what)
            if isinstance(body[-1], syntax.Term):
                inner.names.setdefault(WEIGHTS, value.weights)
            for statement in _parts(body):
                statements.execute(c, inner, statement)
    except CompileError as problem:
        raise calls.from_library(problem, inner, span, what) from None
    return inner


def _parts(body: Sequence[syntax.Statement]) -> list[syntax.Statement]:
    """The statements that make the last one, itself the last. Of other names those that it reads: what is made of the
    value, which `mean` is not given, has no say in it."""
    found, read = [body[-1]], _names(body[-1])
    for statement in reversed(body[:-1]):
        if isinstance(statement, syntax.Term) and statement.kind != "loss":
            continue
        if isinstance(statement, syntax.Assign | syntax.Typed | syntax.If | syntax.For):
            if _defined(statement) in EQUATIONS or read.isdisjoint(assignments.assigned([statement])):
                continue
            read |= _names(statement)
        found.append(statement)
    return found[::-1]


def _names(statement: syntax.Statement) -> set[str]:
    return {node.name for node in syntax.walk([statement]) if isinstance(node, syntax.Name)}


def draw(c: Context, frame: Frame, value: Distributed, like: Tensor, span: Span, *, typed: bool = True) -> Tensor:
    """A draw from a distribution, of the shape of `like` and, where that is declared (`typed`), of its type."""
    with c.within("call", f"draw {value.declaration.name}", span):
        drawn = equation(c, frame, value, "draw", span, Argument(None, like, span))
    node = to_node(c, drawn, like.node.dtype if typed else None)
    if node is None:
        raise error("E0301", "a draw must be a tensor", span, f"this is {kind(drawn)}")
    if node.shape != like.node.shape:
        node = c.make(ops.broadcast_to, [node], [span], span, shape=like.node.shape)
    return Tensor(node, like.labels)
