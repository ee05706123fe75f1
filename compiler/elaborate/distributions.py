"""Distributions: their equations, asked for a density, a mean or a draw."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from .. import ops
from ..diagnostics import CompileError, did_you_mean, error
from ..source import Span
from ..syntax import tree as syntax
from . import calls, statements
from .context import Context, to_node
from .scope import Frame
from .values import Argument, Distributed, Tensor, Value, kind

EQUATIONS = ("log_density", "draw", "like")


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
    inner = frame.inner("distribution", value.unit, span)
    inner.adopt(value.configuration)
    try:
        with c.deeper(what, span):
            if subject is not None and declaration.flow:
                flow = declaration.flow[0]
                if name == "draw":  # what a draw is shaped like is no value of the distribution
                    flow = replace(flow, within=None)
                with c.at(inner, span):
                    calls.settle(c, inner, [flow], {flow.name: subject}, what)
            for statement in _parts(declaration.body, name):
                statements.execute(c, inner, statement)
    except CompileError as problem:
        raise calls.from_library(problem, inner, span, what) from None
    return calls.outward(inner, inner.names[name])


def _parts(body: Sequence[syntax.Statement], name: str) -> list[syntax.Statement]:
    """The statements that make an equation, itself the last. Of other names those that it reads: what is made of the
    value, which `mean` is not given, has no say in it."""
    place = [_defined(statement) for statement in body].index(name)
    found, read = [body[place]], _names(body[place])
    for statement in reversed(body[:place]):
        if isinstance(statement, syntax.Assign | syntax.Typed | syntax.If | syntax.For):
            if _defined(statement) in EQUATIONS or read.isdisjoint(statements.assigned([statement])):
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
