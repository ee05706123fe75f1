"""An activation among the arguments of a layer: `dense(64, relu)` is `dense(64)` with `relu` applied to its result."""

from __future__ import annotations

from ..diagnostics import CompileError, did_you_mean, error
from ..source import Span
from ..syntax import tree as syntax
from . import calls
from .context import Context
from .scope import Frame
from .values import BUILTINS, Argument, Builtin, Declared, Instance, Partial, Value, kind

# What a default may be in whose place no function is meant: `kernel = 3`, `bias = true`, `pad = [1, 2]`.
_PLAIN = (syntax.Number, syntax.Text, syntax.Unary, syntax.Binary, syntax.List, syntax.Tuple)


def split(c: Context, frame: Frame, callee: Declared, given: list[Argument]) -> tuple[list[Argument], Value]:
    """The arguments of a layer without its activation, and that: the last one without a name, where it is a function
    or a layer and the layer has no place for one there. E0346."""
    positional = [argument for argument in given if argument.name is None]
    if not positional:
        return given, None
    last, parameters = positional[-1], callee.declaration.configuration
    parameter = parameters[len(positional) - 1] if len(positional) <= len(parameters) else None
    if parameter is not None and _takes_functions(parameter):
        return given, None
    after = last.value
    if isinstance(after, Declared) and isinstance(after.declaration, syntax.Layer):
        after = calls.call(c, frame, after, [], last.span)
    if isinstance(after, Instance | Partial | Builtin) or (
        isinstance(after, Declared) and isinstance(after.declaration, syntax.Fn)
    ):
        return [argument for argument in given if argument is not last], after
    if (problem := _mistaken(c, callee, parameter, last)) is not None:
        raise problem
    return given, None


def _takes_functions(parameter: syntax.Parameter) -> bool:
    """Whether a function may be meant for a parameter: `activation = relu`, `weights = normal(0, 1)`, `inner`."""
    if parameter.type is not None or isinstance(parameter.default, _PLAIN):
        return False
    return not _switch(parameter)


def _switch(parameter: syntax.Parameter | None) -> bool:
    """`bias = true`"""
    return (
        parameter is not None and isinstance(parameter.default, syntax.Constant) and parameter.default.value is not None
    )


def _mistaken(c: Context, callee: Declared, parameter: syntax.Parameter | None, last: Argument) -> CompileError | None:
    """E0346 for what is meant as an activation and is none."""
    layer, value = callee.declaration.name, last.value
    if isinstance(value, str) and not (parameter is not None and isinstance(parameter.default, syntax.Text)):
        known = [*c.library.known(callee.unit), *BUILTINS]
        near = did_you_mean(value, known)
        return error(
            "E0346",
            "an activation is a function, not a string",
            last.span,
            f"the last argument of `{layer}`",
            help=f"without quotes: `{layer}(..., {value})`" if value in known else near,
        )
    if parameter is not None and _switch(parameter) and callee.unit.standard and not isinstance(value, bool):
        return error(
            "E0346",
            f"`{parameter.name}` of `{layer}` is true or false",
            last.span,
            f"this is {kind(value)}",
            help=f"an activation is a function: `{layer}(..., relu)`, `{layer}(..., leaky_relu(slope = 0.2))`",
        )
    return None


def apply(c: Context, frame: Frame, instance: Instance, value: Value, span: Span) -> Value:
    """The result of a layer after its activation. E0347 if that needs more than the result."""
    if instance.after is None:
        return value
    found = calls.call(c, frame, instance.after, [Argument(None, value, span)], span)
    if isinstance(found, Partial):
        raise error(
            "E0347",
            f"an activation takes the result of the layer alone: {kind(found)}",
            instance.span,
            "the last argument of this layer",
            help="a function of more values is applied after the layer, by its name",
        )
    return found
