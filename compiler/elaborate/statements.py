"""Statements: assignments, parameters and states, static and run-time `if`, `for`, `<-`, `~`."""
from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from .. import ops, syntax
from ..diagnostics import CompileError, error
from ..graph import Node
from ..source import Span
from ..tensor_type import Dim, TensorType
from . import builtins, calls, expressions, indexing, likelihood, types
from .context import Context, poisoned, to_node, too_many
from .scope import Frame, StateSlot
from .values import (
    POISON, Argument, Builtin, Declared, Distributed, Indexed, Instance, Label, Partial, Range, Tensor, Value,
    kind, plain,
)


def run(c: Context, frame: Frame, body: Sequence[syntax.Statement]) -> None:
    """Runs statements until one returns. Each statement's errors are kept, so that several are reported."""
    errors: list[CompileError] = []
    for statement in body:
        if frame.result is not None:
            break
        try:
            execute(c, frame, statement)
        except CompileError as problem:
            if problem.code == "E0220":  # too large: going on would only take time
                raise
            errors.append(problem)
            _poison(frame, statement)
    if errors:
        if frame.kind == "model":
            for problem in errors:
                c.problems.add(problem)
        else:
            raise CompileError([d for problem in errors for d in problem.diagnostics])


def execute(c: Context, frame: Frame, statement: syntax.Statement) -> None:
    with c.at(frame, statement.span):
        _EXECUTE[type(statement)](c, frame, statement)


def _poison(frame: Frame, statement: syntax.Statement) -> None:
    """Names that a broken statement would have made are poison: their uses stay silent."""
    for name in _assigned([statement]):
        frame.names[name] = POISON
    if isinstance(statement, syntax.Return):
        frame.result = [POISON] * len(statement.values)


def _assigned(body: Sequence[syntax.Statement]) -> Iterator[str]:
    for statement in body:
        if isinstance(statement, syntax.Assign):
            for target in statement.targets:
                name = target.value if isinstance(target, syntax.Index) else target
                if isinstance(name, syntax.Name):
                    yield name.name
        elif isinstance(statement, syntax.Input | syntax.Target | syntax.Param | syntax.State | syntax.Typed):
            yield statement.name
        elif isinstance(statement, syntax.If):
            yield from _assigned(statement.yes)
            yield from _assigned(statement.no)
        elif isinstance(statement, syntax.For | syntax.Scan):
            yield from _assigned(statement.body)


def made_names(body: Sequence[syntax.Statement]) -> list[str]:
    """The params and states a body may make, for `f.W` and `f(x, W = ...)`."""
    names: dict[str, None] = {}
    for statement in body:
        if isinstance(statement, syntax.Param | syntax.State):
            names[statement.name] = None
        elif isinstance(statement, syntax.If):
            names.update(dict.fromkeys(made_names(statement.yes) + made_names(statement.no)))
        elif isinstance(statement, syntax.For):
            names.update(dict.fromkeys(made_names(statement.body)))
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
        items = [] if found != count else [Tensor(indexing.take(value.node, i, 0), value.names[1:]) for i in range(count)]
    else:
        raise error("E0227", f"{kind(value)} does not unpack into {count} names", span, f"this is {kind(value)}")
    if found != count:
        raise error("E0227", f"{count} names for {found} values", span, f"this has {found}")
    return items


def assign(c: Context, frame: Frame, target: syntax.Expr, value: Value) -> None:
    if isinstance(target, syntax.Index):
        assert isinstance(target.value, syntax.Name)
        place = tuple(expressions.static_int(c, frame, expr, "the index of a name") for expr in target.places)
        name = target.value.name
        known = frame.names.get(name)
        if not isinstance(known, Indexed):
            known = frame.names[name] = Indexed()
        if isinstance(value, Instance) and value.path is None and value.maker is frame:
            calls.settle_path(value, f"{name}[{','.join(map(str, place))}]")
        known.entries[place] = value
        return
    assert isinstance(target, syntax.Name)
    name = target.name
    if name in frame.states:
        raise error("E0228", f"`{name}` is a state: `=` would hide it", target.span, "assigned here",
                    help=f"write `{name} <- ...` to update it")
    if isinstance(value, Instance) and value.path is None and value.maker is frame:
        calls.settle_path(value, name)
    if value is expressions.NOTHING:
        value = None
    if not frame.unit.standard and name not in frame.names and (name in builtins.BUILTINS or c.library.find(name, frame.unit)):
        c.problems.add(error("W0201", f"the name `{name}` hides the function of that name", target.span,
                             "from here on it is this value", help="choose another name, or ignore this"))
    frame.names[name] = value


