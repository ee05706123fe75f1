"""Numerically stable forms: logarithms and exponentials that would overflow or cancel become softplus, logsumexp,
softmax and sigmoid. They are found before differentiation, so that their derivatives are those of the stable forms:
the derivative of a cross entropy by the logits is softmax(z) - one_hot(y), of a Bernoulli sigmoid(z) - y.
"""

from __future__ import annotations

import math

from .. import ops
from ..ir.graph import Node
from ..ops.match import (
    axes_of,
    bare,
    complement,
    constant_along,
    finite,
    is_number,
    nonnegative,
    number,
    once,
    one_minus,
    opposite,
    other,
    spread,
    unsigned,
)
from .rewrite import Rules

RULES = Rules()
TERMS = 8  # how many terms of a sum are looked at together


def _logsumexp(x: Node, axes: tuple[int, ...]) -> Node:
    return ops.logsumexp(x, axes=axes, keepdims=False)


def _kept_logsumexp(x: Node, axes: tuple[int, ...]) -> Node:
    return ops.reshape(_logsumexp(x, axes), shape=tuple(1 if i in axes else n for i, n in enumerate(x.shape)))


def _is_sum_exp(node: Node) -> bool:
    return node.op.name == "reduce_sum" and not node.attrs["keepdims"] and node.inputs[0].op.name == "exp"


def _one_plus_exp(node: Node) -> Node | None:
    """u, where the node is 1 + exp(u)."""
    if node.op.name == "add":
        x = other(node, 1.0)
        if x is not None and x.op.name == "exp":
            return x.inputs[0]
    return None


def _one_minus_sigmoid(node: Node) -> Node | None:
    """z, where the node is 1 - sigmoid(z)."""
    if node.op.name == "sub" and is_number(node.inputs[0], 1.0) and node.inputs[1].op.name == "sigmoid":
        return node.inputs[1].inputs[0]
    return None


# --- logarithms


@RULES.on("log")
def log_of_exp(node: Node) -> Node | None:
    """log(exp(x)) = x; log(sqrt(x)) = log(x) / 2"""
    [x] = node.inputs
    if x.op.name == "exp":
        return x.inputs[0]
    return ops.log(x.inputs[0]) * 0.5 if x.op.name == "sqrt" else None


@RULES.on("log")
def log_of_softmax(node: Node) -> Node | None:
    """log(softmax(x)) = x - logsumexp(x); log(sum(exp(x))) = logsumexp(x)"""
    [p] = node.inputs
    if p.op.name == "softmax" and not p.attrs["guarded"]:
        [x] = p.inputs
        return x - _kept_logsumexp(x, (p.attrs["axis"] % x.rank,))
    return _logsumexp(p.inputs[0].inputs[0], axes_of(p)) if _is_sum_exp(p) else None


@RULES.on("log")
def log_of_sigmoid(node: Node) -> Node | None:
    """log(sigmoid(x)) = -softplus(-x); log(1 - sigmoid(x)) = -softplus(x); log(1 + exp(x)) = softplus(x)"""
    [p] = node.inputs
    if p.op.name == "sigmoid":
        return -ops.softplus(-p.inputs[0])
    x = _one_minus_sigmoid(p)
    if x is not None:
        return -ops.softplus(x)
    u = _one_plus_exp(p)
    return None if u is None else ops.softplus(u)


@RULES.on("log1p")
def log1p_of_exp(node: Node) -> Node | None:
    """log1p(exp(x)) = softplus(x); log1p(-sigmoid(x)) = -softplus(x)"""
    [x] = node.inputs
    if x.op.name == "exp":
        return ops.softplus(x.inputs[0])
    if x.op.name == "neg" and x.inputs[0].op.name == "sigmoid":
        return -ops.softplus(x.inputs[0].inputs[0])
    return None


