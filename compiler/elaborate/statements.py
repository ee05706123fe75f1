"""Statements: assignments, parameters and states, `<-`, `~`, inputs, losses and outputs."""
from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from .. import ops
from ..diagnostics import CompileError, error, warning
from ..ir.graph import Node
from ..ir.rebuild import rebuild
from ..ir.types import Dim, TensorType, TypeProblem
from ..source import Span
from ..syntax import tree as syntax
from . import builtins, calls, control, expressions, indexing, likelihood, meant, scan, support, tensor_arguments, types
from .context import Context, located, poisoned, to_node
from .scope import Frame, StateSlot
from .values import (
    POISON,
    Argument,
    Builtin,
    Declared,
    Distributed,
    Indexed,
    Instance,
    Label,
    Partial,
    Reported,
    Tensor,
    Value,
    kind,
)


def run(c: Context, frame: Frame, body: Sequence[syntax.Statement]) -> None:
    """Runs statements until one returns. Each statement's errors are kept, so that several are reported."""
    errors: list[CompileError] = []
    frame.bodies.append(body)
    try:
        for statement in body:
            if frame.result is not None:
                break
            try:
                execute(c, frame, statement)
            except CompileError as problem:
                if problem.code == "E0220":  # too large: going on would only take time
                    raise
                errors.append(problem)
                poison(frame, [statement])
            except Reported:
                poison(frame, [statement])
    finally:
        frame.bodies.pop()
    if errors:
        if frame.kind == "model":
            for found in errors:
                c.problems.add(found)
        else:
            raise CompileError([d for found in errors for d in found.diagnostics])


def execute(c: Context, frame: Frame, statement: syntax.Statement) -> None:
    c.work(statement.span)
    try:
        with c.at(frame, statement.span):
            _EXECUTE[type(statement)](c, frame, statement)
    except TypeProblem as problem:
        raise located(problem, (), statement.span) from None
    except OverflowError:
        raise error("E0303", "a number is too large for an int of 64 bits", statement.span, "here") from None
    finally:
        # What no name was given to in its statement is numbered in the order of making.
        for instance in frame.unnamed:
            calls.settle_path(instance)
        frame.unnamed.clear()


def poison(frame: Frame, body: Sequence[syntax.Statement]) -> None:
    """Names that broken statements would have made are poison: their uses stay silent."""
    for name in assigned(body):
        frame.names[name] = POISON
    for statement in body:
        if isinstance(statement, syntax.Return):
            frame.result = [POISON] * len(statement.values)


def assigned(body: Sequence[syntax.Statement]) -> Iterator[str]:
    for statement in body:
        if isinstance(statement, syntax.Assign):
            for target in statement.targets:
                name = target.value if isinstance(target, syntax.Index) else target
                if isinstance(name, syntax.Name):
                    yield name.name
        elif isinstance(statement, syntax.Input | syntax.Target | syntax.Param | syntax.State | syntax.Typed):
            yield statement.name
        elif isinstance(statement, syntax.If):
            yield from assigned(statement.yes)
            yield from assigned(statement.no)
        elif isinstance(statement, syntax.For | syntax.Scan):
            yield statement.name
            yield from assigned(statement.body)
        elif isinstance(statement, syntax.Checkpoint):
            yield from assigned(statement.body)


def made_names(body: Sequence[syntax.Statement]) -> list[str]:
    """The params and states a body may make, for `f.W` and `f(x, W = ...)`."""
    names: dict[str, None] = {}
    for statement in body:
        if isinstance(statement, syntax.Param | syntax.State):
            names[statement.name] = None
        elif isinstance(statement, syntax.If):
            names.update(dict.fromkeys(made_names(statement.yes) + made_names(statement.no)))
        elif isinstance(statement, syntax.For | syntax.Checkpoint):
            names.update(dict.fromkeys(made_names(statement.body)))
        elif isinstance(statement, syntax.Scan):  # its states are its own
            names.update((s.name, None) for s in statement.body if isinstance(s, syntax.Param))
    return list(names)


# --- assignment


def _assign(c: Context, frame: Frame, statement: syntax.Assign) -> None:
    if len(statement.values) == 1:
        value = expressions.evaluate(c, frame, statement.values[0])
        if len(statement.targets) == 1:
            return assign(c, frame, statement.targets[0], value)
        values = unpack(c, value, len(statement.targets), statement.values[0].span)
    else:
        if len(statement.values) != len(statement.targets):
            raise error("E0227", f"{len(statement.targets)} names for {len(statement.values)} values", statement.span,
                        "the numbers differ")
        values = [expressions.evaluate(c, frame, expr) for expr in statement.values]
    for target, value in zip(statement.targets, values, strict=True):
        assign(c, frame, target, value)


