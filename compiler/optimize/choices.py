"""Choices, truth values and conversions, each element by itself."""
from __future__ import annotations

import math

from .. import ops
from ..graph import Node
from .match import is_number, is_op, number, once, other, spread
from .rewrite import Rules

RULES = Rules()


@RULES.on("maximum", "minimum")
def extreme(node: Node) -> Node | None:
    """max(x, x) = x; max(x, 0) = relu(x)"""
    a, b = node.inputs
    if a is b:
        return a
    x = other(node, 0.0)
    return ops.relu(x) if x is not None and node.op.name == "maximum" and node.dtype == "float" else None


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
        _before_cast(y) is x and is_number(zero, 0) for y, zero in (condition.inputs, condition.inputs[::-1]))


def _before_cast(x: Node) -> Node:
    """A value before its conversion from a whole number or truth value."""
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
