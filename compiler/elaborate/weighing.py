"""Weights of rows and of classes: the loss's means over rows become weighted means.

    weights:       where(y == 1, 5.0, 1.0)
    class_weights: balanced

A loss is made of sums over rows and of numbers of rows; with weights each row counts as its weight in both, so that
mean(l) becomes sum(w * l) / sum(w). Where every weight is 0 that is 0 / 1: such a batch moves nothing. Weights may
have further dimensions, `float[batch, time]`: then each element of a row counts as its own.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
from dlc.runtime.observed import CLASSES

from .. import ops
from ..analysis.aggregation import additive, counts, kinds
from ..diagnostics import CompileError, did_you_mean, error
from ..ir.graph import Node
from ..ir.rebuild import rebuild
from ..ir.types import Dim, Size, divide, names_of, product
from ..source import Span
from ..syntax import tree as syntax
from .context import Context
from .likelihood import Pass
from .values import kind, plain

if TYPE_CHECKING:
    from .train import Plan


def apply(c: Context, plan: Plan, passes: Iterable[Pass]) -> None:
    """Weighs the losses of passes by the weights of a plan. E0545."""
    if not plan.weights:
        return
    weight, span = plan.weights[0]
    for other, place in plan.weights[1:]:
        rank = max(weight.rank, other.rank)
        both = [_long(node, rank) for node in (weight, other)]
        weight = c.make(ops.mul, both, [span, place], place)
    found = False
    for each in {id(one): one for one in passes}.values():
        for number, (name, node, prior) in enumerate(each.losses):
            with c.graph.at(span=span):
                made = node if prior else _weighed(c, node, weight, span)
            found = found or made is not node
            each.losses[number] = name, made, prior
    if not found:
        raise error(
            "E0545",
            "no loss is a mean or a sum over rows",
            span,
            "nothing to weigh",
            help="weights count in `mean(...)` and `sum(...)` over rows, and in `y ~ ...`",
        )


def _weighed(c: Context, loss: Node, weight: Node, span: Span) -> Node:
    """A loss in which each row counts as its weight."""
    graph, rows = c.graph, str(weight.shape[0])
    of = kinds(graph.order([loss]), (rows,))
    weight = ops.cast(weight, dtype="float")
    none = ops.eq(_total(ops.abs_(weight)), 0.0)
    mapping: dict[Node, Node] = {}
    stack, seen = [loss], {loss}
    while stack:
        node = stack.pop()
        if of[node] == "const":
            continue
        if (
            node.op.name == "cast"
            and counts(node.inputs[0], (rows,))
            and additive(node.inputs[0].attrs["dim"], (rows,))
        ):
            each = divide(node.inputs[0].attrs["dim"], product(weight.shape))
            if each is None:  # each term of the size has the rows as a factor, but not the elements of a row
                raise _refused(node, weight, loss, span, f"counts `{node.inputs[0].attrs['dim']}`")
            with graph.like(node):
                mapping[node] = _whole(c, weight, each) + ops.cast(none, dtype="float")
        elif any(of[source] == "rows" for source in node.inputs) or counts(node, (rows,)):
            with graph.like(node):  # what is drawn as one call stays one
                mapping[node] = _sum(node, weight, loss, span)
        else:
            stack += [source for source in node.inputs if source not in seen]
            seen.update(node.inputs)
    return rebuild(graph, [loss], mapping)[0]


def _long(weight: Node, rank: int) -> Node:
    """Weights with dimensions of 1 behind theirs."""
    return ops.reshape(weight, shape=(*weight.shape, *[1] * (rank - weight.rank)))


def _total(x: Node) -> Node:
    return ops.reduce_sum(x, axes=tuple(range(x.rank)), keepdims=False)


def _whole(c: Context, weight: Node, each: Size) -> Node:
    """The sum of the weights where everything that has a weight counts `each` times."""
    if any(name in c.module.rows for name in names_of(each)):  # with every row of another dimension
        return _total(ops.broadcast_to(_long(weight, weight.rank + 1), shape=(*weight.shape, each)))
    if each != 1:
        weight = weight * ops.cast(ops.make_size(c.graph, each), dtype="float")
    return _total(weight)


def _sum(node: Node, weight: Node, loss: Node, span: Span) -> Node:
    """A sum over rows, each times its weight. E0545 for what is no such sum."""
    row, count = weight.shape[0], weight.rank
    if node.op.name == "reduce_sum" and node.dtype == "float":
        [x], axes = node.inputs, node.attrs["axes"]
        along = [axis for axis, size in enumerate(x.shape) if isinstance(size, Dim) and str(row) in size.names()]
        first = along[0]
        weighed = range(first, first + count)
        if len(along) == 1 and x.shape[first : first + count] == weight.shape and set(weighed) <= set(axes):
            each = ops.reshape(weight, shape=tuple(n if axis in weighed else 1 for axis, n in enumerate(x.shape)))
            return ops.reduce_sum(x * each, axes=axes, keepdims=node.attrs["keepdims"])
        if count > 1:
            summed = ", ".join(map(str, x.shape))
            raise _refused(node, weight, loss, span, f"adds up a value for each of `[{summed}]`")
    raise _refused(node, weight, loss, span, f"`{node.op.name}` removes `{row}`")


def _refused(node: Node, weight: Node, loss: Node, span: Span, found: str) -> CompileError:
    """E0545."""
    inside = ", ".join(map(str, weight.shape))
    each = f"of a value `float[{inside}, ...]`"
    return error(
        "E0545",
        "this loss cannot be weighed row by row" if weight.rank == 1 else "this loss has no value for each weight",
        span,
        "weighed here" if weight.rank == 1 else f"one weight for each of `[{inside}]`",
        more=[(node.span or loss.span, found)],
        help=f"weights count in sums and means {each}; of others write the weighted mean in the model: "
        "`loss = sum(w * l) / sum(w)`"
        if weight.rank == 1
        else f"weights count in sums and means {each} over all of these dimensions at once, as in `mean(l)`; one for "
        f"each row is `weights: mean(w, axis = {list(range(1, weight.rank)) if weight.rank > 2 else 1})`",
    )


# --- classes


def class_weights(c: Context, setting: syntax.Setting | None, value: Any) -> Node:
    """The weight of each row by its class. `value`: a list of numbers, or "balanced". E0543, E0544."""
    span = setting.value.span if setting is not None else None
    target, classes = _classes(c, setting, value)
    if isinstance(value, str):
        table = _balanced(c, target, classes)
    else:
        if classes is not None and len(value) != classes:
            raise error(
                "E0544",
                f"`class_weights:` has {len(value)} weights for {classes} classes",
                span,
                f"one for each value of `{target.attrs['name']}`",
            )
        table = ops.constant(c.graph, np.asarray([float(x) for x in value]), "float")
    label = ops.cast(target, dtype="int")
    shape = target.shape[:1] if _one_each(target) else target.shape
    return ops.gather(table, ops.reshape(label, shape=shape), axis=0)


def check(value: Any, span: Span | None) -> Any:
    """The setting `class_weights`: E0544 for what is neither weights nor `balanced`."""
    numbers = isinstance(value, list | tuple) and bool(value)
    if value == "balanced" or value is None:
        return value
    if numbers:
        value = [plain(x) if isinstance(x, int) else x for x in value]
        numbers = all(isinstance(x, int | float) and not isinstance(x, bool) and 0 <= x < np.inf for x in value)
    if not numbers:
        raise error(
            "E0544",
            "`class_weights:` takes a list of numbers, none negative, or `balanced`",
            span,
            f"this is {kind(value)}" if span else "",
            notes=[] if span else [f"found {value!r}"],
            help="`class_weights: [1, 5]`: one for each class, in the order of their numbers",
        )
    return value


def _classes(c: Context, setting: syntax.Setting | None, value: Any) -> tuple[Node, int | None]:
    """The target whose values are classes, and how many there are, where that is known. E0543."""
    span = setting.value.span if setting is not None else None
    rows = c.module.rows
    targets = [leaf for leaf in c.module.targets if _has_classes(c, leaf, rows)]
    wanted = setting.on.span.text if setting is not None and setting.on is not None else None
    single = [leaf for leaf in targets if _one_each(leaf)]  # before those with a class for each element of a row
    labels = {leaf.attrs["name"]: leaf for leaf in (targets if wanted else single or targets)}
    if wanted is not None and wanted not in labels:
        raise error(
            "E0543",
            f"there is no target `{wanted}` of classes",
            setting.on.span if setting is not None and setting.on is not None else span,
            "not known",
            notes=["targets of classes are " + (", ".join(labels) or "none")],
            help=did_you_mean(wanted, labels),
        )
    if wanted is None and len(labels) != 1:
        raise error(
            "E0543",
            "it is not clear which target has the classes" if labels else "no target has classes",
            span,
            "weights of classes",
            notes=["targets of classes are " + ", ".join(labels)] if labels else ["expected `target y: int[batch]`"],
            help=f"say which: `class_weights: ... on {next(iter(labels))}`"
            if labels
            else "`weights:` takes a number for each row",
        )
    target = labels[wanted or next(iter(labels))]
    known = _count(c, target)
    if known is None and isinstance(value, str):
        name = target.attrs["name"]
        raise error(
            "E0543",
            f"it is not known how many classes `{name}` has",
            span,
            "counted in each",
            more=[(target.span, "declared here")] if target.span is not None else [],
            help=f"say it: `target {name}: {target.type} in 0..10`",
        )
    return target, known


def _has_classes(c: Context, leaf: Node, rows: tuple[str, ...]) -> bool:
    """Whether a target has a class for each row, or for each element of a row."""
    of_rows = bool(leaf.shape) and leaf.shape[0] in [Dim.name(name) for name in rows]
    return of_rows and (leaf.dtype in ("int", "bool") or _count(c, leaf) is not None)


def _one_each(leaf: Node) -> bool:
    return all(n == 1 for n in leaf.shape[1:])


def _count(c: Context, leaf: Node) -> int | None:
    """How many classes a target has, counted from 0; None where nothing says it."""
    if leaf.dtype == "bool":
        return 2
    name = leaf.attrs["name"]
    if any(
        s.values is not None and s.part is None and set(s.values) <= {0, 1} for s in c.module.supports.get(name, {})
    ):
        return 2
    ends = c.module.whole_range(name)
    return ends[1] if ends is not None and ends[0] == 0 else None


def _balanced(c: Context, target: Node, classes: int | None) -> Node:
    """n / (k n_j) for class j, which n_j of the n rows of the training set have, where k classes occur (King and Zeng
    2001, as scikit-learn has it); 1 for one that does not occur there."""
    assert classes is not None
    path = CLASSES + target.attrs["name"]
    number = c.counter(path, (classes,))
    occurs = ops.gt(number, 0)
    total = ops.cast(ops.reduce_sum(number, axes=(0,), keepdims=False), dtype="float")
    present = ops.cast(ops.reduce_sum(ops.cast(occurs, dtype="int"), axes=(0,), keepdims=False), dtype="float")
    each = ops.cast(ops.maximum(number, 1), dtype="float")
    return ops.where(occurs, total / (present * each), 1.0)


__all__ = ["apply", "check", "class_weights"]
