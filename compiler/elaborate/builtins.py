"""The functions that the compiler knows by name: one for each primitive a spec may call.

Everything else (layers, losses, optimizers, schedules) is written in the language, in `specs/std/`.
A builtin takes `(c, frame, span, ...)` and then its arguments, as `Argument`s; None where one is left out.
"""
from __future__ import annotations

import inspect
from collections.abc import Callable

import numpy as np

from .. import ops
from ..diagnostics import error
from ..graph import Node
from ..source import Span
from ..tensor_type import Dim, Size, divide, product, show_shape
from . import calls, expressions
from .context import Context, to_node
from .scope import Frame
from .values import (
    Argument,
    Builtin,
    Distributed,
    Indexed,
    Label,
    NamedDim,
    NamedInt,
    Parts,
    Tensor,
    Value,
    kind,
    plain,
)

BUILTINS: dict[str, Builtin] = {}


def builtin(function: Callable[..., Value]) -> Callable[..., Value]:
    """Registers a function under its name (a trailing underscore falls away); its signature is the language's."""
    name = function.__name__.rstrip("_")
    parameters = list(inspect.signature(function).parameters.values())[3:]
    BUILTINS[name] = Builtin(name, tuple((p.name, p.default is p.empty) for p in parameters), function)
    return function


# --- reading arguments


def tensor(c: Context, argument: Argument, dtype: str | None = None) -> Tensor:
    """An argument as a tensor; numbers become constants, int meets float as float."""
    value = argument.value
    node = to_node(c, value)
    if node is None:
        raise error("E0301", f"a tensor is needed here, not {kind(value)}", argument.span, f"this is {kind(value)}",
                    help=expressions._application_help(value))
    if dtype is not None and node.dtype != dtype:
        if dtype == "int" and node.dtype == "float":
            raise error("E0302", "whole numbers are needed here", argument.span, f"this is `{node.type}`",
                        help="`target y: int[batch]` declares whole numbers")
        node = ops.cast(node, dtype=dtype)
    return Tensor(node, value.labels if isinstance(value, Tensor) else (), value.along if isinstance(value, Tensor) else None)


def integer(argument: Argument | None, default: int | None, what: str) -> int | None:
    if argument is None or argument.value is None:
        return default
    if isinstance(argument.value, bool) or not isinstance(argument.value, int):
        raise error("E0308", f"{what} must be a whole number that is known before the file runs", argument.span,
                    f"this is {kind(argument.value)}")
    return int(argument.value)


def truth(argument: Argument | None, what: str) -> bool:
    if argument is None or argument.value is None:
        return False
    if not isinstance(argument.value, bool):
        raise error("E0302", f"{what} is `true` or `false`", argument.span, f"this is {kind(argument.value)}")
    return argument.value


def axes(x: Tensor, argument: Argument | None, span: Span) -> tuple[int, ...]:
    """`axis` as numbers: a number, a dimension's name, a list of them, `...`, or none for all."""
    rank = x.node.rank
    if argument is None or argument.value is None:
        return tuple(range(rank))
    given = argument.value if isinstance(argument.value, list | tuple) else [argument.value]
    found: list[int] = []
    for item in given:
        label: Label | None = getattr(item, "label", None) if isinstance(item, NamedInt | NamedDim) else None
        if item is ...:
            found += [i for i, known in enumerate(x.names) if known is not None and known[1] == "..."]
        elif label is not None and label in x.names:
            found.append(x.names.index(label))
        elif isinstance(item, int) and not isinstance(item, bool):
            if not -rank <= item < rank:
                raise error("E0314", f"axis {int(item)} does not exist: the value has {rank} dimension{'s' * (rank != 1)}",
                            argument.span, f"the value is `{x.node.type}`")
            found.append(int(item) % rank)
        else:
            what = f"no dimension of the value is named `{label[1]}`" if label else f"an axis is a number or a name, not {kind(item)}"
            raise error("E0314", what, argument.span, f"the value is `{x.node.type}`",
                        notes=["its dimensions are " + expressions.show_labels(x.names)] if any(x.names) else [])
    if len(set(found)) < len(found):
        raise error("E0334", "an axis is given twice", argument.span, "here")
    return tuple(sorted(found))


