"""Metrics over a data set, from their value on one batch.

`mean`, `sum`, `min`, `max` that take away the batch run over all rows; the rest is done once on their results. In the
graph: a *part* is a node without the batch dimension made from a node with it. It must be a sum, a least or a greatest
(or a count of rows, which adds up), so that the parts of batches combine; a matrix product over rows is a sum too. What
is computed from parts alone is the closing arithmetic, and is written once more over totals. Derivatives have been
expanded by then.
"""
from __future__ import annotations

from . import ops
from .diagnostics import error
from .graph import Node
from .module import Module, Variable
from .tensor_type import Dim, Size, TensorType, names_of

REDUCES = {"reduce_sum": "sum", "reduce_max": "max", "reduce_min": "min", "matmul": "sum", "scatter_add": "sum"}


def has(size: Size, batch: str) -> bool:
    return batch in names_of(size)


def split(module: Module) -> None:
    """Turns each root `whole/NAME` into roots `evaluate/part/K` and `evaluate/value/NAME`. E0503, E0504."""
    totals: dict[Node, Node] = {}
    for name, value in module.roots("whole/").items():
        metric = name.removeprefix("whole/")
        module.graph.outputs[f"evaluate/value/{metric}"] = _closed(module, metric, value, totals)
        del module.graph.outputs[name]


def _closed(module: Module, name: str, value: Node, totals: dict[Node, Node]) -> Node:
    """The closing arithmetic of a metric. New parts become roots; `totals` maps parts to the leaves of their totals."""
    batch = module.batch
    if batch is None:
        return value
    inner: dict[Node, bool] = {}  # whether a part lies below: then the metric needs two passes over the data
    rows: dict[Node, bool] = {}  # whether its shape has the batch
    mapping: dict[Node, Node] = {}
    for node in module.graph.order([value]):
        here = any(has(size, batch) for size in node.shape)
        from_rows = any(rows[source] for source in node.inputs)
        here = here or (from_rows and node.dtype == "results")  # what a scan gives is told result by result
        below = any(inner[source] for source in node.inputs)
        counts = node.op.name == "size" and has(node.attrs["dim"], batch)
        if here and below:
            raise error(
                "E0503", f"`{name}` needs two passes over the data: a value over all rows goes back into each row",
                node.span or value.span, "computed for each row from a value over all rows",
                help="write it by sums: for a variance, mean(x^2) - mean(x)^2",
            )
        rows[node], inner[node] = here, below
        if not here and (from_rows or counts):
            mapping[node] = _total(module, name, value, node, batch, totals)
            inner[node] = True
    return module.graph.substitute([value], mapping)[0]


def _total(module: Module, name: str, value: Node, part: Node, batch: str, totals: dict[Node, Node]) -> Node:
    if part in totals:
        return totals[part]
    reduce = REDUCES.get(part.op.name)
    if part.op.name == "size" and _additive(part.attrs["dim"], batch):
        reduce = "sum"
    if reduce is None or any(isinstance(size, Dim) for size in part.shape):
        pairs = (node for node in module.graph.order([value]) if sum(has(size, batch) for size in node.shape) > 1)
        if (pair := next(pairs, None)) is not None:
            raise error("E0504", f"`{name}` cannot be put together from batches", pair.span or value.span,
                        f"this is `{pair.type}`: each row meets every other one",
                        help=f"a column [{batch}, 1] and a vector [{batch}] broadcast to all pairs of rows: "
                             "`z[:, 0]` makes a vector of a column")
        raise error("E0504", f"`{name}` cannot be put together from batches", part.span or value.span,
                    f"`{batch}` is taken away here",
                    help=f"only sum, mean, min and max may take away `{batch}`")
    number = len(module.reduces)
    module.reduces.append(reduce)
    module.graph.outputs[f"evaluate/part/{number}"] = part
    path = f"evaluate/total/{number}"
    leaf = ops.make_variable(module.graph, path, TensorType(part.dtype, part.shape))
    module.variables[path] = Variable(path, "total", leaf)
    totals[part] = leaf
    return leaf


def _additive(dim: Size, batch: str) -> bool:
    """Whether a size of two batches together is the sum of both: each term has the batch exactly once."""
    return isinstance(dim, Dim) and all(
        sum(1 for atom in monomial if atom == batch) == 1 and all(isinstance(atom, str) for atom in monomial)
        for monomial, _ in dim.terms
    )


