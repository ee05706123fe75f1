"""How the value of a figure on each of several batches makes its value over all of them.

kind(value)   "rows"    it has the batch dimension
              "const"   no row has a say in it
              "mean"    the batches' values, weighed by their rows
              "sum", "min", "max"    of the batches' values
              "other"   it must be worked out from values that have one of these kinds
"""

from __future__ import annotations

from collections.abc import Sequence

from ..ir.graph import Node
from ..ir.types import Dim, Size
from .batch_mixing import Rows, times

REDUCES = {"reduce_sum": "sum", "reduce_max": "max", "reduce_min": "min", "matmul": "sum", "scatter_add": "sum"}
COMBINED = ("mean", "sum", "min", "max")
TURNED = {"min": "max", "max": "min"}


def additive(size: Size, rows: Rows) -> bool:
    """Whether a size of two batches together is the sum of both: each term has the batch exactly once. The numbers of
    pairs of rows of different dimensions add up, too: to those of the pairs within batches."""
    return isinstance(size, Dim) and all(_once(monomial, rows) for monomial, _ in size.terms)


def _once(monomial: tuple[object, ...], rows: Rows) -> bool:
    found = [atom for atom in monomial if atom in rows]
    return bool(found) and len(set(found)) == len(found) and all(isinstance(atom, str) for atom in monomial)


def counts(node: Node, rows: Rows) -> bool:
    return node.op.name == "size" and bool(times(node.attrs["dim"], rows))


def kinds(order: Sequence[Node], rows: Rows) -> dict[Node, str]:
    """The kind of every value. `order`: inputs first."""
    found: dict[Node, str] = {}
    for node in order:
        given = [found[source] for source in node.inputs]
        from_rows = "rows" in given
        if any(times(size, rows) for size in node.shape) or (from_rows and node.dtype == "results"):
            found[node] = "rows"  # what a scan gives is told result by result
        elif from_rows:
            found[node] = REDUCES.get(node.op.name, "other")
        elif counts(node, rows):
            found[node] = "sum" if additive(node.attrs["dim"], rows) else "other"
        elif all(kind == "const" for kind in given):
            found[node] = "const"
        else:
            found[node] = _arithmetic(node, given, rows)
    return found


def _arithmetic(node: Node, given: list[str], rows: Rows) -> str:
    name = node.op.name
    converted = name == "cast" and node.dtype in ("float", node.inputs[0].dtype)
    if converted or (node.op.moves and len(given) == 1):
        return given[0]
    if name == "reduce_sum" and given[0] in ("mean", "sum"):
        return given[0]
    if name == "neg" and given[0] in COMBINED:
        return TURNED.get(given[0], given[0])
    if name in ("add", "sub"):
        if "mean" in given and all(kind in ("mean", "const") for kind in given):
            return "mean"
        return "sum" if given == ["sum", "sum"] else "other"
    if name == "mul" and "const" in given:
        [kind] = [kind for kind in given if kind != "const"]
        return kind if kind in ("mean", "sum") else "other"
    if name == "div" and given[0] in ("mean", "sum") and given[1] == "const":
        return given[0]
    if name == "div" and given == ["sum", "sum"] and _count(node.inputs[1], rows):
        return "mean"
    return "other"


def _count(node: Node, rows: Rows) -> bool:
    """Whether a sum is the number of rows, or so many for each."""
    while node.op.name in ("cast", "reshape"):
        node = node.inputs[0]
    return counts(node, rows)


def measured(order: Sequence[Node]) -> set[Node]:
    """What is made of the sizes of data (the length of sequences): the closing arithmetic, which has no data, takes it
    from the batches, where it is always the same. `order`: inputs first."""
    found: set[Node] = set()
    for node in order:
        free = node.op.name == "size" or any(isinstance(size, Dim) for size in node.shape)
        if free or any(source in found for source in node.inputs):
            found.add(node)
    return found


def region(value: Node, found: dict[Node, str]) -> list[Node]:
    """The closing arithmetic of a figure: its value and what that is made of, down to what has a kind or no row."""
    seen: dict[Node, None] = {}
    stack = [value]
    while stack:
        node = stack.pop()
        if node not in seen:
            seen[node] = None
            if found[node] == "other":
                stack += [source for source in node.inputs if found[source] != "rows"]
    return list(seen)


def cancels(value: Node, found: dict[Node, str]) -> bool:
    """Whether a figure is the difference of values over all rows, whose leading digits may be the same: a variance.
    It is worked out in float64, whatever the precision of the file."""
    return any(
        node.op.name in ("add", "sub") and found[node] == "other" and all(found[x] != "const" for x in node.inputs)
        for node in region(value, found)
    )
