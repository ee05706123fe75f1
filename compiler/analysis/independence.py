"""Whether a value treats the rows of another each by itself: which dimension of it counts them.

`jacobian(h, x, per = batch)` is one block for each row. It needs that row i of h move with row i of x alone; what
mixes rows (batch statistics, a product over the batch) is an error, not a wrong number. What has no derivative may mix.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence

from ..diagnostics import error
from ..ir.apart import Slices
from ..ir.body import Scanned, ScanView
from ..ir.graph import Graph, Node
from ..ir.op import NONE
from ..ir.reachable import dependent
from ..source import Span


def verify_rows(y: Node, x: Node, pairs: Sequence[tuple[int, int]], span: Span | None) -> None:
    """E0413 unless along each pair (dimension of y, dimension of x) y is computed row by row."""
    try:
        for ours, theirs in pairs:
            if _Rows(y.graph, [y], [x]).follow({x: theirs}).get(y, ours) != ours:
                raise _Mixed(y)
    except _Mixed as caught:
        raise error(
            "E0413",
            f"`{caught.node.op.name}` mixes the rows that `per` keeps apart",
            span,
            "rows are kept apart here",
            more=[(caught.node.span, "mixed here")],
            help="`stop_gradient(...)` holds what all rows share; without `per` it is the Jacobian of all rows by all"
            " rows",
        ) from None


class _Mixed(Exception):
    """Rows meet at a node."""

    def __init__(self, node: Node) -> None:
        super().__init__(node.op.name)
        self.node = node


class _Rows:
    """What lies between some leaves and roots of a graph, and counts in a derivative; in the iterations of scans
    too."""

    def __init__(self, graph: Graph, roots: Sequence[Node], leaves: Iterable[Node]) -> None:
        self.order = graph.order(roots)
        self.live: dict[Node, None] = dict.fromkeys(roots)  # what has a derivative's path to a root
        self.valued: dict[Node, None] = {}  # what the value of a function is made of that has a derivative of its own
        self.formal: dict[Node, Node] = {}  # of such a function: g and y, which have the rows of its value
        self.asked: dict[Node, set[int]] = {}  # of a scan: the results that count
        self.depends = dependent(self.order, leaves)
        for node in reversed(self.order):
            if node in self.live and node.op.jvp is not NONE:
                self.live.update(dict.fromkeys(_followed(node, self.depends)))
            if node in self.valued:
                self.valued.update(dict.fromkeys(node.inputs))
            if node.op.name == "custom":
                self.valued[node.inputs[0]] = None
                self.formal.update(dict.fromkeys(node.inputs[1:3], node.inputs[0]))
            if node.op.name == "result" and (node in self.live or node in self.valued):
                self.asked.setdefault(node.inputs[0], set()).add(node.attrs["index"])

    def follow(self, rows: Mapping[Node, int]) -> dict[Node, int]:
        """The dimension that counts the rows, of all values that have it from those of `rows`. _Mixed."""
        at = dict(rows)
        results: dict[Node, dict[int, int]] = {}
        for node in self.order:
            if node in self.formal and self.formal[node] in at:
                at[node] = at[self.formal[node]]
            if node in at or (node not in self.valued and (node not in self.live or node.op.jvp is NONE)):
                continue
            if node.op.name == "result":
                found = results.get(node.inputs[0], {}).get(node.attrs["index"])
                if found is not None:
                    at[node] = found
                continue
            given = [at.get(source) for source in node.inputs]
            if given.count(None) == len(given):
                continue
            if node.op.name == "scan":
                moves = [source in self.depends for source in node.inputs]
                results[node] = _of_results(ScanView(node), given, moves, self.asked.get(node, set()))
                continue
            axis = _axis(node, given)
            if isinstance(axis, int):
                at[node] = axis
            elif axis is not Slices.UNREAD:
                raise _Mixed(node)
        return at


def _of_results(scan: ScanView, given: Sequence[int | None], moves: Sequence[bool], asked: set[int]) -> dict[int, int]:
    """The dimension that counts the rows, of the results of a scan that are asked for. Every iteration takes them
    apart."""
    body, locals_ = scan.body, scan.body.locals()
    at: dict[int, int] = {}  # of what an iteration is given
    for part, axis in zip(scan.inputs, given, strict=True):
        if axis is None:
            continue
        if isinstance(part, Scanned):
            if axis == part.axis:
                raise _Mixed(scan.node)  # an iteration for each row
            axis -= axis > part.axis
        at[part.number] = axis
    moved, wanted = {number for number, flag in enumerate(moves) if flag}, set(asked)
    while True:  # a state counts where what counts reads it; it moves, and has rows, by the iteration before
        counted = sorted(wanted)
        iteration = _Rows(
            body.graph,
            [body.roots[number] for number in counted],
            [node for number, node in locals_.items() if number in moved],
        )
        found = iteration.follow({locals_[number]: axis for number, axis in at.items() if number in locals_})
        after = {number: found[body.roots[number]] for number in counted if body.roots[number] in found}
        before = len(wanted), len(moved), len(at)
        for state in scan.states:
            number = state.number
            if locals_.get(number) in iteration.live or locals_.get(number) in iteration.valued:
                wanted.add(number)
            if state.after in iteration.depends and number in wanted:
                moved.add(number)
            if number in after and at.setdefault(number, after[number]) != after[number]:
                raise _Mixed(state.after)
        if before == (len(wanted), len(moved), len(at)):
            break
    outside = {number: axis for number, axis in {**at, **after}.items() if number < len(scan.states)}
    outside.update(
        (emit.number, after[emit.number] + (emit.axis <= after[emit.number]))
        for emit in scan.emitted
        if emit.number in after
    )
    return {number: axis for number, axis in outside.items() if number in asked}


def _followed(node: Node, depends: Container[Node]) -> Sequence[Node]:
    """The operands by which rows may be mixed; of a function with its own derivative the rules that count."""
    if node.op.name != "custom":
        return node.inputs
    operands = node.inputs[3 : 3 + node.attrs["count"]]
    rules = node.inputs[3 + node.attrs["count"] :]
    return [node.inputs[0], *operands, *(rule for x, rule in zip(operands, rules, strict=True) if x in depends)]


def _axis(node: Node, given: Sequence[int | None]) -> int | Slices | None:
    """The dimension of the node that counts the rows, from those of its operands (None: it has nothing of them)."""
    at = [(number, axis) for number, axis in enumerate(given) if axis is not None]
    if node.op.name == "custom":
        count = node.attrs["count"]
        pairs = zip(given[3 : 3 + count], given[3 + count :], strict=True)  # an argument, and what flows back to it
        return given[0] if all(None in (a, b) or a == b for a, b in pairs) else None
    if node.op.apart is None:
        return None
    found = {node.op.apart(node, number, axis) for number, axis in at}
    read = found - {Slices.UNREAD} or found
    return read.pop() if len(read) == 1 else None
