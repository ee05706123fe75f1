"""Products of matrices."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..ir.apart import Slices, aligned
from ..ir.graph import Array, Node
from ..ir.op import Sample, define, linear, total
from ..ir.types import Size, TensorType, TypeProblem, broadcast, product
from .operands import draw_rank
from .shaping import reshape


def _sides(type: TensorType, transposed: bool) -> tuple[Size, Size]:
    rows, columns = type.shape[-2:]
    return (columns, rows) if transposed else (rows, columns)


def _infer(a: TensorType, b: TensorType, ta: bool, tb: bool) -> TensorType:
    for number, type in enumerate((a, b)):
        if type.dtype != "float":
            raise TypeProblem("E0302", "`@` multiplies floats", {number: f"this is `{type}`"})
        if type.rank < 2:
            raise TypeProblem("E0318", "`@` multiplies matrices", {number: f"this is `{type}`"})
    (rows, inner), (other, columns) = _sides(a, ta), _sides(b, tb)
    if inner != other:
        places = ("last", "first" if b.rank == 2 else "second to last")
        raise TypeProblem(
            "E0312",
            "shapes do not agree in `@`",
            {
                0: f"the {('last', 'first' if a.rank == 2 else 'second to last')[ta]} dimension is {inner}: `{a}`",
                1: f"the {places[not tb]} dimension is {other}: `{b}`",
            },
        )
    return TensorType("float", (*broadcast(a.shape[:-2], b.shape[:-2]), rows, columns))


def _t(x: Array, flag: bool) -> Array:
    return np.swapaxes(x, -1, -2) if flag else x


def _grad(g: Node, y: Node, a: Node, b: Node, ta: bool, tb: bool) -> list[Node]:
    """With y = a' b': the adjoint of a' is g b'ᵀ, that of b' is a'ᵀ g; each product takes its transposes inside."""
    by_a = matmul(b, g, ta=tb, tb=True) if ta else matmul(g, b, ta=False, tb=not tb)
    if b.rank == 2 and a.rank > 2 and not ta:  # one product over all rows, not one for each batch and a sum
        a, g = _rows(a), _rows(g)
    by_b = matmul(g, a, ta=True, tb=ta) if tb else matmul(a, g, ta=not ta, tb=False)
    return [by_a, by_b]


def _rows(x: Node) -> Node:
    return reshape(x, shape=(product(x.shape[:-1]), x.shape[-1]))


def _lower(out: Any, node: Node, a: str, b: str) -> str:
    """MatMul; Gemm where it takes the transposes."""
    ta, tb = node.attrs["ta"], node.attrs["tb"]
    write = _writer(out, node)
    if (ta or tb) and all(source.rank == 2 for source in node.inputs):
        return str(write("Gemm", [a, b], transA=int(ta), transB=int(tb)))
    names = []
    for name, source, flag in ((a, node.inputs[0], ta), (b, node.inputs[1], tb)):
        if flag:
            name = out.node("Transpose", [name], perm=[*range(source.rank - 2), source.rank - 1, source.rank - 2])
        names.append(name)
    return str(write("MatMul", names))


def _writer(out: Any, node: Node) -> Any:
    """A product of one row or one column over a long dimension is a sum; of more rows the kernel takes blocks."""
    rows, columns = node.shape[-2:]
    inner = _sides(node.inputs[0].type, node.attrs["ta"])[1]
    return out.doubled if 1 in (rows, columns) and out.long(inner) else out.node


def _samples(rng: np.random.Generator) -> Sample:
    m, n, k = (0 if rng.random() < 0.05 else int(size) for size in rng.integers(1, 5, 3))
    ta, tb = bool(rng.random() < 0.5), bool(rng.random() < 0.5)
    lead = tuple(int(size) for size in rng.choice([1, 2, 3, 0], size=draw_rank(rng, 0, 3), p=[0.3, 0.4, 0.25, 0.05]))

    def batch() -> tuple[int, ...]:
        own = tuple(1 if rng.random() < 0.3 else size for size in lead)
        return own[int(rng.integers(0, len(own) + 1)) :]

    a = rng.uniform(-2, 2, (*batch(), *((n, m) if ta else (m, n))))
    b = rng.uniform(-2, 2, (*batch(), *((k, n) if tb else (n, k))))
    return Sample((a, b), {"ta": ta, "tb": tb})


def _products(node: Node) -> Size:
    """One multiplication for each element of the result and each of the inner dimension."""
    return product(node.shape) * _sides(node.inputs[0].type, node.attrs["ta"])[1]


def _apart(node: Node, number: int, axis: int) -> int | Slices:
    """Rows of a, columns of b and leading dimensions stay apart; what is summed over does not. c of a gemm is added."""
    source = node.inputs[number]
    if number == 2 or axis < source.rank - 2:
        return aligned(node, number, axis)
    last = (axis == source.rank - 1) != node.attrs["tb" if number else "ta"]
    if last == (number == 0):
        return Slices.ONE
    return node.rank - 1 if number else node.rank - 2


_matmul = define(
    "matmul",
    infer=_infer,
    grad=_grad,
    jvp=linear,
    lower=_lower,
    samples=_samples,
    cost=_products,
    defaults={"ta": False, "tb": False},
    reference=lambda a, b, ta, tb: np.matmul(_t(a, ta), _t(b, tb)),
    finite=True,
    apart=_apart,
)


def matmul(a: Node, b: Node, ta: bool = False, tb: bool = False) -> Node:
    """a' @ b', batched with broadcasting, where ' is the transpose of the last two dimensions if the flag says so."""
    return _matmul(a, b, ta=ta, tb=tb)


