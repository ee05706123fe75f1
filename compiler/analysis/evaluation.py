"""Figures over a data set, from their value on one batch.

`mean`, `sum`, `min`, `max` that take away the batch run over all rows; the rest is done once on their results. In the
graph: a *part* is a node without the batch dimension made from a node with it. It must be a sum, a least or a greatest
(or a count of rows, which adds up), so that the parts of batches combine; a matrix product over rows is a sum too. What
is computed from parts alone is the closing arithmetic, and is written once more over totals.

It is the text that says what is a part: figures are split before the graph is simplified (`log(mean(exp(x)))` would be
a `logsumexp` of all rows), but for those made of derivatives, once these are expanded.
"""

from __future__ import annotations

from collections.abc import Sequence

from .. import ops
from ..diagnostics import CompileError, error
from ..ir.graph import Node
from ..ir.module import Module, Variable
from ..ir.reachable import dependent, needed
from ..ir.rebuild import rebuild
from ..ir.types import Dim, TensorType, names_of
from ..source import Span
from . import epoch
from .aggregation import REDUCES, additive, cancels, counts, kinds, measured
from .batch_mixing import Rows, has_pairs, made_a_vector, meetings, times

KEPT, OF_ALL = "evaluate/rows/part/", "evaluate/rows/value/"  # what is kept of all rows, and figures of it


def split(module: Module, *, derived: bool) -> None:
    """Turns each root `whole/NAME` into roots `evaluate/part/K` and `evaluate/value/NAME`, and notes how the figures of
    an epoch are put together. `derived`: derivatives are expanded; figures made of them wait for it. E0503, E0504.
    """
    totals: dict[tuple[Node, bool], Node] = {}
    for root, value in module.roots("whole/").items():
        if not derived and _derives(module, value):
            continue
        figure = root.removeprefix("whole/")
        if figure in module.metrics and keeps(module, value):
            _keep(module, figure, value)
            del module.graph.outputs[root]
            continue
        try:
            closed = _closed(module, figure, value, totals)
        except CompileError:
            if derived and not module.withhold(figure):
                raise
            continue  # simplified it may do: an index that is not negative needs no number of rows
        module.graph.outputs[f"evaluate/value/{figure}"] = closed
        del module.graph.outputs[root]
    for root, value in module.roots("loss", "metric/").items():
        figure = root.removeprefix("metric/")
        waits = any(one.name == figure for one in module.supplied) and f"whole/{figure}" in module.graph.outputs
        if waits or not module.trains or figure in module.epoch:  # it may have to be left out
            continue
        if derived or not _derives(module, value):
            epoch.split(module, root, figure)


def keeps(module: Module, value: Node) -> bool:
    """Whether a figure reads all rows of a data set at once, by `all_rows`."""
    return any(node.op.name == "all_rows" for node in module.graph.order([value]))


def _keep(module: Module, name: str, value: Node) -> None:
    """The roots of a figure that reads all rows at once: what of them is kept, `evaluate/rows/part/K`, and its value
    over all of it. E0504 where it reads other rows too."""
    outputs = module.graph.outputs
    known = {node: root for root, node in module.roots(KEPT).items()}
    for node in needed([value], lambda node: () if node.op.name == "all_rows" else node.inputs):
        if node.op.name == "input":
            raise error(
                "E0504",
                f"`{name}` cannot be accumulated over batches",
                node.span or value.span,
                "rows of this are read beside those that `all_rows` keeps",
                help=f"keep them too: `all_rows({node.attrs['name']})`",
            )
        if node.op.name == "all_rows" and node not in known:
            if not node.rank or not additive(node.shape[0], module.rows):
                raise error(
                    "E0504",
                    f"`{name}` cannot be accumulated over batches",
                    node.span or value.span,
                    f"this is `{node.type}`: its rows are not along the first dimension",
                    help="`all_rows` keeps a value for each row: `all_rows(score)` of `float[batch]`",
                )
            known[node] = f"{KEPT}{len(known)}"
            outputs[known[node]] = node
    outputs[f"{OF_ALL}{name}"] = value