def one_axis(x: Tensor, argument: Argument | None, default: int, span: Span) -> int:
    if argument is None or argument.value is None:
        if not x.node.rank:
            raise error("E0314", "a single number has no dimensions", span, f"this is `{x.node.type}`")
        return default % x.node.rank
    found = axes(x, argument, span)
    if len(found) != 1:
        raise error("E0314", "one axis is needed here", argument.span, f"{len(found)} given")
    return found[0]


def shape_of(argument: Argument) -> tuple[Size, ...]:
    value = argument.value
    items = list(value) if isinstance(value, list | tuple) else [value]
    for item in items:
        if isinstance(item, bool) or not isinstance(item, int | Dim):
            raise error("E0335", f"a shape is a list of sizes, not {kind(item)}", argument.span, f"this is {kind(item)}",
                        help="write `[batch, 8]`")
    return tuple(plain(item) for item in items)


# --- elementwise


def _static_or(c: Context, frame: Frame, span: Span, operation: ops.Op, arguments: list[Argument]) -> Value:
    values = [argument.value for argument in arguments]
    if all(isinstance(value, int | float) for value in values):
        with np.errstate(all="ignore"):
            result = operation.reference(*[np.float64(value) for value in values])
        return float(result)
    for argument in arguments:
        if not isinstance(argument.value, Tensor | Parts | int | float | Dim):
            tensor(c, argument)  # says what is wrong
    spans = tuple(argument.span for argument in arguments)
    return expressions.elementwise(c, frame, operation, values, span, spans)


def _unary(name: str, operation: ops.Op, *, to_float: bool = True) -> None:
    def run(c: Context, frame: Frame, span: Span, x: Argument) -> Value:
        value = x.value
        if (to_float and isinstance(value, Tensor) and value.node.dtype in ("int", "bool")) or (to_float and isinstance(value, Dim)):
            x = Argument(x.name, tensor(c, x, "float"), x.span)
        return _static_or(c, frame, span, operation, [x])

    run.__name__ = name
    builtin(run)


for _name in ("exp", "expm1", "log", "log1p", "sqrt", "sin", "cos", "tanh", "sigmoid", "erf", "floor", "ceil", "round"):
    _unary(_name, ops.OPS[_name])
for _name in ("abs", "sign"):
    _unary(_name, ops.OPS[_name], to_float=False)


def _binary(name: str, operation: ops.Op) -> None:
    def run(c: Context, frame: Frame, span: Span, x: Argument, y: Argument) -> Value:
        if isinstance(x.value, int) and isinstance(y.value, int):
            return (max if name == "maximum" else min)(int(x.value), int(y.value))
        return _static_or(c, frame, span, operation, [x, y])

    run.__name__ = name
    builtin(run)


_binary("maximum", ops.OPS["maximum"])
_binary("minimum", ops.OPS["minimum"])


@builtin
def where(c: Context, frame: Frame, span: Span, condition: Argument, a: Argument, b: Argument) -> Value:
    if isinstance(condition.value, bool):
        return (a if condition.value else b).value
    for argument in (a, b):
        if not isinstance(argument.value, int | float | Dim | Parts):
            tensor(c, argument)
    if tensor(c, condition).node.dtype != "bool":
        raise error("E0305", "the first argument of `where` is a truth value for each element", condition.span,
                    f"this is {kind(condition.value)}", help="compare: `where(x > 0, a, b)`")
    return expressions.elementwise(c, frame, ops.where, [condition.value, a.value, b.value], span,
                                   (condition.span, a.span, b.span))


