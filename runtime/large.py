"""Products of large matrices in the native library: `Product` (native/large.h) in the place of Gemm, MatMul and
FusedMatMul, where it was measured to be faster (docs/performance.md, Large products). Linear in nodes.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper

from . import graphs, programs

OPERATOR = "Product"
LARGE = "products of large matrices"
VERSION = 1
LANES = 16  # numbers of a vector with which they were measured
FEWEST = 128  # rows and depth: with fewer, laying factors out costs more than it gains
TURNED, TURNED_COLUMNS = 1 << 25, 256  # products of numbers, and columns, where the first factor is turned
FACTOR = 1 << 20  # numbers of the second factor where neither is: more than a second-level cache holds
MOST_THREADS = 4096  # of native/large.c


def multiplied(model: ModelProto, shapes: ModelProto, known: graphs.Known, threads: int, rows: int) -> int:
    """Puts the operator in the place of the products that it is faster at, in place. Returns how many. `shapes`: the
    model with those of its values; `threads`: how many are to have work; `rows`: what a free dimension is taken to be,
    those of a batch."""
    graph = model.graph
    inferred = {value.name: value for value in shapes.graph.value_info}
    declared = {value.name for value in (*graph.value_info, *graph.output)}
    count = 0
    for node in graph.node:
        said = _said(node)
        if said is None or not _pays(node, said, known, rows):
            continue
        if node.output[0] not in declared:  # ONNX Runtime knows no type of what an operator of ours makes
            if node.output[0] not in inferred:
                continue
            graph.value_info.append(inferred[node.output[0]])
        turned = [int(said.get(name, 0)) for name in ("transA", "transB")]
        factors = [int(np.float32(said.get(name, 1.0)).view(np.uint32)) for name in ("alpha", "beta")]
        program = [VERSION, *turned, *factors, max(1, min(threads, MOST_THREADS))]
        del node.attribute[:]
        node.attribute.append(helper.make_attribute("program", program))
        node.op_type, node.domain = OPERATOR, programs.DOMAIN
        count += 1
    return count


def _said(node: NodeProto) -> dict[str, Any] | None:
    """The attributes of a product of matrices, None of another node."""
    if not graphs.is_op(node, "Gemm", "MatMul") and (node.op_type, node.domain) != ("FusedMatMul", "com.microsoft"):
        return None
    return {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}


def _pays(node: NodeProto, said: dict[str, Any], known: graphs.Known, batch: int) -> bool:
    """The rule: float32, the second factor not turned; then by sizes."""
    if not said.keys() <= {"transA", "transB", "alpha", "beta"} or said.get("transB", 0):
        return False
    if len(node.input) > 2 and (not node.input[2] or said.get("beta", 1.0) == 0):  # then what is added is not read
        return False
    (kind, a), (_, b) = (known.get(name, (0, ())) for name in node.input[:2])
    if kind != TensorProto.FLOAT or len(a) != 2 or len(b) != 2:
        return False
    turned = bool(said.get("transA", 0))
    rows, depth, columns = (batch if size is None else size for size in (a[turned], a[not turned], b[1]))
    if min(rows, depth) < FEWEST:
        return False
    if turned:
        return columns >= TURNED_COLUMNS and math.prod((rows, depth, columns)) >= TURNED
    return depth * columns >= FACTOR