def _derives(module: Module, value: Node) -> bool:
    return any(node.op.name in (*ops.PLACEHOLDERS, "custom") for node in module.graph.order([value]))


def _closed(module: Module, name: str, value: Node, totals: dict[tuple[Node, bool], Node]) -> Node:
    """The closing arithmetic of a figure. New parts become roots; `totals` maps parts to the leaves of their totals."""
    rows = module.rows
    if not rows:
        return value
    order = module.graph.order([value])
    kind = kinds(order, rows)
    # A loss may compare the rows of a batch with each other, or with a value over all of them; it is that of batches.
    over_all = name in module.metrics
    met = meetings(order, rows) if over_all else {}
    exact = over_all and cancels(value, kind)
    taken = {
        node: None
        for node in order
        if kind[node] != "rows" and (any(kind[source] == "rows" for source in node.inputs) or counts(node, rows))
    }
    beyond = dependent(order, taken)  # a value of rows there needs two passes over the data
    sized = measured(order)
    closing = needed([value], lambda node: () if node in taken or kind[node] == "const" else node.inputs)
    if not over_all:
        reached = dict.fromkeys(closing)
        taken = {node: None for node in taken if node in reached}
        if kind[value] == "other" and any(_apart(node, rows) for node in taken) and not _by_mistake(order, rows):
            return _of_batches(module, value, totals)
    same = {node: "max" for node in closing if kind[node] == "const" and node in sized and not node.rank}
    parts: dict[Node, str] = dict.fromkeys(taken, "") | same
    for node in order:
        if over_all and kind[node] == "rows" and node in beyond:
            raise error(
                "E0503",
                f"`{name}` needs two passes over the data: a value over all rows goes back into each row",
                node.span or value.span,
                "computed for each row from a value over all rows",
                help="write it with sums: for a variance, mean(x^2) - mean(x)^2",
            )
        if node in parts and node not in same:
            parts[node] = _reduce(module, name, value, node, met)
    mapping = {part: _total(module, part, reduce, totals, exact) for part, reduce in parts.items()}
    if exact:
        module.exact[f"evaluate/value/{name}"] = None
    return rebuild(module.graph, [value], mapping)[0]


def _apart(part: Node, rows: Rows) -> bool:
    """Whether the values of a part do not combine, or are of pairs of rows, of which batches have not all."""
    return any(has_pairs(x, rows) for x in part.inputs) or _combines(part, rows) is None


def _by_mistake(order: Sequence[Node], rows: Rows) -> bool:
    """Whether pairs of rows come of a column and a vector, of which the broadcast of a deliberate `a[:, none]` with
    `b[none, :]` has neither."""
    pair = next((node for node in order if has_pairs(node, rows)), None)
    return pair is not None and any(x.rank < pair.rank for x in _operands(pair, rows))


def _of_batches(module: Module, value: Node, totals: dict[tuple[Node, bool], Node]) -> Node:
    """The mean of a loss over the batches, each weighed by its rows."""
    graph = module.graph
    count = ops.make_size(graph, Dim.name(module.rows[0]))
    sum_ = _total(module, value * ops.cast(count, dtype="float"), "sum", totals, False)
    return sum_ / ops.cast(_total(module, count, "sum", totals, False), dtype="float")


def _combines(part: Node, rows: Rows) -> str | None:
    """How the values of a part combine; None where they do not."""
    reduce = REDUCES.get(part.op.name)
    if part.op.name == "size" and additive(part.attrs["dim"], rows):
        reduce = "sum"
    return None if any(isinstance(size, Dim) for size in part.shape) else reduce


