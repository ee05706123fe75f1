"""`scan t over 0..n until CONDITION { }`: the iteration after which nothing changes any more, of each row by itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .. import ops
from ..diagnostics import error
from ..ir.graph import Node
from ..source import Span
from ..syntax import tree as syntax
from . import expressions
from .context import Context, to_node
from .scope import Frame
from .values import POISON, kind

if TYPE_CHECKING:
    from .scan import Emit, OpenScan


def condition(c: Context, frame: Frame, expr: syntax.Expr) -> Node | None:
    """The condition after an iteration: a boolean, or one for each row. E0305 otherwise."""
    value = expressions.evaluate(c, frame, expr)
    if value is POISON:
        return None
    node = to_node(c, value)
    if node is None or node.dtype != "bool":
        raise error(
            "E0305",
            f"`until` takes a boolean, not {kind(value)}",
            expr.span,
            f"this is {kind(value)}",
            help="compare it with something: `until word == 0`",
        )
    return node


def end(
    c: Context, frame: Frame, open_scan: OpenScan, until: Node, ends: dict[Node, Node], emits: dict[str, Emit]
) -> None:
    """Adds the state that says which rows have ended. Their states stay as they are then, and they collect zeros;
    single numbers, and states from outside the scan, stay once all rows have ended. E0388 for what has no such rows."""
    assert open_scan.statement.until is not None
    span, rows = open_scan.statement.until.span, until.shape
    own = {leaf: name for name, (leaf, _) in open_scan.slots.items()}
    with c.at(frame, span):
        ended = open_scan.state(c, ops.broadcast_to(ops.constant(c.graph, 0, "bool"), shape=rows))
        every = ops.all_(ended, range(len(rows))) if rows else ended

        def held(before: Node, after: Node, name: str, place: Span | None) -> Node:
            if not after.rank:
                return ops.where(every, before, after)
            if after.shape[: len(rows)] != rows:
                raise error(
                    "E0388",
                    f"`{name}` cannot end where `until` says",
                    place,
                    f"this is `{after.type}`",
                    more=[(span, f"decided for each element: this is `{until.type}`")],
                    help="the dimensions of the condition come first in what it ends; `until all(...)` ends all",
                )
            return ops.where(ops.reshape(ended, shape=(*rows, *(1,) * (after.rank - len(rows)))), before, after)

        for leaf, after in ends.items():
            if leaf in own:
                ends[leaf] = held(leaf, after, own[leaf], after.span) if after is not leaf else leaf
            elif after is not leaf:
                ends[leaf] = ops.where(every, leaf, after)
        for name, emit in emits.items():
            emit.node = held(ops.constant(c.graph, 0, emit.node.dtype), emit.node, name, emit.span)
        ends[ended] = ops.or_(ended, until)
