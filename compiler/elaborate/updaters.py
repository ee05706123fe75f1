"""Optimizers: rules that a train block applies to a parameter and its gradient, and that wrap each other."""

from __future__ import annotations

from .. import ops
from ..diagnostics import CompileError, did_you_mean, error
from ..ir.graph import Node
from ..ir.rebuild import rebuild
from ..ir.types import TensorType
from ..source import Span
from ..syntax import tree as syntax
from . import calls, statements, types
from .context import Context, to_node
from .scope import Frame
from .values import Argument, Tensor, Updater, Value, kind

RULE = ("theta", "g", "t", "loss")  # what an optimizer may take, in the order an application gives it


def apply_nested(c: Context, frame: Frame, updater: Updater, given: list[Argument], span: Span) -> Value:
    """A wrapper applies the optimizer it was given: `inner(theta, g, t)` is the new theta."""
    if frame.kind != "optimizer":
        raise error(
            "E0225",
            f"the optimizer `{updater.declaration.name}` is applied by a train block",
            span,
            "applied here",
            help="write `minimize loss using ...` in a train block",
        )
    what = f"`{updater.declaration.name}`"
    parameters = [syntax.Parameter(span, name, None, None) for name in RULE[:2]]
    parameters.append(syntax.Parameter(span, RULE[2], None, syntax.Constant(span, None)))
    bound, missing = calls.bind(c, frame, parameters, given, what, span)
    calls.require(missing, what, parameters, span)
    path = next((path for known, path in frame.nested if known is updater), None)
    if path is None:
        path = frame.take_name(updater.declaration.name, "/")
        frame.nested.append((updater, path))
    like = frame.names["theta"].node
    values: dict[str, Node] = {"t": frame.names["t"].node}
    for name, argument in bound.items():
        node = to_node(c, argument.value)
        wanted = TensorType("int", ()) if name == "t" else like.type
        if node is not None and node.dtype == "int" and wanted.dtype == "float":
            node = ops.cast(node, dtype="float")
        if node is None or node.type != wanted:
            raise error(
                "E0326",
                f"`{name}` of {what} is `{wanted}` here",
                argument.span,
                f"this is {kind(argument.value)}",
                help="`t // turns` is a whole number" if name == "t" else None,
            )
        values[name] = node
    return Tensor(apply_updater(c, frame, updater, values, path, frame.subject, span))


def apply_updater(
    c: Context, frame: Frame, updater: Updater, values: dict[str, Node], path: str, subject: str, span: Span
) -> Node:
    """The new theta of one parameter (path `subject`). States live at `path/STATE/subject`.

    A schedule in the configuration follows this optimizer's own t: where t is not the step, it is put in its place.
    """
    declaration = updater.declaration
    what = f"`{declaration.name}`"
    inner = frame.inner("optimizer", updater.unit, span, path)
    inner.training, inner.subject = True, subject
    step, given = c.step(), updater.configuration
    inner.adopt(given)
    for name, value in given.names.items():
        if isinstance(value, Tensor) and values["t"] is not step:
            inner.names[name] = Tensor(rebuild(c.graph, [value.node], {step: values["t"]})[0], inner.names[name].labels)
    inner.names["t"] = Tensor(values["t"])
    if "theta" not in [parameter.name for parameter in declaration.flow]:
        raise error(
            "E0247",
            f"the optimizer {what} does not take `theta`",
            declaration.name_span,
            "its second list lacks it",
            help=f"`optimizer {declaration.name}(...)(theta, g)` updates theta: `theta <- ...`",
        )
    for parameter in declaration.flow:
        if parameter.name not in RULE:
            raise error(
                "E0226",
                f"an optimizer takes theta, g, t and loss, not `{parameter.name}`",
                parameter.span,
                "none of these",
                help=did_you_mean(parameter.name, RULE) or "what configures the rule goes into the first list",
            )
        if parameter.name == "loss":
            raise error(
                "E0522",
                "evaluating the objective elsewhere, `loss(theta + e)`, is not in this version",
                parameter.span,
                "`loss` taken here",
            )
        value = Tensor(values[parameter.name])
        if parameter.type is not None:
            value = types.check_value(c, inner, value, parameter.type, f"`{parameter.name}` of {what}", span)
        inner.names[parameter.name] = value
    theta = values["theta"]
    try:
        with c.deeper(what, span), c.within("call", declaration.name, span, updater.given):
            with c.within("turn", subject, None):
                statements.run(c, inner, declaration.body)
            result = inner.names["theta"]
    except CompileError as problem:
        raise calls.from_library(problem, inner, span, what) from None
    node = to_node(c, result, "float")
    if node is None or node.shape != theta.shape:
        raise error(
            "E0326",
            f"{what} changes the shape of theta",
            span,
            f"theta is `{theta.type}`, the update `{node.type if node else kind(result)}`",
        )
    return node
