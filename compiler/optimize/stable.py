"""Numerically stable forms: what people write for softmax, sigmoid and their logarithms becomes the primitive, whose
derivative is short and which neither overflows nor loses digits. These rules run before differentiation."""
from __future__ import annotations

from .. import ops
from ..graph import Node
from .match import bare, equal, is_
from .rewrite import Rule


def _pairs(node: Node) -> list[tuple[Node, Node]]:
    a, b = node.inputs
    return [(a, b), (b, a)]


def _one_plus_exp(node: Node) -> Node | None:
    """u where the node is 1 + exp(u)."""
    if is_(node, "add"):
        for a, b in _pairs(node):
            if equal(a, 1) and is_(b, "exp") and b.shape == node.shape:
                return b.inputs[0]
    return None


def _spread_of(c: Node, x: Node, *names: str) -> Node | None:
    """The reduction over one axis of something that c is, put back beside x; None if c varies along that axis."""
    core = bare(c)
    if not is_(core, *names) or len(core.attrs["axes"]) != 1 or core.inputs[0].rank != x.rank:
        return None
    axis = core.attrs["axes"][0] % x.rank
    kept = tuple(1 if i == axis else size for i, size in enumerate(core.inputs[0].shape))
    shape = c.shape if not is_(c, "broadcast_to") else c.inputs[0].shape
    return core if shape == kept else None


def _axis(core: Node) -> int:
    return int(core.attrs["axes"][0]) % core.inputs[0].rank


# --- sigmoid and softplus


def div(node: Node) -> Node | None:
    a, b = node.inputs
    u = _one_plus_exp(b)
    if u is not None and equal(a, 1) and b.shape == node.shape:  # 1 / (1 + exp(u)) = σ(−u)
        return ops.sigmoid(-u)
    if u is not None and is_(a, "exp") and a.inputs[0] is u:  # exp(u) / (1 + exp(u)) = σ(u)
        return ops.sigmoid(u)
    if is_(a, "exp"):  # exp(x) / Σ exp(x) = softmax(x)
        total = _spread_of(b, a, "reduce_sum")
        if total is not None and total.inputs[0] is a:
            return ops.softmax(a.inputs[0], axis=_axis(total))
    return None


def log(node: Node) -> Node | None:
    (x,) = node.inputs
    if is_(x, "exp"):  # log exp(x) = x
        return x.inputs[0]
    if is_(x, "sigmoid"):  # log σ(u) = −softplus(−u)
        return -ops.softplus(-x.inputs[0])
    if is_(x, "sub") and equal(x.inputs[0], 1) and is_(x.inputs[1], "sigmoid") and x.inputs[1].shape == x.shape:
        return -ops.softplus(x.inputs[1].inputs[0])  # log(1 − σ(u)) = −softplus(u)
    u = _one_plus_exp(x)
    if u is not None:  # log(1 + exp(u)) = softplus(u)
        return ops.softplus(u)
    if is_(x, "softmax"):  # log softmax(x) = x − logsumexp(x)
        z = x.inputs[0]
        return z - ops.logsumexp(z, axes=(x.attrs["axis"] % z.rank,), keepdims=True)
    if is_(x, "pick") and is_(x.inputs[0], "softmax") and x.inputs[0].attrs["axis"] % x.inputs[0].rank == x.inputs[0].rank - 1:
        z, index = x.inputs[0].inputs[0], x.inputs[1]  # log softmax(z)[y] = z[y] − logsumexp(z)
        return ops.pick(z, index) - ops.logsumexp(z, axes=(z.rank - 1,), keepdims=False)
    if is_(x, "reduce_sum") and is_(x.inputs[0], "exp"):  # log Σ exp(x) = logsumexp(x)
        return ops.logsumexp(x.inputs[0].inputs[0], axes=x.attrs["axes"], keepdims=x.attrs["keepdims"])
    if is_(x, "reshape") and is_(x.inputs[0], "reduce_sum", "softmax", "sigmoid", "pick"):  # log of a reshape: reshape of the log
        return ops.reshape(ops.log(x.inputs[0]), shape=x.shape)
    if is_(x, "div") and is_(x.inputs[0], "constant") and equal(x.inputs[0], 1):  # log(1 / x) = −log x
        return -ops.log(x.inputs[1]) if x.inputs[1].shape == x.shape else None
    return None


def log1p(node: Node) -> Node | None:
    (x,) = node.inputs
    if is_(x, "exp"):  # log1p(exp(u)) = softplus(u)
        return ops.softplus(x.inputs[0])
    if is_(x, "neg") and is_(x.inputs[0], "sigmoid"):  # log1p(−σ(u)) = −softplus(u)
        return -ops.softplus(x.inputs[0].inputs[0])
    return None


def _minus_abs(node: Node) -> Node | None:
    """x where the node is −|x|."""
    return node.inputs[0].inputs[0] if is_(node, "neg") and is_(node.inputs[0], "abs") else None