@RULES.on("log")
def log_inside(node: Node) -> Node | None:
    """log(pick(p, i)) = pick(log(p), i), and of other choices of elements, where log(p) has a stable form"""
    [x] = node.inputs
    if not _has_stable_log(x):
        return None
    if x.op.name == "where":
        return ops.where(x.inputs[0], ops.log(x.inputs[1]), ops.log(x.inputs[2]))
    if _rearranged(x):
        return node.graph.add(x.op, (ops.log(x.inputs[0]), *x.inputs[1:]), x.attrs)
    return None


def _rearranged(x: Node) -> bool:
    """Whether the elements are those of the first operand, in other places."""
    same = [source.dtype == x.dtype for source in x.inputs]
    return x.op.moves and not x.op.marker and same[0] and not any(same[1:])


def _has_stable_log(x: Node, depth: int = 8) -> bool:
    while _rearranged(x) and depth:
        x, depth = x.inputs[0], depth - 1
    if x.op.name in ("exp", "softmax", "sigmoid") or _is_sum_exp(x):
        return True
    if _one_minus_sigmoid(x) is not None or _one_plus_exp(x) is not None:
        return True
    if x.op.name == "where" and depth:
        return all(_has_stable_log(branch, depth - 4) for branch in x.inputs[1:])
    if x.op.name in ("mul", "div", "pow") and depth > 0:
        return any(_has_stable_log(factor, depth - 4) for factor in x.inputs[: 1 if x.op.name == "pow" else 2])
    return False


@RULES.on("log")
def log_of_product(node: Node) -> Node | None:
    """log(a b) = log(a) + log(b), log(a / b) = log(a) - log(b), log(a^b) = b log(a), where the logarithm of a or b has
    a stable form (which makes it positive: then both sides are NaN for the same inputs)"""
    [x] = node.inputs
    if x.op.name not in ("mul", "div", "pow"):
        return None
    a, b = x.inputs
    if x.op.name == "pow":
        return b * ops.log(a) if _has_stable_log(a, 4) and nonnegative(a) else None
    if not any(_has_stable_log(factor, 4) and nonnegative(factor) for factor in (a, b)):
        return None
    return ops.log(a) + ops.log(b) if x.op.name == "mul" else ops.log(a) - ops.log(b)


# --- exponentials


@RULES.on("exp")
def exp_of_log(node: Node) -> Node | None:
    """exp(log(x)) = x where x cannot be negative; exp(-softplus(x)) = sigmoid(-x)"""
    [x] = node.inputs
    if x.op.name == "log" and nonnegative(x.inputs[0]):
        return x.inputs[0]
    if x.op.name == "neg" and x.inputs[0].op.name == "softplus":
        return ops.sigmoid(-x.inputs[0].inputs[0])
    return None


@RULES.on("exp")
def exp_of_log_softmax(node: Node) -> Node | None:
    """exp(x - logsumexp(x)) = softmax(x)"""
    [d] = node.inputs
    if d.op.name != "sub":
        return None
    x, total = d.inputs
    lse = bare(total)
    if lse.op.name != "logsumexp" or lse.inputs[0] is not x or len(lse.attrs["axes"]) != 1:
        return None
    return ops.softmax(x, axis=axes_of(lse)[0]) if total is _kept_logsumexp(x, axes_of(lse)) else None


@RULES.on("div")
def exp_over_sum(node: Node) -> Node | None:
    """exp(x) / sum(exp(x)) = softmax(x); over several dimensions exp(x - logsumexp(x))"""
    e, denominator = node.inputs
    total = bare(denominator)
    if e.op.name != "exp" or not _is_sum_exp(total) or total.inputs[0] is not e:
        return None
    [x] = e.inputs
    axes = axes_of(total)
    lse = _kept_logsumexp(x, axes)
    if denominator.shape != lse.shape and (len(axes) < x.rank or denominator.rank):
        return None
    return ops.softmax(x, axis=axes[0]) if len(axes) == 1 else ops.exp(x - lse)


@RULES.on("div")
def logistic(node: Node) -> Node | None:
    """1 / (1 + exp(-x)) = sigmoid(x); exp(x) / (1 + exp(x)) = sigmoid(x)"""
    top, bottom = node.inputs
    u = _one_plus_exp(bottom)
    if u is None:
        return None
    if is_number(top, 1.0):
        return ops.sigmoid(-u)
    return ops.sigmoid(u) if top.op.name == "exp" and top.inputs[0] is u else None


