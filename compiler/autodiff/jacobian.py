"""Jacobians: every direction at once, by the mode that multiplies less.

Forward mode takes one direction for each element of x and gives columns, reverse mode one for each element of y and
gives rows. With `per` all rows of a batch share their directions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from .. import ops
from ..analysis.independence import verify_rows
from ..diagnostics import CompileError, error
from ..ir.graph import Graph, Node
from ..ir.types import Dim, Size, evaluate, names_of, product
from ..source import Span
from .batching import along, each_unit

Pairs = Sequence[tuple[int, int]]
Gradients = Callable[[Node, Sequence[Node]], list["Node | None"]]
Tangents = Callable[[Sequence[Node], dict[Node, Node]], list["Node | None"]]
FREE = 32  # what a free dimension is taken for when costs are compared


def jacobian(
    y: Node, x: Node, per: Pairs, gradients: Gradients, tangents: Tangents, max_nodes: int | None, span: Span | None
) -> Node | None:
    """dy/dx, of the shape of the pairs in `per`, then y's other dimensions, then x's.

    None where y does not depend on x. The mode with the fewer multiplications is kept, forward at a tie. E0411 if both
    y and x have a free dimension beside `per`, E0413 if `per` names rows that are mixed, E0220.
    """
    verify_rows(y, x, per, span)
    graph, rows, columns = y.graph, _count(y, [a for a, _ in per]), _count(x, [b for _, b in per])
    before = dict.fromkeys(graph.order([y]))
    made: list[Node] = []
    problem: CompileError | None = None
    for count, by_columns in ((columns, True), (rows, False)):
        if isinstance(count, Dim):
            continue
        try:
            found = (
                forward(y, x, per, tangents, max_nodes, span)
                if by_columns
                else reverse(y, x, per, gradients, max_nodes, span)
            )
        except CompileError as caught:
            problem = caught
            continue
        if found is None:
            return None
        made.append(found)
    if not made:
        raise problem or error(
            "E0411",
            "a Jacobian over a free dimension has no size that is known before the file runs",
            span,
            f"`{y.type}` by `{x.type}`",
            help="`per = batch` treats each row by itself; or give the dimensions numbers",
        )
    made.sort(key=lambda node: multiplications(graph, [node], without=before))  # stable: forward stays first
    for node in made[1:]:
        graph.discard(node)
    return made[0]


def _count(node: Node, fixed: Sequence[int]) -> Size:
    return product(size for i, size in enumerate(node.shape) if i not in fixed)


def forward(y: Node, x: Node, per: Pairs, tangents: Tangents, max_nodes: int | None, span: Span | None) -> Node | None:
    """Column by column."""
    direction = ops.make_formal(x.graph, x.type)
    [moved] = tangents([y], {x: direction})
    found = _every(moved, direction, [b for _, b in per], max_nodes, span)
    if found is None:
        return None
    ours, n = [a for a, _ in per], found.rank - y.rank
    order = [*(n + a for a in ours), *(n + i for i in range(y.rank) if i not in ours), *range(n)]
    return ops.transpose(found, perm=order)


def reverse(
    y: Node, x: Node, per: Pairs, gradients: Gradients, max_nodes: int | None, span: Span | None
) -> Node | None:
    """Row by row."""
    weights = ops.make_formal(y.graph, y.type)
    [sent] = gradients(ops.reduce_sum(y * weights, axes=range(y.rank)), [x])
    found = _every(sent, weights, [a for a, _ in per], max_nodes, span)
    if found is None:
        return None
    theirs, n = [b for _, b in per], found.rank - x.rank
    order = [*(n + b for b in theirs), *range(n), *(n + i for i in range(x.rank) if i not in theirs)]
    return ops.transpose(found, perm=order)


def _every(
    one: Node | None, formal: Node, fixed: Sequence[int], max_nodes: int | None, span: Span | None
) -> Node | None:
    """The derivative `one`, made for the direction `formal`, along each unit: the dimensions of `formal` that are not
    `fixed`, then its own. None where it is zero."""
    if one is None:
        return None
    units = each_unit(formal, fixed)
    assert isinstance(units.shape[0], int)
    [found] = along([one], {formal: units}, units.shape[0], max_nodes, span)
    if found is None:
        return None
    lead = tuple(size for i, size in enumerate(formal.shape) if i not in fixed)
    return ops.reshape(found, shape=(*lead, *one.shape))


def multiplications(graph: Graph, roots: Sequence[Node], *, without: dict[Node, None] | None = None) -> int:
    """What the roots and all they need multiply, by the `cost` of each operation; a free dimension counts as FREE."""
    total = 0
    for node in graph.order(roots):
        if without is None or node not in without:
            cost = node.op.cost(node)
            total += evaluate(cost, dict.fromkeys(names_of(cost), FREE))
    return total
