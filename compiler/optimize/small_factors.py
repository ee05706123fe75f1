"""Factors that are smaller than what they multiply: one for each channel of an image, each row, each column.

A pass over a large value costs as much whether it multiplies by one number or by one for each channel, and small
values cost nothing. So the small factors of a product meet each other first, and leave a sum along whose axes they are
constant. Batch normalisation and its derivative come down to 6 and 7 passes, in whatever order the text multiplies:
c = x - m, y = c (s / d) + b; the derivative by x is g (s / d) + c k + l, where k and l are made of Σ g and Σ g c.
Applied once all derivatives are taken.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import reduce

from .. import ops
from ..ir.graph import Node
from ..ir.op import constant
from ..ir.types import Dim, Shape, evaluate, names_of, product as count_of
from ..ops.match import axes_of, constant_along, drop_axes, number
from .rewrite import Rules

RULES = Rules()
_DEPTH = 6
_SMALL = 8  # so many times smaller is small; a free dimension counts as 32


def _elements(node: Node) -> int:
    size = count_of(node.shape)
    return evaluate(size, dict.fromkeys(names_of(size), 32))


@dataclass(frozen=True)
class _Peeled:
    """sign * core * times[0] * ... / over[0] / ..."""

    core: Node
    sign: int
    times: tuple[Node, ...]
    over: tuple[Node, ...]

    @property
    def factors(self) -> tuple[Node, ...]:
        return self.times + self.over


def _peel(node: Node, small: Callable[[Node], bool]) -> _Peeled:
    """The value without its small factors; what is left has its shape."""
    times: list[Node] = []
    over: list[Node] = []
    sign, shape = 1, node.shape
    for _ in range(_DEPTH):
        if node.op.name == "neg":
            sign, node = -sign, node.inputs[0]
            continue
        if node.op.name not in ("mul", "div"):
            break
        a, b = node.inputs
        if a.shape == shape and small(b):
            (times if node.op.name == "mul" else over).append(b)
            node = a
        elif node.op.name == "mul" and b.shape == shape and small(a):
            times.append(a)
            node = b
        else:
            break
    return _Peeled(node, sign, tuple(times), tuple(over))


@RULES.on("mul", "div")
def small_factors_together(node: Node) -> Node | None:
    """((x s) / t) = x (s / t), where s and t are small and one of them is more than a number: in
    derivatives and updates"""
    if node.dtype != "float" or node.rank < 2 or not node.derived:
        return None
    limit = _elements(node)
    found = _peel(node, lambda s: _elements(s) * _SMALL <= limit)
    if len(found.factors) < 2 or not any(s.rank for s in found.factors):
        return None
    if not found.times:
        result = found.core / reduce(ops.mul, _by_rank(found.over))
    else:
        result = found.core * _quotient(found.times, found.over)
    return result if found.sign > 0 else -result


@RULES.on("reduce_sum")
def sum_without_factors(node: Node) -> Node | None:
    """sum(x s y) = s sum(x y), s constant along what is summed: sums that differ in small factors are one node,
    in derivatives and updates"""
    [x] = node.inputs
    if node.attrs["keepdims"] or node.dtype != "float" or x.rank < 2 or not node.derived:
        return None
    axes = axes_of(node)
    if count_of(x.shape[axis] for axis in axes) == 1:
        return None

    def steady(s: Node) -> bool:
        return constant_along(s, x.shape, axes)

    outer = _peel(x, steady)
    core, parts = outer.core, [outer]
    if core.op.name == "mul" and all(source.shape == x.shape for source in core.inputs):
        inner = [_peel(source, steady) for source in core.inputs]
        if any(part.factors or part.sign < 0 for part in inner):
            core = inner[0].core * inner[1].core
            parts += inner
    times = [s for part in parts for s in part.times]
    over = [s for part in parts for s in part.over]
    sign = reduce(lambda a, b: a * b, [part.sign for part in parts])
    if not times and not over and sign > 0:
        return None
    total = node.graph.add(node.op, (core,), {"axes": axes, "keepdims": False})
    times, over = ([drop_axes(s, x.rank, axes) for s in factors] for factors in (times, over))
    if times:
        total = total * _quotient(times, over)
    elif over:
        total = total / reduce(ops.mul, _by_rank(over))
    return total if sign > 0 else -total


@RULES.on("reduce_sum")
def sum_of_outer_product(node: Node) -> Node | None:
    """sum(u v) = sum(u sum(v)), where u and v are smaller than u v: each axis is summed over what depends on it alone;
    in derivatives and updates, and of derivatives"""
    [x] = node.inputs
    if node.attrs["keepdims"] or node.dtype != "float" or x.rank < 2:
        return None
    opened = _opened(x)
    if opened is None or not (node.derived or opened.derived):
        return None
    factors, limit = list(opened.factors), _elements(x)
    left = [axis for axis in axes_of(node) if x.shape[axis] != 1]
    while left:
        # The axis that the smallest factors share comes first, and with it all that no others depend on.
        groups = {axis: [f for f in factors if axis in f.axes] for axis in left}
        sizes = {axis: _span(group, x.shape) for axis, group in groups.items()}
        first = min(left, key=lambda axis: (sizes[axis], axis))
        if sizes[first] * _SMALL > limit:
            return None
        product = reduce(_times, groups[first])
        gone = [axis for axis in left if all(f in groups[first] for f in groups[axis])]
        left = [axis for axis in left if axis not in gone]
        attrs = {"axes": tuple(sorted(product.axes.index(axis) for axis in gone)), "keepdims": False}
        total = _Factor(
            node.graph.add(node.op, (product.node,), attrs), tuple(a for a in product.axes if a not in gone)
        )
        factors = [*(f for f in factors if f not in groups[first]), total]
    whole = reduce(_times, sorted(factors, key=lambda f: len(f.axes)))
    result = ops.reshape(_ordered(whole, tuple(sorted(whole.axes))), shape=node.shape)
    for s in opened.over:
        result = result / s
    for s in opened.times:
        result = result * s
    return result if opened.sign > 0 else -result


@dataclass(frozen=True)
class _Factor:
    """A factor of a product without its dimensions of size 1: which axis of the product each of the others is."""

    node: Node
    axes: tuple[int, ...]


@dataclass(frozen=True)
class _Opened:
    """sign * factors[0] * ... * times[0] * ... / over[0] / ..., where `times` and `over` are numbers.

    `derived`: whether a derivative multiplies them."""

    factors: tuple[_Factor, ...]
    times: tuple[Node, ...]
    over: tuple[Node, ...]
    sign: int
    derived: bool


def _opened(x: Node) -> _Opened | None:
    """The factors of a product, in whatever order its dimensions were transposed; None where one is as large as it."""
    found: list[_Factor] = []
    times: list[Node] = []
    over: list[Node] = []
    sign, derived = 1, False
    pending = [(x, tuple(range(x.rank)))]  # with which axis of x each of its own is
    for _ in range(2 * _DEPTH):
        if not pending:
            return _Opened(tuple(found), tuple(times), tuple(over), sign, derived)
        node, axes = pending.pop()
        if node.shape != tuple(x.shape[axis] for axis in axes):
            kept = [(axis, size) for axis, size in zip(axes[-node.rank :], node.shape, strict=True) if size != 1]
            bare = ops.reshape(node, shape=tuple(size for _, size in kept))
            found.append(_Factor(bare, tuple(axis for axis, _ in kept)))
        elif node.op.name == "neg":
            sign = -sign
            pending.append((node.inputs[0], axes))
        elif node.op.name == "transpose":
            perm = node.attrs["perm"]
            pending.append((node.inputs[0], tuple(axes[perm.index(i)] for i in range(x.rank))))
        elif node.op.name == "mul":
            derived = derived or node.derived
            pending += [(source, axes) for source in node.inputs if source.rank]
            times += [source for source in node.inputs if not source.rank]
        elif node.op.name == "div" and not node.inputs[1].rank:
            over.append(node.inputs[1])
            pending.append((node.inputs[0], axes))
        else:
            return None
    return None


def _span(factors: Sequence[_Factor], shape: Shape) -> int:
    """How many elements the product of factors has."""
    size = count_of(shape[axis] for axis in {axis for f in factors for axis in f.axes})
    return evaluate(size, dict.fromkeys(names_of(size), 32))


def _ordered(f: _Factor, axes: tuple[int, ...]) -> Node:
    """A factor with its dimensions in the order of `axes`, of size 1 where it has none."""
    own = tuple(sorted(f.axes, key=axes.index))
    node = f.node if own == f.axes else ops.transpose(f.node, perm=tuple(f.axes.index(axis) for axis in own))
    sizes = dict(zip(own, node.shape, strict=True))
    return ops.reshape(node, shape=tuple(sizes.get(axis, 1) for axis in axes))


def _times(a: _Factor, b: _Factor) -> _Factor:
    """The product of two factors, in the order of a's dimensions where b has no others."""
    axes = a.axes if set(b.axes) <= set(a.axes) else b.axes if set(a.axes) <= set(b.axes) else None
    axes = axes or tuple(sorted({*a.axes, *b.axes}))
    return _Factor(_ordered(a, axes) * _ordered(b, axes), axes)


