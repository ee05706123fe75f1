"""Arithmetic on each element. Signs and scalars move outwards, to where they meet others or cost one element.

Rules keep NaN and infinity: x * 0 is 0 only where x is known to be finite, and x - x stays. They may change the last
bits, the sign of a zero, and what overflows half way.
"""

from __future__ import annotations

import math

from .. import ops
from ..ir.graph import Node
from ..ops.match import (
    ELEMENTWISE,
    finite,
    is_number,
    like,
    nonnegative,
    number,
    once,
    other,
    reorders,
    spread,
    unsigned,
    with_number,
)
from .rewrite import Rules

RULES = Rules()


@RULES.on(*ELEMENTWISE)
def pointwise_of_broadcasts(node: Node) -> Node | None:
    """f(broadcast(a), b) = broadcast(f(a, b)): on fewer elements, and not at all where b has the shape"""
    for source in node.inputs:
        if source.op.name == "broadcast_to":
            break
    else:
        return None
    plain = [source.inputs[0] if source.op.name == "broadcast_to" else source for source in node.inputs]
    return spread(node.graph.add(node.op, plain, node.attrs), node.shape)


# --- sums


@RULES.on("add")
def add_zero(node: Node) -> Node | None:
    """x + 0 = x"""
    return other(node, 0)


@RULES.on("add")
def twice(node: Node) -> Node | None:
    """x + x = 2 x"""
    a, b = node.inputs
    return a * like(a, 2) if a is b else None


@RULES.on("add")
def add_negative(node: Node) -> Node | None:
    """a + (-b) = a - b"""
    for a, b in (node.inputs, node.inputs[::-1]):
        if number(b) is None and number(a) is None:
            plain = unsigned(b)
            if plain is not None:
                return a - plain
    a, b = node.inputs
    for c, x in ((a, b), (b, a)):
        if number(c) is not None and x.op.name == "neg":
            return c - x.inputs[0]
    return None


@RULES.on("add", "sub")
def numbers_in_sums(node: Node) -> Node | None:
    """(x + c) + d = x + (c + d); (c - x) + d = (c + d) - x; d - (x + c) = (d - c) - x: where nothing cancels"""
    if node.op.name == "add":
        found = with_number(node)
        if found is None:
            return None
        inner, d = found
    else:
        first = number(node.inputs[0])
        if first is None:
            return None
        inner, d = node.inputs[1], first
    if inner.op.name not in ("add", "sub") or not once(inner):
        return None
    a, b = inner.inputs
    value, x = (number(b), a) if number(b) is not None else (number(a), b)
    if value is None:
        return None
    minus = inner.op.name == "sub"
    if minus and x is a:
        return None  # x - c becomes x + -c first
    c = value if node.op.name == "add" else -value
    if c * d < 0:
        return None
    total = like(node, c + d)
    return total - x if minus != (node.op.name == "sub") else x + total


@RULES.on("sub")
def subtract(node: Node) -> Node | None:
    """x - 0 = x; 0 - x = -x; x - c = x + -c; a - (-b) = a + b; (-a) - b = -(a + b)"""
    a, b = node.inputs
    if is_number(b, 0):
        return a if a.shape == node.shape else None
    if is_number(a, 0):
        return -b
    value = number(b)
    if value is not None:
        return a + like(b, -value)
    plain = unsigned(b)
    if plain is not None:
        return a + plain
    if a.op.name == "neg":
        return -(a.inputs[0] + b)
    return None


@RULES.on("add", "sub")
def common_factor(node: Node) -> Node | None:
    """a s + b s = (a + b) s; a / s + b / s = (a + b) / s; and of differences: in derivatives and updates"""
    left, right = node.inputs
    if left.op.name != right.op.name or left.op.name not in ("mul", "div") or node.dtype != "float" or left is right:
        return None
    if not node.derived or (not once(left) and not once(right)):
        return None
    combine = ops.add if node.op.name == "add" else ops.sub
    if left.op.name == "div":
        (a, s), (b, t) = left.inputs, right.inputs
        return ops.div(combine(a, b), s) if s is t else None
    for a, s in (left.inputs, left.inputs[::-1]):
        for b, t in (right.inputs, right.inputs[::-1]):
            if s is t:
                return combine(a, b) * s
    return None


