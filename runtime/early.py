"""What a later chain computes of the values of an earlier one alone goes into the earlier one, where fewer bytes are
then written to memory and read again (docs/native.md).

A chain is made where its results are read, so that the backward pass computes what it needs of values that the forward
pass keeps. Often one number could be kept instead: of GELU the factor of its derivative, of relu which numbers are
positive. What moves reads nothing that the earlier chain does not, so no cycle comes of it. Linear in nodes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Protocol

from onnx import NodeProto, TensorProto

from . import graphs
from .programs import BOOL, DOUBLE, INT64, UINT64, Part, Sizes, Typed

WIDTHS: Mapping[int, int] = {BOOL: 1, DOUBLE: 8, INT64: 8, UINT64: 8}  # bytes of an element, else 4


class Graph(Protocol):
    """What is asked of the chains of a graph."""

    nodes: list[NodeProto]
    parts: list[Part | None]
    known: dict[str, Typed]
    numbers: Mapping[str, TensorProto]
    results: set[str]
    maker: dict[str, int]
    reading: list[list[str]]
    early: set[int]


def hastened(
    regions: list[list[int]],
    level: Sequence[int],
    graph: Graph,
    pays: Callable[[list[int]], bool],
    cached: bool = False,
) -> list[list[int]]:
    """The regions with what moved; `graph.early` gets it. `level`: of each node, less the later it is; `pays`: whether
    a region becomes a chain; `cached`: whether writing and reading cost nothing, and only what is held counts."""
    return _Hastened(regions, level, graph, pays, cached).run()


class _Hastened:
    def __init__(
        self,
        regions: list[list[int]],
        level: Sequence[int],
        graph: Graph,
        pays: Callable[[list[int]], bool],
        cached: bool,
    ) -> None:
        self.regions, self.level, self.graph, self.chained, self.cached = regions, level, graph, pays, cached
        self.of = {i: number for number, region in enumerate(regions) for i in region}
        self.users = graphs.users(graph.reading)

    def run(self) -> list[list[int]]:
        for number in range(len(self.regions)):
            to = self._earlier(number)
            moved = self._movable(number, to) if to is not None else []
            if to is not None and moved and self._pays(number, to, moved):
                gone = set(moved)
                self.regions[number] = [i for i in self.regions[number] if i not in gone]
                self.regions[to] = sorted(self.regions[to] + moved)
                self.of.update(dict.fromkeys(moved, to))
                self.graph.early.update(moved)
        return [region for region in self.regions if region]

    def _part(self, i: int) -> Part:
        part = self.graph.parts[i]
        assert part is not None
        return part

    def _shape(self, number: int) -> Sizes:
        return self._part(self.regions[number][0]).walked

    def _reads(self, nodes: Iterable[int]) -> dict[str, None]:
        return dict.fromkeys(name for i in nodes for name in self._part(i).read if name not in self.graph.numbers)

    def _earlier(self, number: int) -> int | None:
        """The region whose values it reads most."""
        region = self.regions[number]
        found: Counter[int] = Counter()
        for name in self._reads(region):
            near = self.users[name] if self._bytes(name, self._shape(number)) else []
            makers = [self.graph.maker[name]] if name in self.graph.maker else []
            for other in {self.of[i] for i in (*near[:16], *makers) if i in self.of}:
                later = self.level[self.regions[other][0]] <= self.level[region[0]] if self.regions[other] else True
                if not later and self._shape(other) == self._shape(number):
                    found[other] += 1
        return found.most_common(1)[0][0] if found else None

    def _movable(self, number: int, to: int) -> list[int]:
        """What computes with nothing but what the earlier region reads and makes."""
        numbers, there = self.graph.numbers, set(self._reads(self.regions[to]))
        there.update(name for i in self.regions[to] for name in self.graph.nodes[i].output)
        moved = []
        for i in self.regions[number]:
            if all(name in there or name in numbers for name in self._part(i).read):
                moved.append(i)
                there.update(self.graph.nodes[i].output)
        return [i for i in moved if not self.cached or self._narrow(i, moved)]

    def _narrow(self, i: int, moved: Sequence[int]) -> bool:
        """Whether a node is none that makes larger numbers of bools for others than these."""
        node = self.graph.nodes[i]
        wide = node.op_type == "Cast" and self.graph.known[node.input[0]][0] == BOOL
        return not wide or any(user in moved for user in self.users.get(node.output[0], ()))

    def _bytes(self, name: str, shape: Sizes) -> int:
        """Of each element; 0 of what is not as large as the chain."""
        kind, own = self.graph.known[name]
        return WIDTHS.get(kind, 4) if own == shape else 0

    def _pays(self, number: int, to: int, moved: list[int]) -> bool:
        graph, shape, inside = self.graph, self._shape(number), set(moved)
        made = {name for i in moved for name in graph.nodes[i].output}
        rest = self._reads(i for i in self.regions[number] if i not in inside)
        kept = [n for n in made if n in graph.results or any(i not in inside for i in self.users.get(n, ()))]
        before = 0
        for name in self._reads(moved):
            if name in made:
                continue
            before += self._bytes(name, shape) * (name not in rest and not self.cached)
            alone = all(i in inside or self.of.get(i) == to for i in self.users[name]) and name not in graph.results
            if alone and name in graph.maker and self.of.get(graph.maker[name]) == to:
                before += self._bytes(name, shape)  # it need not be written
        fewer = (1 if self.cached else 2) * sum(self._bytes(name, shape) for name in kept) < before
        return fewer and self.chained(sorted(self.regions[to] + moved))
