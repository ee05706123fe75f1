"""Chains of elementwise operations become one node each: `Chain` of the native library, which reads and writes memory
once for all of them (docs/native.md).

A region is a set of elementwise nodes of one shape that nothing else stands between. Each node gets a level: how many
other nodes lie at most between it and the end of the graph. Two neighbours of one level and shape are of one region: a
way out of it and back in would pass a node that is not elementwise, and the level would differ; a way over elementwise
nodes of another shape cannot come back, since broadcasting only makes shapes larger. Linear in nodes, but for one sort.
"""

from __future__ import annotations

import heapq
import math
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper

from . import graphs
from .early import hastened
from .programs import (
    DOMAIN,
    FLOATS,
    INT64,
    MOST_INPUTS,
    MOST_OUTPUTS,
    MOST_VALUES,
    NUMBERS_ONLY,
    ROWS,
    SUM,
    Part,
    Program,
    Sizes,
    Typed,
    broadcast,
    constant,
    form,
    same,
)

OPERATOR = "Chain"
CHAINED = "elementwise operations in chains"
LARGE = 4_096  # elements of a row of the batch, or of all where there is none
SHORT, LONG = 32, 4_096  # elements of a row that is summed in the middle of a chain
RUN, PLACES = 16, 4_096  # a sum in a chain: the fewest elements in a row, the most places that are kept


def chained(model: ModelProto, inferred: ModelProto, over: Collection[str] = ()) -> int:
    """Puts chains in place of elementwise nodes, in the bodies of scans and loops too. Changes the model; returns how
    many nodes went into chains. `inferred`: the model, or what it was made from, with the shapes of its values; `over`:
    outputs that a chain may write over what they renew (updates.py)."""
    return Chains(model.graph, inferred.graph, {}, {}, over).run()