def _typed(c: Context, frame: Frame, statement: syntax.Typed) -> None:
    value = expressions.evaluate(c, frame, statement.value)
    checked = types.check_value(c, frame, value, statement.type, f"`{statement.name}`", statement.value.span)
    assign(c, frame, syntax.Name(statement.name_span, statement.name), checked)


# --- parameters and states


def _owner(c: Context, frame: Frame, statement: syntax.Param | syntax.State, word: str) -> None:
    if frame.kind not in ("model", "layer", "optimizer") or (word == "param" and frame.kind == "optimizer"):
        raise error("E0229", f"`{word}` cannot stand in {calls._article(frame.kind)}", statement.span, "declared here",
                    help="a `layer` or `model` has parameters" if frame.kind == "fn" else None)
    if frame.conditional and frame.kind != "optimizer":
        raise error("E0222", "nothing may be made inside this `if`: the training and the predicting graph would not share it",
                    statement.span, f"`{statement.name}` is made here", more=[(frame.conditional, "under this condition")],
                    help="declare it before the `if`")


def _param(c: Context, frame: Frame, statement: syntax.Param) -> None:
    _owner(c, frame, statement, "param")
    type, labels = types.declared(c, frame, statement.type)
    if type.dtype != "float":
        raise error("E0327", f"a param is learned by its derivative: it must be float, not {type.dtype}", statement.type.span,
                    "declared here", help="`state` keeps whole numbers and truth values")
    if any(isinstance(size, Dim) for size in type.shape):
        raise error("E0328", f"the shape of `{statement.name}` must be known before the file runs", statement.type.span,
                    f"this is `{type}`", notes=["a free dimension such as `batch` can differ from run to run"])
    path = f"{frame.path}.{statement.name}" if frame.path else statement.name
    if statement.name in frame.replaced:
        argument = frame.replaced[statement.name]
        value = types.check_value(c, frame, argument.value, statement.type, f"`{statement.name}`", argument.span)
        frame.names[statement.name] = value
        return
    fresh = path not in c.module.variables
    if fresh and frame.kind == "model" and statement.name in frame.names:
        raise error("E0203", f"`{statement.name}` is defined twice", statement.name_span, "again here")
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
    if prior is not None and statement.prior is not None and path not in c.current.believed:
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
        if node is None:
            raise error("E0329", f"{kind(value)} is no start value", span, f"this is {kind(value)}",
                        help="use a number, an initialiser such as `glorot_uniform`, or a distribution such as `normal(0, 0.02)`")
        if node.shape != type.shape:
            node = c.make(ops.broadcast_to, [node], [span], span, shape=type.shape)
        # A start value may read other variables: it then starts from what they start from.
        leaves = [leaf for leaf in c.graph.order([node]) if leaf.op.name in ("variable", "input", "size")]
        starts: dict[Node, Node] = {}
        for leaf in leaves:
            start = c.graph.outputs.get(f"initial/{leaf.attrs.get('path')}") if leaf.op.name == "variable" else None
            if start is None:
                raise error("E0330", "a start value cannot depend on the data or on the step", span, "here",
                            help="use a number or an initialiser")
            starts[leaf] = start
        return c.graph.substitute([node], starts)[0]


def _state(c: Context, frame: Frame, statement: syntax.State) -> None:
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
    if frame.kind == "optimizer":
        path, which = f"{frame.path}/{statement.name}/{frame.subject}", "optimizer"
    else:
        path, which = (f"{frame.path}.{statement.name}" if frame.path else statement.name), "state"
    fresh = path not in c.module.variables
    if not statement.drawn and not isinstance(rule, Tensor | int | float | Dim):
        raise error("E0329", f"{kind(rule)} is no start value", statement.value.span, f"this is {kind(rule)}",
                    help=f"`state {statement.name}: ... init {statement.value.span.text}` uses an initialiser")
    variable = c.variable(path, which, type, statement.span)
    if fresh:
        c.graph.outputs[f"initial/{path}"] = start_value(c, frame, rule, type, statement.value.span)
    frame.names.pop(statement.name, None)
    frame.states[statement.name] = StateSlot(path, type, c.moving.get(path, variable.node), labels)


