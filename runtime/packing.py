"""Small tensors of state that are updated alike are updated as one.

An optimizer does the same few elementwise operations on every parameter, and on small ones a step costs by the node
(docs/performance.md). So the tensors of state of one kind (the small parameters; their first moments) lie beside each
other in memory, and the nodes that update them become one chain over all of them: a horizontal fusion, others' foreach
or multi-tensor apply. Gradients are joined by a Concat; what reads one parameter reads its part of the memory. Every
number comes from the operations that the file has for it. Linear in nodes.
"""

from __future__ import annotations

import math
from collections import ChainMap
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper

from . import graphs, joined_sums

PACKED = "updates of small tensors as one"
# Elements of a tensor, and of a row. Joining the gradients of larger tensors costs what their nodes do, and a row that
# outgrows the cache is read from memory by every node of the chain.
LARGEST, LONGEST = 8_192, 65_536
APART = 16  # elements: the tensors of a row begin at multiples, on cache lines; what lies between starts as zeros
ELEMENTWISE = {
    "Abs",
    "Add",
    "Clip",
    "Div",
    "Equal",
    "Exp",
    "Greater",
    "GreaterOrEqual",
    "Less",
    "LessOrEqual",
    "Log",
    "Max",
    "Min",
    "Mul",
    "Neg",
    "Pow",
    "Reciprocal",
    "Sign",
    "Sqrt",
    "Sub",
    "Tanh",
    "Where",
}
LEAF, STATE = 0, 1  # kinds of values that are not made by elementwise nodes; others count from 2

Names = tuple[str, ...]


@dataclass(frozen=True)
class Row:
    """Tensors of state beside each other. `input` and `output` name all of them at once, "" where the graph has no
    use for that."""

    tensors: Names
    input: str
    output: str


def offsets(shapes: Sequence[Sequence[int]]) -> list[int]:
    """Where each tensor of a row begins, in elements, and where the row ends."""
    starts = [0]
    for shape in shapes:
        starts.append(starts[-1] + _apart(math.prod(shape)))
    return starts