class Chains:
    """The chains of one graph."""

    least = 2  # operations of a chain

    def __init__(
        self,
        graph: GraphProto,
        inferred: GraphProto,
        outer: Mapping[str, Typed],
        numbers: Mapping[str, TensorProto],
        over: Collection[str] = (),
    ) -> None:
        self.graph, self.over = graph, frozenset(over)
        self.known: dict[str, Typed] = {**outer, **known_types(graph), **known_types(inferred)}
        self.nodes = list(graph.node)
        self.bodies = {n.output[0]: n for n in inferred.node if n.output and any(graphs.subgraphs(n))}
        named = {value.name for value in graph.input}
        own = {held.name: held for held in graph.initializer if not held.dims and held.name not in named}
        self.numbers: Mapping[str, TensorProto] = {**numbers, **own}  # of rank 0: they go into the program
        self.lists = {
            held.name: numpy_helper.to_array(held)
            for held in graph.initializer
            if len(held.dims) == 1 and held.data_type == INT64 and held.name not in named
        }
        self.results = {value.name for value in graph.output}
        self.declared = self.results | {value.name for value in graph.value_info}
        self.taken = graphs.names(graph)
        self.rows: dict[str, Sizes] = {}  # of a value of one number for each row: the shape of the rows
        self.early: set[int] = set()  # nodes that went into an earlier chain

    def run(self) -> int:
        count = 0
        for node in self.nodes:  # bodies first: the scan itself is no part of a chain
            seen = self.bodies.get(node.output[0]) if node.output else None
            if seen is not None and any(graphs.subgraphs(node)):
                for body, known in zip(graphs.subgraphs(node), graphs.subgraphs(seen), strict=True):
                    count += Chains(body, known, self.known, self.numbers).run()
        self.parts: list[Part | None] = [self._part(node) for node in self.nodes]
        self.maker, self.reading = graphs.makers(self.nodes), graphs.reading(self.nodes)
        self.readers = Counter(name for names in self.reading for name in names)
        self.sums: dict[str, list[int]] = {}  # of a value: nodes that a chain can do with it
        for i, node in enumerate(self.nodes):
            if node.op_type == "ReduceSum" and self._after(node) is not None:
                self.sums.setdefault(node.input[0], []).append(i)
        regions = [piece for region in self._regions() for piece in self._pieces(region) if self._pays(piece)]
        if regions:
            count += sum(map(len, regions))
            self._replace(regions)
        return count

    def _part(self, node: NodeProto) -> Part | None:
        if not graphs.is_op(node) or len(node.output) != 1 or not node.input or not all(node.input):
            return None
        operands = [self.known.get(name) for name in node.input]
        if any(operand is None for operand in operands):
            return None
        given = [operand for operand in operands if operand is not None]
        if (row := self._row(node)) is not None:
            return row
        written, shape = form(node, [kind for kind, _ in given]), broadcast([shape for _, shape in given])
        if shape == () and node.op_type in NUMBERS_ONLY and given[0][0] in FLOATS:
            written = given[0][0], same(NUMBERS_ONLY[node.op_type], given[0][0])
        if written is None or shape is None:
            return None
        self.known[node.output[0]] = written[0], shape
        rows = next((self.rows[name] for name in node.input if name in self.rows), None)
        if rows is not None and shape != (*rows[:-1], 1):
            rows = None
        if rows is not None:
            self.rows[node.output[0]] = rows
        return Part(node, written[0], shape, written[1], rows)

    def _row(self, node: NodeProto) -> Part | None:
        """A sum, or the largest, of each row, which stays as an axis of size 1."""
        if node.op_type not in ROWS or not graphs.is_op(node):
            return None
        (kind, shape), attributes = self.known[node.input[0]], {a.name: a.i for a in node.attribute}
        axes = self.lists.get(node.input[1]) if len(node.input) == 2 else None
        if kind not in FLOATS or axes is None or not attributes.get("keepdims", 1) or len(shape) < 2:
            return None
        size = shape[-1]
        if [int(axis) % len(shape) for axis in axes] != [len(shape) - 1]:
            return None
        if not isinstance(size, int) or not SHORT <= size <= LONG:
            return None
        self.known[node.output[0]] = kind, (*shape[:-1], 1)
        self.rows[node.output[0]] = shape

        def write(program: Program, operands: list[int]) -> int:
            return program.add(ROWS[node.op_type], kind, operands[0])

        return Part(node, kind, (*shape[:-1], 1), write, shape)

    # --- what goes together

    def _regions(self) -> list[list[int]]:
        """Neighbours of one level and shape, each region in the order of the graph."""
        level = self._levels()
        together = graphs.Groups(len(self.nodes))
        for i, part in enumerate(self.parts):
            for name in part.read if part is not None else ():
                j = self.maker.get(name, i)
                other = self.parts[j]
                if part is not None and other is not None and level[i] == level[j] and part.walked == other.walked:
                    together.join(i, j)
        regions = together.of(i for i, part in enumerate(self.parts) if part is not None)
        return self._hastened(regions, level)

    def _hastened(self, regions: list[list[int]], level: Sequence[int]) -> list[list[int]]:
        """The regions, with what a later one computes of the values of an earlier one alone moved there, where fewer
        bytes are then written and read: of GELU's derivative a factor is kept, of relu's which numbers are positive."""
        return hastened(regions, level, self, self._pays)

    def _levels(self) -> list[int]:
        """How many ways out of a chain lie at most after each node: into and out of nodes that are in none, and from
        one number for each row into rows of another shape, from which a sum can lead back."""

        def out(i: int, j: int) -> bool:
            part, made = self.parts[i], self.parts[j]
            return part is None or made is None or (made.rows is not None and made.walked != part.walked)

        return levels(self.reading, self.maker, out)

    def _after(self, node: NodeProto) -> int | None:
        """How many axes lie after the one that a ReduceSum keeps, if it keeps one, and each sum is long."""
        attributes = {a.name: a.i for a in node.attribute}
        kind, shape = self.known.get(node.input[0], (0, ()))
        axes = self.lists.get(node.input[1]) if len(node.input) == 2 else None
        if not graphs.is_op(node) or kind not in FLOATS or axes is None or attributes.get("keepdims", 1):
            return None
        rank = len(shape)
        left = set(range(rank)) - {int(axis) % rank for axis in axes} if rank else {}
        if len(left) != 1:
            return None
        [kept] = left
        place, run = shape[kept], shape[kept + 1 :]
        fits = isinstance(place, int) and place <= PLACES and all(isinstance(size, int) for size in run)
        return rank - 1 - kept if fits and math.prod(size for size in run if isinstance(size, int)) >= RUN else None

    def _summed(self, piece: list[int]) -> list[int]:
        """A piece with the sums of its values that its program can hold: those over the axes of the first one. What
        reads a sum lies beyond the nodes of the region, so no way leads back in."""
        inputs = {name for i in piece for name in self.nodes[i].input}
        room = MOST_VALUES - 3 * len(inputs) - sum(max(2, len(self.nodes[i].input)) for i in piece)
        whole = [at for at in piece if (part := self.parts[at]) is not None and part.rows is None]
        found = [i for at in whole for name in self.nodes[at].output for i in self.sums.get(name, ())]
        found = [i for i in found if self._after(self.nodes[i]) == self._after(self.nodes[found[0]])]
        return sorted(piece + found[: max(0, min(room, MOST_OUTPUTS - len(piece)))])

    def _pieces(self, region: list[int]) -> Iterator[list[int]]:
        """A region as pieces that a program can hold, with their sums: what is left of it comes after."""
        for piece in self._cut(region):
            summed = self._summed(piece)
            if len(summed) >= self.least or self._over(summed):
                yield summed

    def _cut(self, region: list[int]) -> Iterator[list[int]]:
        piece: list[int] = []
        inputs: set[str] = set()
        made: set[str] = set()
        code = 0
        for i in region:
            node = self.nodes[i]
            more = inputs | {name for name in node.input if name not in made}
            length = code + max(2, len(node.input))  # a constant, too
            if piece and self._full(more, length, len(piece)):
                yield piece
                piece, inputs, made, code = [], set(), set(), 0
                more, length = set(node.input), max(2, len(node.input))
            if self._full(more, length, 0):
                continue  # one node with more operands than a program can have
            piece.append(i)
            inputs, code = more, length
            made.update(node.output)
        if piece:
            yield piece

    def _over(self, region: list[int]) -> bool:
        """Whether all that the rest of the graph reads of a region may be written over what it renews."""
        if not self.over:
            return False
        made = [name for i in region for name in self.nodes[i].output]
        inside = Counter(name for i in region for name in self.reading[i])
        ends = [name for name in made if name in self.results or self.readers[name] > inside[name]]
        return bool(ends) and self.over.issuperset(ends)

    def _pays(self, region: list[int]) -> bool:
        """Whether it is worth it: of large tensors a chain reads and writes each once, in memory of its own, where
        ONNX Runtime writes each result over an operand that has been read (docs/performance.md)."""
        if self._over(region):
            return True
        parts = [part for i in region if (part := self.parts[i]) is not None]
        shape = parts[0].walked
        if math.prod(size for size in shape if isinstance(size, int)) < LARGE:
            return True
        made = {part.node.output[0] for part in parts}
        read = {name for part in parts for name in part.read} - made
        inputs = sum(self.known[name][1] == shape for name in read)
        inside = Counter(name for i in region for name in self.reading[i])
        outputs = sum(name in self.results or self.readers[name] > inside[name] for name in made)
        return len(region) >= inputs + outputs

    @staticmethod
    def _full(inputs: set[str], code: int, outputs: int) -> bool:
        """Whether a program is too long; any input may be a number, which takes an instruction besides."""
        return len(inputs) >= MOST_INPUTS or code + 2 * len(inputs) > MOST_VALUES or outputs >= MOST_OUTPUTS

    # --- nodes in their place

    def _replace(self, regions: list[list[int]]) -> None:
        region_of = {i: number for number, region in enumerate(regions) for i in region}
        users = graphs.users(self.reading)
        readers = {name: {region_of.get(i, -1) for i in places} for name, places in users.items()}
        made: dict[int, NodeProto] = {}  # by where it stands: its last node's place
        place: dict[int, int] = {}
        for number, region in enumerate(regions):
            last = max((i for i in region if i not in self.early), default=region[-1])
            place.update(dict.fromkeys(region, last))
            chain = self._chain(number, region, readers)
            if chain.output:  # else nothing needs it
                made[last] = chain
        nodes = {i: made.get(i, node) for i, node in enumerate(self.nodes) if i not in place or i in made}
        ordered = in_order(nodes)
        del self.graph.node[:]
        self.graph.node.extend(ordered)

    def _chain(self, number: int, region: list[int], readers: Mapping[str, set[int]]) -> NodeProto:
        """The node in place of a region."""
        program = Program()
        parts = [part for i in region if (part := self.parts[i]) is not None]
        kept = self._read(parts)
        for part in parts:
            operands = [self._value(program, name, kept) for name in part.read]
            program.values[part.node.output[0]] = part.write(program, operands)
        narrow = {part.node.output[0] for part in parts if part.rows is not None}
        for node in (self.nodes[i] for i in region if self.parts[i] is None):
            (kind, shape), after = self.known[node.input[0]], self._after(node) or 0
            program.values[node.output[0]] = program.add(SUM, kind, program.values[node.input[0]], after)
            self.known[node.output[0]] = kind, (shape[-1 - after],)
        outputs = [
            name
            for i in region
            for name in self.nodes[i].output
            if name in self.results or readers.get(name, set()) - {number}
        ]
        first = parts[0].node
        node = helper.make_node(
            OPERATOR,
            list(program.inputs),
            outputs,
            name=graphs.fresh(f"{first.name or first.output[0]}/chain", self.taken),
            domain=DOMAIN,
            program=program.text(outputs, narrow, not any(readers.get(name, set()) - {number} for name in outputs)),
        )
        node.metadata_props.extend(first.metadata_props)
        for name in outputs:
            if name not in self.declared:
                kind, shape = self.known[name]
                self.graph.value_info.append(helper.make_tensor_value_info(name, kind, list(shape)))
        return node

    def _read(self, parts: list[Part]) -> str:
        """The one number that stays an input where all inputs are numbers: a kernel has at least one."""
        made = {part.node.output[0] for part in parts}
        outside = [name for part in parts for name in part.read if name not in made]
        return "" if any(name not in self.numbers for name in outside) else outside[0]

    def _value(self, program: Program, name: str, kept: str) -> int:
        if name in program.values:
            return program.values[name]
        kind = self.known[name][0]
        if name in self.numbers and name != kept:
            value = constant(program, kind, numpy_helper.to_array(self.numbers[name]).tobytes())
        else:
            program.inputs[name] = value = len(program.inputs)
            program.kinds.append(kind)
        program.values[name] = value
        return value