@RULES.on("softmax")
def softmax_of_shifted(node: Node) -> Node | None:
    """softmax(x - m) = softmax(x + m) = softmax(x), m a finite number or an extreme of x along the dimension"""
    [u] = node.inputs
    axis = (node.attrs["axis"] % u.rank,)
    x = _unshifted(u, axis)
    return None if x is None else ops.softmax(x[0], axis=axis[0], guarded=node.attrs["guarded"])


def _unshifted(u: Node, axes: tuple[int, ...]) -> tuple[Node, Node] | None:
    """x and m, where u is x - m or x + m and m is constant along the axes."""
    if u.op.name not in ("sub", "add"):
        return None
    a, b = u.inputs
    for x, m in ((a, b), (b, a)) if u.op.name == "add" else ((a, b),):
        if (
            x.shape == u.shape
            and constant_along(m, u.shape, axes)
            and not constant_along(x, u.shape, axes)
            and (_no_more_than(m, x, axes))
        ):
            return x, m
    return None


def _no_more_than(m: Node, x: Node, axes: tuple[int, ...]) -> bool:
    """Whether m is a finite number, or NaN or infinite only where x is: a shift by anything else may bring a NaN in."""
    while m.op.name in ("reshape", "broadcast_to", "stop_gradient", "cut"):
        m = m.inputs[0]
    if m.op.name in ("reduce_max", "reduce_min", "logsumexp"):
        return m.inputs[0] is x and axes_of(m) == axes
    value = number(m)
    return math.isfinite(value) if value is not None else finite(m)


# --- logsumexp


@RULES.on("add")
def shift_put_back(node: Node) -> Node | None:
    """logsumexp(x - m) + m = logsumexp(x), m as for softmax"""
    for total, m in (node.inputs, node.inputs[::-1]):
        lse = bare(total)
        if lse.op.name == "logsumexp" and total.shape == node.shape:
            shifted = _unshifted(lse.inputs[0], axes_of(lse))
            if shifted is not None and lse.inputs[0].op.name == "sub" and bare(shifted[1]) is bare(m):
                return ops.reshape(_logsumexp(shifted[0], axes_of(lse)), shape=node.shape)
    return None


@RULES.on("sub")
def shift_cancels(node: Node) -> Node | None:
    """(x - m) - logsumexp(x - m) = x - logsumexp(x); pick(x, i) - m - logsumexp(x - m) = pick(x, i) - logsumexp(x),
    m as for softmax"""
    u, total = node.inputs
    lse = bare(total)
    if lse.op.name != "logsumexp" or u.op.name != lse.inputs[0].op.name:
        return None
    axes = axes_of(lse)
    inner, outer = _unshifted(lse.inputs[0], axes), u.inputs
    if inner is None:
        return None
    x, m = inner
    for a, b in (outer, outer[::-1]) if u.op.name == "add" else (outer,):
        if bare(b) is bare(m) and a.shape == node.shape:
            return a - ops.reshape(_logsumexp(x, axes), shape=total.shape)
    return None


@RULES.on("logsumexp")
def two_terms(node: Node) -> Node | None:
    """logsumexp([0, x]) = softplus(x)"""
    [x] = node.inputs
    axes = axes_of(node)
    if x.op.name != "concat" or len(x.inputs) != 2 or axes != (x.attrs["axis"] % x.rank,) or node.attrs["keepdims"]:
        return None
    for zero, y in (x.inputs, x.inputs[::-1]):
        value = zero.inputs[0] if zero.op.name == "broadcast_to" else zero
        if y.shape[axes[0]] == 1 and zero.shape[axes[0]] == 1 and number(value) == 0:
            return ops.softplus(ops.reshape(y, shape=node.shape))
    return None


# --- softplus in sums


