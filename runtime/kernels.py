"""The faster of two ways to the same bits, on ONNX Runtime's CPU provider.

A file says what every runtime has; on this provider some of it costs more than it need. Integers without sign are
divided one after another, where a shift takes many at once (4,096 of 64 bits: 8.1 us and 1.9); a selection costs six
times a product (8,192 numbers: 9.5 us and 1.6), so of two in a row that put in the same number one is left, on a
condition of both. Some runtimes take products of matrices only; here a vector times a matrix is a vector, and need not
be made one. Exact, NaN and infinities included. Linear in nodes.
"""

from __future__ import annotations

from collections import Counter

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from . import graphs

SHIFTS = "Div by a power of two into BitShift"
SELECTIONS = "Where of a Where into one"
VECTORS = "Reshape of a product with one row"
UNSIGNED = {TensorProto.UINT32, TensorProto.UINT64}  # those that BitShift has a kernel for


def promising(model: ModelProto) -> bool:
    """Whether there is anything to look at: what follows costs more than this look."""
    within = {"Where": "Where", "Reshape": "MatMul"}  # what it makes of what
    made = {node.output[0]: node.op_type for node in model.graph.node if node.op_type in ("Where", "MatMul")}
    return any(
        node.op_type == "Div" or any(made.get(name, "") == within.get(node.op_type) for name in node.input)
        for node in model.graph.node
    )


def faster(model: ModelProto, known: graphs.Known) -> dict[str, int]:
    """Rewrites a model in place; how often each rewrite was made."""
    graph = model.graph
    given = {value.name for value in graph.input}  # their initializers are defaults only
    held = {each.name: each for each in graph.initializer if not each.dims and each.name not in given}
    counts = Counter[str]()
    taken = graphs.names(graph)
    for node in graph.node:
        if graphs.is_op(node, "Div") and (shift := _shift(node, known, held)) is not None:
            node.op_type = "BitShift"
            node.attribute.append(helper.make_attribute("direction", "RIGHT"))
            name = graphs.fresh("shift", taken)
            graph.initializer.append(graphs.tensor(name, shift))
            node.input[1] = name
            counts[SHIFTS] += 1
    made = {name: node for node in graph.node if graphs.is_op(node, "Where") for name in node.output}
    read = Counter(name for node in graph.node for name in graphs.reads(node))
    read.update(value.name for value in graph.output)
    nodes: list[NodeProto] = []
    if vectors := _vectors(model, known, read, taken):
        counts[VECTORS] = vectors
    for node in graph.node:
        if graphs.is_op(node, "Where"):
            while (merged := _merged(node, made, read, held, known, taken)) is not None:
                nodes.extend(merged)
                counts[SELECTIONS] += 1
        nodes.append(node)
    if counts[SELECTIONS] or vectors:
        kept = graphs.needed(nodes, [value.name for value in graph.output])
        del graph.node[:]
        graph.node.extend(kept)
    return dict(counts)


def _shift(node: NodeProto, known: graphs.Known, held: dict[str, TensorProto]) -> np.ndarray | None:
    """By how many bits a quotient moves right, if it does."""
    divisor = held.get(node.input[1])
    if divisor is None or divisor.data_type not in UNSIGNED or node.input[0] not in known:
        return None
    value = numpy_helper.to_array(divisor)
    bits = int(value).bit_length() - 1
    return np.array(bits, value.dtype) if int(value) == 1 << max(bits, 0) else None


def _merged(
    node: NodeProto,
    made: dict[str, NodeProto],
    read: Counter[str],
    held: dict[str, TensorProto],
    known: graphs.Known,
    taken: set[str],
) -> list[NodeProto] | None:
    """Makes where(a, c, where(b, x, c)) one where(b and not a, x, c), and its like; the nodes of its condition."""
    if known.get(node.output[0], (0, ()))[1] == ():
        return None  # of single numbers a node is what costs
    for side in (1, 2):
        inner, c = made.get(node.input[side]), node.input[3 - side]
        if inner is None or read[inner.output[0]] != 1 or c not in held:
            continue
        for place in (1, 2):
            if not _same(held[c], held.get(inner.input[3 - place])):
                continue
            nodes: list[NodeProto] = []
            outer = _condition(node, node.input[0], side == 1, nodes, taken)
            own = _condition(node, inner.input[0], place == 1, nodes, taken)
            both = graphs.fresh(f"{node.name}/both", taken)
            nodes.append(helper.make_node("And", [outer, own], [both], name=both))
            x = inner.input[place]  # read by `inner`, which goes
            del node.input[:]
            node.input.extend([both, x, c])
            for each in nodes:
                each.metadata_props.extend(node.metadata_props)
            return nodes
    return None


def _vectors(model: ModelProto, known: graphs.Known, read: Counter[str], taken: set[str]) -> int:
    """Makes reshape(a[1, n] @ b, [m]) the product a[n] @ b, where `a` repeats one number; how often."""
    graph = model.graph
    held = {each.name: each for each in graph.initializer if len(each.dims) == 2 and all(d == 1 for d in each.dims)}
    for value in graph.input:
        held.pop(value.name, None)
    maker = {name: node for node in graph.node for name in node.output if name}
    vector: dict[str, NodeProto] = {}  # rows -> what makes the same as vectors
    count = 0
    for node in graph.node:
        product = maker.get(node.input[0]) if graphs.is_op(node, "Reshape") else None
        if product is None or not graphs.is_op(product, "MatMul") or read[product.output[0]] != 1:
            continue
        row = maker.get(product.input[0])
        ranks = [len(known[name][1]) if name in known else None for name in (*product.input, node.output[0])]
        if row is None or ranks != [2, 2, 1] or not graphs.is_op(row, "Expand") or row.input[0] not in held:
            continue
        if known.get(row.input[1], (0, ()))[1] != (1,):
            continue
        if row.output[0] not in vector:
            number = held[row.input[0]]
            one, ones = (graphs.fresh(f"{name}/vector", taken) for name in (number.name, row.output[0]))
            graph.initializer.append(graphs.tensor(one, numpy_helper.to_array(number).reshape(1)))
            vector[row.output[0]] = helper.make_node("Expand", [one, row.input[1]], [ones], name=ones)
            kind, (rows, *_) = known[product.input[1]]
            graph.value_info.append(helper.make_tensor_value_info(ones, kind, [rows]))
        product.input[0] = vector[row.output[0]].output[0]
        product.output[0] = node.output[0]
        node.ClearField("output")  # nothing reads it any more
        count += 1
    if count:
        nodes: list[NodeProto] = []
        for node in graph.node:
            if node.output:
                nodes.append(node)
                nodes.extend(vector[name] for name in node.output if name in vector)
        del graph.node[:]
        graph.node.extend(nodes)
    return count


def _condition(node: NodeProto, condition: str, holds: bool, nodes: list[NodeProto], taken: set[str]) -> str:
    """The condition, or its opposite."""
    if holds:
        return condition
    name = graphs.fresh(f"{node.name}/not", taken)
    nodes.append(helper.make_node("Not", [condition], [name], name=name))
    return name


def _same(one: TensorProto, other: TensorProto | None) -> bool:
    """Whether two numbers are the same bits."""
    if other is None or one.data_type != other.data_type:
        return False
    return numpy_helper.to_array(one).tobytes() == numpy_helper.to_array(other).tobytes()
