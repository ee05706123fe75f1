"""Forward mode through functions that state their own derivative, a rule of reverse mode."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from operator import add

from .. import ops
from ..diagnostics import CompileError, error
from ..ir.graph import Node
from ..ir.reachable import needed
from ..ops.derivative import needing, put
from .reverse import gradients


def forward(node: Node, tangents: Sequence[Node | None]) -> Node | None:
    """The tangent of a `custom` node, from those of its inputs; None for zero.

    The transpose of the reverse rule: with Jᵀ g = rule(g), J t is the derivative of Σ t · rule(g) by g. E0415 if
    the rule is not linear in g, so that there is no such transpose.
    """
    _, formal_g, formal_y, *rest = node.inputs
    count, name = node.attrs["count"], node.attrs["name"]
    moved = [(rule, t) for rule, t in zip(rest[count:], tangents[3 : 3 + count], strict=True) if t is not None]
    if not moved:
        return None
    graph = node.graph
    formal_ts = [ops.make_formal(graph, t.type) for _, t in moved]
    inside, around = _within([rule for rule, _ in moved], (formal_g, formal_y))
    # What the rules read, as leaves: a small graph.
    outer = {node: ops.make_formal(graph, node.type) for node in around}
    rules = put([rule for rule, _ in moved], {formal_g: formal_g, **outer}, inside, plain=True)
    back: Node | None = None
    if formal_g in inside:
        sums = [ops.reduce_sum(rule * t, axes=range(rule.rank)) for rule, t in zip(rules, formal_ts, strict=True)]
        try:
            [back] = gradients(reduce(add, sums), [formal_g])
        except CompileError:  # only through what has no derivative, as round(g)
            back = formal_g
    if back is None:
        return None
    if formal_g in graph.order([back]):
        raise error(
            "E0415",
            f"the derivative given for `{name}` has no forward mode",
            node.span,
            "used here",
            notes=["its rule is not linear in what flows back"],
            help="`grad` and `vjp` take it; `jvp`, `hvp` and `hessian` need a rule that is a multiple of g",
        )
    given = {formal: node for node, formal in outer.items()}
    given.update(zip(formal_ts, [t for _, t in moved], strict=True))
    return put([back], {**given, formal_y: node})[0]


def _within(roots: Sequence[Node], formals: Sequence[Node]) -> tuple[dict[Node, None], dict[Node, None]]:
    """The nodes of rules that need a formal value (and those values), and what else these read but constants."""
    needs = needing(formals)

    def below(node: Node) -> Sequence[Node]:
        if node not in needs:
            return ()
        return node.inputs[:1] if node.op.name == "custom" else node.inputs

    order = needed(roots, below)
    return (
        dict.fromkeys(node for node in order if node in needs),
        dict.fromkeys(node for node in order if node not in needs and node.op.name != "constant"),
    )