def _terms(node: Node) -> list[tuple[int, Node]]:
    """The terms of a sum with their signs: through +, - and signs of values that nothing else reads."""
    terms: list[tuple[int, Node]] = []
    stack = [(1, node)]
    while stack:
        sign, term = stack.pop()
        if term.op.name in ("add", "sub", "neg") and (term is node or once(term)) and len(terms) + len(stack) < TERMS:
            if term.op.name == "neg":
                stack.append((-sign, term.inputs[0]))
            else:
                a, b = term.inputs
                stack += [(-sign if term.op.name == "sub" else sign, b), (sign, a)]
        else:
            terms.append((sign, term))
    return terms


def _total(terms: list[tuple[int, Node]]) -> Node:
    """The sum again; positive terms first."""
    terms = sorted(terms, key=lambda term: -term[0])
    sign, result = terms[0]
    for other_sign, term in terms[1:]:
        result = result + term if other_sign == sign else result - term
    return result if sign > 0 else -result


@RULES.on("add", "sub")
def softplus_in_sum(node: Node) -> Node | None:
    """relu(x) + softplus(-|x|) = softplus(x); x + softplus(-x) = softplus(x);
    a softplus(-x) + (1 - a) softplus(x) = softplus(x) - a x; (1 - a) x + softplus(-x) = softplus(x) - a x"""
    if not any(_softplus_in(source) for source in _near(node)):
        return None
    terms = _terms(node)
    for i, (sign, first) in enumerate(terms):
        for j, (second_sign, second) in enumerate(terms):
            if i != j and sign == second_sign and first.shape == second.shape == node.shape:
                made = _softplus_pair(first, second)
                if made is not None:
                    rest = [term for k, term in enumerate(terms) if k not in (i, j)]
                    plus, minus = made
                    return _total([*rest, (sign, plus), *([(-sign, minus)] if minus is not None else [])])
    return None


def _near(node: Node) -> list[Node]:
    """The operands, and theirs where they are sums."""
    near = list(node.inputs)
    for source in node.inputs:
        if source.op.name in ("add", "sub", "neg"):
            near += source.inputs
    return near


def _softplus_in(term: Node) -> bool:
    return term.op.name == "softplus" or (term.op.name == "mul" and any(x.op.name == "softplus" for x in term.inputs))


def _softplus_pair(a: Node, b: Node) -> tuple[Node, Node | None] | None:
    """What a + b is: a softplus, and what is to be taken from it. `b` has the softplus of -x."""
    if b.op.name == "softplus":
        [u] = b.inputs
        if a.op.name == "relu" and u.op.name == "neg" and u.inputs[0].op.name == "abs":
            [x], [y] = a.inputs, u.inputs[0].inputs
            return (ops.softplus(x), None) if x is y or opposite(x, y) else None
        if opposite(a, u):
            return ops.softplus(a), None
        if a.op.name == "mul":
            for x, rest in (a.inputs, a.inputs[::-1]):
                weight = one_minus(rest) if opposite(x, u) else None
                if weight is not None:
                    return ops.softplus(x), weight * x
        return None
    if a.op.name == b.op.name == "mul":
        for plus, p in (a.inputs, a.inputs[::-1]):
            for minus, q in (b.inputs, b.inputs[::-1]):
                if (
                    plus.op.name == minus.op.name == "softplus"
                    and opposite(plus.inputs[0], minus.inputs[0])
                    and (complement(p, q) and unsigned(plus.inputs[0]) is None)
                ):
                    return plus, q * plus.inputs[0]
    return None


@RULES.on("where")
def choice_of_softplus(node: Node) -> Node | None:
    """where(c, softplus(-x), softplus(x)) = softplus(x) - c x; where(c, softplus(x), softplus(-x)) with 1 - c"""
    condition, a, b = node.inputs
    if a.op.name != "softplus" or b.op.name != "softplus" or not opposite(a.inputs[0], b.inputs[0]):
        return None
    weight = ops.cast(condition, dtype="float")
    [x] = b.inputs
    if unsigned(x) is not None:
        [x] = a.inputs
        weight = 1.0 - weight
    return spread(ops.softplus(x) - weight * x, node.shape)