def _gemm_infer(
    a: TensorType, b: TensorType, c: TensorType, alpha: float, beta: float, ta: bool, tb: bool
) -> TensorType:
    result = _infer(a, b, ta, tb)
    if result.rank != 2 or c.dtype != "float" or broadcast(result.shape, c.shape) != result.shape:
        raise TypeProblem("E0312", "a gemm takes matrices and what broadcasts to their product", {2: f"this is `{c}`"})
    return result


def _gemm_grad(
    g: Node, y: Node, a: Node, b: Node, c: Node, alpha: float, beta: float, ta: bool, tb: bool
) -> list[Node]:
    scaled = g if alpha == 1.0 else g * alpha
    return [*_grad(scaled, y, a, b, ta, tb), g if beta == 1.0 else g * beta]


def _gemm_samples(rng: np.random.Generator) -> Sample:
    m, n, k = (0 if rng.random() < 0.05 else int(size) for size in rng.integers(1, 5, 3))
    ta, tb = bool(rng.random() < 0.5), bool(rng.random() < 0.5)
    shape: tuple[int, ...] = [(m, k), (k,), (1, k), (m, 1), ()][int(rng.integers(0, 5))]
    inputs = [rng.uniform(-2, 2, s) for s in ((n, m) if ta else (m, n), (k, n) if tb else (n, k), shape)]
    alpha, beta = float(rng.choice([1.0, 0.5, -0.25])), float(rng.choice([1.0, -2.0, 0.5]))
    return Sample(tuple(inputs), {"alpha": alpha, "beta": beta, "ta": ta, "tb": tb})


def _gemm_lower(out: Any, node: Node, a: str, b: str, c: str) -> str:
    """With beta = 0 nothing is added, and c is not even named. To a sum over a long dimension c is added at the end:
    the kernel would add the parts of the sum to c one after another, and what is small beside c would be lost."""
    attrs, write = node.attrs, _writer(out, node)
    flags = {"transA": int(attrs["ta"]), "transB": int(attrs["tb"])}
    if attrs["beta"] == 0.0:
        return str(write("Gemm", [a, b], alpha=attrs["alpha"], **flags))
    if out.long(_sides(node.inputs[0].type, attrs["ta"])[1]):
        product = write("Gemm", [a, b], alpha=attrs["alpha"], **flags)
        scaled = c if attrs["beta"] == 1.0 else out.node("Mul", [c, out.constant(attrs["beta"], "float")])
        return str(out.node("Add", [product, scaled]))
    return str(write("Gemm", [a, b, c], alpha=attrs["alpha"], beta=attrs["beta"], **flags))


def _gemm_jvp(
    tangents: Sequence[Node | None], y: Node, a: Node, b: Node, c: Node, alpha: float, beta: float, ta: bool, tb: bool
) -> Node | None:
    """alpha (da' b' + a' db') + beta dc."""
    da, db, dc = tangents
    parts = [matmul(x, z, ta, tb) for x, z in ((da, b), (a, db)) if x is not None and z is not None]
    moved = total([part if alpha == 1.0 else part * alpha for part in parts])
    added = [] if dc is None else [dc if beta == 1.0 else dc * beta]
    return total([*([] if moved is None else [moved]), *added])


gemm = define(  # alpha a' b' + beta c; made by fusing only
    "gemm",
    infer=_gemm_infer,
    grad=_gemm_grad,
    jvp=_gemm_jvp,
    samples=_gemm_samples,
    cost=_products,
    defaults={"alpha": 1.0, "beta": 1.0, "ta": False, "tb": False},
    lower=_gemm_lower,
    reference=lambda a, b, c, alpha, beta, ta, tb: alpha * (_t(a, ta) @ _t(b, tb)) + beta * c,
    finite=True,
    apart=_apart,
)