def _apart(elements: int) -> int:
    return -(-elements // APART) * APART


def promising(model: ModelProto, updates: Mapping[str, str]) -> bool:
    """Whether there are several updates by elementwise nodes at all: what follows needs the shapes of all values."""
    outputs = set(updates.values())
    return sum(node.op_type in ELEMENTWISE and node.output[0] in outputs for node in model.graph.node) > 1


def packed(model: ModelProto, updates: Mapping[str, str]) -> list[Row]:
    """Packs the updates of a step in place. `updates`: tensor of state, an input of the graph -> its next value."""
    if not promising(model, updates):
        return []
    return _Packing(model, updates).run()


class _Packing:
    def __init__(self, model: ModelProto, updates: Mapping[str, str]) -> None:
        self.graph, self.known = model.graph, graphs.known(model)
        self.inputs = {value.name for value in self.graph.input}
        self.updates = {tensor: output for tensor, output in updates.items() if tensor in self.inputs}
        self.tensor_of = {output: tensor for tensor, output in self.updates.items()}
        self.maker = {name: node for node in self.graph.node for name in node.output if name}
        self.taken = graphs.names(self.graph)
        self.operands: dict[str, list[tuple[str, bool]]] = {}  # of what has a kind, each with whether it is a number
        self.kind, self.depth = self._kinds()
        # All that is tried for one group of outputs comes first in these, and is put to the rest where it pays.
        self.made: ChainMap[Names, str] = ChainMap({}, {})  # values of one kind -> the one that holds them all
        self.ends: ChainMap[tuple[Names, str], None] = ChainMap({}, {})  # (tensors of a row, "input" or "output")
        self.nodes: list[NodeProto] = []
        self.rows: dict[Names, int] = {}
        self.row: dict[str, int] = {}  # tensor -> the number of its row
        self.constants: dict[str, TensorProto] = {}
        self.patience = 4 * len(self.graph.node)  # values looked at in vain, after which the rest stays as it is

    def run(self) -> list[Row]:
        groups: dict[tuple[int, int], list[str]] = {}
        for tensor, output in self.updates.items():
            known, kind = self.known.get(output), self.kind.get(output, LEAF)
            if known and kind > STATE and known == self.known.get(tensor) and self._elements(output) <= LARGEST:
                groups.setdefault((known[0], kind), []).append(output)
        done: set[str] = set()
        # A parameter's update holds those of its moments: the deeper kinds first.
        for _, outputs in sorted(groups.items(), key=lambda group: -self.depth[group[0][1]]):
            for lanes in self._chunks([name for name in outputs if name not in done]):
                done.update(self._try(lanes))
        return self._finish() if self.rows else []

    def _chunks(self, outputs: list[str]) -> Iterator[Names]:
        """Rows of no more than LONGEST elements."""
        row: list[str] = []
        length = 0
        for name in outputs:
            size = _apart(self._elements(name))
            if length + size > LONGEST:
                yield tuple(row)
                row, length = [], 0
            row.append(name)
            length += size
        yield tuple(row)

    def _elements(self, name: str) -> int:
        return math.prod(size or 0 for size in self.known[name][1])

    # --- what is alike

    def _kinds(self) -> tuple[dict[str, int], list[int]]:
        """The kind of every value that elementwise operations make of values of its own shape and of numbers (of one
        kind are those of the same operations on the same numbers in the same order), and how deep each kind is."""
        numbers: dict[tuple[Hashable, ...], int] = {}
        kind, depth = dict.fromkeys(self.updates, STATE), [0, 0]
        for node in self.graph.node:
            parts = self._operands(node)
            if parts is None:
                continue
            kinds = [kind.get(name, LEAF) for name, alone in parts if not alone]
            key = (
                node.op_type,
                *(attribute.SerializeToString(deterministic=True) for attribute in node.attribute),
                *(name if alone else (kind.get(name, LEAF), self.known[name][0]) for name, alone in parts),
            )
            if key not in numbers:
                numbers[key] = len(depth)
                depth.append(1 + max(depth[each] for each in kinds))
            kind[node.output[0]] = numbers[key]
            self.operands[node.output[0]] = parts
        return kind, depth

    def _operands(self, node: NodeProto) -> list[tuple[str, bool]] | None:
        """The operands of an elementwise node, each with whether it is a number (or left out); None where one is
        broadcast, or a size is free. Of a sum or a product numbers come last."""
        if node.op_type not in ELEMENTWISE or not graphs.is_op(node):
            return None
        shape = self._shape(node.output[0])
        if not shape or 0 in shape or None in shape:
            return None
        if node.op_type == "Div" and graphs.dtype_of(self.known[node.output[0]][0]).kind in "iu":
            return None  # between the tensors of a row are zeros, by which integers cannot be divided
        shapes = [self._shape(name) if name else () for name in node.input]
        if shape not in shapes or not all(each in ((), shape) for each in shapes):
            return None
        parts = [(name, each == ()) for name, each in zip(node.input, shapes, strict=True)]
        return sorted(parts, key=lambda part: part[1]) if node.op_type in ("Add", "Mul") else parts

    def _shape(self, name: str) -> tuple[int | None, ...] | None:
        return self.known[name][1] if name in self.known else None

    # --- one in place of many

    def _try(self, outputs: Names) -> Names:
        """Packs values of one kind, and all that makes them; gives back what it packed. Nothing where that saves no
        nodes, where parts of them lie in other rows, or where too much was tried in vain."""
        if len(outputs) < 2 or self.patience < 0:
            return ()
        count = len(self.nodes)
        self._pack(outputs)
        tried, ends = self.made.maps[0], self.ends.maps[0]
        new = [names for names in tried if self.kind.get(names[0], LEAF) > STATE]
        rows = {row: self.rows.get(row, len(self.rows) + i) for i, (row, _) in enumerate(ends)}
        row = {tensor: number for tensors, number in rows.items() for tensor in tensors}
        alone = all(
            row[tensor] == number == self.row.get(tensor, number)
            for tensors, number in rows.items()
            for tensor in tensors
        )
        if alone and sum(map(len, new)) > len(self.nodes) - count:
            self.made.maps[1].update(tried)
            self.ends.maps[1].update(ends)
            self.rows.update(rows)
            self.row.update(row)
        else:
            self.taken.difference_update(name for node in self.nodes[count:] for name in node.output)
            del self.nodes[count:]
            self.patience -= sum(map(len, tried))
            new = []
        tried.clear()
        ends.clear()
        return tuple(name for names in new for name in names)

    def _pack(self, values: Names) -> None:
        """Adds the nodes that make one of `values`: operands first, without recursion."""
        pending = [(values, False)]
        while pending:
            names, ready = pending.pop()
            kind = self.kind.get(names[0], LEAF)
            if names in self.made:
                continue
            if kind == STATE and len(set(names)) == len(names):
                self.made[names] = self._fresh(names)
                self.ends[names, "input"] = None
            elif kind <= STATE:
                self._join(names)
            else:
                # Of one kind: the same operation, numbers in the same places.
                operands = [self.operands[name] for name in names]
                parts = [(tuple(name for name, _ in part), part[0][1]) for part in zip(*operands, strict=True)]
                if ready:
                    self._chain(names, [part[0] if alone else self.made[part] for part, alone in parts])
                else:
                    pending.append((names, True))
                    pending.extend((part, False) for part, alone in parts if not alone)

    def _chain(self, names: Names, operands: list[str]) -> None:
        whole = NodeProto()
        whole.CopyFrom(self.maker[names[0]])
        whole.name = whole.output[0] = self.made[names] = self._fresh(names)
        del whole.input[:]
        whole.input.extend(operands)
        self.nodes.append(whole)
        if all(name in self.tensor_of for name in names):
            self.ends[tuple(self.tensor_of[name] for name in names), "output"] = None

    def _join(self, names: Names) -> None:
        """Values from elsewhere, one after the other, with zeros up to where the next begins."""
        starts = offsets([(self._elements(name),) for name in names])
        parts = []
        for name, start, end in zip(names, starts, starts[1:], strict=False):
            parts.append(name)
            if len(self.known[name][1]) > 1:
                parts[-1] = self._fresh((name,))
                flat = self._constant("row/flat", np.array([-1], np.int64))
                self.nodes.append(helper.make_node("Reshape", [name, flat], [parts[-1]], name=parts[-1]))
            if rest := end - start - self._elements(name):
                kind = self.known[name][0]
                parts.append(self._constant(f"row/zeros/{kind}/{rest}", np.zeros(rest, graphs.dtype_of(kind))))
        self.made[names] = self._fresh(names)
        self.nodes.append(helper.make_node("Concat", parts, [self.made[names]], name=self.made[names], axis=0))

    def _constant(self, name: str, value: np.ndarray) -> str:
        if name not in self.constants:
            self.constants[name] = graphs.tensor(graphs.fresh(name, self.taken), value)
        return str(self.constants[name].name)

    def _fresh(self, names: Names) -> str:
        """A name that the graph does not have yet. It begins with that of the first node: what ONNX Runtime says of
        it is found."""
        maker = self.maker.get(names[0])
        return graphs.fresh(f"{maker.name if maker is not None and maker.name else names[0]}/all", self.taken)

    def _finish(self) -> list[Row]:
        """The graph with the packed nodes at its end, and without those in whose place they are."""
        graph, rows = self.graph, []
        gone: set[str] = set()
        for tensors in self.rows:
            outputs = tuple(self.updates[tensor] for tensor in tensors)
            row = Row(
                tensors,
                self.made[tensors] if (tensors, "input") in self.ends else "",
                self.made[outputs] if (tensors, "output") in self.ends else "",
            )
            kind, size = self.known[tensors[0]][0], offsets([(self._elements(name),) for name in tensors])[-1]
            if row.input:
                graph.input.append(helper.make_tensor_value_info(row.input, kind, [size]))
            if row.output:
                gone.update(outputs)
                graph.output.append(helper.make_tensor_value_info(row.output, kind, [size]))
            rows.append(row)
        kept = [value for value in graph.output if value.name not in gone]
        del graph.output[:]
        graph.output.extend(kept)
        leaves = {names: whole for names, whole in self.made.items() if self.kind.get(names[0], LEAF) == LEAF}
        nodes = joined_sums.joined(graph, [*graph.node, *self.nodes], self.known, leaves)
        nodes = graphs.needed(nodes, [value.name for value in kept])
        del graph.node[:]
        graph.node.extend(nodes)
        read = {value.name for value in kept}.union(*(graphs.reads(node) for node in nodes))
        graph.initializer.extend(held for held in self.constants.values() if held.name in read)
        inputs = [value for value in graph.input if value.name in read]
        del graph.input[:]
        graph.input.extend(inputs)
        return rows