@RULES.on("reduce_sum")
def sum_of_centered(node: Node) -> Node | None:
    """sum(x - mean(x)) = 0 over the same axes, in derivatives and updates"""
    [x] = node.inputs
    if node.attrs["keepdims"] or x.op.name != "sub" or node.dtype != "float" or not node.derived:
        return None
    value, center = x.inputs
    axes = axes_of(node)
    if value.shape != x.shape or not constant_along(center, x.shape, axes):
        return None
    center = _unshaped(center)
    if center.op.name not in ("mul", "div"):
        return None
    total, n = _unshaped(center.inputs[0]), center.inputs[1]
    if total.op.name != "reduce_sum":
        return None
    count = count_of(x.shape[axis] for axis in axes)
    if total.inputs[0] is not value or axes_of(total) != axes or not _counts(n, count, center.op.name):
        return None
    return ops.broadcast_to(constant(node.graph, 0.0, "float"), shape=node.shape)


def _unshaped(node: Node) -> Node:
    while node.op.name in ("reshape", "broadcast_to"):
        node = node.inputs[0]
    return node


def _counts(n: Node, count: int | Dim, how: str) -> bool:
    """Whether n is the count (of a division) or its inverse (of a product)."""
    value = number(n)
    if value is not None and isinstance(count, int) and count:
        return value == count if how == "div" else value * count == 1.0
    return how == "div" and n.op.name == "cast" and n.inputs[0].op.name == "size" and n.inputs[0].attrs["dim"] == count


def _by_rank(factors: Sequence[Node]) -> list[Node]:
    """Numbers first: they meet each other before they meet more."""
    return sorted(factors, key=lambda s: s.rank)


def _quotient(times: Sequence[Node], over: Sequence[Node]) -> Node:
    product = reduce(ops.mul, _by_rank(times))
    return product / reduce(ops.mul, _by_rank(over)) if over else product
