"""Choices, Booleans and conversions, each element by itself."""

from __future__ import annotations

import math

from .. import ops
from ..ir.graph import Node
from ..ops.match import is_number, is_op, number, on_elements, once, other, spread
from .rewrite import Rules

RULES = Rules()


@RULES.on("maximum", "minimum")
def extreme(node: Node) -> Node | None:
    """max(x, x) = x; max(x, 0) = relu(x); max(x, -x) = |x|"""
    a, b = node.inputs
    if a is b:
        return a
    for x, y in ((a, b), (b, a)):
        if node.op.name == "maximum" and is_op(y, "neg") and y.inputs[0] is x:
            return ops.abs_(x)
    rest = other(node, 0.0)
    return ops.relu(rest) if rest is not None and node.op.name == "maximum" and node.dtype == "float" else None


@RULES.on("where")
def choose(node: Node) -> Node | None:
    """where(c, a, a) = a; where(not c, a, b) = where(c, b, a); where(c, -a, -b) = -where(c, a, b)"""
    condition, a, b = node.inputs
    if a is b:
        return spread(a, node.shape)
    if condition.op.name == "not":
        return ops.where(condition.inputs[0], b, a)
    if a.op.name == b.op.name == "neg":
        return -ops.where(condition, a.inputs[0], b.inputs[0])
    return None


@RULES.on("where")
def limit_of_choice(node: Node) -> Node | None:
    """where(x > c, a, f(min(x, c))) = where(x > c, a, f(x)), and f(max(x, c)) in the other side; so for >=, < and <=: a
    limit that its side never reaches does not affect the derivative at c"""
    condition, *sides = node.inputs
    if not is_op(condition, "gt", "ge", "lt", "le"):
        return None
    x, c = condition.inputs
    above = is_op(condition, "gt", "ge")  # whether x lies above c in the first side
    if x.op.name == "constant":
        x, c, above = c, x, not above
    limits = ("maximum", "minimum") if above else ("minimum", "maximum")
    found = [_without_limit(side, x, c, limit) for side, limit in zip(sides, limits, strict=True)]
    if all(new is None for new in found) or c.op.name != "constant":
        return None
    return ops.where(condition, *(new if new is not None else side for new, side in zip(found, sides, strict=True)))


def _without_limit(side: Node, x: Node, c: Node, limit: str, depth: int = 6) -> Node | None:
    """A side with x in the place of its limit by c, which x does not reach there."""
    if side.op.name == limit and x in side.inputs and c in side.inputs:
        return x if x.shape == side.shape else None
    if side.op.name == "relu" and limit == "maximum" and side.inputs[0] is x and is_number(c, 0):
        return x
    if not on_elements(side) or not depth or not once(side):
        return None
    found = [_without_limit(source, x, c, limit, depth - 1) for source in side.inputs]
    if all(new is None for new in found):
        return None
    inputs = [new if new is not None else source for new, source in zip(found, side.inputs, strict=True)]
    return side.graph.add(side.op, inputs, side.attrs)


@RULES.on("add")
def sides_of_zero(node: Node) -> Node | None:
    """relu(x) + f(min(x, 0)) = relu(x) + min(f(x), 0) = where(x > 0, x, f(x)) for f of expm1, tanh and positive
    numbers: smooth at 0 where f is there as steep as x"""
    for top, low in (node.inputs, node.inputs[::-1]):
        if top.op.name == "relu":
            below = _below_zero(low, top.inputs[0], False)
            if below is not None:
                return ops.where(ops.gt(top.inputs[0], 0.0), top.inputs[0], below)
    return None


def _below_zero(low: Node, x: Node, limited: bool, depth: int = 6) -> Node | None:
    """f(x), where the node is f(min(x, 0)) or min(f(x), 0), or f(x) where it is `limited` already."""
    if low is x:
        return x if limited else None
    if low.op.name == "minimum" and not limited:
        inner = other(low, 0.0)
        return None if inner is None else _below_zero(inner, x, True, depth)
    if not depth or not once(low):
        return None
    if low.op.name in ("expm1", "tanh"):
        inner = _below_zero(low.inputs[0], x, limited, depth - 1)
        return None if inner is None else low.graph.add(low.op, (inner,))
    if low.op.name not in ("mul", "div"):
        return None
    for rest, factor in (low.inputs, low.inputs[::-1]) if low.op.name == "mul" else (low.inputs,):
        value = number(factor)
        inner = _below_zero(rest, x, limited, depth - 1) if value is not None and 0 < value < math.inf else None
        if inner is not None:
            return ops.mul(inner, factor) if low.op.name == "mul" else inner / factor
    return None


@RULES.on("where")
def zero_anyway(node: Node) -> Node | None:
    """where(x == 0 and c, 0, s x) = s x, where s is a single finite number"""
    condition, a, b = node.inputs
    if not is_number(a, 0) or condition.op.name not in ("eq", "and") or b.shape != node.shape:
        return None
    factors = b.inputs if b.op.name == "mul" else (b,)
    for x in factors:
        rest = [factor for factor in factors if factor is not x]
        if len(rest) < len(factors) and all(_is_finite_number(factor) for factor in rest) and _means_zero(condition, x):
            return b
    return None


def _means_zero(condition: Node, x: Node) -> bool:
    """Whether x is 0 where the condition holds."""
    if condition.op.name == "and":
        return any(_means_zero(part, x) for part in condition.inputs)
    while x.op.name in ("cast", "neg"):
        x = x.inputs[0]
    return condition.op.name == "eq" and any(
        _before_cast(y) is x and is_number(zero, 0) for y, zero in (condition.inputs, condition.inputs[::-1])
    )


def _before_cast(x: Node) -> Node:
    """A value before its conversion from an integer or Boolean."""
    return x.inputs[0] if x.op.name == "cast" and x.inputs[0].dtype != "float" else x


def _is_finite_number(s: Node) -> bool:
    """Whether s is made of numbers and sizes alone: of an infinite one, 1 / 0, there are no elements."""
    if s.rank:
        return False
    value = number(s)
    if value is not None:
        return math.isfinite(value)
    return s.op.name == "size" or (s.op.name in ("cast", "neg", "mul", "div") and all(map(_is_finite_number, s.inputs)))


@RULES.on("not")
def not_not(node: Node) -> Node | None:
    """not not x = x; not (a == b) = a != b"""
    [x] = node.inputs
    if x.op.name == "not":
        return x.inputs[0]
    if is_op(x, "eq", "ne") and once(x):
        return ops.ne(*x.inputs) if x.op.name == "eq" else ops.eq(*x.inputs)
    return None


@RULES.on("and", "or")
def same_truth(node: Node) -> Node | None:
    """x and x = x; x or x = x"""
    a, b = node.inputs
    return a if a is b else None


@RULES.on("cast")
def casts(node: Node) -> Node | None:
    """cast to its own dtype = x; bool -> int -> any = bool -> any; bool -> float -> any = bool -> any"""
    [x] = node.inputs
    if x.dtype == node.dtype:
        return x
    if x.op.name == "cast" and x.inputs[0].dtype == "bool" and x.dtype in ("int", "float"):
        return ops.cast(x.inputs[0], dtype=node.dtype)
    return None