def _update(c: Context, frame: Frame, statement: syntax.Update) -> None:
    name = statement.target.name
    value = expressions.evaluate(c, frame, statement.value)
    if value is POISON:
        return
    if frame.kind == "optimizer" and name == "theta":
        node = to_node(c, value, "float")
        theta = frame.names["theta"].node
        if node is None or node.shape != theta.shape:
            raise error("E0326", "the update gives theta another shape", statement.value.span,
                        f"theta is `{theta.type}`, this is {kind(value)}")
        frame.names["theta"] = Tensor(node, frame.names["theta"].labels)
        return
    slot = frame.states.get(name)
    if slot is None:
        raise error("E0230", f"`{name}` is not a state", statement.target.span, "`<-` updates a state",
                    help=f"write `{name} = ...` for a name" if name in frame.names else f"declare it: `state {name} = 0`")
    node = to_node(c, value)
    if node is not None and node.dtype != slot.type.dtype and not (node.dtype == "float" and slot.type.dtype != "float"):
        node = ops.cast(node, dtype=slot.type.dtype)
    if node is None or node.dtype != slot.type.dtype:
        raise error("E0302", f"the state `{name}` takes a value of type `{slot.type.dtype}`", statement.value.span,
                    f"this is {kind(value)}")
    if node.shape != slot.type.shape:
        if node.rank:
            raise error("E0331", f"the state `{name}` is `{slot.type}` and keeps its shape", statement.value.span,
                        f"this is `{node.type}`")
        node = ops.broadcast_to(node, shape=slot.type.shape)
    slot.value = node
    if frame.kind == "optimizer" or frame.training:
        c.read["move"] = None
        c.moving[slot.path] = node


# --- control


def _if(c: Context, frame: Frame, statement: syntax.If) -> None:
    asked = dict(c.read)
    c.read.pop("training", None)
    condition = expressions.evaluate(c, frame, statement.condition)
    by_pass = "training" in c.read
    c.read = {**asked, **c.read}
    if condition is POISON:
        for name in _assigned(statement.yes + statement.no):
            frame.names[name] = POISON
        return
    before = frame.conditional
    if isinstance(condition, bool):
        if by_pass:
            frame.conditional = before or statement.condition.span
        try:
            run(c, frame, statement.yes if condition else statement.no)
        finally:
            frame.conditional = before
        return
    condition = expressions.runtime_condition(condition, statement.condition.span)
    frame.conditional = before or statement.condition.span
    try:
        _both(c, frame, condition, statement)
    finally:
        frame.conditional = before


def _both(c: Context, frame: Frame, condition: Tensor, statement: syntax.If) -> None:
    """A run-time `if`: both sides are computed from the same start, and each name and state takes the side chosen."""
    names, values = dict(frame.names), {name: slot.value for name, slot in frame.states.items()}
    moving = dict(c.moving)
    sides: list[tuple[dict[str, Value], dict[str, Node], dict[str, Node]]] = []
    for body in (statement.yes, statement.no):
        run(c, frame, body)
        if frame.result is not None:
            raise error("E0231", "`return` cannot depend on a value of the run", statement.condition.span,
                        "decided while the file runs", help="assign to a name in both branches and return it after")
        sides.append((frame.names, {name: slot.value for name, slot in frame.states.items()}, c.moving))
        frame.names, c.moving = dict(names), dict(moving)
        for name, slot in frame.states.items():
            if name in values:
                slot.value = values[name]
    (yes, yes_states, yes_moving), (no, no_states, no_moving) = sides
    for name in {**yes, **no}:
        if name in yes and name in no:
            frame.names[name] = expressions.choose(c, frame, condition, yes[name], no[name], statement.span)
        # a name of one side only is unknown after the `if`
    for name, slot in frame.states.items():
        start = values.get(name, slot.value)
        a, b = yes_states.get(name, start), no_states.get(name, start)
        slot.value = a if a is b else ops.where(condition.node, a, b)
    for path in {**yes_moving, **no_moving}:
        start = moving.get(path, c.module.variables[path].node)
        a, b = yes_moving.get(path, start), no_moving.get(path, start)
        c.moving[path] = a if a is b else ops.where(condition.node, a, b)


