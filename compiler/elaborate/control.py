"""Control: `if` decided now or by the running file, `for`, unrolled."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Callable, Sequence
from typing import Any

from .. import ops
from ..diagnostics import error
from ..ir.graph import Node
from ..ir.types import Dim
from ..source import Span
from ..syntax import tree as syntax
from . import arithmetic, expressions, scan, statements
from .context import Context, poisoned, too_many
from .scope import Frame
from .values import POISON, Indexed, Range, Tensor, Value, kind


def condition_of(c: Context, frame: Frame, expr: syntax.Expr) -> tuple[Value, bool]:
    """The value of a condition, and whether it can differ between the passes."""
    asked = dict(c.read)
    c.read.pop("training", None)
    c.read.pop("predicting", None)
    value = expressions.evaluate(c, frame, expr)
    by_pass = "training" in c.read or "predicting" in c.read
    c.read = {**asked, **c.read}
    return value, by_pass


def one(frame: Frame, by_pass: bool, place: Span, side: Callable[[], Value]) -> Value:
    """The side of a static `if`: where another pass may take the other one, nothing may be made."""
    before = frame.conditional
    if by_pass:
        frame.conditional = before or place
    try:
        return side()
    finally:
        frame.conditional = before


def both(
    c: Context,
    frame: Frame,
    condition: Tensor,
    place: Span,
    span: Span,
    yes: Callable[[], Value],
    no: Callable[[], Value],
) -> tuple[Value, Value]:
    """A run-time `if`: both sides are computed from the same start, and each name and state takes the side chosen."""
    names, slots, moving = frame.names, frame.states, c.moving
    starts = {name: slot.value for name, slot in slots.items()}
    before = frame.conditional, frame.undecided
    frame.conditional, frame.undecided = before[0] or place, before[1] or place
    results: list[Value] = []
    seen: list[tuple[dict[str, Value], dict[str, Node], dict[str, Node]]] = []
    try:
        for side in (yes, no):
            # What a side changes is its own: names, indexed names, the values of states.
            frame.names = {name: Indexed(dict(v.entries)) if isinstance(v, Indexed) else v for name, v in names.items()}
            frame.states = dict(slots)
            changes: dict[str, Node] = {}
            c.moving = ChainMap(changes, moving)
            results.append(side())
            seen.append((frame.names, {name: slots[name].value for name in starts}, changes))
            for name, value in starts.items():
                slots[name].value = value
    finally:
        frame.names, frame.states, c.moving = names, slots, moving
        frame.conditional, frame.undecided = before
    (yes_names, yes_states, yes_moves), (no_names, no_states, no_moves) = seen
    for name in {**yes_names, **no_names}:  # a name of one side only is unknown after the `if`
        if name in yes_names and name in no_names:
            names[name] = choose(c, frame, condition, yes_names[name], no_names[name], span)
    with c.at(frame, span):
        for name in starts:
            a, b = yes_states[name], no_states[name]
            slots[name].value = a if a is b else ops.where(condition.node, a, b)
        for path in {**yes_moves, **no_moves}:
            start = moving.get(path) or c.module.variables[path].node
            a, b = yes_moves.get(path, start), no_moves.get(path, start)
            moving[path] = a if a is b else ops.where(condition.node, a, b)
    return results[0], results[1]


def runtime_condition(value: Value, span: Span) -> Tensor:
    """A condition that the running file decides: a bool scalar."""
    if not isinstance(value, Tensor) or value.node.dtype != "bool":
        raise error(
            "E0305",
            f"a condition is a boolean, not {kind(value)}",
            span,
            f"this is {kind(value)}",
            help="compare it with something: `x > 0`",
        )
    if value.node.rank:
        raise error(
            "E0306",
            "`if` takes one boolean, not one per element",
            span,
            f"this is `{value.node.type}`",
            help="`where(condition, a, b)` chooses per element; `any(...)` and `all(...)` reduce many to one",
        )
    return value


def choose(c: Context, frame: Frame, condition: Tensor, yes: Value, no: Value, span: Span) -> Value:
    """The value of a run-time `if`: both sides are computed and one is taken."""
    if yes is no:
        return yes
    if poisoned(yes, no):
        return POISON
    if type(yes) is type(no) and not isinstance(yes, Tensor | list | tuple | Indexed) and yes == no:
        return yes
    if isinstance(yes, tuple | list) and isinstance(no, tuple | list) and len(yes) == len(no):
        return type(yes)(choose(c, frame, condition, a, b, span) for a, b in zip(yes, no, strict=True))
    if isinstance(yes, Indexed) and isinstance(no, Indexed):
        return Indexed(
            {
                place: choose(c, frame, condition, value, no.entries[place], span)
                for place, value in yes.entries.items()
                if place in no.entries
            }
        )
    for value in (yes, no):
        if not isinstance(value, Tensor | int | float | Dim):
            raise error(
                "E0307",
                f"a run-time `if` cannot choose {kind(value)}",
                span,
                "depends on a run-time value",
                help="only tensors and numbers can be chosen while the file runs",
            )
    return arithmetic.elementwise(c, frame, ops.where, [condition, yes, no], span, (span, span, span))


def choice(c: Context, frame: Frame, expr: syntax.Choice) -> Value:
    """`a if condition else b`: the same as the statement, as an expression."""
    condition, by_pass = condition_of(c, frame, expr.condition)
    if condition is POISON:
        return POISON
    place = expr.condition.span
    if isinstance(condition, bool):
        taken = expr.yes if condition else expr.no
        return one(frame, by_pass, place, lambda: expressions.evaluate(c, frame, taken))
    condition = runtime_condition(condition, place)
    yes, no = both(
        c,
        frame,
        condition,
        place,
        expr.span,
        lambda: expressions.evaluate(c, frame, expr.yes),
        lambda: expressions.evaluate(c, frame, expr.no),
    )
    return choose(c, frame, condition, yes, no, expr.span)


def if_(c: Context, frame: Frame, statement: syntax.If) -> None:
    condition, by_pass = condition_of(c, frame, statement.condition)
    if condition is POISON:
        statements.poison(frame, (*statement.yes, *statement.no))
        return
    place = statement.condition.span
    if isinstance(condition, bool):
        taken = statement.yes if condition else statement.no
        one(frame, by_pass, place, lambda: statements.run(c, frame, taken))
        return
    condition = runtime_condition(condition, place)

    def side(body: Sequence[syntax.Statement]) -> None:
        statements.run(c, frame, body)
        if frame.result is not None:
            raise error(
                "E0231",
                "`return` cannot depend on a run-time value",
                place,
                "decided at run time",
                help="assign to a name in both branches and return it after",
            )

    both(c, frame, condition, place, statement.span, lambda: side(statement.yes), lambda: side(statement.no))


def for_(c: Context, frame: Frame, statement: syntax.For) -> None:
    over = expressions.evaluate(c, frame, statement.over)
    if poisoned(over):
        statements.poison(frame, [statement])
        return
    iterations = _iterations(statement, over)
    if len(iterations) > c.max_nodes:
        raise too_many(len(iterations), c.max_nodes, statement.over.span)
    if statement.name in frame.states:
        raise error(
            "E0228",
            f"`{statement.name}` is a state: the `for` would hide it",
            statement.name_span,
            "named here",
            help="give the loop variable another name",
        )
    scan.fresh(frame, statement.name, statement.name_span)
    frame.loops.discard(statement.name)
    start, found = len(c.graph), len(c.problems.errors)
    for iteration, value in enumerate(iterations):
        frame.names[statement.name] = value
        with c.within("turn", str(iteration), statement.span):
            statements.run(c, frame, statement.body)
        if frame.result is not None:
            return
        if len(c.problems.errors) > found:  # the other iterations would only say the same
            statements.poison(frame, [statement])
            return
        if iteration == 0:  # sizes are computed before anything unrolls: one iteration tells what all will cost
            total = start + max(1, len(c.graph) - start) * len(iterations)
            if total > c.max_nodes:
                raise too_many(total, c.max_nodes, statement.over.span)
    frame.loops.add(statement.name)


def _iterations(statement: syntax.For, over: Value) -> Sequence[Any]:
    if isinstance(over, list | tuple):
        return over
    if not isinstance(over, Range):
        raise error(
            "E0232",
            f"`for` runs over a range or a list, not {kind(over)}",
            statement.over.span,
            f"this is {kind(over)}",
            help="write `0..n`, or a list such as `[64, 128]`",
        )
    for bound in (over.start, over.stop):
        if isinstance(bound, bool) or not isinstance(bound, int):
            raise error(
                "E0308",
                "a `for` unrolls: its bounds are integers known before the file runs",
                statement.over.span,
                f"this bound is {kind(bound)}",
                help="`scan t over time` runs over a dimension of the data",
            )
    return range(int(over.start), int(over.stop))


def checkpoint(c: Context, frame: Frame, statement: syntax.Checkpoint) -> None:
    """Opens no scope: the nodes made inside carry the number of this run of the block."""
    c.blocks += 1
    with c.graph.at(block=c.blocks):
        statements.run(c, frame, statement.body)
