"""Algebra: each rule is an equation, read from left to right. Values stay what IEEE 754 makes of them, but for the last
bit where scalars are gathered; x·0 is kept, since it is NaN where x is infinite."""
from __future__ import annotations

from .. import ops
from ..graph import Node
from ..tensor_type import TypeProblem, broadcast
from .match import count, equal, is_, number, same_but_ones, scalar
from .rewrite import Rule


def fit(x: Node, node: Node) -> Node:
    """x in the shape of the node that it replaces."""
    return ops.broadcast_to(x, shape=node.shape)


def _pairs(node: Node) -> list[tuple[Node, Node]]:
    """The operands of a commutative operation in both orders."""
    a, b = node.inputs
    return [(a, b), (b, a)]


# --- signs move outwards


def neg(node: Node) -> Node | None:
    (x,) = node.inputs
    if is_(x, "neg"):  # −(−x) = x
        return x.inputs[0]
    if is_(x, "sub"):  # −(a − b) = b − a
        return ops.sub(x.inputs[1], x.inputs[0])
    if is_(x, "mul"):
        for a, b in _pairs(x):
            if number(b) is not None:  # −(a c) = a (−c)
                return ops.mul(a, -b)
            if is_(b, "sub") and x.graph.dag.out_degree(x) == 1:  # −(a (b − c)) = a (c − b)
                return ops.mul(a, ops.sub(b.inputs[1], b.inputs[0]))
    return None


def add(node: Node) -> Node | None:
    for a, b in _pairs(node):
        if equal(b, 0):  # a + 0 = a
            return fit(a, node)
        if is_(b, "neg"):  # a + (−b) = a − b
            return ops.sub(a, b.inputs[0])
        if is_(b, "sub") and b.inputs[1] is a and is_(a, "reduce_max"):  # a + (b − a) = b
            return fit(b.inputs[0], node)
    a, b = node.inputs
    if a is b:  # a + a = 2 a
        return ops.mul(a, 2)
    return _factored(node, ops.add)


def sub(node: Node) -> Node | None:
    a, b = node.inputs
    if equal(b, 0):  # a − 0 = a
        return fit(a, node)
    if equal(a, 0):  # 0 − b = −b
        return fit(-b, node)
    if is_(b, "neg"):  # a − (−b) = a + b
        return ops.add(a, b.inputs[0])
    if is_(a, "neg"):  # (−a) − b = −(a + b)
        return -ops.add(a.inputs[0], b)
    return _factored(node, ops.sub)


def _factored(node: Node, combine: object) -> Node | None:
    """a c ± b c = (a ± b) c and a / c ± b / c = (a ± b) / c, where that is not more work than before."""
    x, y = node.inputs
    if x.op.name != y.op.name or x.op.name not in ("mul", "div"):
        return None
    if is_(x, "div"):
        if x.inputs[1] is not y.inputs[1]:
            return None
        shared, a, b = x.inputs[1], x.inputs[0], y.inputs[0]
    else:
        common = [s for s in x.inputs if any(s is t for t in y.inputs)]
        if not common:
            return None
        shared = common[0]
        a = x.inputs[1] if x.inputs[0] is shared else x.inputs[0]
        b = y.inputs[1] if y.inputs[0] is shared else y.inputs[0]
    if x.graph.dag.out_degree(x) != 1 or x.graph.dag.out_degree(y) != 1:
        return None
    inner = combine(a, b)  # type: ignore[operator]
    result = ops.mul(inner, shared) if is_(x, "mul") else ops.div(inner, shared)
    return result if result.shape == node.shape else None


def mul(node: Node) -> Node | None:
    for a, b in _pairs(node):
        if equal(b, 1):  # a·1 = a
            return fit(a, node)
        if equal(b, -1):  # a·(−1) = −a
            return fit(-a, node)
        if is_(b, "neg"):  # a (−b) = −(a b)
            return -ops.mul(a, b.inputs[0])
        c = number(b)
        if c is not None and node.dtype == "float" and is_(a, "mul"):
            for x, y in _pairs(a):
                if number(y) is not None and scalar(y) and scalar(b):  # (x c) d = x (c d)
                    return fit(ops.mul(x, ops.mul(y, b)), node)
        if not scalar(a) and scalar(b) and b.rank == 0 and node.dtype == "float":
            if is_(a, "mul"):
                for x, s in _pairs(a):
                    if s.rank == 0 and x.rank:  # (x s) t = x (s t), s and t scalars
                        return ops.mul(x, ops.mul(s, b))
            if is_(a, "div") and a.inputs[1].rank == 0 and a.inputs[0].rank:  # (x / s) t = x (t / s)
                return ops.mul(a.inputs[0], ops.div(b, a.inputs[1]))
    return None