@builtin
def stop_gradient(c: Context, frame: Frame, span: Span, x: Argument) -> Value:
    if isinstance(x.value, int | float):
        return x.value
    value = tensor(c, x)
    return Tensor(ops.stop_gradient(value.node), value.labels, value.along)


@builtin
def is_finite(c: Context, frame: Frame, span: Span, x: Argument) -> Value:
    value = tensor(c, x, "float")
    return Tensor(ops.lt(ops.abs_(value.node), float("inf")), value.labels)


# --- reductions


def _reduction(name: str, operation: Callable[..., Node], dtype: str | None) -> None:
    def run(c: Context, frame: Frame, span: Span, x: Argument, axis: Argument | None = None,
            keepdims: Argument | None = None) -> Value:
        if isinstance(x.value, list | Indexed):
            x = Argument(x.name, _stacked(c, x, 0), x.span)
        if isinstance(x.value, Parts):
            if axis is not None:
                raise error("E0316", "a gradient of several parts has no axes", axis.span, "here")
            return _over_parts(c, frame, span, x, run)
        value = tensor(c, x)
        if value.node.dtype == "bool" and name in ("sum", "prod", "max", "min"):
            value = tensor(c, x, "int")
        if dtype == "float" and value.node.dtype != "float":
            value = tensor(c, x, "float")
        if dtype == "bool" and value.node.dtype != "bool":
            raise error("E0302", f"`{name}` takes truth values", x.span, f"this is `{value.node.type}`")
        chosen, keep = axes(value, axis, span), truth(keepdims, "keepdims")
        node = c.make(operation, [value.node], [x.span], span, axes=chosen, keepdims=keep) if chosen or name in ("logsumexp",) else value.node
        return Tensor(node, _without(value.names, chosen, keep))

    def _over_parts(c: Context, frame: Frame, span: Span, x: Argument, whole: Callable[..., Value]) -> Value:
        results = [whole(c, frame, span, Argument(None, part, x.span)).node for part in x.value.items]
        combine = {"sum": ops.add, "prod": ops.mul, "max": ops.maximum, "min": ops.minimum}.get(name)
        if combine is None:
            raise error("E0316", f"`{name}` does not act on a gradient of several parts", span, "here",
                        help="sum, prod, max and min do")
        total = results[0]
        for result in results[1:]:
            total = combine(total, result)
        return Tensor(total)

    run.__name__ = name
    builtin(run)


def _without(names: tuple[Label | None, ...], chosen: tuple[int, ...], keep: bool) -> tuple[Label | None, ...]:
    return tuple((None if i in chosen else name) for i, name in enumerate(names) if keep or i not in chosen)


_reduction("sum", ops.reduce_sum, None)
_reduction("prod", ops.reduce_prod, None)
_reduction("max", ops.reduce_max, None)
_reduction("min", ops.reduce_min, None)
_reduction("mean", ops.mean, "float")
_reduction("any", ops.any_, "bool")
_reduction("all", ops.all_, "bool")


@builtin
def logsumexp(c: Context, frame: Frame, span: Span, x: Argument, axis: Argument | None = None,
              keepdims: Argument | None = None) -> Value:
    value = tensor(c, x, "float")
    chosen, keep = axes(value, axis, span), truth(keepdims, "keepdims")
    node = c.make(ops.logsumexp, [value.node], [x.span], span, axes=chosen, keepdims=keep)
    return Tensor(node, _without(value.names, chosen, keep))


def _arg(name: str, operation: Callable[..., Node]) -> None:
    def run(c: Context, frame: Frame, span: Span, x: Argument, axis: Argument | None = None) -> Value:
        value = tensor(c, x)
        at = one_axis(value, axis, -1, span)
        return Tensor(c.make(operation, [value.node], [x.span], span, axis=at), _without(value.names, (at,), False))

    run.__name__ = name
    builtin(run)


_arg("argmax", ops.argmax)
_arg("argmin", ops.argmin)


# --- shapes