def levels(reading: Sequence[Sequence[str]], maker: Mapping[str, int], out: Callable[[int, int], bool]) -> list[int]:
    """How many ways out lie at most after each node: whether one leads there is asked of a reader and what it reads."""
    level = [0] * len(reading)
    for i in reversed(range(len(reading))):
        for name in reading[i]:
            j = maker.get(name)
            if j is not None:
                level[j] = max(level[j], level[i] + out(i, j))
    return level


def in_order(nodes: Mapping[int, NodeProto]) -> list[NodeProto]:
    """Every node after those that it reads, else in the order of their places."""
    maker = {name: i for i, node in nodes.items() for name in node.output if name}
    after: dict[int, list[int]] = {i: [] for i in nodes}
    waiting = dict.fromkeys(nodes, 0)
    for i, node in nodes.items():
        for j in {maker[name] for name in graphs.reads(node) if name in maker}:
            after[j].append(i)
            waiting[i] += 1
    ready = [i for i, count in waiting.items() if not count]
    heapq.heapify(ready)
    ordered = []
    while ready:
        i = heapq.heappop(ready)
        ordered.append(nodes[i])
        for j in after[i]:
            waiting[j] -= 1
            if not waiting[j]:
                heapq.heappush(ready, j)
    assert len(ordered) == len(nodes), "regions have a cycle"
    return ordered


def known_types(graph: GraphProto) -> dict[str, Typed]:
    """Type and shape of every value of which all sizes have a number or a name."""
    found: dict[str, Typed] = {held.name: (held.data_type, tuple(held.dims)) for held in graph.initializer}
    for values in (graph.input, graph.value_info, graph.output):
        for value in values:
            kind = value.type.tensor_type
            sizes = [d.dim_value if d.HasField("dim_value") else d.dim_param for d in kind.shape.dim]
            if kind.elem_type and kind.HasField("shape") and "" not in sizes:
                found[value.name] = kind.elem_type, tuple(sizes)
    return found
