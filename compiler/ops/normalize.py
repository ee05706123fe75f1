"""Rows brought to mean 0 and variance 1, and triangles of matrices: for each ONNX has one kernel where a composition
takes several passes over memory. Made by rewrites only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..ir.apart import along_last
from ..ir.graph import Array, Node
from ..ir.op import Op, Sample, define, free, linear
from ..ir.types import TensorType, TypeProblem, product
from .leaf import make_size
from .operands import cast, sizes, wrong_dtype
from .reduction import mean


def _rows(x: TensorType, eps: float) -> TensorType:
    if x.dtype != "float":
        raise wrong_dtype("standardize", 0, x)
    if not x.rank:
        raise TypeProblem("E0316", "`standardize` takes rows", {0: f"this is `{x}`"})
    return x


def _inverse_infer(x: TensorType, eps: float) -> TensorType:
    x = _rows(x, eps)
    return x.with_shape((*x.shape[:-1], 1))


def _inverse(x: Array, eps: float) -> Any:
    return 1 / np.sqrt(np.var(x, axis=-1, keepdims=True) + eps)


def _standardize_grad(g: Node, y: Node, x: Node, eps: float) -> list[Node]:
    """r (g - mean(g) - y mean(g y)) with r = 1 / sqrt(variance + eps)"""
    last = (x.rank - 1,)
    return [inverse_deviation(x, eps=eps) * (g - mean(g, last, True) - y * mean(g * y, last, True))]


def _inverse_grad(g: Node, r: Node, x: Node, eps: float) -> list[Node]:
    """-g r^2 standardize(x) / n"""
    n = cast(make_size(x.graph, x.shape[-1]), dtype="float")
    return [standardize(x, eps=eps) * (g * r * r / -n)]


def _inverse_jvp(tangents: Sequence[Node], r: Node, x: Node, eps: float) -> Node:
    """-r^2 mean(standardize(x) dx)"""
    return r * r * -mean(standardize(x, eps=eps) * tangents[0], (x.rank - 1,), True)


def _lower(out: Any, node: Node, x: str) -> str:
    """LayerNormalization in float32; its statistics are float32 in every precision, so others get the composition, as
    do rows of a free size, for which there is no constant of ones."""
    if _one_kernel(out, node):
        length: Any = node.inputs[0].shape[-1]
        ones = out.constant(np.ones(length), "float")
        return str(out.node("LayerNormalization", [x, ones], axis=node.rank - 1, epsilon=node.attrs["eps"]))
    centred, root = _composed(out, node, x)
    return str(out.node("Div", [centred, root]))


def _inverse_lower(out: Any, node: Node, x: str) -> str:
    """The third output of that LayerNormalization."""
    if _one_kernel(out, node):
        return str(out.further(_lower(out, node, x), 2))
    return str(out.node("Div", [out.constant(1.0, "float"), _composed(out, node, x)[1]]))


def _one_kernel(out: Any, node: Node) -> bool:
    return bool(out.precision == "float32" and isinstance(node.inputs[0].shape[-1], int) and node.inputs[0].shape[-1])


def _composed(out: Any, node: Node, x: str) -> tuple[str, str]:
    """x - mean, and the root of variance + eps."""
    last = out.shape([node.rank - 1])
    n = out.cast(out.size(node.inputs[0].shape[-1]), "float")
    centre = out.node("Div", [out.node("ReduceSum", [x, last], keepdims=1, noop_with_empty_axes=1), n])
    centred = out.node("Sub", [x, centre])
    squares = out.node("ReduceSumSquare", [centred, last], keepdims=1, noop_with_empty_axes=1)
    variance = out.node("Div", [squares, n])
    return centred, out.node("Sqrt", [out.node("Add", [variance, out.constant(node.attrs["eps"], "float")])])


def _samples(rng: np.random.Generator) -> Sample:
    shape = (*sizes(rng, high=4, empty=0.25), int(rng.integers(1, 6)))
    return Sample((rng.uniform(-3, 3, shape),), {"eps": float(rng.choice([0.1, 0.5]))})


standardize = define(  # (x - mean) / sqrt(variance + eps) along the last dimension
    "standardize",
    infer=_rows,
    grad=_standardize_grad,
    lower=_lower,
    samples=_samples,
    jvp=lambda tangents, y, x, eps: _standardize_grad(tangents[0], y, x, eps)[0],  # the Jacobian is symmetric
    cost=lambda node: 2 * product(node.shape),  # the squares and the quotient
    reference=lambda x, eps: (x - np.mean(x, axis=-1, keepdims=True)) * _inverse(x, eps),
    apart=along_last,
)

inverse_deviation = define(  # 1 / sqrt(variance + eps) of each row, [..., 1]; costs nothing beside standardize
    "inverse_deviation",
    infer=_inverse_infer,
    grad=_inverse_grad,
    jvp=_inverse_jvp,
    lower=_inverse_lower,
    samples=_samples,
    cost=lambda node: product(node.shape),
    reference=_inverse,
    apart=along_last,
)


# --- triangles


def _triangle_infer(x: TensorType, upper: bool, offset: int) -> TensorType:
    if x.dtype != "float":
        raise wrong_dtype("trilu", 0, x)
    if x.rank < 2:
        raise TypeProblem("E0318", "a triangle is of matrices", {0: f"this is `{x}`"})
    return x


def _triangle_lower(out: Any, node: Node, x: str) -> str:
    operands = [x, out.constant(node.attrs["offset"], "int")] if node.attrs["offset"] else [x]
    return str(out.node("Trilu", operands, upper=int(node.attrs["upper"])))


def _triangle_samples(rng: np.random.Generator) -> Sample:
    shape = (*sizes(rng, high=3, empty=0.25), int(rng.integers(0, 5)), int(rng.integers(1, 5)))
    attrs = {"upper": bool(rng.random() < 0.5), "offset": int(rng.integers(-2, 3))}
    return Sample((rng.uniform(-3, 3, shape),), attrs)


trilu: Op = define(  # the elements on and above (below) the diagonal `offset`, 0 elsewhere, whatever stood there
    "trilu",
    infer=_triangle_infer,
    lower=_triangle_lower,
    samples=_triangle_samples,
    jvp=linear,
    cost=free,
    grad=lambda g, y, x, upper, offset: [trilu(g, upper=upper, offset=offset)],
    reference=lambda x, upper, offset: (np.triu if upper else np.tril)(x, offset),
    finite=True,
    monotone=(1,),
    apart=lambda node, number, axis: axis,
)