def unpack(c: Context, value: Value, count: int, span: Span) -> list[Value]:
    """`a, b = value`: a tuple or list, or a tensor along its first dimension."""
    if value is POISON:
        return [POISON] * count
    if isinstance(value, list | tuple):
        found, items = len(value), list(value)
    elif isinstance(value, Tensor) and value.node.rank and isinstance(value.node.shape[0], int):
        found = int(value.node.shape[0])
        items = [] if found != count else [Tensor(indexing.take(value.node, i, 0),
                                                  value.names[1:]) for i in range(count)]
    else:
        raise error("E0227", f"{kind(value)} does not unpack into {count} names", span, f"this is {kind(value)}")
    if found != count:
        raise error("E0227", f"{count} names for {found} values", span, f"this has {found}")
    return items


def assign(c: Context, frame: Frame, target: syntax.Expr, value: Value) -> None:
    if isinstance(target, syntax.Index):
        assert isinstance(target.value, syntax.Name)
        if scan.collects(frame, target):
            return scan.collect(c, frame, target, value)
        place = tuple(expressions.static_int(c, frame, expr, "the index of a name") for expr in target.places)
        name = target.value.name
        _may_assign(frame, name, target.span)
        scan.fresh(frame, name, target.span)
        known = frame.names.get(name)
        if known is POISON:
            return
        if not isinstance(known, Indexed):
            known = frame.names[name] = Indexed()
            hides(c, frame, name, target.span)
        if isinstance(value, Instance) and value.path is None and value.maker is frame:
            calls.settle_path(value, f"{name}[{','.join(map(str, place))}]")
        known.entries[place] = value
        return
    assert isinstance(target, syntax.Name)
    name = target.name
    _may_assign(frame, name, target.span)
    scan.fresh(frame, name, target.span)
    if isinstance(value, Instance) and value.path is None and value.maker is frame:
        calls.settle_path(value, name)
    if value is expressions.NOTHING:
        value = None
    if name not in frame.names:
        hides(c, frame, name, target.span)
    frame.names[name] = value


def _may_assign(frame: Frame, name: str, span: Span) -> None:
    if name in frame.states or (name == "theta" and frame.kind == "optimizer"):
        what = "a state" if name in frame.states else "what the rule updates"
        raise error("E0228", f"`{name}` is {what}: `=` would hide it", span, "assigned here",
                    help=f"write `{name} <- ...` to update it")


def hides(c: Context, frame: Frame, name: str, span: Span) -> None:
    """A warning where a new name hides a function; the library knows what it does."""
    if frame.kind == "distribution" and name in calls.EQUATIONS:
        return
    if not frame.unit.standard and (name in builtins.BUILTINS or c.library.find(name, frame.unit)):
        c.problems.add(warning("W0201", f"the name `{name}` hides the function of that name", span,
                               "from here on it is this value", help="choose another name, or ignore this"))


def _typed(c: Context, frame: Frame, statement: syntax.Typed) -> None:
    value = expressions.evaluate(c, frame, statement.value)
    checked = types.check_value(c, frame, value, statement.type, f"`{statement.name}`", statement.value.span)
    assign(c, frame, syntax.Name(statement.name_span, statement.name), checked)


# --- parameters and states


def _owner(c: Context, frame: Frame, statement: syntax.Param | syntax.State, word: str) -> None:
    if frame.kind not in ("model", "layer", "optimizer") or (word == "param" and frame.kind == "optimizer"):
        raise error("E0229", f"`{word}` cannot stand in {calls._article(frame.kind)}", statement.span, "declared here",
                    help="a `layer` or `model` has parameters" if frame.kind == "fn" else None)
    if (statement.name in frame.names
        or statement.name in frame.states) and frame.names.get(statement.name) is not POISON:
        raise error("E0203", f"`{statement.name}` is defined twice", statement.name_span, "again here")
    if frame.path == "" and statement.name in RESERVED:
        raise error("E0245", f"`{statement.name}` is a name that every compiled file has for itself",
                    statement.name_span,
                    "declared here", notes=["such names are " + ", ".join(RESERVED)], help="give it another name")
    hides(c, frame, statement.name, statement.name_span)
    known = _path(frame, statement.name) in c.module.variables or statement.name in frame.replaced
    if frame.conditional and frame.kind != "optimizer" and not known:
        raise error("E0222",
                    "nothing may be made inside this `if`: the training and the predicting graph would not share it",
                    statement.span, f"`{statement.name}` is made here",
                    more=[(frame.conditional, "under this condition")],
                    help="declare it before the `if`")


