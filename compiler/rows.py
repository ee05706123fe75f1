"""Whether a value treats the rows of another each by itself: which dimension of it counts them.

`jacobian(h, x, per = batch)` is one block for each row. It needs that row i of h move with row i of x alone; what
mixes rows (batch statistics, a product over the batch) is an error, not a wrong number. What has no derivative may mix.
"""
from __future__ import annotations

from collections.abc import Mapping, Sequence

from .diagnostics import CompileError, error
from .graph import Node
from .ops.registry import NONE, pointwise
from .source import Span
from .tensor_type import product

# Operations on each element that have no derivative, or a rule of their own.
ELEMENTWISE = ("where", "sign", "floor", "ceil", "round", "floordiv", "eq", "ne", "lt", "le", "gt", "ge", "not", "and",
               "or", "stop_gradient", "broadcast_to", "trilu")
POOLS = ("max_pool", "avg_pool", "max_unpool", "max_select", "avg_unpool")  # of each image and channel by itself
ALONG = ("cumsum", "take_along", "put_along")  # one dimension, the attribute `axis`
REDUCTIONS = ("reduce_sum", "reduce_prod", "reduce_max", "reduce_min", "logsumexp", "reduce_sum_square")


def verify_rows(y: Node, x: Node, pairs: Sequence[tuple[int, int]], span: Span | None) -> None:
    """E0413 unless along each pair (dimension of y, dimension of x) y is computed row by row."""
    order = y.graph.order([y])
    live = {y: None}  # what has a derivative's path to y
    valued: dict[Node, None] = {}  # what the value of a function is made of that has a derivative of its own
    formal: dict[Node, Node] = {}  # of such a function: g and y, which have the rows of its value
    depends = {x: None}
    for node in order:
        if any(source in depends for source in node.inputs):
            depends[node] = None
    for node in reversed(order):
        if node in live and node.op.jvp is not NONE:
            live.update(dict.fromkeys(_followed(node, depends)))
        if node in valued:
            valued.update(dict.fromkeys(node.inputs))
        if node.op.name == "custom":
            valued[node.inputs[0]] = None
            formal.update(dict.fromkeys(node.inputs[1:3], node.inputs[0]))
    for ours, theirs in pairs:
        at: dict[Node, int] = {x: theirs}
        for node in order:
            if node in formal and formal[node] in at:
                at[node] = at[formal[node]]
            if node in at or (node not in valued and (node not in live or node.op.jvp is NONE)):
                continue
            given = [at.get(source) for source in node.inputs]
            if given.count(None) == len(given):
                continue
            found = _axis(node, given)
            if found is None:
                raise _mixed(node, span)
            at[node] = found
        if at.get(y, ours) != ours:
            raise _mixed(y, span)


def _followed(node: Node, depends: Mapping[Node, None]) -> Sequence[Node]:
    """The operands by which rows may be mixed; of a function with its own derivative the rules that count."""
    if node.op.name != "custom":
        return node.inputs
    operands = node.inputs[3 : 3 + node.attrs["count"]]
    rules = node.inputs[3 + node.attrs["count"] :]
    return [node.inputs[0], *operands,
            *(rule for x, rule in zip(operands, rules, strict=True) if x in depends)]


def _mixed(node: Node, span: Span | None) -> CompileError:
    return error(
        "E0413", f"`{node.op.name}` mixes the rows that `per` takes each by itself", span, "rows are told apart here",
        more=[(node.span, "mixed here")],
        help="`stop_gradient(...)` holds what all rows share; without `per` it is the Jacobian of all rows by all rows",
    )


def _axis(node: Node, given: Sequence[int | None]) -> int | None:
    """The dimension of the node that counts the rows, from those of its operands (None: it has nothing of them)."""
    name, inputs, attrs, rank = node.op.name, node.inputs, node.attrs, node.rank
    at = [(number, axis) for number, axis in enumerate(given) if axis is not None]
    number, axis = at[0]
    source = inputs[number]
    if node.op.jvp is pointwise or name in ELEMENTWISE:
        return _agreed([axis + rank - inputs[i].rank for i, axis in at])
    if name == "custom":
        count = attrs["count"]
        pairs = zip(given[3 : 3 + count], given[3 + count :], strict=True)  # an argument, and what flows back to it
        return given[0] if all(None in (a, b) or a == b for a, b in pairs) else None
    if name == "concat":
        return None if axis == attrs["axis"] % rank else _agreed([axis for _, axis in at])
    if name in REDUCTIONS:
        gone = [a % source.rank for a in attrs["axes"]]
        return None if axis in gone else axis if attrs["keepdims"] else axis - sum(a < axis for a in gone)
    if name in ("softmax", "log_softmax"):
        return None if axis == attrs["axis"] % rank else axis
    if name in ("standardize", "inverse_deviation"):
        return None if axis == rank - 1 else axis
    if name in ALONG:
        return None if axis == attrs["axis"] % rank else _agreed([axis for _, axis in at])
    if name in POOLS:
        return _agreed([axis for _, axis in at]) if axis < 2 else None
    if name in ("conv", "conv_input"):  # images by the same weights
        return 0 if at == [(0, 0)] else None
    if name == "transpose":
        return int(list(attrs["perm"]).index(axis))
    if name in ("slice", "unslice"):
        whole = (source if name == "slice" else node).shape[axis]
        return axis if (attrs["starts"][axis], attrs["stops"][axis], attrs["steps"][axis]) == (0, whole, 1) else None
    if name == "reshape":
        before = product(source.shape[:axis])
        same = [i for i in range(rank)
                if node.shape[i] == source.shape[axis] and product(node.shape[:i]) == before]
        return same[0] if same else None
    if name == "matmul":
        return _agreed([_of_product(node, i, axis) for i, axis in at])
    if name == "gather":
        chosen = attrs["axis"] % source.rank
        return None if axis == chosen else axis if axis < chosen else axis + inputs[1].rank - 1
    if name == "pick":
        return None if axis == rank else axis
    return None


def _agreed(found: Sequence[int | None]) -> int | None:
    return found[0] if found and all(axis == found[0] for axis in found) else None


def _of_product(node: Node, number: int, axis: int) -> int | None:
    """Rows of a, columns of b and leading dimensions stay apart; what is summed over does not."""
    source, transposed = node.inputs[number], node.attrs["tb" if number else "ta"]
    if axis < source.rank - 2:
        return axis + node.rank - source.rank
    last = (axis == source.rank - 1) != transposed
    if number == 0:
        return None if last else node.rank - 2
    return node.rank - 1 if last else None
