"""`inner.W` above the first application of `inner`: the parameters of an instance have their shapes from an application
further down, which is tried here and leaves nothing behind but the parameters."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from copy import copy
from dataclasses import fields
from typing import Any

from ..diagnostics import CompileError, Problems
from ..syntax import tree as syntax
from . import calls, expressions
from .context import Context
from .scope import Frame
from .values import Argument, Instance


def make(c: Context, frame: Frame, instance: Instance) -> None:
    """Makes the variables of an instance by the first application below whose arguments can be known here, if any."""
    flow = {parameter.name for parameter in instance.declaration.flow}
    for given in _applications(frame, instance):
        arguments = [a for a in given if a.name is None or a.name in flow]
        if not arguments or not all(_plain(frame, c, a.value) for a in arguments):
            continue
        before = {name: getattr(c, name) for name in ("draws", "made", "moving", "read")}
        for name, value in before.items():
            setattr(c, name, copy(value))
        current, problems = c.current, c.problems
        c.current, c.problems = _copy(current), Problems()
        try:
            values = [Argument(a.name, expressions.evaluate(c, frame, a.value), a.span) for a in arguments]
            calls.apply_layer(c, frame, instance, values, instance.span)
            return
        except CompileError:
            continue  # said where it stands, if it stands
        finally:
            for name, value in before.items():
                setattr(c, name, value)
            c.current, c.problems = current, problems


def _copy(current: Any) -> Any:
    """What a pass gave so far, to be added to and thrown away."""
    result = copy(current)
    for field in fields(current):
        setattr(result, field.name, copy(getattr(current, field.name)))
    return result


def _applications(frame: Frame, instance: Instance) -> Iterator[Sequence[syntax.Argument]]:
    """The arguments of the calls of an instance by its name, `f(x)` and `x |> f`, in the bodies that run."""
    for node in syntax.walk(frame.bodies):
        if isinstance(node, syntax.Call) and _is(frame, node.function, instance):
            yield node.arguments
        elif isinstance(node, syntax.Pipe):
            right: syntax.Expr = node.right
            more: tuple[syntax.Argument, ...] = ()
            if isinstance(right, syntax.Call):
                more, right = right.arguments, right.function
            if _is(frame, right, instance):
                yield (syntax.Argument(node.left.span, None, node.left), *more)


def _is(frame: Frame, expr: syntax.Expr, instance: Instance) -> bool:
    return isinstance(expr, syntax.Name) and frame.names.get(expr.name) is instance


def _plain(frame: Frame, c: Context, expr: syntax.Expr) -> bool:
    """Whether working out an expression makes nothing: no layers, only names known here and functions."""
    for node in syntax.walk([expr]):
        if isinstance(node, syntax.Name):
            value = expressions.lookup(c, frame, node.name, node.span)
            if value is None or isinstance(value, Instance) or calls.is_maker(value):
                return False
    return True