def div(node: Node) -> Node | None:
    a, b = node.inputs
    if equal(b, 1):  # a / 1 = a
        return fit(a, node)
    if is_(a, "neg"):  # (−a) / b = −(a / b)
        return -ops.div(a.inputs[0], b)
    if is_(b, "neg"):  # a / (−b) = −(a / b)
        return -ops.div(a, b.inputs[0])
    c = number(b)
    if c is not None and c and scalar(b) and _power_of_two(c):  # a / 2ᵏ = a 2⁻ᵏ, exactly
        return fit(ops.mul(a, 1.0 / c), node)
    if b.rank == 0 and a.rank:
        if is_(a, "mul"):
            for x, s in _pairs(a):
                if s.rank == 0 and x.rank:  # (x s) / t = x (s / t)
                    return ops.mul(x, ops.div(s, b))
        if is_(a, "div") and a.inputs[1].rank == 0 and a.inputs[0].rank:  # (x / s) / t = x / (s t)
            return ops.div(a.inputs[0], ops.mul(a.inputs[1], b))
    return None


def _power_of_two(value: float) -> bool:
    import math

    return abs(math.frexp(value)[0]) == 0.5 and 2.0**-60 < abs(value) < 2.0**60


def through_linear(node: Node) -> Node | None:
    """f(−x) = −f(x) for sums and everything that only moves elements."""
    (x,) = node.inputs
    if is_(x, "neg"):
        return -x.graph.add(node.op, [x.inputs[0]], node.attrs)
    return None


def matmul_sign(node: Node) -> Node | None:
    a, b = node.inputs
    if is_(a, "neg"):  # (−a) b = −(a b)
        return -ops.matmul(a.inputs[0], b, **node.attrs)
    if is_(b, "neg"):
        return -ops.matmul(a, b.inputs[0], **node.attrs)
    return None


def where(node: Node) -> Node | None:
    c, a, b = node.inputs
    if a is b:  # where(c, a, a) = a
        return fit(a, node)
    if is_(c, "constant") and c.attrs["value"].size and (c.attrs["value"].all() or not c.attrs["value"].any()):
        return fit(a if c.attrs["value"].all() else b, node)
    if is_(a, "neg") and is_(b, "neg"):  # where(c, −a, −b) = −where(c, a, b)
        return -ops.where(c, a.inputs[0], b.inputs[0])
    if is_(c, "not"):  # where(not c, a, b) = where(c, b, a)
        return ops.where(c.inputs[0], b, a)
    return None


# --- powers and roots


def power(node: Node) -> Node | None:
    x, y = node.inputs
    p = number(y)
    if p is None or node.shape != x.shape or node.dtype != "float":
        return None
    if p == 2:  # x² = x x
        return ops.mul(x, x)
    if p == 1:
        return x
    if p == 0.5:  # differs at −0 and −∞ only
        return ops.sqrt(x)
    if p == -1:
        return ops.div(1.0, x)
    if p == 0:  # x⁰ = 1, for NaN too
        return fit(ops.constant(node.graph, 1.0, "float"), node)
    return None


def sqrt(node: Node) -> Node | None:
    (x,) = node.inputs
    if is_(x, "mul") and x.inputs[0] is x.inputs[1]:  # √(x x) = |x|
        return ops.abs_(x.inputs[0])
    return None


def maximum(node: Node) -> Node | None:
    for a, b in _pairs(node):
        if node.dtype == "float" and equal(b, 0) and a.shape == node.shape:  # max(a, 0) = relu(a)
            return ops.relu(a)
    return None


def not_(node: Node) -> Node | None:
    (x,) = node.inputs
    return x.inputs[0] if is_(x, "not") else None


# --- shapes


def cast(node: Node) -> Node | None:
    (x,) = node.inputs
    if is_(x, "cast") and (x.inputs[0].dtype, x.dtype) in (("bool", "int"), ("bool", "float"), ("int", "float")):
        if x.dtype == "int" or node.dtype == "float":  # nothing was lost on the way
            return ops.cast(x.inputs[0], dtype=node.dtype)
    return None


def reshape(node: Node) -> Node | None:
    (x,) = node.inputs
    if node.shape == x.shape:
        return x
    if is_(x, "reshape"):  # only the last of two reshapes counts
        return ops.reshape(x.inputs[0], shape=node.shape)
    if is_(x, "broadcast_to") and x.inputs[0].rank == 0:
        return ops.broadcast_to(x.inputs[0], shape=node.shape)
    if is_(x, "transpose") and same_but_ones(x, x.inputs[0]) and count(x) is not None and \
            [s for s in x.shape if s != 1] == [s for s in x.inputs[0].shape if s != 1] and len([s for s in x.shape if s != 1]) < 2:
        return ops.reshape(x.inputs[0], shape=node.shape)
    return None