@RULES.on("add", "sub")
def deeper_factor(node: Node) -> Node | None:
    """p a s + q (b s) c = p (a + (q / p) b c) s for numbers p and q, and of differences: one pass fewer, in
    derivatives and updates"""
    if node.dtype != "float" or not node.rank or not node.derived:
        return None
    left, right = (_unscaled(x) for x in node.inputs)
    for (deep, q), (flat, p), first in ((right, left, False), (left, right, True)):
        if not p or not q or deep is flat or not deep.op.name == flat.op.name == "mul":
            continue
        if not deep.shape == flat.shape == node.shape:
            continue
        for inner, c in (deep.inputs, deep.inputs[::-1]):
            if not c.rank or inner.op.name != "mul" or not once(inner):
                continue
            for b, s in (inner.inputs, inner.inputs[::-1]):
                for a, t in (flat.inputs, flat.inputs[::-1]):
                    if s is t and a.rank and b.rank and p and s.shape == node.shape:
                        return _factored(node, a, b * c * like(c, q / p), first) * s * like(s, p)
    return None


def _factored(node: Node, flat: Node, deep: Node, first: bool) -> Node:
    return node.graph.add(node.op, (deep, flat) if first else (flat, deep))


def _unscaled(x: Node) -> tuple[Node, float]:
    """y and c, where x is c y; c = 0 where something else reads x, y or what is between."""
    factor = 1.0
    while once(x) and x.op.name in ("mul", "div") and any(number(source) is not None for source in x.inputs):
        a, b = x.inputs
        if x.op.name == "mul" and number(a) is not None:
            a, b = b, a
        c = number(b)
        if c is None or not c:
            break
        factor, x = (factor * c if x.op.name == "mul" else factor / c), a
    return x, factor if once(x) else 0.0


# --- signs


@RULES.on("neg")
def negate(node: Node) -> Node | None:
    """-(-x) = x; -(a - b) = b - a, through sums, products and quotients too; -(x s) = x (-s) and -(x / s) = x / (-s)
    for a scalar s, -(c / x) = (-c) / x"""
    [x] = node.inputs
    if x.op.name == "neg":
        return x.inputs[0]
    if x.op.name == "sub" and (once(x) or number(x.inputs[0]) is None):
        return x.inputs[1] - x.inputs[0]
    if x.op.name == "mul":
        for a, s in (x.inputs, x.inputs[::-1]):
            if number(s) is not None or (not s.rank and a.rank and once(x)):
                return a * -s
            turned = _turned(s) if once(x) else None
            if turned is not None:
                return a * turned
    if x.op.name == "div" and once(x):
        a, s = x.inputs
        if number(a) is not None:
            return -a / s
        if number(s) is not None or (not s.rank and a.rank):
            return a / -s
        turned = _turned(a)
        return None if turned is None else turned / s
    return _turned(x)


def _turned(node: Node) -> Node | None:
    """-node where that costs nothing: of a difference, or the sum of one, that nothing else reads."""
    if not once(node):
        return None
    if node.op.name == "sub":
        return node.inputs[1] - node.inputs[0]
    if node.op.name != "reduce_sum" or not once(node.inputs[0]) or node.inputs[0].op.name != "sub":
        return None
    a, b = node.inputs[0].inputs
    return node.graph.add(node.op, (b - a,), node.attrs)


@RULES.on("mul", "div")
def signs_out(node: Node) -> Node | None:
    """(-a) b = -(a b); (-a) (-b) = a b; (-a) / b = -(a / b); but onto a scalar factor: (-a) s = a (-s)"""
    a, b = node.inputs
    combine = ops.mul if node.op.name == "mul" else ops.div
    if a.op.name == "neg" and b.op.name == "neg":
        return combine(a.inputs[0], b.inputs[0])
    for x, y, flip in ((a, b, False), (b, a, True)):
        if x.op.name != "neg" or x.shape != node.shape:
            continue
        plain = x.inputs[0]
        value = number(y)
        if value is not None or (not y.rank and x.rank):
            y = like(y, -value) if value is not None else -y
            return combine(y, plain) if flip else combine(plain, y)
        return -(combine(y, plain) if flip else combine(plain, y))
    return None


