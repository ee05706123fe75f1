"""Parameters and states: their paths, types and start values."""

from __future__ import annotations

from dlc.runtime.metadata import RESERVED

from .. import ops
from ..diagnostics import error
from ..ir.graph import Node
from ..ir.rebuild import rebuild
from ..ir.types import Dim, TensorType
from ..source import Span
from ..syntax import tree as syntax
from . import calls, distributions, expressions, likelihood, meant, scan, statements, tensor_arguments, types
from .context import Context, to_node
from .scope import Frame, StateSlot
from .values import POISON, Argument, Builtin, Declared, Distributed, Label, Partial, Tensor, Value, kind


def _owner(c: Context, frame: Frame, statement: syntax.Param | syntax.State, word: str) -> None:
    if frame.kind not in ("model", "layer", "optimizer") or (word == "param" and frame.kind == "optimizer"):
        raise error(
            "E0229",
            f"`{word}` cannot be used in {calls.article(frame.kind)}",
            statement.span,
            "declared here",
            help="a `layer` or `model` has parameters" if frame.kind == "fn" else None,
        )
    if (statement.name in frame.names or statement.name in frame.states) and frame.names.get(
        statement.name
    ) is not POISON:
        raise error("E0203", f"`{statement.name}` is defined twice", statement.name_span, "again here")
    if frame.path == "" and statement.name in RESERVED:
        raise error(
            "E0245",
            f"`{statement.name}` is a reserved name: every compiled file has it",
            statement.name_span,
            "declared here",
            notes=["reserved names are " + ", ".join(RESERVED)],
            help="give it another name",
        )
    statements.hides(c, frame, statement.name, statement.name_span)
    known = _path(frame, statement.name) in c.module.variables or statement.name in frame.replaced
    if frame.conditional and frame.kind != "optimizer" and not known:
        raise error(
            "E0222",
            "nothing may be made inside this `if`: the training and the predicting graph would not share it",
            statement.span,
            f"`{statement.name}` is made here",
            more=[(frame.conditional, "under this condition")],
            help="declare it before the `if`",
        )


def _path(frame: Frame, name: str) -> str:
    """Where a param or state of this frame is kept."""
    return f"{frame.path}.{name}" if frame.path else name


def param(c: Context, frame: Frame, statement: syntax.Param) -> None:
    _owner(c, frame, statement, "param")
    type, labels = types.declared(c, frame, statement.type)
    if type.dtype != "float":
        raise error(
            "E0327",
            f"a param is learned by its derivative: it must be float, not {type.dtype}",
            statement.type.span,
            "declared here",
            help="use `state` for integers and booleans",
        )
    if any(isinstance(size, Dim) for size in type.shape):
        raise error(
            "E0328",
            f"the shape of `{statement.name}` must be known before the file runs",
            statement.type.span,
            f"this is `{type}`",
            notes=["a free dimension such as `batch` can differ from run to run"],
            help=meant.counted(frame.kind, statement.name, type),
        )
    if statement.name in frame.replaced:
        argument = frame.replaced[statement.name]
        what = f"`{statement.name}`"
        if any(isinstance(expr, syntax.Ellipsis) for expr in statement.type.dims or ()):  # `...kernel`: sizes of a list
            value = types.check_made(c, argument.value, type, labels, statement.type, what, argument.span)
        else:
            value = types.check_value(c, frame, argument.value, statement.type, what, argument.span)
        frame.names[statement.name] = value
        return
    path = _path(frame, statement.name)
    fresh = path not in c.module.variables
    variable = c.variable(path, "parameter", type, statement.span)
    value = Tensor(variable.node, labels)
    prior = expressions.evaluate(c, frame, statement.prior) if statement.prior else None
    if prior is not None and not isinstance(prior, Distributed) and prior is not POISON:
        prior = calls.call(c, frame, prior, [], statement.span) if calls.is_maker(prior) else prior
    if fresh:
        rule: Value = 0.0
        span = statement.span
        if statement.init is not None:
            with _starting(c):
                rule = expressions.evaluate(c, frame, statement.init)
            span = statement.init.span
        elif isinstance(prior, Distributed):
            rule = prior
        else:
            found = c.library.find("glorot_uniform" if len(type.shape) > 1 else "zeros", frame.unit)
            rule = Declared(*found) if found else 0.0
        begin(c, path, start_value(c, frame, rule, type, span), span)
    frame.names[statement.name] = value
    if prior is not None and prior is not POISON and statement.prior is not None and path not in c.current.believed:
        c.current.believed[path] = None  # a layer applied twice has its prior once
        likelihood.observe(c, frame, value, prior, statement.span, statement.prior.span)


class _starting:
    """Draws inside belong to start values, not to a step."""

    def __init__(self, c: Context) -> None:
        self.c, self.before, self.read = c, c.starting, dict(c.read)

    def __enter__(self) -> None:
        self.c.starting = True

    def __exit__(self, *problem: object) -> None:
        self.c.starting, self.c.read = self.before, self.read


