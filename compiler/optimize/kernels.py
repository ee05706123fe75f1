"""Compositions for which ONNX has one kernel: rows brought to mean 0 and variance 1 (layer normalization), and masks
that keep a triangle of each matrix (causal attention)."""

from __future__ import annotations

import math

from .. import ops
from ..ir.graph import Node
from ..ops.match import axes_of, bare, number, with_number
from .rewrite import Rules

RULES = Rules()
LAST = Rules()

# --- layer normalization


@RULES.on("div")
def layer_normalization(node: Node) -> Node | None:
    """s (x - mean(x)) / sqrt(mean((x - mean(x))^2) + eps) = s standardize(x, eps), along the last dimension"""
    top, root = node.inputs
    if root.op.name != "sqrt" or root.inputs[0].op.name != "add":
        return None
    found = with_number(root.inputs[0])
    if found is None or not found[1] > 0:
        return None
    squares = _mean_over_last(found[0])
    if squares is None or squares.op.name != "mul" or squares.inputs[0] is not squares.inputs[1]:
        return None
    [centred, _] = squares.inputs
    if centred.op.name != "sub" or centred.shape != node.shape:
        return None
    x, centre = centred.inputs
    if x.shape != node.shape or _mean_over_last(centre) is not x:
        return None
    standard = ops.standardize(x, eps=float(found[1]))
    if top is centred:
        return standard
    if top.op.name == "mul" and centred in top.inputs:
        return top.inputs[1 if top.inputs[0] is centred else 0] * standard
    return None


def _mean_over_last(node: Node) -> Node | None:
    """x, where the node is the mean of x along its last dimension, of a known length, with the dimension kept."""
    if node.op.name != "mul":
        return None
    found = with_number(node)
    if found is None:
        return None
    kept, share = found
    total = bare(kept)
    if total.op.name != "reduce_sum" or total.attrs["keepdims"]:
        return None
    [x] = total.inputs
    length = x.shape[-1] if x.rank else 0
    if axes_of(total) != (x.rank - 1,) or kept.shape != (*x.shape[:-1], 1) or not isinstance(length, int) or not length:
        return None
    return x if math.isclose(share, 1 / length, rel_tol=1e-12) else None


# --- triangles


@LAST.on("where")
def mask_of_triangle(node: Node) -> Node | None:
    """where(i >= j, x, c) = trilu(x) + where(i >= j, 0, c) for batches of matrices, i and j the row and column indices:
    the mask acts on one matrix, and what it hides may be anything"""
    condition, x, c = node.inputs
    triangle = _triangle(condition)
    if triangle is None or node.dtype != "float":
        return None
    upper, offset = triangle
    if x.rank == 0:  # where(mask, c, x) keeps the other triangle
        x, c, upper, offset = c, x, not upper, offset + (-1 if upper else 1)
    value = number(c)
    if value is None or x.shape != node.shape or x.rank < 3 or x.shape[-2:] != condition.shape:
        return None
    kept = ops.trilu(x, upper=upper, offset=offset)
    if value == 0:
        return kept
    zero = ops.constant(node.graph, 0.0, "float")
    return kept + ops.where(condition, *((zero, c) if node.inputs[2] is c else (c, zero)))


_TRIANGLES = {"ge": (False, 0), "gt": (False, -1), "le": (True, 0), "lt": (True, 1)}


def _triangle(condition: Node) -> tuple[bool, int] | None:
    """Which triangle of a matrix is kept where i >= j, i - j >= k, and so on: upper or lower, and from which diagonal
    on, counted from the main one upwards."""
    if condition.op.name not in _TRIANGLES or condition.rank != 2:
        return None
    a, b = condition.inputs
    upper, offset = _TRIANGLES[condition.op.name]
    k = number(b)
    if k is not None and a.op.name == "sub":  # i - j >= k
        (a, b), offset = a.inputs, offset - int(k)
    if _counts(a, 0, condition) and _counts(b, 1, condition):
        return upper, offset
    if _counts(a, 1, condition) and _counts(b, 0, condition):  # j >= i is i <= j
        return not upper, -offset
    return None


def _counts(node: Node, axis: int, condition: Node) -> bool:
    """Whether the node is 0, 1, 2, ... along an axis of the condition."""
    size = condition.shape[axis]
    places = node.inputs[0] if node.op.name == "reshape" else node
    shape = ((size, 1),) if axis == 0 else ((size,), (1, size))
    return places.op.name == "arange" and places.attrs["size"] == size and node.shape in shape
