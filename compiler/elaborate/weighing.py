"""Weights of rows and of classes: the loss's means over rows become weighted means.

    weights:       where(y == 1, 5.0, 1.0)
    class_weights: balanced

A loss is made of sums over rows and of numbers of rows; with weights each row counts as its weight in both, so that
mean(l) becomes sum(w * l) / sum(w). Where every weight is 0 that is 0 / 1: such a batch moves nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
from dlc.runtime.observed import CLASSES

from .. import ops
from ..analysis.aggregation import additive, counts, kinds
from ..diagnostics import did_you_mean, error
from ..ir.graph import Node
from ..ir.rebuild import rebuild
from ..ir.types import Dim, Size, divide, names_of
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
        weight = c.make(ops.mul, [weight, other], [span, place], place)
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
    graph, row = c.graph, weight.shape[0]
    rows = str(row)
    of = kinds(graph.order([loss]), (rows,))
    weight = ops.cast(weight, dtype="float")
    none = ops.eq(ops.reduce_sum(ops.abs_(weight), axes=(0,), keepdims=False), 0.0)
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
            each = divide(node.inputs[0].attrs["dim"], row)
            assert each is not None  # each term of the size has the rows as a factor
            with graph.like(node):
                mapping[node] = _whole(c, weight, each) + ops.cast(none, dtype="float")
        elif any(of[source] == "rows" for source in node.inputs) or counts(node, (rows,)):
            with graph.like(node):  # what is drawn as one call stays one
                mapping[node] = _sum(node, weight, row, loss, span)
        else:
            stack += [source for source in node.inputs if source not in seen]
            seen.update(node.inputs)
    return rebuild(graph, [loss], mapping)[0]


def _whole(c: Context, weight: Node, each: Size) -> Node:
    """The sum of the weights where every row counts `each` times."""
    if any(name in c.module.rows for name in names_of(each)):  # with every row of another dimension
        pairs = ops.broadcast_to(ops.reshape(weight, shape=(*weight.shape, 1)), shape=(*weight.shape, each))
        return ops.reduce_sum(pairs, axes=(0, 1), keepdims=False)
    if each != 1:
        weight = weight * ops.cast(ops.make_size(c.graph, each), dtype="float")
    return ops.reduce_sum(weight, axes=(0,), keepdims=False)


def _sum(node: Node, weight: Node, row: Any, loss: Node, span: Span) -> Node:
    """A sum over rows, each times its weight. E0545 for what is no such sum."""
    if node.op.name == "reduce_sum" and node.dtype == "float":
        [x], axes = node.inputs, node.attrs["axes"]
        along = [axis for axis, size in enumerate(x.shape) if isinstance(size, Dim) and str(row) in size.names()]
        if len(along) == 1 and x.shape[along[0]] == row and along[0] in axes:
            shape = tuple(row if axis == along[0] else 1 for axis in range(x.rank))
            return ops.reduce_sum(x * ops.reshape(weight, shape=shape), axes=axes, keepdims=node.attrs["keepdims"])
    raise error(
        "E0545",
        "this loss cannot be weighed row by row",
        span,
        "weighed here",
        more=[(node.span or loss.span, f"`{node.op.name}` removes `{row}`")],
        help=f"weights count in sums and means of a value `float[{row}, ...]`; of others write the weighted mean in "
        "the model: `loss = sum(w * l) / sum(w)`",
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
    return ops.gather(table, ops.reshape(label, shape=target.shape[:1]), axis=0)


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
    labels = {leaf.attrs["name"]: leaf for leaf in c.module.targets if _is_label(c, leaf, rows)}
    wanted = setting.on.span.text if setting is not None and setting.on is not None else None
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


def _is_label(c: Context, leaf: Node, rows: tuple[str, ...]) -> bool:
    """Whether a target has one class for each row."""
    one = (
        bool(leaf.shape) and leaf.shape[0] in [Dim.name(name) for name in rows] and all(n == 1 for n in leaf.shape[1:])
    )
    return one and (leaf.dtype in ("int", "bool") or _count(c, leaf) is not None)


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