RESERVED = ("step", "steps", "key",
            "observations")  # what a file holds beside parameters and states (docs/file-format.md)


def _path(frame: Frame, name: str) -> str:
    """Where a param or state of this frame is kept."""
    return f"{frame.path}.{name}" if frame.path else name


def _param(c: Context, frame: Frame, statement: syntax.Param) -> None:
    _owner(c, frame, statement, "param")
    type, labels = types.declared(c, frame, statement.type)
    if type.dtype != "float":
        raise error("E0327", f"a param is learned by its derivative: it must be float, not {type.dtype}",
                    statement.type.span, "declared here", help="`state` keeps whole numbers and truth values")
    if any(isinstance(size, Dim) for size in type.shape):
        raise error("E0328", f"the shape of `{statement.name}` must be known before the file runs", statement.type.span,
                    f"this is `{type}`", notes=["a free dimension such as `batch` can differ from run to run"],
                    help=meant.counted(frame.kind, statement.name, type))
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
        c.graph.outputs[f"initial/{path}"] = start_value(c, frame, rule, type, span)
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
            value: Value = calls.draw(c, frame, rule, template, span)
        elif isinstance(rule, Partial | Declared | Builtin):
            value = calls.call(c, frame, rule, [Argument(None, template, span)], span)
        else:
            value = rule
        node = to_node(c, value, type.dtype)
        tensor_arguments.refuse(c, node, type, span)
        if node is None:
            raise error("E0329", f"{kind(value)} is no start value", span, f"this is {kind(value)}",
                        help="use a number, an initialiser such as `glorot_uniform`, or a distribution such as "
                             "`normal(0, 0.02)`")
        if node.shape != type.shape:
            node = c.make(ops.broadcast_to, [node], [span], span, shape=type.shape)
        # A start value may read other variables: it then starts from what they start from.
        starts: dict[Node, Node] = {}
        for leaf in [x for x in c.graph.order([node]) if x.op.name in ("variable", "input", "size", "local", "turn")]:
            start = c.graph.outputs.get(f"initial/{leaf.attrs.get('path')}") if leaf.op.name == "variable" else None
            if start is None:
                raise error("E0330", "a start value cannot depend on the data or on the step", span, "here",
                            help="use a number or an initialiser")
            starts[leaf] = start
        return rebuild(c.graph, [node], starts)[0]


def _state(c: Context, frame: Frame, statement: syntax.State) -> None:
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
        raise error("E0328", f"the shape of `{statement.name}` must be known before the file runs", statement.span,
                    f"this is `{type}`")
    if statement.name in frame.replaced:
        given = frame.replaced[statement.name]
        node = fitting(c, given.value, statement.name, type, given.span)
        frame.states[statement.name] = StateSlot("", type, node, labels)
        return
    if frame.kind == "optimizer":
        path, which = f"{frame.path}/{statement.name}/{frame.subject}", "optimizer"
    else:
        path, which = _path(frame, statement.name), "state"
    fresh = path not in c.module.variables
    if not statement.drawn and not isinstance(rule, Tensor | int | float | Dim):
        raise error("E0329", f"{kind(rule)} is no start value", statement.value.span, f"this is {kind(rule)}",
                    help=f"`state {statement.name}: ... init {statement.value.span.text}` uses an initialiser")
    variable = c.variable(path, which, type, statement.span)
    if fresh:
        c.graph.outputs[f"initial/{path}"] = start_value(c, frame, rule, type, statement.value.span)
    frame.states[statement.name] = StateSlot(path, type, c.moving.get(path, variable.node), labels)


def _update(c: Context, frame: Frame, statement: syntax.Update) -> None:
    name = statement.target.name
    value = expressions.evaluate(c, frame, statement.value)
    if value is POISON:
        return
    if frame.kind == "optimizer" and name == "theta":
        scan.fresh(frame, name, statement.target.span)
        node = to_node(c, value, "float")
        theta = frame.names["theta"].node
        if node is None or node.shape != theta.shape:
            raise error("E0326", "the update gives theta another shape", statement.value.span,
                        f"theta is `{theta.type}`, this is {kind(value)}")
        frame.names["theta"] = Tensor(node, frame.names["theta"].labels)
        return
    slot = frame.states.get(name)
    if slot is None and frame.names.get(name) is POISON:
        return
    if slot is None:
        raise error("E0230", f"`{name}` is not a state", statement.target.span, "`<-` updates a state",
                    help=f"write `{name} = ...` for a name" if name in frame.names
                    else f"declare it: `state {name} = 0`")
    node = fitting(c, value, name, slot.type, statement.value.span)
    if frame.kind != "optimizer" and not frame.training and slot.scan is None:
        return  # a state of a layer never moves outside training
    slot.value = node
    if slot.path:
        c.read["move"] = None
        c.moving[slot.path] = node


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


