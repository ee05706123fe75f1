"""Expressions of the train block that have one value for each row of the data: `weights:`, `keep:`, `order:`,
`sampler: weighted(w)`, `bucket: length`.

    weights: where(y == 1, 5.0, 1.0)
    keep:    difficulty < 0.2 * epoch

They read what the model's text names, as far as it is made of inputs and targets alone: the same row has the same
value, whatever the parameters are and whichever rows are beside it.
"""

from __future__ import annotations

from collections.abc import Mapping

from .. import ops
from ..analysis.aggregation import kinds
from ..analysis.batch_mixing import meetings
from ..diagnostics import error
from ..ir.graph import Node
from ..ir.types import Dim, names_of
from ..syntax import tree as syntax
from . import expressions
from .context import Context, to_node
from .scope import Frame
from .values import POISON, Tensor, Value, kind

ONE_VALUE = {
    "weights": ("a number", "`weights: where(y == 1, 5.0, 1.0)`"),
    "keep": ("a boolean", "`keep: difficulty < 0.1 * epoch`"),
    "order": ("a number", "`order: difficulty`"),
    "bucket": ("a number", "`bucket: lengths`, or `bucket: sum(words > 0, axis = 1)`"),
    "sampler": ("a number", "`sampler: weighted(where(y == 1, 5.0, 1.0))`"),
}


def of_epoch(c: Context, frame: Frame, setting: syntax.Setting) -> Node | None:
    """`expression`, which may also read `epoch`, how many epochs are over."""
    return expression(c, frame, setting, {"epoch": Tensor(c.counter(EPOCH))})


def number(c: Context, frame: Frame, setting: syntax.Setting) -> Node | None:
    """The same as floats."""
    node = of_epoch(c, frame, setting)
    return node if node is None or node.dtype == "float" else ops.cast(node, dtype="float")


def expression(c: Context, frame: Frame, setting: syntax.Setting, given: Mapping[str, Value] = {}) -> Node | None:
    """The values of a setting, a vector along a dimension of rows (weights may have more dimensions, those of a row);
    None where its parts are in error already.

    `given`: names beside those of the model. E0540 for what is not one value for each row, E0541 for what is made of
    more than data, E0542 where the value of a row depends on others.
    """
    model, span = c.model, setting.value.span
    inner = Frame("train", frame.unit, "", frame.span, names={**given, **model.names, **frame.names})
    inner.dims, inner.number = dict(model.dims), model.number
    value = expressions.evaluate(c, inner, setting.value)
    if value is POISON:
        return None
    what, example = ONE_VALUE[setting.name]
    node = to_node(c, value)
    known = [leaf for leaf in (*c.module.inputs, *c.module.targets) if leaf not in c.module.drawn()]
    rows = [name for name in c.module.rows if any(Dim.name(name) in leaf.shape for leaf in known)]
    fits = node is not None and node.dtype == "bool" if setting.name == "keep" else node is not None
    shape = node.shape if node is not None else ()
    if setting.name == "weights" and node is not None:  # also of each element of a row
        while node.rank > 1 and node.shape[-1] == 1:
            node = ops.reshape(node, shape=node.shape[:-1])
        fits = not any(name in c.module.rows for size in node.shape[1:] for name in names_of(size))
        shape = node.shape[:1]
    if node is None or not fits or node.dtype == "key" or shape not in [(Dim.name(name),) for name in rows]:
        more = ", or `float[{}, ...]` for each element of a row" if setting.name == "weights" else ""
        raise error(
            "E0540",
            f"`{setting.name}:` takes {what} for each row" + (", or `optimizer`" if setting.name == "keep" else ""),
            span,
            f"this is {kind(value)}" if node is None else f"this is `{node.type}`",
            notes=[
                f"expected `{'bool' if setting.name == 'keep' else 'float'}[{name}]`{more.format(name)}"
                for name in rows
            ],
            help=f"write it with inputs and targets, as in {example}",
        )
    order = c.graph.order([node])
    met, of = meetings(order, c.module.rows), kinds(order, c.module.rows)
    met.update((each, each) for each in order if each.inputs and of[each] not in ("rows", "const"))
    mixed = next((met[each] for each in order if each in met), None)
    if mixed is not None:
        raise error(
            "E0542",
            f"with `{setting.name}:` the value of a row cannot depend on other rows",
            span,
            "made of several rows",
            help="the rows beside it differ from batch to batch; write what is over all of them as a number",
        )
    for leaf in order:
        if not (leaf.inputs or leaf in known or leaf.op.name in ("constant", "arange") or _is_size(c, leaf)):
            raise error(
                "E0541",
                f"`{setting.name}:` takes what the data say, and this depends on {_of(leaf)}",
                span,
                "not of inputs and targets alone",
                more=[(leaf.span, "it comes in here")] if leaf.span is not None and leaf.span.line != span.line else [],
                help="a row has the same value in every update: give what it is made of as an input",
            )
    return node


EPOCH = "rows/epoch"  # the variable that `epoch` is


def _is_size(c: Context, leaf: Node) -> bool:
    """Whether a leaf is the number of the epoch, or a size that each row has."""
    if leaf.op.name == "variable":
        return bool(leaf.attrs["path"] == EPOCH)
    return leaf.op.name == "size" and not any(name in c.module.rows for name in names_of(leaf.attrs["dim"]))


def _of(leaf: Node) -> str:
    if leaf.op.name == "variable":
        path = leaf.attrs["path"]
        return {"key": "random draws", "step": "`step`"}.get(path, f"`{path}`")
    if leaf.op.name == "input":
        return f"`{leaf.attrs['name']}`, which is drawn"
    return "how many rows are beside it"


__all__ = ["EPOCH", "expression", "number", "of_epoch"]