@RULES.on("abs", "cos", "cosh", "relu")
def even(node: Node) -> Node | None:
    """|-x| = |x|; cos(-x) = cos(|x|) = cos(x); cosh too; ||x|| = |x|; relu(relu(x)) = relu(x); |x| = relu(x) = x
    where x cannot be negative"""
    [x] = node.inputs
    if node.op.name in ("cos", "cosh") and x.op.name in ("abs", "neg"):
        return node.graph.add(node.op, x.inputs)
    if node.op.name == "abs" and x.op.name == "neg":
        return ops.abs_(x.inputs[0])
    return x if node.op.name in ("abs", "relu") and nonnegative(x) else None


@RULES.on("sin", "tanh", "erf")
def odd(node: Node) -> Node | None:
    """sin(-x) = -sin(x); tanh and erf too"""
    [x] = node.inputs
    return -node.graph.add(node.op, (x.inputs[0],)) if x.op.name == "neg" else None


# --- products


@RULES.on("mul")
def multiply_by_number(node: Node) -> Node | None:
    """x 1 = x; x (-1) = -x; x 0 = 0 where x is finite; (x c) d = x (c d)"""
    found = with_number(node)
    if found is None:
        return None
    x, c = found
    if c == 1:
        return x
    if c == -1:
        return -x
    if c == 0:
        return spread(like(node, 0), node.shape) if finite(x) else None
    if x.op.name == "mul":
        inner = with_number(x)
        if inner is not None and _harmless(inner[1] * c):
            return inner[0] * like(node, inner[1] * c)
    return None


def _harmless(value: float) -> bool:
    """A number that neither overflows nor loses bits, in any precision but the half ones."""
    return math.isfinite(value) and 1e-30 < abs(value) < 1e30


@RULES.on("mul", "div")
def scalars_together(node: Node) -> Node | None:
    """(x s) t = x (s t); (x / s) t = x (t / s); (x s) / t = x (s / t); (x / s) / t = x / (s t): s, t scalars, x not,
    both mild or in derivatives and updates"""
    if not node.rank or node.dtype != "float":
        return None
    x, t = node.inputs
    if node.op.name == "mul" and t.rank:
        x, t = t, x
    if t.rank or x.op.name not in ("mul", "div") or not once(x):
        return None
    y, s = x.inputs
    if x.op.name == "mul" and s.rank:
        y, s = s, y
    if s.rank or not reorders(node, s, t):
        return None
    if node.op.name == "mul":
        return y * (s * t) if x.op.name == "mul" else y * (t / s)
    return y * (s / t) if x.op.name == "mul" else y / (s * t)


@RULES.on("mul", "div")
def scalars_out(node: Node) -> Node | None:
    """(x s) y = (x y) s; (x / s) y = (x y) / s; (x s) / y = (x / y) s: s a scalar, x and y of one
    shape, in derivatives and updates"""
    a, b = node.inputs
    if not node.rank or node.dtype != "float":
        return None
    for x, y, flip in ((a, b, False), (b, a, True)):
        if x.op.name not in ("mul", "div") or x.shape != node.shape or not y.rank or not once(x) or x is y:
            continue
        if node.op.name == "div" and flip:
            return None
        inner, s = x.inputs
        if x.op.name == "mul" and s.rank:
            inner, s = s, inner
        if s.rank or not inner.rank or not node.derived:
            continue
        product = inner * y if node.op.name == "mul" else inner / y
        return product * s if x.op.name == "mul" else product / s
    return None


@RULES.on("mul")
def multiply_by_quotient(node: Node) -> Node | None:
    """x (1 / y) = x / y, where x is as small as y; |x| |x| = x x"""
    a, b = node.inputs
    if a is b:
        return a.inputs[0] * a.inputs[0] if a.op.name == "abs" else None
    for x, q in ((a, b), (b, a)):
        if q.op.name == "div" and is_number(q.inputs[0], 1.0) and q.shape == node.shape and once(q):
            return x / q.inputs[1]
    return None