def _reduce(module: Module, name: str, value: Node, part: Node, met: dict[Node, Node]) -> str:
    """How the values of a part combine. E0504."""
    rows = module.rows
    reduce = _combines(part, rows)
    if reduce is None or part in met:
        pairs = (node for node in module.graph.order([part if part in met else value]) if has_pairs(node, rows))
        removed = (name for x in part.inputs for size in x.shape for name in names_of(size) if name in rows)
        batch = next(removed, rows[0])
        if (pair := next(pairs, None)) is not None:
            of = [name for size in pair.shape for name in names_of(size) if name in rows]
            meant = "`all_rows(z)`" if name in module.metrics else "`a[:, none]` and `b[none, :]`"
            raise error(
                "E0504",
                f"`{name}` cannot be accumulated over batches",
                pair.span or value.span,
                _combined(pair, rows),
                more=[(span, f"this is `{x.type}`") for x in _operands(pair, rows) if (span := _written(x, pair))],
                help=f"{made_a_vector(batch)}; pairs that are meant are of {meant}"
                if len(set(of)) == 1
                else "an evaluation that keeps a value of every row in memory makes all pairs: "
                "`all_rows(p)[:, none]` with `all_rows(q)[none, :]`",
            )
        if part in met:
            raise error(
                "E0504",
                f"`{name}` cannot be accumulated over batches",
                met[part].span or value.span,
                f"depends on which rows are in the batch (`{met[part].op.name}`)",
                help="a metric is over all rows: each may be computed from its own values alone",
            )
        raise error(
            "E0504",
            f"`{name}` cannot be accumulated over batches",
            part.span or value.span,
            f"`{batch}` is removed here",
            help=f"only sum, mean, min and max may remove `{batch}`",
        )
    return reduce


def _combined(pair: Node, rows: Rows) -> str:
    """What happens in a value of pairs of rows, in the types of what it is made of: it may stand inside a function of
    the library, whose own values nobody has written."""
    found = _operands(pair, rows)
    if len(found) != 2:
        return "each row is combined with every other one"
    one, other = (f"`{x.type}`" for x in found)
    return f"each row of {one} is combined with each of {other}"


def _operands(pair: Node, rows: Rows) -> list[Node]:
    """The values with rows that the expression of a value is given, where that is written in the text: in a function of
    the library it is what the call is given, of which a layer in the same statement may make one."""
    call = next((place for place in pair.place.chain() if _within(place.span, pair.span)), None)

    def same(node: Node) -> bool:
        inside = call in node.place.chain() if call is not None else node.place is pair.place
        return node is pair or (node.span == pair.span and inside)

    below = needed([pair], lambda node: node.inputs if same(node) else ())
    return [x for x in below if not same(x) and any(times(size, rows) for size in x.shape)]


def _within(part: Span | None, whole: Span | None) -> bool:
    """Whether a place in the text lies in another."""
    if part is None or whole is None or part.source is not whole.source:
        return False
    return whole.start <= part.start and part.end <= whole.end


def _written(x: Node, pair: Node) -> Span | None:
    """Where an operand is written: of what the same statement makes, the call that makes it."""
    if not _within(pair.span, x.span):
        return x.span
    around = pair.place.chain()
    return next((place.span for place in x.place.chain() if place not in around and place.span is not None), x.span)


def _total(module: Module, part: Node, reduce: str, totals: dict[tuple[Node, bool], Node], exact: bool) -> Node:
    """The leaf of a part's total; the part becomes a root."""
    if (part, exact) in totals:
        return totals[part, exact]
    number = len(module.reduces)
    module.reduces.append(reduce)
    module.graph.outputs[f"evaluate/part/{number}"] = part
    path = f"evaluate/total/{number}"
    leaf = ops.make_variable(module.graph, path, TensorType(part.dtype, part.shape))
    module.variables[path] = Variable(path, "total", leaf)
    if exact:
        module.exact.update(dict.fromkeys([f"evaluate/part/{number}", path]))
    totals[part, exact] = leaf
    return leaf