@builtin
def size(c: Context, frame: Frame, span: Span, x: Argument, axis: Argument | None = None) -> Value:
    value = tensor(c, x)
    return product(value.node.shape) if axis is None else value.node.shape[one_axis(value, axis, 0, span)]


@builtin
def rank(c: Context, frame: Frame, span: Span, x: Argument) -> Value:
    return tensor(c, x).node.rank


@builtin
def transpose(c: Context, frame: Frame, span: Span, x: Argument, axes: Argument | None = None) -> Value:
    value = tensor(c, x)
    n = value.node.rank
    if axes is None:
        order = tuple(reversed(range(n)))
    else:
        given = axes.value if isinstance(axes.value, list | tuple) else [axes.value]
        order = tuple(one_axis(value, Argument(None, item, axes.span), 0, span) for item in given)
        if sorted(order) != list(range(n)):
            raise error("E0336", f"`axes` names each of the {n} dimensions once", axes.span, f"found {list(order)}")
    return Tensor(ops.transpose(value.node, perm=order), tuple(value.names[i] for i in order))


@builtin
def reshape(c: Context, frame: Frame, span: Span, x: Argument, shape: Argument) -> Value:
    value = tensor(c, x)
    wanted = list(shape_of(shape))
    total = product(value.node.shape)
    open_ = [i for i, s in enumerate(wanted) if s == -1]
    if len(open_) > 1:
        raise error("E0337", "a shape leaves at most one size open", shape.span, "-1 stands twice")
    if open_:
        rest = product(s for i, s in enumerate(wanted) if i != open_[0])
        missing = divide(total, rest)
        if missing is None:
            raise error("E0337", f"{show_shape(value.node.shape)} does not reshape to {shape.span.text}", shape.span,
                        f"{total} elements do not divide by {rest}", more=[(x.span, f"this is `{value.node.type}`")])
        wanted[open_[0]] = missing
    if product(wanted) != total:
        raise error("E0337", f"{show_shape(value.node.shape)} does not reshape to {show_shape(wanted)}", shape.span,
                    f"{product(wanted)} elements", more=[(x.span, f"{total} elements: `{value.node.type}`")])
    return Tensor(ops.reshape(value.node, shape=tuple(wanted)))


@builtin
def broadcast_to(c: Context, frame: Frame, span: Span, x: Argument, shape: Argument) -> Value:
    value = tensor(c, x)
    return Tensor(c.make(ops.broadcast_to, [value.node], [x.span], span, shape=shape_of(shape)))


def _items(c: Context, argument: Argument) -> list[Tensor]:
    value = argument.value
    if isinstance(value, Indexed):
        value = list(value.entries.values())
    if not isinstance(value, list | tuple) or not value:
        raise error("E0338", f"a list of tensors is needed here, not {kind(value)}", argument.span, f"this is {kind(value)}",
                    help="write `[a, b]`")
    items = [tensor(c, Argument(None, item, argument.span)) for item in value]
    order = ("bool", "int", "float")
    dtype = order[max(order.index(item.node.dtype) for item in items)]
    return [Tensor(ops.cast(item.node, dtype=dtype) if item.node.dtype != dtype else item.node, item.labels) for item in items]


@builtin
def concat(c: Context, frame: Frame, span: Span, values: Argument, axis: Argument | None = None) -> Value:
    items = _items(c, values)
    at = one_axis(items[0], axis, 0, span)
    node = c.make(ops.concat, [item.node for item in items], [values.span] * len(items), span, axis=at)
    return Tensor(node, tuple(None if i == at else name for i, name in enumerate(items[0].names)))


def _stacked(c: Context, argument: Argument, at: int) -> Tensor:
    items = _items(c, argument)
    parts = [ops.expand_dims(item.node, at) for item in items]
    names = items[0].names
    node = c.make(ops.concat, parts, [argument.span] * len(parts), argument.span, axis=at)
    return Tensor(node, (*names[:at], None, *names[at:]))