@RULES.on("div")
def divide(node: Node) -> Node | None:
    """x / 1 = x; x / 2^k = x 2^-k; (x n) / n = x for a size n; a / (b / c) = a c / b"""
    a, b = node.inputs
    value = number(b)
    if value is not None and math.isfinite(value) and abs(math.frexp(value)[0]) == 0.5 and 1e-30 < abs(value) < 1e30:
        return a if value == 1.0 else a * like(b, 1.0 / value)
    if a.op.name == "mul" and _is_size(b):
        for x, n in (a.inputs, a.inputs[::-1]):
            if n is b and x.shape == node.shape:
                return x
    if b.op.name == "div" and is_number(b.inputs[0], 1.0):
        return a * b.inputs[1]
    return None


def _is_size(node: Node) -> bool:
    """A free dimension as a float: taken to be at least 1."""
    return node.op.name == "cast" and node.inputs[0].op.name == "size"


# --- powers, roots, exponentials


@RULES.on("pow")
def power(node: Node) -> Node | None:
    """x^0 = 1; x^1 = x; x^2 = x x; x^0.5 = sqrt(x); x^-1 = 1 / x; 1^x = 1"""
    x, exponent = node.inputs
    c = number(exponent)
    if is_number(x, 1):
        return spread(x, node.shape)
    if c is None:
        return None
    if c == 0:
        return spread(like(x, 1), node.shape)
    if c == 1:
        return x
    if c == 2:
        return x * x
    if node.dtype == "float" and c == 0.5:
        return ops.sqrt(x)
    return 1.0 / x if node.dtype == "float" and c == -1 else None


@RULES.on("sqrt")
def root_of_square(node: Node) -> Node | None:
    """sqrt(x x) = |x|"""
    [x] = node.inputs
    return ops.abs_(x.inputs[0]) if x.op.name == "mul" and x.inputs[0] is x.inputs[1] else None


@RULES.on("mul")
def square_of_root(node: Node) -> Node | None:
    """sqrt(x) sqrt(x) = x where x cannot be negative; of where(x == 0, 0, sqrt(x)) too, whose square is smooth at 0;
    hypot(x, y) hypot(x, y) = x x + y y; of c sqrt(x) too"""
    a, b = node.inputs
    return _squared(a) if a is b else None


@RULES.on("pow")
def power_of_root(node: Node) -> Node | None:
    """sqrt(x)^(2 k) = x^k for integers k > 0 where x cannot be negative; of where(x == 0, 0, sqrt(x)) and hypot too"""
    a, exponent = node.inputs
    c = number(exponent)
    square = None if c is None or c <= 0 or c % 2 else _squared(a)
    return None if c is None or square is None else ops.pow_(square, c / 2)


def _squared(a: Node) -> Node | None:
    """a a, where the node is sqrt(x), where(x == 0, 0, sqrt(x)) or hypot(x, y), or one of them times or by a number not
    so far from 1 that its square moves where the whole overflows."""
    if a.op.name == "hypot":
        x, y = a.inputs
        return x * x + y * y
    if a.op.name in ("mul", "div"):
        for root, c in (a.inputs, a.inputs[::-1]) if a.op.name == "mul" else (a.inputs,):
            value = number(c)
            square = None if value is None or not 1e-3 <= abs(value) <= 1e3 else _squared(root)
            if square is not None:
                return square * (c * c) if a.op.name == "mul" else square / (c * c)
        return None
    if a.op.name in ("reshape", "transpose", "broadcast_to"):
        square = _squared(a.inputs[0])
        return None if square is None else a.graph.add(a.op, (square,), a.attrs)
    root = a
    if a.op.name == "where" and is_number(a.inputs[1], 0):
        condition, _, root = a.inputs
        if condition.op.name != "eq" or other(condition, 0.0) is not (root.inputs[0] if root.inputs else None):
            return None
    return root.inputs[0] if root.op.name == "sqrt" and nonnegative(root.inputs[0]) else None