def _for(c: Context, frame: Frame, statement: syntax.For) -> None:
    over = expressions.evaluate(c, frame, statement.over)
    if over is POISON:
        return
    if isinstance(over, Range):
        bounds = [plain(v) if isinstance(v, int | Dim) else v for v in (over.start, over.stop)]
        for bound in bounds:
            if isinstance(bound, bool) or not isinstance(bound, int):
                raise error("E0308", "a `for` unrolls: its bounds are whole numbers known before the file runs",
                            statement.over.span, f"this bound is {kind(bound)}",
                            help="`scan t over time` runs over a dimension of the data")
        turns: Sequence[Any] = range(*bounds)
    elif isinstance(over, list | tuple):
        turns = over
    else:
        raise error("E0232", f"`for` runs over a range or a list, not {kind(over)}", statement.over.span,
                    f"this is {kind(over)}", help="write `0..n`, or a list such as `[64, 128]`")
    if len(turns) > c.max_nodes:
        raise too_many(len(turns), c.max_nodes, statement.over.span)
    start = len(c.graph)
    for turn, value in enumerate(turns):
        frame.names[statement.name] = value
        run(c, frame, statement.body)
        if frame.result is not None:
            return
        if turn == 0:  # sizes are computed before anything unrolls: one turn tells what all will cost
            total = start + max(1, len(c.graph) - start) * len(turns)
            if total > c.max_nodes:
                raise too_many(total, c.max_nodes, statement.over.span)


def _scan(c: Context, frame: Frame, statement: syntax.Scan) -> None:
    raise error("E0233", "`scan` is not in this version", statement.span, "a recurrence over a dimension",
                help="`for i in 0..n` unrolls a fixed number of turns")


def _return(c: Context, frame: Frame, statement: syntax.Return) -> None:
    if frame.kind not in ("fn", "layer"):
        raise error("E0234", f"`return` cannot stand in {calls._article(frame.kind)}", statement.span, "here",
                    help="a model gives values by `output NAME = ...`" if frame.kind == "model" else None)
    frame.result = [expressions.evaluate(c, frame, expr) for expr in statement.values]


def _input(c: Context, frame: Frame, statement: syntax.Input | syntax.Target) -> None:
    if frame.kind != "model":
        raise error("E0235", "inputs and targets belong to a model", statement.span, "declared here",
                    help="a layer takes its values in its second list")
    if statement.name in frame.names:
        raise error("E0203", f"`{statement.name}` is defined twice", statement.name_span, "again here")
    type, labels = types.declared(c, frame, statement.type, free=True)
    drawn = statement.drawn_from if isinstance(statement, syntax.Input) else None
    if drawn is not None and not frame.predicting:
        rule = expressions.evaluate(c, frame, drawn)
        if calls.is_maker(rule):
            rule = calls.call(c, frame, rule, [], drawn.span)
        if not isinstance(rule, Distributed):
            raise error("E0236", f"`~` takes a distribution, not {kind(rule)}", drawn.span, f"this is {kind(rule)}")
        like = Tensor(ops.broadcast_to(ops.constant(c.graph, 0, type.dtype), shape=type.shape), labels)
        c.read["predicting"] = None
        frame.names[statement.name] = calls.draw(c, frame, rule, like, statement.span)
        return
    leaf = ops.make_input(c.graph, statement.name, type)
    known = c.module.targets if isinstance(statement, syntax.Target) else c.module.inputs
    if leaf not in known:
        known.append(leaf)
    frame.names[statement.name] = Tensor(leaf, labels)


def _term(c: Context, frame: Frame, statement: syntax.Term) -> None:
    if frame.kind != "model":
        raise error("E0235", f"`{statement.kind}` belongs to a model", statement.span, "declared here")
    likelihood.term(c, frame, statement)


def _tilde(c: Context, frame: Frame, statement: syntax.Tilde) -> None:
    if frame.kind not in ("model", "layer"):
        raise error("E0235", "`~` belongs to a model or layer", statement.span, "written here")
    left = expressions.evaluate(c, frame, statement.left)
    right = expressions.evaluate(c, frame, statement.distribution)
    if poisoned(left, right):
        return
    likelihood.observe(c, frame, left, right, statement.left.span, statement.distribution.span)


_EXECUTE: dict[type, Any] = {
    syntax.Assign: _assign, syntax.Typed: _typed, syntax.Param: _param, syntax.State: _state, syntax.Update: _update,
    syntax.If: _if, syntax.For: _for, syntax.Scan: _scan, syntax.Return: _return, syntax.Input: _input,
    syntax.Target: _input, syntax.Term: _term, syntax.Tilde: _tilde,
}
