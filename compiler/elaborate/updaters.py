"""Optimizers: rules that a train block applies to a parameter and its gradient, and that wrap each other."""

from __future__ import annotations

from dataclasses import replace

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
from .subjects import Subject, at, is_vector, takes_whole, with_objective
from .values import Argument, Objective, Tensor, Updater, Value, kind

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
    subject = frame.subject
    assert subject is not None
    if takes_whole(updater) and not subject.whole:
        raise error(
            "E0521",
            f"{what} takes all parameters as one vector",
            span,
            "this rule has one parameter",
            help="give theta the same type: `theta: vector[n]`",
        )
    parameters = [syntax.Parameter(span, name, None, None) for name in RULE[:2]]
    parameters += [syntax.Parameter(span, name, None, syntax.Constant(span, None)) for name in RULE[2:]]
    bound, missing = calls.bind(c, frame, parameters, given, what, span)
    calls.require(missing, what, parameters, span)
    path = next((path for known, path in frame.nested if known is updater), None)
    if path is None:
        path = frame.take_name(updater.declaration.name, "/")
        frame.nested.append((updater, path))
    if "loss" in bound:
        function = bound.pop("loss")
        subject = with_objective(subject, function.value, function.span)
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
                help="`t // turns` is an integer" if name == "t" else None,
            )
        values[name] = node
    if takes_whole(updater) or not subject.whole:
        return Tensor(apply_updater(c, frame, updater, values, path, subject, span))
    each = zip(subject.each(values["theta"]), *(subject.parts(values[name]) for name in RULE[:2]), strict=True)
    parts = [
        apply_updater(c, frame, updater, {"theta": theta, "g": g, "t": values["t"]}, path, one, span)
        for one, theta, g in each
    ]
    return Tensor(subject.join(parts))


def apply_updater(
    c: Context, frame: Frame, updater: Updater, values: dict[str, Node], path: str, subject: Subject, span: Span
) -> Node:
    """The new theta of a parameter, or of all as one vector. States live at `path/STATE/PARAMETER`, or `path/STATE`.

    A schedule in the configuration follows this optimizer's own t: where t is not the step, it is put in its place.
    """
    declaration = updater.declaration
    what = f"`{declaration.name}`"
    inner = frame.inner("optimizer", updater.unit, span, path)
    inner.training, inner.subject = True, subject
    step, given = c.step(), updater.configuration
    inner.adopt(given)
    for name, value in given.names.items():
        if isinstance(value, Objective):
            inner.names[name] = at(value, subject)
        elif isinstance(value, Tensor) and values["t"] is not step:
            inner.names[name] = Tensor(rebuild(c.graph, [value.node], {step: values["t"]})[0], inner.names[name].labels)
    rate = to_node(c, inner.names["lr"]) if "lr" in inner.names else None
    if rate is not None and not rate.rank:
        c.rates.update(dict.fromkeys(subject.paths, rate))
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
            if parameter.type is not None:
                raise error(
                    "E0522",
                    "`loss` of an optimizer is a function of theta",
                    parameter.type.span,
                    "a function has no type",
                    help="write `loss` alone; `loss(theta)` is a number",
                )
            inner.names["loss"] = at(Objective(), subject)
            continue
        value = Tensor(values[parameter.name])
        type = parameter.type
        if type is not None and is_vector(type):
            type = _of_whole(type, parameter)
        if type is not None:
            _rank(value, type, what, span)
            value = types.check_value(c, inner, value, type, f"`{parameter.name}` of {what}", span)
        inner.names[parameter.name] = value
    theta = values["theta"]
    try:
        with c.deeper(what, span), c.within("call", declaration.name, span, updater.given):
            with c.within("turn", "all" if subject.whole else subject.paths[0], None):
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


def _of_whole(type: syntax.Type, parameter: syntax.Parameter) -> syntax.Type:
    """`vector[n]` of theta or g as the type of the vector. E0521."""
    if parameter.name not in RULE[:2] or type.dims is None or len(type.dims) != 1:
        raise error(
            "E0521",
            "`theta: vector[n]` is all parameters of a statement as one vector, and `g: vector[n]` their gradient",
            type.span,
            "not of this form",
            help="`t` is a number: it has no type" if parameter.name == "t" else None,
        )
    return replace(type, dtype="float")


def _rank(value: Tensor, type: syntax.Type, what: str, span: Span) -> None:
    """E0324 for a parameter that a rule of matrices does not take."""
    dims = type.dims or ()
    count = f"{len(dims)} dimension{'s' * (len(dims) != 1)}"
    if value.node.rank != len(dims) and not any(isinstance(size, syntax.Ellipsis) for size in dims):
        raise error(
            "E0324",
            f"{what} updates parameters of {count}, and one has {value.node.rank}",
            span,
            f"this is `{value.node.type}`",
            more=[(type.span, f"`{type.span.text}` declared here")],
            help="`matrices(muon(2e-2), adamw(1e-3))` has a rule for matrices and one for the rest",
        )
