"""Rows: what acts on the last dimension of a value of three or more works on a matrix of all its rows.

ONNX's Gemm takes matrices only. So a product of a batch of matrices with one matrix becomes one product over all rows,
and the reshape behind it moves towards the end, through everything that acts on elements or rows: it meets the next
product, and goes. The derivatives by weights and biases then are products and sums over the rows of a matrix too, and
all that `fuse` knows about matrices holds for sequences and images as well. Applied once all derivatives are taken.

Signs and scalars stay outside of a reshape (shapes.py), so these rules look through them.
"""

from __future__ import annotations

from .. import ops
from ..ir.apart import along_axis, along_last
from ..ir.graph import Node
from ..ir.op import having
from ..ir.types import Size, product as count_of
from ..ops.match import ELEMENTWISE, REDUCTIONS, axes_of, number, once
from .rewrite import Rules

RULES = Rules()


def _rows(x: Node) -> Node:
    """x[..., n] as a matrix [rows, n]."""
    return ops.reshape(x, shape=(count_of(x.shape[:-1]), x.shape[-1]))


def _matrix(x: Node) -> Node | None:
    """The matrix whose rows x has in more dimensions."""
    if x.op.name != "reshape" or x.rank < 3:
        return None
    [flat] = x.inputs
    return flat if flat.rank == 2 and flat.shape[-1] == x.shape[-1] else None


def _outside(x: Node) -> bool:
    """Whether a reshape before x stays before it: signs and factors go outwards."""
    return x.op.name == "neg" or (x.op.name in ("mul", "div") and any(not source.rank for source in x.inputs))


def _under(x: Node, depth: int = 3) -> Node | None:
    """x on the matrix, where it is one in more dimensions, with a sign or scalars around it."""
    flat = _matrix(x)
    if flat is not None or not depth or not _outside(x):
        return flat
    inner = [source if not source.rank else _under(source, depth - 1) for source in x.inputs]
    found = [source for source in inner if source is not None]
    return x.graph.add(x.op, found, x.attrs) if len(found) == len(inner) else None


@RULES.on("matmul")
def product_of_rows(node: Node) -> Node | None:
    """a[..., n] @ b = reshape(matrix(a) @ b), for one matrix b: one product over all rows"""
    a, b = node.inputs
    if a.rank < 3 or b.rank != 2 or node.attrs["ta"]:
        return None
    return ops.reshape(ops.matmul(_rows(a), b, tb=node.attrs["tb"]), shape=node.shape)


@RULES.on(*(name for name in ELEMENTWISE if name != "neg"))
def pointwise_of_rows(node: Node) -> Node | None:
    """f(reshape(a), b) = reshape(f(a, reshape(b))), where the reshape makes more dimensions of the rows of a"""
    if node.rank < 3 or _outside(node):
        return None
    if not any(_matrix(x) is not None or _outside(x) for x in node.inputs):
        return None
    flat = [_under(x) if x.shape == node.shape else None for x in node.inputs]
    if all(x is None for x in flat):
        return None
    operands = []
    for x, matrix in zip(node.inputs, flat, strict=True):
        if matrix is None and not _follows(x, node):
            return None
        operands.append(matrix if matrix is not None else _rows(x) if x.rank > 1 else x)
    return ops.reshape(node.graph.add(node.op, operands, node.attrs), shape=node.shape)


@RULES.on(*ELEMENTWISE)
def pointwise_of_reshapes(node: Node) -> Node | None:
    """f(reshape(a), reshape(b)) = reshape(f(a, b)), for a and b of one shape"""
    if len(node.inputs) < 2:
        return None
    wide = [x for x in node.inputs if x.rank]
    if len(wide) < 2 or any(x.op.name != "reshape" or x.shape != node.shape for x in wide):
        return None
    if any(x.inputs[0].shape != wide[0].inputs[0].shape for x in wide):
        return None
    plain = [x.inputs[0] if x.rank else x for x in node.inputs]
    return ops.reshape(node.graph.add(node.op, plain, node.attrs), shape=node.shape)


def _follows(x: Node, node: Node) -> bool:
    """Whether x, an operand of node, broadcasts to its rows in the same way as a matrix: it has one value for all of
    them, or one for each."""
    lead: tuple[Size, ...] = x.shape[:-1]
    return x.rank < 2 or lead == node.shape[:-1] or all(size == 1 for size in lead)


@RULES.on(*REDUCTIONS)
def reduction_of_rows(node: Node) -> Node | None:
    """sum(reshape(a)) along the last dimension = reshape(sum(a)); over all others, the sum over the rows"""
    flat = _under(node.inputs[0])
    if flat is None or node.attrs["keepdims"]:
        return None
    axes, last = axes_of(node), node.inputs[0].rank - 1
    if axes != (last,) and axes != tuple(range(last)):
        return None
    attrs = {**node.attrs, "axes": (1,) if axes == (last,) else (0,)}
    return ops.reshape(node.graph.add(node.op, (flat,), attrs), shape=node.shape)


