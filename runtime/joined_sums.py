"""A sum of the squares of several gradients, taken of the row in which packing has joined them.

Clipping by the length of the whole gradient adds up the squares of every tensor in double precision: a cast, a sum and
an addition for each. Where packing.py has joined those tensors, one cast and one sum do. Only sums of float32 numbers
in float64 are taken together: their last bit, which the order of a sum decides, is gone when the length is float32
again. Linear in nodes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from onnx import GraphProto, NodeProto, TensorProto, helper, numpy_helper

from . import graphs

FLOAT, DOUBLE = TensorProto.FLOAT, TensorProto.DOUBLE


def joined(
    graph: GraphProto, nodes: Sequence[NodeProto], known: graphs.Known, rows: Mapping[tuple[str, ...], str]
) -> list[NodeProto]:
    """`nodes` in an order in which they can run, with each sum of squares over all of a row taken of the row.

    `rows`: values -> the vector that holds them one after another, with zeros between them.
    """
    row_of = {name: names for names in rows for name in names}
    maker = {name: node for node in nodes for name in node.output if name}
    held = {each.name: each for each in graph.initializer}
    squared = {
        node.output[0]: name
        for node in nodes
        if (name := _squared(node, maker, known, held)) is not None and name in row_of
    }
    if not squared:
        return list(nodes)
    read = Counter(name for node in nodes for name in graphs.reads(node))
    read.update(value.name for value in graph.output)
    taken = graphs.names(graph).union(maker)
    made: dict[str, list[NodeProto]] = {}  # what a sum is -> the nodes that make it
    inner = {
        name
        for node in nodes
        if _adds(node, known)
        for name in node.input
        if read[name] == 1 and name in maker and _adds(maker[name], known)
    }
    for node in nodes:
        if _adds(node, known) and node.output[0] not in inner:
            made.update(_shorter(node, _terms(node, maker, inner), squared, row_of, rows, taken))
    kept: list[NodeProto] = []
    for node in nodes:
        kept.extend(made.get(node.output[0], [node]) if node.output else [node])
    return _in_order(kept)


def _squared(
    node: NodeProto, maker: Mapping[str, NodeProto], known: graphs.Known, held: Mapping[str, TensorProto]
) -> str | None:
    """The float32 tensor of whose entries, as float64, a node sums all squares."""
    if node.op_type != "ReduceSumSquare" or (cast := maker.get(node.input[0])) is None or cast.op_type != "Cast":
        return None
    flags = {attribute.name: attribute.i for attribute in node.attribute}
    kind, shape = known.get(cast.input[0], (0, ()))
    if kind != FLOAT or cast.attribute[0].i != DOUBLE or flags.get("keepdims", 1):
        return None
    if len(node.input) > 1 and node.input[1]:
        axes = held.get(node.input[1])
        if axes is None or len(numpy_helper.to_array(axes)) != len(shape):
            return None
    return str(cast.input[0])


def _adds(node: NodeProto, known: graphs.Known) -> bool:
    """Whether it adds two numbers in double precision."""
    return node.op_type == "Add" and all(known.get(name) == (DOUBLE, ()) for name in node.input)


def _terms(root: NodeProto, maker: Mapping[str, NodeProto], inner: set[str]) -> list[str]:
    """What a sum of sums adds up, in order."""
    found, pending = [], list(reversed(root.input))
    while pending:
        name = pending.pop()
        if name in inner:
            pending.extend(reversed(maker[name].input))
        else:
            found.append(name)
    return found


def _shorter(
    root: NodeProto,
    terms: list[str],
    squared: Mapping[str, str],
    row_of: Mapping[str, tuple[str, ...]],
    rows: Mapping[tuple[str, ...], str],
    taken: set[str],
) -> dict[str, list[NodeProto]]:
    """The nodes for a sum in which rows are whole; nothing where none is."""
    count = Counter(squared[term] for term in terms if term in squared)
    read = dict.fromkeys(row_of[name] for name in count)
    whole = [names for names in read if all(count[name] == 1 for name in names)]
    if not whole:
        return {}
    rest = [term for term in terms if squared.get(term) is None or row_of[squared[term]] not in whole]
    nodes, sums = [], []
    for names in whole:
        wide, total = (graphs.fresh(f"{root.name}/{part}", taken) for part in ("wide", "row"))
        nodes.append(helper.make_node("Cast", [rows[names]], [wide], name=wide, to=DOUBLE))
        nodes.append(helper.make_node("ReduceSumSquare", [wide], [total], name=total, keepdims=0))
        sums.append(total)
    first, *others = [*sums, *rest]
    for other in others:
        total = graphs.fresh(f"{root.name}/sum", taken)
        nodes.append(helper.make_node("Add", [first, other], [total], name=total))
        first = total
    nodes[-1].output[0] = root.output[0]
    for node in nodes:
        node.metadata_props.extend(root.metadata_props)
    return {root.output[0]: nodes}


def _in_order(nodes: list[NodeProto]) -> list[NodeProto]:
    """The nodes, each behind those that make what it reads, and otherwise as they came."""
    maker = graphs.makers(nodes)
    done: dict[int, NodeProto] = {}
    for i in range(len(nodes)):
        pending = [(i, False)]
        while pending:
            at, ready = pending.pop()
            if at in done:
                continue
            if ready:
                done[at] = nodes[at]
            else:
                pending.append((at, True))
                pending.extend((maker[name], False) for name in graphs.reads(nodes[at]) if name in maker)
    return list(done.values())