# --- the rest


def _return(c: Context, frame: Frame, statement: syntax.Return) -> None:
    if frame.kind not in ("fn", "layer"):
        raise error("E0234", f"`return` cannot stand in {calls._article(frame.kind)}", statement.span, "here",
                    help="a model gives values by `output NAME = ...`" if frame.kind == "model" else None)
    if frame.scan is not None:
        raise error("E0373", "`return` cannot stand in a scan", statement.span, "in its turn",
                    help="return after the scan: its states have their last values there")
    frame.result = [expressions.evaluate(c, frame, expr) for expr in statement.values]


def _input(c: Context, frame: Frame, statement: syntax.Input | syntax.Target) -> None:
    if frame.kind != "model":
        raise error("E0235", "inputs and targets belong to a model", statement.span, "declared here",
                    help="a layer takes its values in its second list")
    if statement.name in frame.names or statement.name in frame.states:
        raise error("E0203", f"`{statement.name}` is defined twice", statement.name_span, "again here")
    if statement.name in RESERVED:
        raise error("E0245", f"`{statement.name}` is a name that every compiled file has for itself",
                    statement.name_span,
                    "declared here", notes=["such names are " + ", ".join(RESERVED)], help="give it another name")
    _decided(frame, statement, "an input")
    hides(c, frame, statement.name, statement.name_span)
    type, labels = types.declared(c, frame, statement.type, free=True)
    drawn = statement.drawn_from if isinstance(statement, syntax.Input) else None
    if drawn is not None:
        c.read["predicting"] = None
        before, c.feeding = (c.draws, dict(c.read)), frame.predicting
        value = builtins.random.drawn_input(c, frame, statement, drawn, type, labels)
        c.feeding = False
        if not frame.predicting:
            frame.names[statement.name] = value
            return
        c.draws, c.read = before
        c.graph.outputs[f"draw/{statement.name}"] = value.node
    leaf = ops.make_input(c.graph, statement.name, type)
    known = c.module.targets if isinstance(statement, syntax.Target) else c.module.inputs
    if leaf not in known:
        known.append(leaf)
    frame.names[statement.name] = Tensor(leaf, labels)
    support.declare(c, frame, statement.within, leaf)


def _decided(frame: Frame, statement: syntax.Statement, what: str) -> None:
    if frame.scan is not None:
        raise error("E0373", f"{what} cannot stand in a scan", statement.span, "in its turn",
                    more=[(frame.scan.statement.name_span, "the turns of this scan")],
                    help="collect the turns, `y[:, t] = ...`, and write it after the scan")
    if frame.undecided is not None:
        raise error("E0246", f"{what} cannot depend on a value of the run", statement.span, "stands here",
                    more=[(frame.undecided, "decided while the file runs")],
                    help="choose the value instead: `loss = a if condition else b`")


def _term(c: Context, frame: Frame, statement: syntax.Term) -> None:
    if frame.kind != "model":
        raise error("E0235", f"`{statement.kind}` belongs to a model", statement.span, "declared here")
    _decided(frame, statement, f"`{statement.kind}`")
    likelihood.term(c, frame, statement)


def _tilde(c: Context, frame: Frame, statement: syntax.Tilde) -> None:
    if frame.kind not in ("model", "layer"):
        raise error("E0235", "`~` belongs to a model or layer", statement.span, "written here")
    _decided(frame, statement, "`~`")
    left = expressions.evaluate(c, frame, statement.left)
    right = expressions.evaluate(c, frame, statement.distribution)
    if poisoned(left, right):
        return
    likelihood.observe(c, frame, left, right, statement.left.span, statement.distribution.span)


_EXECUTE: dict[type, Any] = {
    syntax.Assign: _assign, syntax.Typed: _typed, syntax.Param: _param, syntax.State: _state, syntax.Update: _update,
    syntax.If: lambda *of: control.if_(*of), syntax.For: lambda *of: control.for_(*of),
    syntax.Scan: lambda *of: scan.scan(*of), syntax.Checkpoint: lambda *of: control.checkpoint(*of),
    syntax.Return: _return, syntax.Input: _input,
    syntax.Target: _input, syntax.Term: _term, syntax.Tilde: _tilde,
}