@builtin
def stack(c: Context, frame: Frame, span: Span, values: Argument, axis: Argument | None = None) -> Value:
    n = _items(c, values)[0].node.rank + 1
    at = integer(axis, 0, "the axis")
    assert at is not None
    if not -n <= at < n:
        raise error("E0314", f"axis {at} does not exist: the result has {n} dimensions", axis.span if axis else span, "here")
    return _stacked(c, values, at % n)


@builtin
def split(c: Context, frame: Frame, span: Span, x: Argument, parts: Argument, axis: Argument | None = None) -> Value:
    value = tensor(c, x)
    at = one_axis(value, axis, -1, span)
    count = integer(parts, None, "the number of parts")
    assert count is not None
    step = divide(value.node.shape[at], count) if count > 0 else None
    if step is None:
        raise error("E0339", f"a dimension of {value.node.shape[at]} does not split into {count} equal parts", parts.span, "here",
                    more=[(x.span, f"this is `{value.node.type}`")])
    result = []
    for i in range(count):
        starts = tuple(step * i if j == at else 0 for j in range(value.node.rank))
        stops = tuple(step * (i + 1) if j == at else s for j, s in enumerate(value.node.shape))
        node = ops.slice_(value.node, starts=starts, stops=stops, steps=(1,) * value.node.rank)
        result.append(Tensor(node, tuple(None if j == at else name for j, name in enumerate(value.names))))
    return tuple(result)


@builtin
def flip(c: Context, frame: Frame, span: Span, x: Argument, axis: Argument | None = None) -> Value:
    value = tensor(c, x)
    node = value.node
    for at in axes(value, axis, span):
        node = ops.flip(node, at)
    return Tensor(node, value.labels)


# --- indices


@builtin
def pick(c: Context, frame: Frame, span: Span, x: Argument, index: Argument) -> Value:
    value, at = tensor(c, x), tensor(c, index, "int")
    return Tensor(c.make(ops.pick, [value.node, at.node], [x.span, index.span], span), value.names[:-1])


@builtin
def gather(c: Context, frame: Frame, span: Span, table: Argument, index: Argument, axis: Argument | None = None) -> Value:
    value, at = tensor(c, table), tensor(c, index, "int")
    i = one_axis(value, axis, 0, span)
    node = c.make(ops.gather, [value.node, at.node], [table.span, index.span], span, axis=i)
    return Tensor(node, (*value.names[:i], *at.names, *value.names[i + 1 :]))


@builtin
def one_hot(c: Context, frame: Frame, span: Span, index: Argument, depth: Argument) -> Value:
    at = tensor(c, index, "int")
    count = integer(depth, None, "the depth")
    return Tensor(c.make(ops.one_hot, [at.node], [index.span], span, depth=count), (*at.names, None))


@builtin
def arange(c: Context, frame: Frame, span: Span, n: Argument) -> Value:
    value = n.value
    if isinstance(value, bool) or not isinstance(value, int | Dim):
        raise error("E0308", "`arange` takes a size", n.span, f"this is {kind(value)}")
    label = value.label if isinstance(value, NamedInt | NamedDim) else None
    return Tensor(ops.make_arange(c.graph, plain(value)), (label,))


# --- draws, derivatives, distributions


@builtin
def zeros_like(c: Context, frame: Frame, span: Span, x: Argument) -> Value:
    value = tensor(c, x)
    return Tensor(ops.broadcast_to(ops.constant(c.graph, 0, value.node.dtype), shape=value.node.shape), value.labels)


@builtin
def ones_like(c: Context, frame: Frame, span: Span, x: Argument) -> Value:
    value = tensor(c, x)
    return Tensor(ops.broadcast_to(ops.constant(c.graph, 1, value.node.dtype), shape=value.node.shape), value.labels)


@builtin
def uniform_like(c: Context, frame: Frame, span: Span, x: Argument) -> Value:
    value = tensor(c, x)
    with c.at(frame, span):
        key, (start,) = c.draw(value.node.shape, 1)
        return Tensor(ops.random_uniform(key, shape=value.node.shape, start=start), value.labels)


