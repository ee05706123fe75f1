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
import struct
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper

from . import graphs

DOMAIN, OPERATOR, VERSION = "dlc.native", "Chain", 1
CHAINED = "elementwise operations in chains"
MOST_VALUES, MOST_INPUTS, MOST_OUTPUTS = 128, 64, 64  # as native/chain.h has them

FLOAT, DOUBLE, INT32, INT64, BOOL, UINT32, UINT64 = (
    TensorProto.FLOAT,
    TensorProto.DOUBLE,
    TensorProto.INT32,
    TensorProto.INT64,
    TensorProto.BOOL,
    TensorProto.UINT32,
    TensorProto.UINT64,
)
FLOATS = frozenset((FLOAT, DOUBLE))
SIGNED = FLOATS | {INT32, INT64}
UNSIGNED = frozenset((UINT32, UINT64))
NUMBERS = SIGNED | UNSIGNED
TRUTHS = frozenset((BOOL,))
# Operator -> the number of the operation in native/chain.h, how many operands, their types.
SAME: dict[str, tuple[int, int, frozenset[int]]] = {
    "Add": (3, 2, NUMBERS),
    "Sub": (4, 2, NUMBERS),
    "Mul": (5, 2, NUMBERS),
    "Div": (6, 2, FLOATS),
    "Pow": (9, 2, FLOATS),
    "Neg": (10, 1, FLOATS),
    "Abs": (11, 1, FLOATS),
    "Sqrt": (12, 1, FLOATS),
    "Reciprocal": (13, 1, FLOATS),
    "Sign": (14, 1, FLOATS),
    "Floor": (15, 1, FLOATS),
    "Ceil": (16, 1, FLOATS),
    "Exp": (17, 1, FLOATS),
    "Log": (18, 1, FLOATS),
    "Tanh": (19, 1, FLOATS),
    "Erf": (20, 1, FLOATS),
    "Sigmoid": (21, 1, FLOATS),
    "And": (27, 2, TRUTHS),
    "Or": (28, 2, TRUTHS),
    "Xor": (29, 2, TRUTHS),
    "Not": (30, 1, TRUTHS),
}
COMPARED: dict[str, tuple[int, frozenset[int]]] = {
    "Equal": (22, NUMBERS | TRUTHS),
    "Less": (23, NUMBERS),
    "LessOrEqual": (24, NUMBERS),
    "Greater": (25, NUMBERS),
    "GreaterOrEqual": (26, NUMBERS),
}
FOLDED = {"Max": (7, SIGNED), "Min": (8, SIGNED)}  # of any number of operands
CONST, CAST, WHERE, MAX, SHIFT, SUM = 0, 1, 2, 7, 31, 40
NUMBERS_ONLY = {"Cos": 32, "Sin": 33}  # of a single number: the C library computes them one by one
CASTS: dict[int, frozenset[int]] = {  # those that are defined for every number
    FLOAT: frozenset((DOUBLE, BOOL)),
    DOUBLE: frozenset((FLOAT, BOOL)),
    INT32: frozenset((FLOAT, DOUBLE, INT64, BOOL)),
    INT64: frozenset((FLOAT, DOUBLE, BOOL, UINT32, UINT64)),
    BOOL: frozenset((FLOAT, DOUBLE, INT32, INT64, UINT32, UINT64)),
    UINT32: frozenset((FLOAT, DOUBLE, INT64, UINT64)),
    UINT64: frozenset((INT64, UINT32)),
}

LARGE = 4_096  # elements of a row of the batch, or of all where there is none
RUN, PLACES = 16, 4_096  # a sum in a chain: the fewest elements in a row, the most places that are kept

Size = int | str
Sizes = tuple[Size, ...]
Typed = tuple[int, Sizes]  # element type and shape; a name is a size that is the same wherever it stands