def transpose(node: Node) -> Node | None:
    (x,) = node.inputs
    perm = node.attrs["perm"]
    if is_(x, "transpose"):  # (xᵖ)ᵠ = x^(p q)
        return ops.transpose(x.inputs[0], perm=tuple(x.attrs["perm"][i] for i in perm))
    if is_(x, "broadcast_to") and x.inputs[0].rank == 0:
        return ops.broadcast_to(x.inputs[0], shape=node.shape)
    return None


def broadcast_to(node: Node) -> Node | None:
    (x,) = node.inputs
    if x.shape == node.shape:
        return x
    if is_(x, "broadcast_to"):
        return ops.broadcast_to(x.inputs[0], shape=node.shape)
    if is_(x, "reshape") and x.inputs[0].rank == 0:
        return ops.broadcast_to(x.inputs[0], shape=node.shape)
    return None


def unspread(node: Node) -> Node | None:
    """f(spread(a), b) = f(a, b): operations on elements broadcast by themselves."""
    inputs = list(node.inputs)
    for i, x in enumerate(inputs):
        if is_(x, "broadcast_to") or (is_(x, "reshape") and x.inputs[0].rank == 0):
            tried = [*inputs[:i], x.inputs[0], *inputs[i + 1 :]]
            try:
                shape = broadcast(*[source.shape for source in tried])
            except TypeProblem:
                continue
            if shape == node.shape:
                return node.graph.add(node.op, tried, node.attrs)
    return None


def unspread_unary(node: Node) -> Node | None:
    """f(spread(a)) = spread(f(a)): on fewer elements."""
    (x,) = node.inputs
    if is_(x, "broadcast_to"):
        return ops.broadcast_to(node.graph.add(node.op, [x.inputs[0]], node.attrs), shape=node.shape)
    return None


def reduce_sum(node: Node) -> Node | None:
    (x,) = node.inputs
    axes, keepdims = node.attrs["axes"], node.attrs["keepdims"]
    if not axes or all(x.shape[a] == 1 for a in axes):  # the sum of one
        return ops.reshape(x, shape=node.shape)
    if is_(x, "broadcast_to") and x.inputs[0].rank == 0 and node.dtype == "float":  # Σ s = n s
        n: object = 1
        for axis in axes:
            n = x.shape[axis] * n  # type: ignore[operator]
        size = ops.cast(ops.make_size(node.graph, n), dtype="float")  # type: ignore[arg-type]
        return fit(ops.mul(x.inputs[0], size), node)
    if is_(x, "reduce_sum") and not keepdims and not x.attrs["keepdims"]:  # ΣΣ = Σ
        left = [i for i in range(x.inputs[0].rank) if i not in {a % x.inputs[0].rank for a in x.attrs["axes"]}]
        outer = tuple(left[a] for a in axes)
        every = tuple(sorted({a % x.inputs[0].rank for a in x.attrs["axes"]} | set(outer)))
        return ops.reduce_sum(x.inputs[0], axes=every, keepdims=False)
    return None


def concat(node: Node) -> Node | None:
    return node.inputs[0] if len(node.inputs) == 1 else None


ELEMENTWISE = ("add", "sub", "mul", "div", "pow", "maximum", "minimum", "eq", "ne", "lt", "le", "gt", "ge", "and", "or", "where",
               "floordiv", "mod")
UNARY = ("exp", "log", "sqrt", "cast", "sin", "cos", "tanh", "sigmoid", "not", "abs", "sign")

RULES: dict[str, tuple[Rule, ...]] = {
    "neg": (neg,), "add": (add,), "sub": (sub,), "mul": (mul,), "div": (div,), "pow": (power,), "sqrt": (sqrt,), "where": (where,),
    "maximum": (maximum,), "not": (not_,), "cast": (cast,), "reshape": (reshape, through_linear), "transpose": (transpose, through_linear),
    "broadcast_to": (broadcast_to, through_linear), "reduce_sum": (reduce_sum, through_linear), "matmul": (matmul_sign,),
    "concat": (concat,), "slice": (through_linear,), "unslice": (through_linear,),
}
for _name in ELEMENTWISE:
    RULES[_name] = (unspread, *RULES.get(_name, ()))
for _name in UNARY:
    RULES[_name] = (*RULES.get(_name, ()), unspread_unary)
