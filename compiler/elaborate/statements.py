"""Statements: assignments, `<-`, `~`, inputs, losses and outputs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dlc.runtime.metadata import RESERVED

from .. import ops
from ..diagnostics import CompileError, Diagnostic, Problems, error
from ..ir.types import TypeProblem
from ..source import Span
from ..syntax import tree as syntax
from . import (
    assignments,
    builtins,
    calls,
    columns,
    control,
    expressions,
    indexing,
    likelihood,
    parameters,
    scan,
    support,
    types,
)
from .context import Context, located, poisoned, to_node
from .scope import Frame
from .values import POISON, Declared, Indexed, Instance, Reported, Tensor, Value, kind


def run(c: Context, frame: Frame, body: Sequence[syntax.Statement]) -> None:
    """Runs statements until one returns. Each statement's errors are kept, so that several are reported; when there are
    as many as a report has, the others would only take time."""
    errors: list[CompileError] = []
    kept: set[Diagnostic] = set()
    frame.bodies.append(body)
    try:
        for statement in body:
            if frame.result is not None or len(c.problems.errors) + len(kept) >= Problems.LIMIT:
                break
            try:
                execute(c, frame, statement)
            except CompileError as problem:
                if problem.code == "E0220":  # too large: going on would only take time
                    raise
                errors.append(problem)
                kept.update(problem.diagnostics)
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
        if c.seen is not None:
            _note(c, frame, statement)
    except TypeProblem as problem:
        raise located(problem, (), statement.span) from None
    except OverflowError:
        raise error("E0303", "a number is too large for an int of 64 bits", statement.span, "here") from None
    finally:
        # What no name was given to in its statement is numbered in the order of making.
        for instance in frame.unnamed:
            calls.settle_path(instance)
        frame.unnamed.clear()


def _note(c: Context, frame: Frame, statement: syntax.Statement) -> None:
    """What the names that a statement gave are, for an editor."""
    named: list[tuple[str, Span]] = []
    if isinstance(statement, syntax.Assign):
        bare = [target.value if isinstance(target, syntax.Index) else target for target in statement.targets]
        named = [(name.name, name.span) for name in bare if isinstance(name, syntax.Name)]
    elif isinstance(statement, syntax.Input | syntax.Target | syntax.Param | syntax.State | syntax.Typed):
        named = [(statement.name, statement.name_span)]
    elif isinstance(statement, syntax.Update):
        named = [(statement.target.name, statement.target.span)]
    for name, span in named:
        value = frame.names.get(name)
        if isinstance(value, Indexed) and value.entries:
            value = next(reversed(value.entries.values()))
        if name in frame.states:
            value = Tensor(frame.states[name].value, frame.states[name].labels)
        c.note(frame, span, value)


def poison(frame: Frame, body: Sequence[syntax.Statement]) -> None:
    """Names that broken statements would have made are poison: their uses stay silent."""
    for name in assignments.assigned(body):
        frame.names[name] = POISON
    for statement in body:
        if isinstance(statement, syntax.Return):
            frame.result = [POISON] * len(statement.values)


# --- assignment


def _assign(c: Context, frame: Frame, statement: syntax.Assign) -> None:
    if len(statement.values) == 1:
        value = expressions.evaluate(c, frame, statement.values[0])
        if len(statement.targets) == 1:
            return assign(c, frame, statement.targets[0], value)
        values = unpack(c, value, len(statement.targets), statement.values[0].span)
    else:
        if len(statement.values) != len(statement.targets):
            raise error(
                "E0227",
                f"{len(statement.targets)} names for {len(statement.values)} values",
                statement.span,
                "the numbers differ",
            )
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
        items = (
            [] if found != count else [Tensor(indexing.take(value.node, i, 0), value.names[1:]) for i in range(count)]
        )
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
        hides(c, frame, name, target.span, value)
    frame.loops.discard(name)
    frame.names[name] = value


def _may_assign(frame: Frame, name: str, span: Span) -> None:
    if name in frame.states or (name == "theta" and frame.kind == "optimizer"):
        what = "a state" if name in frame.states else "what the rule updates"
        raise error(
            "E0228",
            f"`{name}` is {what}: `=` would hide it",
            span,
            "assigned here",
            help=f"write `{name} <- ...` to update it",
        )


WORDS = {
    syntax.Fn: "function",
    syntax.Layer: "layer",
    syntax.Distribution: "distribution",
    syntax.Optimizer: "optimizer",
}


def hides(c: Context, frame: Frame, name: str, span: Span, value: Value = None) -> None:
    """A warning where a new name hides a function, a layer, ...; the library knows what it does."""
    if frame.unit.standard or frame.kind == "distribution":  # an equation is a part of it: `q.mean`
        return
    found = c.library.find(name, frame.unit)
    if name in builtins.BUILTINS or found:
        what = WORDS.get(type(found[0]), "model") if found else "function"
        now = value.declaration if isinstance(value, Instance | Declared) else None
        c.problems.warn(
            error(
                "W0201",
                f"the name `{name}` hides the {what} of that name",
                span,
                f"from here on it is this {WORDS.get(type(now), 'value')}",
                help="choose another name, or ignore this",
            )
        )


def _typed(c: Context, frame: Frame, statement: syntax.Typed) -> None:
    value = expressions.evaluate(c, frame, statement.value)
    checked = types.check_value(c, frame, value, statement.type, f"`{statement.name}`", statement.value.span)
    assign(c, frame, syntax.Name(statement.name_span, statement.name), checked)


def _local(c: Context, frame: Frame, statement: syntax.Local) -> None:
    declaration = statement.declaration
    home = frame.above()
    value = Declared(declaration, frame.unit, home)
    assign(c, frame, syntax.Name(declaration.name_span, declaration.name), value)
    home.names[declaration.name] = value  # one that applies itself never ends: that is said of it


# --- states


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
            raise error(
                "E0326",
                "the update changes the shape of theta",
                statement.value.span,
                f"theta is `{theta.type}`, this is {kind(value)}",
            )
        frame.names["theta"] = Tensor(node, frame.names["theta"].labels)
        return
    slot = frame.states.get(name)
    if slot is None and frame.names.get(name) is POISON:
        return
    if slot is None:
        raise error(
            "E0230",
            f"`{name}` is not a state",
            statement.target.span,
            "`<-` updates a state",
            help=f"write `{name} = ...` for a name" if name in frame.names else f"declare it: `state {name} = 0`",
        )
    node = parameters.fitting(c, value, name, slot.type, statement.value.span)
    if frame.kind != "optimizer" and not frame.training and slot.scan is None:
        return  # a state of a layer never moves outside training
    slot.value = node
    if slot.path:
        c.read["move"] = None
        c.moving[slot.path] = node


# --- the rest


def _return(c: Context, frame: Frame, statement: syntax.Return) -> None:
    if frame.kind not in ("fn", "layer"):
        raise error(
            "E0234",
            f"`return` cannot be used in {calls.article(frame.kind)}",
            statement.span,
            "here",
            help="a model returns values with `output NAME = ...`" if frame.kind == "model" else None,
        )
    if frame.scan is not None:
        raise error(
            "E0373",
            "`return` cannot be used in a scan",
            statement.span,
            "in an iteration",
            help="return after the scan: its states have their last values there",
        )
    frame.result = [expressions.evaluate(c, frame, expr) for expr in statement.values]


def _input(c: Context, frame: Frame, statement: syntax.Input | syntax.Target) -> None:
    if frame.kind != "model":
        raise error(
            "E0235",
            "inputs and targets belong to a model",
            statement.span,
            "declared here",
            help="a layer takes its values in its second list",
        )
    if statement.name in frame.names or statement.name in frame.states:
        raise error("E0203", f"`{statement.name}` is defined twice", statement.name_span, "again here")
    if statement.name in RESERVED:
        raise error(
            "E0245",
            f"`{statement.name}` is a reserved name: every compiled file has it",
            statement.name_span,
            "declared here",
            notes=["reserved names are " + ", ".join(RESERVED)],
            help="give it another name",
        )
    _decided(frame, statement, "an input")
    hides(c, frame, statement.name, statement.name_span)
    columns.widen(frame, statement)
    type, labels = types.declared(c, frame, statement.type, free=True)
    columns.declare(c, frame, statement, type)
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
        raise error(
            "E0373",
            f"{what} cannot be in a scan",
            statement.span,
            "in an iteration",
            more=[(frame.scan.statement.name_span, "the iterations of this scan")],
            help="collect the iterations, `y[:, t] = ...`, and write it after the scan",
        )
    if frame.undecided is not None:
        raise error(
            "E0246",
            f"{what} cannot depend on a run-time value",
            statement.span,
            "written here",
            more=[(frame.undecided, "decided at run time")],
            help="choose the value instead: `loss = a if condition else b`",
        )


def _term(c: Context, frame: Frame, statement: syntax.Term) -> None:
    if frame.kind == "distribution" and statement.kind != "loss":
        frame.shown = expressions.evaluate(c, frame, statement.value)
        return
    if frame.kind != "model":
        raise error("E0235", f"`{statement.kind}` belongs to a model", statement.span, "declared here")
    _decided(frame, statement, f"`{statement.kind}`")
    likelihood.term(c, frame, statement)


def _left(c: Context, frame: Frame, statement: syntax.Tilde) -> Value:
    """What is distributed. In other languages `a ~ normal(0, 1)` declares a."""
    if not isinstance(statement.left, syntax.Name):
        return expressions.evaluate(c, frame, statement.left)
    declared = f"`param {statement.left.name}: float ~ {statement.distribution.span.text}`"
    return expressions.named(c, frame, statement.left, f"`~` needs a value; a parameter with a prior is {declared}")


def _tilde(c: Context, frame: Frame, statement: syntax.Tilde) -> None:
    if frame.kind not in ("model", "layer"):
        raise error("E0235", "`~` belongs to a model or layer", statement.span, "written here")
    _decided(frame, statement, "`~`")
    left = _left(c, frame, statement)
    right = expressions.evaluate(c, frame, statement.distribution)
    if poisoned(left, right):
        return
    likelihood.observe(c, frame, left, right, statement.left.span, statement.distribution.span)


_EXECUTE: dict[type, Any] = {
    syntax.Assign: _assign,
    syntax.Typed: _typed,
    syntax.Update: _update,
    syntax.Param: parameters.param,
    syntax.State: parameters.state,
    syntax.If: lambda *of: control.if_(*of),
    syntax.For: lambda *of: control.for_(*of),
    syntax.Scan: lambda *of: scan.scan(*of),
    syntax.Checkpoint: lambda *of: control.checkpoint(*of),
    syntax.Local: _local,
    syntax.Return: _return,
    syntax.Input: _input,
    syntax.Target: _input,
    syntax.Term: _term,
    syntax.Tilde: _tilde,
}