def chained(model: ModelProto, inferred: ModelProto) -> int:
    """Puts chains in place of elementwise nodes, in the bodies of scans and loops too. Changes the model; returns how
    many nodes went into chains. `inferred`: the model, or what it was made from, with the shapes of its values."""
    return Chains(model.graph, inferred.graph, {}, {}).run()


@dataclass(frozen=True)
class Part:
    """An elementwise node: its operation, the types of its operands and its result."""

    node: NodeProto
    kind: int  # of the result
    shape: Sizes
    write: Callable[[_Program, list[int]], int]  # adds its instructions, gives the value that the result is


class _Program:
    """The text of a program that grows (native/chain.h)."""

    def __init__(self) -> None:
        self.inputs: dict[str, int] = {}
        self.kinds: list[int] = []
        self.code: list[tuple[int, int, int, int, int]] = []
        self.values: dict[str, int] = {}
        self.constants: dict[tuple[int, int], int] = {}

    def add(self, operation: int, kind: int, *operands: int) -> int:
        """A result's number counts from MOST_INPUTS here: how many inputs there will be is known at the end."""
        a, b, c = (*operands, 0, 0, 0)[:3]
        self.code.append((operation, kind, a, b, c))
        return MOST_INPUTS + len(self.code) - 1

    def text(self, outputs: Sequence[str], last: bool) -> list[int]:
        count = len(self.inputs)

        def place(value: int) -> int:
            return value if value < MOST_INPUTS else value - MOST_INPUTS + count

        words = [VERSION, count, len(self.code), len(outputs), int(last), *self.kinds]
        for operation, kind, *operands in self.code:
            given = 0 if operation == CONST else 1 if operation == SUM else 3  # operands that are values
            words += [operation, kind, *map(place, operands[:given]), *operands[given:]]
        return words + [place(self.values[name]) for name in outputs]


def _same(operation: int, kind: int) -> Callable[[_Program, list[int]], int]:
    return lambda program, operands: program.add(operation, kind, *operands)


def _folded(operation: int, kind: int) -> Callable[[_Program, list[int]], int]:
    def write(program: _Program, operands: list[int]) -> int:
        value = operands[0]
        for operand in operands[1:]:
            value = program.add(operation, kind, value, operand)
        return value

    return write


def _relu(kind: int) -> Callable[[_Program, list[int]], int]:
    zero = struct.pack("=f" if kind == FLOAT else "=d", 0.0)
    return lambda program, operands: program.add(MAX, kind, operands[0], _constant(program, kind, zero))


def _constant(program: _Program, kind: int, data: bytes) -> int:
    bits = int.from_bytes(data.ljust(8, b"\0"), "little", signed=True)
    if (kind, bits) not in program.constants:
        program.constants[kind, bits] = program.add(CONST, kind, bits)
    return program.constants[kind, bits]


def _form(node: NodeProto, kinds: list[int]) -> tuple[int, Callable[[_Program, list[int]], int]] | None:
    """The type of the result and what to write, for a node whose operands have these types; None for what is not
    elementwise, or has an attribute or a type that the kernel does not know."""
    op, attributes, first = node.op_type, {a.name: a for a in node.attribute}, kinds[0]
    if op == "Cast":
        to = attributes.pop("to", AttributeProto()).i
        if attributes or to not in CASTS.get(first, frozenset()):
            return None
        return to, _same(CAST, to)
    if op == "BitShift" and first in UNSIGNED and kinds == [first, first]:
        right = attributes.pop("direction", AttributeProto()).s == b"RIGHT" and not attributes
        return (first, _same(SHIFT, first)) if right else None
    if attributes:
        return None
    if op == "Where":
        fits = len(kinds) == 3 and first == BOOL and kinds[1] == kinds[2] in NUMBERS | TRUTHS
        return (kinds[1], _same(WHERE, kinds[1])) if fits else None
    if any(kind != first for kind in kinds):
        return None
    if op in SAME and len(kinds) == SAME[op][1] and first in SAME[op][2]:
        return first, _same(SAME[op][0], first)
    if op in COMPARED and len(kinds) == 2 and first in COMPARED[op][1]:
        return BOOL, _same(COMPARED[op][0], first)
    if op in FOLDED and len(kinds) > 1 and first in FOLDED[op][1]:
        return first, _folded(FOLDED[op][0], first)
    if op == "Relu" and len(kinds) == 1 and first in FLOATS:
        return first, _relu(first)
    return None