@RULES.on(*having(lambda op: op.apart in (along_axis, along_last)))
def row_by_row(node: Node) -> Node | None:
    """softmax(reshape(a)) = reshape(softmax(a)) along the last dimension, and other operations on each row by itself"""
    [x, *others] = node.inputs
    flat = _matrix(x)
    if flat is None or others:
        return None
    attrs = dict(node.attrs)
    if "axis" in attrs:
        if attrs["axis"] % x.rank != x.rank - 1:
            return None
        attrs["axis"] = 1
    return ops.reshape(node.graph.add(node.op, (flat,), attrs), shape=node.shape)


@RULES.on("transpose")
def rows_in_another_order(node: Node) -> Node | None:
    """transpose(reshape(rows(x) @ b + c)) = reshape(rows(transpose(x)) @ b + c), where x is narrower: fewer elements
    move"""
    [wide] = node.inputs
    perm, flat = node.attrs["perm"], _matrix(wide)
    if flat is None or perm[-1] != wide.rank - 1 or not once(wide) or not once(flat):
        return None
    product, shift = flat, None
    if flat.op.name == "add":
        product, shift = flat.inputs if flat.inputs[0].op.name == "matmul" else flat.inputs[::-1]
        if shift.rank > 1 or not once(product):
            return None
    if product.op.name != "matmul" or product.attrs["ta"] or product.inputs[0].op.name != "reshape":
        return None
    [x] = product.inputs[0].inputs
    if x.shape[:-1] != wide.shape[:-1] or not _narrower(x, wide):
        return None
    result = ops.matmul(_rows(ops.transpose(x, perm=perm)), product.inputs[1], tb=product.attrs["tb"])
    return ops.reshape(result if shift is None else result + shift, shape=node.shape)


@RULES.on("matmul")
def sum_over_rows_in_another_order(node: Node) -> Node | None:
    """rows(x)' @ rows(transpose(y)) = rows(transpose(x))' @ rows(y), where x is narrower, and the other way round"""
    if not node.attrs["ta"] or node.attrs["tb"] or node.rank != 2:
        return None
    for side in (0, 1):
        narrow, wide = (_unrowed(node.inputs[i]) for i in (side, 1 - side))
        if narrow is None or wide is None or wide.op.name != "transpose" or narrow.shape[:-1] != wide.shape[:-1]:
            continue
        perm = wide.attrs["perm"]
        if perm[-1] != wide.rank - 1 or not _narrower(narrow, wide):
            continue
        back = tuple(perm.index(i) for i in range(wide.rank))
        moved = [_rows(ops.transpose(narrow, perm=back)), _rows(wide.inputs[0])]
        return ops.matmul(moved[side], moved[1 - side], ta=True)
    return None


def _unrowed(flat: Node) -> Node | None:
    """What a matrix has the rows of."""
    if flat.op.name != "reshape" or flat.rank != 2:
        return None
    [x] = flat.inputs
    return x if x.rank > 2 and x.shape[-1] == flat.shape[-1] else None


def _narrower(x: Node, wide: Node) -> bool:
    a, b = x.shape[-1], wide.shape[-1]
    return isinstance(a, int) and isinstance(b, int) and a < b


@RULES.on("pick")
def pick_of_rows(node: Node) -> Node | None:
    """pick(reshape(a), i) = reshape(pick(a, reshape(i)))"""
    flat = _matrix(node.inputs[0])
    if flat is None:
        return None
    return ops.reshape(ops.pick(flat, ops.reshape(node.inputs[1], shape=flat.shape[:1])), shape=node.shape)


@RULES.on("matmul")
def factor_out_of_product(node: Node) -> Node | None:
    """(c a) @ b = c (a @ b) for matrices and a number c, where only products and sums read c a: a Gemm scales for
    free; in derivatives and updates"""
    for side, x in enumerate(node.inputs):
        found = _by_number(x)
        free = node.rank == 2 and node.derived and not x.graph.outputs.names(x)
        if free and found is not None and all(map(_takes_factors, x.graph.users(x))):
            operands = [found if i == side else source for i, source in enumerate(node.inputs)]
            plain = node.graph.add(node.op, operands, node.attrs)
            return node.graph.add(x.op, [plain if source is found else source for source in x.inputs], x.attrs)
    return None


@RULES.on("reduce_sum")
def factor_out_of_sum(node: Node) -> Node | None:
    """sum(c a) = c sum(a) for a matrix and a number c, where only products and sums read c a: in derivatives and
    updates"""
    [x] = node.inputs
    found = _by_number(x)
    if found is None or not node.derived or x.graph.outputs.names(x) or not all(map(_takes_factors, x.graph.users(x))):
        return None
    plain = node.graph.add(node.op, (found,), node.attrs)
    return node.graph.add(x.op, [plain if source is found else source for source in x.inputs], x.attrs)


def _by_number(x: Node) -> Node | None:
    """a, where x is c a or a / c for a matrix a and a number c."""
    if x.op.name not in ("mul", "div") or x.rank != 2:
        return None
    a, c = x.inputs
    if x.op.name == "mul" and number(a) is not None:
        a, c = c, a
    return a if number(c) is not None and a.shape == x.shape else None


def _takes_factors(user: Node) -> bool:
    return (user.op.name == "matmul" and user.rank == 2) or (user.op.name == "reduce_sum" and user.dtype == "float")