def add(node: Node) -> Node | None:
    for a, b in _pairs(node):
        if is_(b, "softplus"):
            x = _minus_abs(b.inputs[0])
            if x is not None and is_(a, "relu") and a.inputs[0] is x:  # max(x, 0) + softplus(−|x|) = softplus(x)
                return ops.softplus(x)
            if x is not None and is_(a, "sub") and is_(a.inputs[0], "relu") and a.inputs[0].inputs[0] is x:
                return ops.softplus(x) - a.inputs[1]
            if x is not None and is_(a, "add"):
                for p, q in _pairs(a):
                    if is_(p, "relu") and p.inputs[0] is x:
                        return ops.softplus(x) + q
        if is_(a, "mul") and is_(b, "mul"):
            found = _bernoulli(a, b)
            if found is not None and found.shape == node.shape:
                return found
    return None


def _bernoulli(a: Node, b: Node) -> Node | None:
    """y softplus(−u) + (1 − y) softplus(u) = softplus(u) − y u"""
    for y, s in _pairs(a):
        for w, t in _pairs(b):
            if is_(s, "softplus") and is_(t, "softplus") and is_(w, "sub") and equal(w.inputs[0], 1) and w.inputs[1] is y:
                u, v = s.inputs[0], t.inputs[0]
                if opposite(u, v):
                    return ops.softplus(v) - y * v
    return None


def opposite(u: Node, v: Node) -> bool:
    """Whether u = −v."""
    if (is_(u, "neg") and u.inputs[0] is v) or (is_(v, "neg") and v.inputs[0] is u):
        return True
    return is_(u, "sub") and is_(v, "sub") and u.inputs == v.inputs[::-1]


def where(node: Node) -> Node | None:
    c, a, b = node.inputs
    if is_(a, "softplus") and is_(b, "softplus") and opposite(a.inputs[0], b.inputs[0]) and a.shape == node.shape:
        u = b.inputs[0]  # where(c, softplus(−u), softplus(u)) = softplus(u) − [c] u
        return ops.softplus(u) - ops.cast(c, dtype="float") * u
    return None


# --- softmax and logsumexp


def exp(node: Node) -> Node | None:
    (x,) = node.inputs
    if is_(x, "sub"):
        total = _spread_of(x.inputs[1], x, "logsumexp")
        if total is not None and total.inputs[0] is x.inputs[0]:  # exp(x − logsumexp(x)) = softmax(x)
            return ops.softmax(x.inputs[0], axis=_axis(total))
    return None


def _flat_along(c: Node, axis: int, rank: int) -> bool:
    """Whether a value beside one of that rank has size 1 along an axis."""
    place = axis - (rank - c.rank)
    return place < 0 or c.shape[place] == 1


def _shifted(x: Node, axis: int) -> bool:
    """Whether x is (z − c) with c of size 1 along the axis, made by taking off a greatest value for stability."""
    return is_(x, "sub") and x.inputs[0].shape == x.shape and _flat_along(x.inputs[1], axis, x.rank)


def softmax(node: Node) -> Node | None:
    (x,) = node.inputs
    axis = node.attrs["axis"] % x.rank
    if _shifted(x, axis):  # softmax(z − c) = softmax(z)
        return ops.softmax(x.inputs[0], axis=axis)
    return None


def logsumexp(node: Node) -> Node | None:
    (x,) = node.inputs
    if len(node.attrs["axes"]) != 1:
        return None
    axis = node.attrs["axes"][0] % x.rank
    if _shifted(x, axis) and is_(bare(_unstopped(x.inputs[1])), "reduce_max"):  # logsumexp(z − c) = logsumexp(z) − c
        c = ops.broadcast_to(x.inputs[1], shape=tuple(1 if i == axis else s for i, s in enumerate(x.shape)))
        total = ops.logsumexp(x.inputs[0], axes=(axis,), keepdims=True) - c
        return ops.reshape(total, shape=node.shape)
    return None


def _unstopped(node: Node) -> Node:
    return node.inputs[0] if is_(node, "stop_gradient") else node


def pick(node: Node) -> Node | None:
    x, index = node.inputs
    if is_(x, "sub") and x.inputs[0].shape == x.shape and _flat_along(x.inputs[1], x.rank - 1, x.rank):
        c = ops.broadcast_to(x.inputs[1], shape=(*x.shape[:-1], 1))  # (z − c)[y] = z[y] − c
        return ops.pick(x.inputs[0], index) - ops.reshape(c, shape=node.shape)
    if is_(x, "neg"):
        return -ops.pick(x.inputs[0], index)
    return None


def reduce_sum(node: Node) -> Node | None:
    (x,) = node.inputs
    axes = sorted(a % x.rank for a in node.attrs["axes"])
    if is_(x, "mul") and axes and axes[-1] == x.rank - 1:
        for hot, z in _pairs(x):
            if is_(hot, "one_hot") and hot.shape == x.shape and z.shape == x.shape:  # Σ onehot(y) z = z[y]
                picked = ops.pick(z, hot.inputs[0])
                rest = ops.reduce_sum(picked, axes=tuple(axes[:-1]), keepdims=False) if axes[:-1] else picked
                return ops.reshape(rest, shape=node.shape)
    return None


RULES: dict[str, tuple[Rule, ...]] = {
    "div": (div,), "log": (log,), "log1p": (log1p,), "add": (add,), "where": (where,), "exp": (exp,), "softmax": (softmax,),
    "logsumexp": (logsumexp,), "pick": (pick,), "reduce_sum": (reduce_sum,),
}
