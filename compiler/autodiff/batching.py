"""Values for many directions at once, along a new leading dimension, instead of a graph for each direction.

    along([J v], {v: [v1, v2, ...]}) = [J v1, J v2, ...]

A value that depends on the direction gets a dimension in front that counts the directions. A dimension of it may
stay 1 where the value would only repeat along it (it is thin): a direction that all rows of a batch share goes
through a matrix product once, not once for each row.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from .. import ops
from ..diagnostics import error
from ..ir.graph import Node
from ..ir.reachable import dependent
from ..ir.types import Shape, product
from ..source import Span

Rule = Callable[[Node, list["Node | None"], int], Node]  # node, its operands with directions (None: without), count
RULES: dict[str, Rule] = {}


def along(
    targets: Sequence[Node],
    many: Mapping[Node, Node],
    count: int,
    max_nodes: int | None = None,
    span: Span | None = None,
) -> list[Node | None]:
    """Each target for every value that the nodes of `many` have along a first dimension; None where they have no say.

    many: for each such node its values, [count, *s] with s its shape, or 1 where it repeats. The results are [count,
    *shape of the target]. An operation without a rule here is written `count` times; E0220 if that is more than
    max_nodes.
    """
    if not targets:
        return []
    graph = targets[0].graph
    order = graph.order(targets)
    found = dict(many)
    reached = dependent(order, list(many))
    alone = sum(_rule(node) is _one_by_one for node in reached if node not in many)  # written for each direction
    if max_nodes is not None and alone * count * 3 > max_nodes:
        total = alone * count * 3
        raise error(
            "E0220",
            f"the derivative unrolls to {total:,} operations; the limit is {max_nodes:,}",
            span,
            f"{alone} operations for each of {count} directions",
            help=f"differentiate with respect to fewer values, or allow more: --max-nodes {2 * total}",
        )
    scans: dict[Node, list[Node]] = {}  # one for each direction
    for node in order:
        if node in reached and node not in found:
            with graph.like(node, derived=node.derived):
                if node.op.name == "scan":
                    scans[node] = _each(node, [found.get(source) for source in node.inputs], count)
                    continue
                if node.op.name == "result":
                    results = [ops.result(scan, node.attrs["index"]) for scan in scans[node.inputs[0]]]
                    found[node] = ops.stack(results)
                    continue
                parts = [found.get(source) for source in node.inputs]
                # A rule for an index that is the same along all directions: one that is not is looked up by itself.
                moved = node.op.index and any(part is not None for part in parts[1:])
                found[node] = (_one_by_one if moved else _rule(node))(node, parts, count)
    return [full(found[target], target.shape) if target in found else None for target in targets]


def full(x: Node, shape: Shape) -> Node:
    """[count, *shape] of what may be thin."""
    return ops.broadcast_to(x, shape=(x.shape[0], *shape))


def _rule(node: Node) -> Rule:
    if node.op.elementwise:
        return _elementwise
    return RULES.get(node.op.name, _one_by_one)


def _on(name: str) -> Callable[[Rule], Rule]:
    def register(rule: Rule) -> Rule:
        RULES[name] = rule
        return rule

    return register


def _one_by_one(node: Node, parts: list[Node | None], count: int) -> Node:
    """The operation for each direction, put side by side."""
    return ops.stack(_each(node, parts, count))


def _each(node: Node, parts: list[Node | None], count: int) -> list[Node]:
    wide = [x if x is None else full(x, s.shape) for x, s in zip(parts, node.inputs, strict=True)]
    results = []
    for k in range(count):
        operands = [
            source if x is None else ops.squeeze(ops.narrow(x, 0, k, k + 1), 0)
            for x, source in zip(wide, node.inputs, strict=True)
        ]
        results.append(node.graph.add(node.op, operands, node.attrs))
    return results


def _elementwise(node: Node, parts: list[Node | None], count: int) -> Node:
    """Operands are aligned from the last dimension, so that the new one stands before the longest."""
    operands = [
        source if x is None else ops.reshape(x, shape=(count, *(1,) * (node.rank - source.rank), *x.shape[1:]))
        for x, source in zip(parts, node.inputs, strict=True)
    ]
    return node.graph.add(node.op, operands, node.attrs)


def _wide(node: Node, parts: list[Node | None]) -> Node:
    """The first operand with all its directions, not thin."""
    [x, *_] = parts
    assert x is not None
    return full(x, node.inputs[0].shape)


@_on("reduce_sum")
def _sum(node: Node, parts: list[Node | None], count: int) -> Node:
    [x], [source] = parts, node.inputs
    assert x is not None
    axes = [axis % source.rank for axis in node.attrs["axes"]]
    shape = (size if i in axes else x.shape[i + 1] for i, size in enumerate(source.shape))
    x = ops.broadcast_to(x, shape=(count, *shape))
    return ops.reduce_sum(x, axes=[axis + 1 for axis in axes], keepdims=node.attrs["keepdims"])


@_on("reshape")
def _reshape(node: Node, parts: list[Node | None], count: int) -> Node:
    """Thin where the sizes only gain or lose dimensions of 1."""
    [x] = parts
    assert x is not None
    kept = [size for size in node.inputs[0].shape if size != 1]
    if kept == [size for size in node.shape if size != 1]:
        thin = iter([own for own, size in zip(x.shape[1:], node.inputs[0].shape, strict=True) if size != 1])
        return ops.reshape(x, shape=(count, *(1 if size == 1 else next(thin) for size in node.shape)))
    return ops.reshape(_wide(node, parts), shape=(count, *node.shape))


@_on("transpose")
def _transpose(node: Node, parts: list[Node | None], count: int) -> Node:
    [x] = parts
    assert x is not None
    return ops.transpose(x, perm=[0, *(i + 1 for i in node.attrs["perm"])])


@_on("broadcast_to")
def _broadcast(node: Node, parts: list[Node | None], count: int) -> Node:
    """What repeats stays thin."""
    [x] = parts
    assert x is not None
    return ops.reshape(x, shape=(count, *(1,) * (node.rank - x.rank + 1), *x.shape[1:]))


@_on("slice")
def _slice(node: Node, parts: list[Node | None], count: int) -> Node:
    starts, stops, steps = (node.attrs[name] for name in ("starts", "stops", "steps"))
    return ops.slice_(_wide(node, parts), starts=(0, *starts), stops=(count, *stops), steps=(1, *steps))


@_on("unslice")
def _unslice(node: Node, parts: list[Node | None], count: int) -> Node:
    starts, stops, steps = (node.attrs[name] for name in ("starts", "stops", "steps"))
    return ops.unslice(
        _wide(node, parts), shape=(count, *node.shape), starts=(0, *starts), stops=(count, *stops), steps=(1, *steps)
    )


@_on("concat")
def _concat(node: Node, parts: list[Node | None], count: int) -> Node:
    wide = [
        ops.broadcast_to(source, shape=(count, *source.shape)) if x is None else full(x, source.shape)
        for x, source in zip(parts, node.inputs, strict=True)
    ]
    return ops.concat(*wide, axis=node.attrs["axis"] % node.rank + 1)


def _are_units(x: Node, axis: int) -> bool:
    """Whether x is the unit directions of a dimension, and the others repeat."""
    if any(size != 1 for i, size in enumerate(x.shape[1:]) if i != axis):
        return False
    source = x.inputs[0] if x.op.name == "reshape" else x
    return source.op.name == "one_hot" and source.inputs[0].op.name == "arange"


@_on("matmul")
def _matmul(node: Node, parts: list[Node | None], count: int) -> Node:
    """The directions are one more leading dimension. Rows and columns of the result may stay thin."""
    transposed = (node.attrs["ta"], node.attrs["tb"])
    [x, y], [a, b] = parts, node.inputs
    if x is not None and y is None and b.rank == 2 and not transposed[0] and _are_units(x, a.rank - 1):
        rows = ops.swap_last(b) if transposed[1] else b  # I b = b
        return ops.reshape(rows, shape=(count, *(1,) * (node.rank - 1), rows.shape[1]))
    operands = []
    for number, (x, source) in enumerate(zip(parts, node.inputs, strict=True)):
        if x is None:
            operands.append(source)
            continue
        last = number == transposed[number]  # summed over: the columns of a, the rows of b, if not transposed
        inner = x.rank - 1 if last else x.rank - 2
        shape = list(x.shape)
        shape[inner] = source.shape[inner - 1]
        x = ops.broadcast_to(x, shape=tuple(shape))
        operands.append(ops.reshape(x, shape=(count, *(1,) * (node.rank - source.rank), *x.shape[1:])))
    return ops.matmul(operands[0], operands[1], *transposed)


@_on("gather")
def _gather(node: Node, parts: list[Node | None], count: int) -> Node:
    return ops.gather(_wide(node, parts), node.inputs[1], axis=node.attrs["axis"] % node.inputs[0].rank + 1)


@_on("scatter_add")
def _scatter(node: Node, parts: list[Node | None], count: int) -> Node:
    return ops.scatter_add(
        _wide(node, parts), node.inputs[1], shape=(count, *node.shape), axis=node.attrs["axis"] % node.rank + 1
    )


@_on("pick")
def _pick(node: Node, parts: list[Node | None], count: int) -> Node:
    index = node.inputs[1]
    return ops.pick(_wide(node, parts), ops.broadcast_to(index, shape=(count, *index.shape)))


def each_unit(leaf: Node, fixed: Sequence[int]) -> Node:
    """The unit directions of a leaf, [count, *its shape]: one for each of its elements, but the dimensions in
    `fixed` all move together."""
    shape = tuple(1 if i in fixed else size for i, size in enumerate(leaf.shape))
    count = product(shape)
    assert isinstance(count, int)
    units = ops.one_hot(ops.make_arange(leaf.graph, count), depth=count)
    return ops.reshape(units, shape=(count, *shape))