def start_value(c: Context, frame: Frame, rule: Value, type: TensorType, span: Span) -> Node:
    """The start value that an initialiser gives: a number, a distribution to draw from, or a function of a template."""
    with _starting(c):
        if rule is POISON:
            return ops.constant(c.graph, 0, type.dtype)
        template = Tensor(ops.broadcast_to(ops.constant(c.graph, 0, type.dtype), shape=type.shape))
        if calls.is_maker(rule):
            rule = calls.call(c, frame, rule, [], span)
        if isinstance(rule, Distributed):
            value: Value = distributions.draw(c, frame, rule, template, span)
        elif isinstance(rule, Partial | Declared | Builtin):
            value = calls.call(c, frame, rule, [Argument(None, template, span)], span)
        else:
            value = rule
        node = to_node(c, value, type.dtype)
        tensor_arguments.refuse(c, node, type, span)
        if node is None:
            raise error(
                "E0329",
                f"{kind(value)} is not a start value",
                span,
                f"this is {kind(value)}",
                help="use a number, an initialiser such as `glorot_uniform`, or a distribution such as "
                "`normal(0, 0.02)`",
            )
        if node.shape != type.shape:
            node = c.make(ops.broadcast_to, [node], [span], span, shape=type.shape)
        return node


def begin(c: Context, path: str, node: Node, span: Span) -> None:
    """Sets the start value of a variable. It may read other variables: it then starts from what they start from."""
    outputs, loaded = c.graph.outputs, c.module.loaded
    starts: dict[Node, Node] = {}
    data = ("variable", "input", "size", "local", "iteration")
    for leaf in [x for x in c.graph.order([node]) if x.op.name in data]:
        source = leaf.attrs.get("path") if leaf.op.name == "variable" else None
        if source in loaded and node is leaf:
            loaded[path] = loaded[source]
            outputs.pop(f"initial/{path}", None)
            return
        start = ops.constant(c.graph, loaded[source](), leaf.dtype) if source in loaded else None
        start = outputs.get(f"initial/{source}") if start is None and source is not None else start
        if start is None:
            raise error(
                "E0330",
                "a start value cannot depend on the data or on the step",
                span,
                "here",
                help="use a number or an initialiser",
            )
        starts[leaf] = start
    if starts:
        c.made_of[path] = node, span
    with _starting(c):
        outputs[f"initial/{path}"] = rebuild(c.graph, [node], starts)[0]


def state(c: Context, frame: Frame, statement: syntax.State) -> None:
    if frame.scan is not None:
        return scan.state(c, frame, statement)
    _owner(c, frame, statement, "state")
    with _starting(c):
        rule = expressions.evaluate(c, frame, statement.value)
    if rule is POISON:
        frame.names[statement.name] = POISON
        return
    labels: tuple[Label | None, ...] = ()
    if statement.type is not None:
        type, labels = types.declared(c, frame, statement.type)
    elif isinstance(rule, Tensor) and rule.node.rank:
        type, labels = rule.node.type, rule.labels
    elif frame.kind == "optimizer":  # without a type a state of an optimizer has that of its parameter
        type = frame.names["theta"].node.type
    else:
        node = to_node(c, rule)
        type = node.type if node is not None else TensorType("float", ())
    if any(isinstance(size, Dim) for size in type.shape):
        raise error(
            "E0328",
            f"the shape of `{statement.name}` must be known before the file runs",
            statement.span,
            f"this is `{type}`",
        )
    if statement.name in frame.replaced:
        given = frame.replaced[statement.name]
        node = fitting(c, given.value, statement.name, type, given.span)
        frame.states[statement.name] = StateSlot("", type, node, labels)
        return
    if frame.kind == "optimizer":
        assert frame.subject is not None
        of = "" if frame.subject.whole else f"/{frame.subject.paths[0]}"
        path, which = f"{frame.path}/{statement.name}{of}", "optimizer"
    else:
        path, which = _path(frame, statement.name), "state"
    fresh = path not in c.module.variables
    if not statement.drawn and not isinstance(rule, Tensor | int | float | Dim):
        raise error(
            "E0329",
            f"{kind(rule)} is not a start value",
            statement.value.span,
            f"this is {kind(rule)}",
            help=f"`state {statement.name}: ... init {statement.value.span.text}` uses an initialiser",
        )
    variable = c.variable(path, which, type, statement.span)
    if fresh:
        begin(c, path, start_value(c, frame, rule, type, statement.value.span), statement.value.span)
    frame.states[statement.name] = StateSlot(path, type, c.moving.get(path, variable.node), labels)


def fitting(c: Context, value: Value, name: str, type: TensorType, span: Span) -> Node:
    """A value that a state can take: of its type, or a number for all of it."""
    node = to_node(c, value)
    order = ("bool", "int", "float")
    if node is not None and node.dtype in order and order.index(node.dtype) < order.index(type.dtype):
        node = ops.cast(node, dtype=type.dtype)
    if node is None or node.dtype != type.dtype:
        raise error("E0302", f"the state `{name}` takes a value of type `{type.dtype}`", span, f"this is {kind(value)}")
    if node.shape != type.shape:
        if node.rank:
            raise error("E0331", f"the state `{name}` is `{type}` and keeps its shape", span, f"this is `{node.type}`")
        node = ops.broadcast_to(node, shape=type.shape)
    return node