def broadcast(shapes: Sequence[Sizes]) -> Sizes | None:
    """The shape of a result, None where sizes of different names meet."""
    rank = max(map(len, shapes))
    sizes: list[Size] = [1] * rank
    for shape in shapes:
        for k, size in enumerate(shape, rank - len(shape)):
            if sizes[k] == 1:
                sizes[k] = size
            elif size not in (1, sizes[k]):
                return None
    return tuple(sizes)


class Chains:
    """The chains of one graph."""

    least = 2  # operations of a chain

    def __init__(
        self, graph: GraphProto, inferred: GraphProto, outer: Mapping[str, Typed], numbers: Mapping[str, TensorProto]
    ) -> None:
        self.graph = graph
        self.known: dict[str, Typed] = {**outer, **known_types(graph), **known_types(inferred)}
        self.nodes = list(graph.node)
        self.bodies = {n.output[0]: n for n in inferred.node if n.output and any(graphs.subgraphs(n))}
        named = {value.name for value in graph.input}
        own = {held.name: held for held in graph.initializer if not held.dims and held.name not in named}
        self.numbers = {**numbers, **own}  # of rank 0: they go into the program
        self.lists = {
            held.name: numpy_helper.to_array(held)
            for held in graph.initializer
            if len(held.dims) == 1 and held.data_type == INT64 and held.name not in named
        }
        self.results = {value.name for value in graph.output}
        self.declared = self.results | {value.name for value in graph.value_info}
        self.taken = graphs.names(graph)

    def run(self) -> int:
        count = 0
        for node in self.nodes:  # bodies first: the scan itself is no part of a chain
            seen = self.bodies.get(node.output[0]) if node.output else None
            if seen is not None and any(graphs.subgraphs(node)):
                for body, known in zip(graphs.subgraphs(node), graphs.subgraphs(seen), strict=True):
                    count += Chains(body, known, self.known, self.numbers).run()
        self.parts: list[Part | None] = [self._part(node) for node in self.nodes]
        self.maker = {name: i for i, node in enumerate(self.nodes) for name in node.output if name}
        self.reading = [list(dict.fromkeys(graphs.reads(node))) for node in self.nodes]
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
        if node.domain not in ("", "ai.onnx") or len(node.output) != 1 or not node.input or not all(node.input):
            return None
        operands = [self.known.get(name) for name in node.input]
        if any(operand is None for operand in operands):
            return None
        given = [operand for operand in operands if operand is not None]
        form, shape = _form(node, [kind for kind, _ in given]), broadcast([shape for _, shape in given])
        if shape == () and node.op_type in NUMBERS_ONLY and given[0][0] in FLOATS:
            form = given[0][0], _same(NUMBERS_ONLY[node.op_type], given[0][0])
        if form is None or shape is None:
            return None
        self.known[node.output[0]] = form[0], shape
        return Part(node, form[0], shape, form[1])

    # --- what goes together

    def _regions(self) -> list[list[int]]:
        """Neighbours of one level and shape, each region in the order of the graph."""
        level = levels(self.reading, self.maker, [part is not None for part in self.parts])
        root = list(range(len(self.nodes)))

        def find(i: int) -> int:
            while root[i] != i:
                root[i] = root[root[i]]
                i = root[i]
            return i

        for i, part in enumerate(self.parts):
            for name in part.node.input if part is not None else ():
                j = self.maker.get(name, i)
                other = self.parts[j]
                if part is not None and other is not None and level[i] == level[j] and part.shape == other.shape:
                    root[find(i)] = find(j)
        regions: dict[int, list[int]] = {}
        for i, part in enumerate(self.parts):
            if part is not None:
                regions.setdefault(find(i), []).append(i)
        return list(regions.values())

    def _after(self, node: NodeProto) -> int | None:
        """How many axes lie after the one that a ReduceSum keeps, if it keeps one, and each sum is long."""
        attributes = {a.name: a.i for a in node.attribute}
        kind, shape = self.known.get(node.input[0], (0, ()))
        axes = self.lists.get(node.input[1]) if len(node.input) == 2 else None
        if node.domain not in ("", "ai.onnx") or kind not in FLOATS or axes is None or attributes.get("keepdims", 1):
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
        found = [i for at in piece for name in self.nodes[at].output for i in self.sums.get(name, ())]
        found = [i for i in found if self._after(self.nodes[i]) == self._after(self.nodes[found[0]])]
        return sorted(piece + found[: max(0, min(room, MOST_OUTPUTS - len(piece)))])

    def _pieces(self, region: list[int]) -> Iterator[list[int]]:
        """A region as pieces that a program can hold, with their sums: what is left of it comes after."""
        for piece in self._cut(region):
            summed = self._summed(piece)
            if len(summed) >= self.least:
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

    def _pays(self, region: list[int]) -> bool:
        """Whether it is worth it: of large tensors a chain reads and writes each once, in memory of its own, where
        ONNX Runtime writes each result over an operand that has been read (docs/performance.md)."""
        parts = [part for i in region if (part := self.parts[i]) is not None]
        if math.prod(size for size in parts[0].shape if isinstance(size, int)) < LARGE:
            return True
        made = {part.node.output[0] for part in parts}
        read = {name for part in parts for name in part.node.input} - made
        inputs = sum(self.known[name][1] == parts[0].shape for name in read)
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
        readers: dict[str, set[int]] = {}
        for i in range(len(self.nodes)):
            for name in self.reading[i]:
                readers.setdefault(name, set()).add(region_of.get(i, -1))
        made: dict[int, NodeProto] = {}  # by where it stands: its last node's place
        place: dict[int, int] = {}
        for number, region in enumerate(regions):
            for i in region:
                place[i] = region[-1]
            chain = self._chain(number, region, readers)
            if chain.output:  # else nothing needs it
                made[region[-1]] = chain
        nodes = {i: made.get(i, node) for i, node in enumerate(self.nodes) if i not in place or i in made}
        ordered = in_order(nodes)
        del self.graph.node[:]
        self.graph.node.extend(ordered)

    def _chain(self, number: int, region: list[int], readers: Mapping[str, set[int]]) -> NodeProto:
        """The node in place of a region."""
        program = _Program()
        parts = [part for i in region if (part := self.parts[i]) is not None]
        kept = self._read(parts)
        for part in parts:
            operands = [self._value(program, name, kept) for name in part.node.input]
            program.values[part.node.output[0]] = part.write(program, operands)
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
            program=program.text(outputs, not any(readers.get(name, set()) - {number} for name in outputs)),
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
        outside = [name for part in parts for name in part.node.input if name not in made]
        return "" if any(name not in self.numbers for name in outside) else outside[0]

    def _value(self, program: _Program, name: str, kept: str) -> int:
        if name in program.values:
            return program.values[name]
        kind = self.known[name][0]
        if name in self.numbers and name != kept:
            value = _constant(program, kind, numpy_helper.to_array(self.numbers[name]).tobytes())
        else:
            program.inputs[name] = value = len(program.inputs)
            program.kinds.append(kind)
        program.values[name] = value
        return value


def levels(reading: Sequence[Sequence[str]], maker: Mapping[str, int], inside: Sequence[bool]) -> list[int]:
    """How many nodes that are not `inside`, and ways into and out of them, lie after each node."""
    level = [0] * len(reading)
    for i in reversed(range(len(reading))):
        for name in reading[i]:
            j = maker.get(name)
            if j is not None:
                level[j] = max(level[j], level[i] + (not (inside[i] and inside[j])))
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
