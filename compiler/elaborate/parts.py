"""Metrics over a data set, from their value on one batch.

`mean`, `sum`, `min`, `max` that take away the batch run over all rows; the rest is done once on their results. In the graph:
a *part* is a node without the batch dimension made from a node with it. It must be a sum, a least or a greatest (or a count
of rows, which adds up), so that the parts of batches combine; a matrix product over rows is a sum too. What is computed from
parts alone is the closing arithmetic, and is written once more over totals.
"""
from __future__ import annotations

from ..diagnostics import error
from ..graph import Node
from ..source import Span
from ..tensor_type import Dim, Size, TensorType, names_of
from .context import Context

REDUCES = {"reduce_sum": "sum", "reduce_max": "max", "reduce_min": "min", "matmul": "sum", "scatter_add": "sum"}


def has(size: Size, batch: str) -> bool:
    return batch in names_of(size)


def split(c: Context, name: str, value: Node, batch: str, span: Span | None, totals: dict[Node, Node]) -> Node:
    """The closing arithmetic of a metric. New parts are added to the module's roots; `totals` maps parts to totals."""
    inner: dict[Node, bool] = {}  # whether a part lies below: then the metric needs two passes over the data
    rows: dict[Node, bool] = {}  # whether it still has the batch in its shape, or is made of what has
    mapping: dict[Node, Node] = {}
    for node in c.graph.order([value]):
        here = any(has(size, batch) for size in node.shape)
        from_rows = any(rows[source] for source in node.inputs)
        below = any(inner[source] for source in node.inputs)
        counts = node.op.name == "size" and has(node.attrs["dim"], batch)
        if here and below:
            raise error("E0503", f"`{name}` needs two passes over the data: a value over all rows goes back into each row", span,
                        "computed for each row from a value over all rows",
                        help="write it by sums: for a variance, mean(x^2) - mean(x)^2")
        rows[node], inner[node] = here, below
        if not here and (from_rows or counts):
            mapping[node] = _total(c, name, node, batch, span, totals)
            inner[node] = True
    return c.substitute(value, mapping)


def _total(c: Context, name: str, part: Node, batch: str, span: Span | None, totals: dict[Node, Node]) -> Node:
    if part in totals:
        return totals[part]
    reduce = REDUCES.get(part.op.name)
    if part.op.name == "size" and _additive(part.attrs["dim"], batch):
        reduce = "sum"
    if reduce is None or any(isinstance(size, Dim) for size in part.shape):
        raise error("E0504", f"`{name}` cannot be put together from batches", span or part.span,
                    f"`{part.op.name}` takes away `{batch}` here",
                    help=f"only sum, mean, min and max may take away `{batch}`")
    number = len(c.module.reduces)
    c.module.reduces.append(reduce)
    c.graph.outputs[f"evaluate/part/{number}"] = part
    total = c.variable(f"evaluate/total/{number}", "total", TensorType(part.dtype, part.shape)).node
    totals[part] = total
    return total


def _additive(dim: Size, batch: str) -> bool:
    """Whether a size of two batches together is the sum of both: each term has the batch exactly once."""
    return isinstance(dim, Dim) and all(
        sum(1 for atom in monomial if atom == batch) == 1 and all(isinstance(atom, str) for atom in monomial)
        for monomial, _ in dim.terms
    )


