"""Losses that take turns: which statements of a train block are one pass, and what each pass moves.

    minimize critic_loss    over critic.*    using adam(1e-4)
    minimize generator_loss over generator.* using adam(1e-4) every 5 from 5

Neighbouring statements of one loss that run in the same iterations are one pass, with one update. The text of the model
is one graph for all passes: each is computed apart, with a `step` and a `key` of its own, from the parameters of that
moment.
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from ..diagnostics import error
from ..ir.graph import Node
from ..ir.module import Turn
from ..syntax import tree as syntax
from . import expressions
from .context import Context
from .scope import Frame

if TYPE_CHECKING:
    from .train import Plan


@dataclass
class Pass:
    """The statements that make one update."""

    turn: Turn
    objective: str
    statements: list[syntax.Minimize] = field(default_factory=list)


def objective_name(statement: syntax.Minimize) -> str:
    if not isinstance(statement.objective, syntax.Name):
        raise error(
            "E0510",
            "`minimize` takes the name of a loss",
            statement.objective.span,
            "this is an expression",
            help="`minimize loss`, or the NAME of `loss NAME = ...` in the model",
        )
    return statement.objective.name


def passes(c: Context, plan: Plan) -> list[Pass]:
    """The passes of a train block, in the order of the text. E0510, E0514."""
    found: list[Pass] = []
    for statement in plan.minimizes:
        name = objective_name(statement)
        every = _count(c, plan.frame, statement.every, "every")
        turn = Turn(name, every or 1, _count(c, plan.frame, statement.start, "from") or every or 1, plan.block)
        if not found or found[-1].turn != turn:
            found.append(Pass(turn, name))
        found[-1].statements.append(statement)
    if len(found) == 1:  # one that is alone is reported as `loss`, with its terms beside it
        found[0].turn = replace(found[0].turn, loss="loss")
    alone = found[0].statements[0]
    turned = alone.every or alone.start
    if len(found) == 1 and turned is not None:
        raise error(
            "E0514",
            "a loss that is alone takes no turns",
            turned.span,
            "in the other iterations nothing would be trained",
            help="`every` is for one of several losses; `using accumulate(adam(1e-3), turns = 4)` updates less often",
        )
    return found


def _count(c: Context, frame: Frame, expr: syntax.Expr | None, word: str) -> int | None:
    if expr is None:
        return None
    value = expressions.static_int(c, frame, expr, f"`{word}`")
    if not 1 <= value < 2**31:
        raise error("E0514", f"`{word}` takes an integer above 0", expr.span, f"this is {value}")
    return value


def reported(block: syntax.Train) -> bool:
    """Whether the sum of all losses is reported, as `loss`: not where others take turns."""
    names = {
        m.objective.name for m in block.body if isinstance(m, syntax.Minimize) and isinstance(m.objective, syntax.Name)
    }
    return len(names) < 2 or "loss" in names


def moves(c: Context, layers: Mapping[str, Node], losses: Sequence[Node]) -> list[dict[str, Node]]:
    """Which states of layers each pass moves: those whose new value takes nothing of the data but what the loss of the
    pass is computed from anyway. What none computes moves in the first."""
    found: list[dict[str, Node]] = []
    order = c.graph.order(layers.values())
    for loss in losses:
        inside = set(c.graph.order([loss]))
        apart: set[Node] = set()  # takes data that the loss does not
        shared: set[Node] = set()  # is made of what the loss is made of
        for node in order:
            if node.op.name == "input":
                apart.add(node)
            elif node.inputs and node in inside:
                shared.add(node)
            else:
                apart.update([node] if any(source in apart for source in node.inputs) else [])
                shared.update([node] if any(source in shared for source in node.inputs) else [])
        found.append({path: node for path, node in layers.items() if node in shared and node not in apart})
    for path, node in layers.items():
        if not any(path in moved for moved in found):
            found[0][path] = node
    return found


def begun(c: Context, known: Container[str]) -> dict[str, str]:
    """The optimizer states, but the `known` ones, that begin as a parameter is when their train block does, with that
    parameter. E0528 for one that begins as something else made of parameters, which only the first block can have."""
    found = {}
    for path, (node, span) in c.made_of.items():
        if path not in known and c.module.variables[path].kind == "optimizer":
            if node.op.name != "variable":
                raise error(
                    "E0528",
                    f"in a later train block `{path}` cannot begin as it does in the first",
                    span,
                    "computed from a parameter",
                    help="a state of an optimizer begins as a constant or as theta itself: `state slow = theta`",
                )
            found[path] = node.attrs["path"]
    return found