@builtin
def normal_like(c: Context, frame: Frame, span: Span, x: Argument) -> Value:
    value = tensor(c, x)
    with c.at(frame, span):
        key, starts = c.draw(value.node.shape, 2)
        return Tensor(ops.random_normal(key, value.node.shape, (starts[0], starts[1])), value.labels)


@builtin
def grad(c: Context, frame: Frame, span: Span, y: Argument, x: Argument) -> Value:
    target, by = tensor(c, y), tensor(c, x)
    if target.node.rank or target.node.dtype != "float":
        raise error("E0403", "`grad` takes the derivative of a single float number", y.span, f"this is `{target.node.type}`",
                    help="`grad(sum(y), x)` is the derivative of the sum")
    if by.node.dtype != "float":
        raise error("E0404", "a derivative is taken by a float value", x.span, f"this is `{by.node.type}`")
    if not isinstance(x.value, Tensor) or by.node not in c.graph.order([target.node]):
        raise error("E0401", f"the value does not depend on `{x.span.text}`", y.span, "this value",
                    more=[(x.span, "its derivative by this would always be zero")],
                    help="derive by something that it is computed from")
    node, leaf = target.node, by.node
    if leaf.op.name not in ("input", "variable"):  # an intermediate value: no rewrite may look through it
        leaf = ops.cut(leaf)
        node = c.graph.substitute([node], {by.node: leaf})[0]
    with c.at(frame, span):
        return Tensor(c.make(ops.gradient, [node, leaf], [y.span, x.span], span), by.labels)


def _distribution(c: Context, frame: Frame, argument: Argument) -> Distributed:
    value = argument.value
    if calls.is_maker(value):
        value = calls.call(c, frame, value, [], argument.span)
    if not isinstance(value, Distributed):
        raise error("E0236", f"a distribution is needed here, not {kind(value)}", argument.span, f"this is {kind(value)}")
    return value


@builtin
def joint(c: Context, frame: Frame, span: Span, distribution: Argument) -> Value:
    d = _distribution(c, frame, distribution)
    return Distributed(d.declaration, d.unit, d.configuration, True, d.weights)


@builtin
def weighted(c: Context, frame: Frame, span: Span, distribution: Argument, mask: Argument) -> Value:
    d = _distribution(c, frame, distribution)
    return Distributed(d.declaration, d.unit, d.configuration, d.joint, tensor(c, mask))


@builtin
def draw(c: Context, frame: Frame, span: Span, distribution: Argument, shape: Argument | None = None) -> Value:
    d = _distribution(c, frame, distribution)
    if shape is not None:
        sizes: tuple[Size, ...] = shape_of(shape)
    else:
        nodes = [node for v in d.configuration.names.values() if (node := to_node(c, v)) is not None]
        sizes = ops.broadcast(*[node.shape for node in nodes])
    like = Tensor(ops.broadcast_to(ops.constant(c.graph, 0, "float"), shape=sizes))
    return calls.draw(c, frame, d, like, span)


@builtin
def log_density(c: Context, frame: Frame, span: Span, distribution: Argument, value: Argument) -> Value:
    d = _distribution(c, frame, distribution)
    subject = Argument(None, tensor(c, value), value.span)
    return calls.equation(c, frame, d, "log_density", span, subject)


LATER = {
    "jacobian": "derivatives of tensors", "hessian": "second derivatives as tensors", "hvp": "Hessian-vector products",
    "jvp": "forward derivatives", "vjp": "vector-Jacobian products", "einsum": "products and sums over named indices",
    "rearrange": "splitting and merging dimensions",
    "conv": "convolution", "max_pool": "pooling", "top": "the k greatest", "sort": "sorting", "cumsum": "cumulative sums",
    "reverse": "`scan` backwards", "tile": "tiling", "roll": "rolling", "pad": "padding",
}
