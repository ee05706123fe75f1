"""Where the rows of a batch meet: a value of pairs of rows, or one that depends on which rows are in the batch.

Taken batch by batch it is another value than over all rows, so no total is made of it.
"""

from __future__ import annotations

from collections.abc import Container, Sequence

from ..ir.apart import Slices
from ..ir.body import ScanView
from ..ir.graph import Node
from ..ir.reachable import dependent
from ..ir.types import Dim, Size, names_of, product

Rows = tuple[str, ...]  # the dimensions that count rows: mostly one, "batch"


def times(size: Size, rows: Rows) -> int:
    """How often rows are a factor of a size, at most."""
    if not isinstance(size, Dim) or not any(name in rows for name in names_of(size)):
        return 0
    return max(1, *(sum(atom in rows for atom in monomial) for monomial, _ in size.terms))


def has_pairs(node: Node, rows: Rows) -> bool:
    """Whether a value has elements for pairs of rows."""
    return sum(times(size, rows) for size in node.shape) > 1


def made_a_vector(batch: str) -> str:
    """What is mostly meant where rows are paired."""
    return (
        f"a column [{batch}, 1] and a vector [{batch}] broadcast to all pairs of rows: "
        "`z[:, 0]` makes a vector of a column"
    )


def meetings(order: Sequence[Node], rows: Rows, given: str = "input") -> dict[Node, Node]:
    """The values in which rows met, each with the node at which they did. `order`: inputs first. `given`: the leaves
    that hold data. Linear.

    Random numbers in the order of the batch are no meeting: `shuffle(z)` pairs any row with any other. A number that
    counts the rows of the batch (`arange(batch)`) is one, but for an index, which may find each row's own place.
    """
    data = dependent(order, [node for node in order if node.op.name == given])
    places: dict[Node, None] = {}  # an index computed from `arange(batch)`
    met: dict[Node, Node] = {}
    for node in order:
        operands = node.inputs[:-1] if node.op.index and len(node.inputs) > 1 else node.inputs
        counts = node.op.name == "arange" and any(times(size, rows) for size in node.shape)
        if counts or any(source in places for source in operands):
            places[node] = None
        before = next((met[source] for source in node.inputs if source in met), None)
        if before is not None:
            met[node] = before
        elif node in data and (has_pairs(node, rows) or _mixes(node, rows, data, places)):
            met[node] = node
    return {**{node: node for node in places}, **met}


def _mixes(node: Node, rows: Rows, data: Container[Node], places: Container[Node]) -> bool:
    name, attrs = node.op.name, node.attrs
    if name == "scan":
        return bool(times(attrs["length"], rows)) or _iterations_mix(ScanView(node), rows)
    if not node.inputs:
        return False
    source = node.inputs[0]
    along = [axis for axis, size in enumerate(source.shape) if times(size, rows)]
    if not along or source not in data:
        return False
    ways = [] if node.op.apart is None else [node.op.apart(node, 0, axis) for axis in along]
    if Slices.ACROSS in ways or Slices.PLACED not in ways:
        return Slices.ACROSS in ways
    if name in ("slice", "take_along"):
        return True
    if name == "gather":
        index = node.inputs[1]
        return index in data and index not in places
    if name == "reshape":
        return any(_moved(source, node, axis) for axis in along)
    return False


def apart(order: Sequence[Node], roots: Sequence[Node], rows: Rows) -> bool:
    """Whether no row of the roots depends on other rows, nor on how many there are: rows of several batches may then be
    computed in one. What it cannot tell it takes for a dependence. `order`: inputs first."""
    of_rows, mixed = _knowing(order, rows, "input", set())
    return not any(mixed[root] and of_rows[root] for root in roots)


def _iterations_mix(scan: ScanView, rows: Rows) -> bool:
    """Whether what an iteration leaves of rows depends on other rows: on a value that has none any more, as a mean over
    them, on how many there are, or on what has met. Such values may be states, too."""
    order = scan.body.graph.order(scan.body.roots)
    told: set[int] = set()  # states, without rows, that know of them
    while True:
        of_rows, mixed = _knowing(order, rows, "local", told)
        if any(mixed[root] and of_rows[root] for root in scan.body.roots):
            return True
        now = {state.number for state in scan.states if mixed[state.after]}
        if now <= told:
            return False
        told |= now


def _knowing(
    order: Sequence[Node], rows: Rows, given: str, told: Container[int]
) -> tuple[dict[Node, bool], dict[Node, bool]]:
    """Of each value whether it has rows, and whether it knows of other rows than its own: it is made of one that has
    none any more, of how many there are, or of what has met. `told`: the numbers of locals that know."""
    inside = meetings(order, rows, given)
    of_rows: dict[Node, bool] = {}
    mixed: dict[Node, bool] = {}
    for node in order:
        of_rows[node] = any(times(size, rows) for size in node.shape)
        if node.op.name == "local":
            mixed[node] = node.attrs["number"] in told
            continue
        from_rows = any(of_rows[source] for source in node.inputs)
        if node.op.name == "scan":
            of_rows[node] = from_rows
        gone = from_rows and not of_rows[node]
        counted = node.op.name == "size" and bool(times(node.attrs["dim"], rows))
        mixed[node] = gone or counted or node in inside or any(mixed[source] for source in node.inputs)
    return of_rows, mixed


def _moved(source: Node, result: Node, axis: int) -> bool:
    """Whether a reshape puts other elements along a dimension of the same size."""
    size, before = source.shape[axis], product(source.shape[:axis])
    places = [i for i, other in enumerate(result.shape) if other == size]
    return bool(places) and all(product(result.shape[:i]) != before for i in places)
