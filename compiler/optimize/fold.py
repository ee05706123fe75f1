"""Constants: what is known is computed now."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import ops
from ..ir.graph import Node
from ..ir.op import constant
from ..ir.types import Dim
from ..ops.match import ELEMENTWISE, number
from .rewrite import Rules

SMALL = 4096  # elements that a folded result may have, if its operands do not have more
FOLDED = (
    *ELEMENTWISE,
    "reduce_sum",
    "reduce_max",
    "reduce_min",
    "reduce_prod",
    "argmax",
    "argmin",
    "logsumexp",
    "softmax",
    "matmul",
    "reshape",
    "transpose",
    "slice",
    "unslice",
    "concat",
    "gather",
    "scatter_add",
    "pick",
    "one_hot",
)
RULES = Rules()


@RULES.on(*FOLDED)
def known(node: Node) -> Node | None:
    """f(constants) = their value, by the operation's reference, unless it is large"""
    for source in node.inputs:  # a loop, since every node comes here
        if source.op.name != "constant":
            return None
    if any(map(_free, node.attrs.values())) or any(isinstance(size, Dim) for size in node.shape):
        return None
    given = [source.attrs["value"] for source in node.inputs]
    if math.prod(size for size in node.shape if isinstance(size, int)) > max(SMALL, *[value.size for value in given]):
        return None
    try:
        with np.errstate(all="ignore"):
            value = node.op.reference(*given, **node.attrs)
    except (ArithmeticError, ValueError, IndexError):  # what it means is left to the run
        return None
    return constant(node.graph, value, node.dtype)


def _free(attr: Any) -> bool:
    return isinstance(attr, Dim) or (isinstance(attr, tuple) and any(map(_free, attr)))


@RULES.on("constant")
def uniform(node: Node) -> Node | None:
    """[c, c, ...] = broadcast_to(c)"""
    value = node.attrs["value"]
    if not value.ndim or not value.size or value.flat[0] != value.flat[-1] or (value != value.flat[0]).any():
        return None
    return ops.broadcast_to(constant(node.graph, value.flat[0], node.dtype), shape=node.shape)


@RULES.on("where")
def decided(node: Node) -> Node | None:
    """where(true, a, b) = a; where(false, a, b) = b"""
    condition, a, b = node.inputs
    value = number(condition)
    return None if value is None else ops.broadcast_to(a if value else b, shape=node.shape)


@RULES.on("and", "or")
def one_truth(node: Node) -> Node | None:
    """x and true = x; x and false = false; x or false = x; x or true = true"""
    for x, c in (node.inputs, node.inputs[::-1]):
        value = number(c)
        if value is not None:
            return ops.broadcast_to(x if value == (node.op.name == "and") else c, shape=node.shape)
    return None


FINAL = Rules()  # after everything else


@FINAL.on("broadcast_to")
def stored(node: Node) -> Node | None:
    """broadcast_to(c) = [c, c, ...], where it is small and could not be avoided"""
    [source] = node.inputs
    if source.op.name != "constant" or any(isinstance(size, Dim) for size in node.shape):
        return None
    if math.prod(size for size in node.shape if isinstance(size, int)) > SMALL:
        return None
    return constant(node.graph, np.broadcast_to(source.attrs["value"], node.attrs["shape"]).copy(), node.dtype)
