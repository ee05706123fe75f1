"""The body of a scan: what one iteration computes, as a small graph of its own that reads nothing from outside.

    body  = graph of nodes whose leaves are local(k), iteration, constants and sizes; roots
    local = what input k of the scan gives an iteration: first the states, then a slice of each scanned value, then the
            captured values
    roots = the states after the iteration, then what the iteration emits

Values of the surrounding graph come in as inputs of the scan, so that substitution and sharing there need not look
inside. A body is never changed once made; equal bodies have equal keys. `ScanView` calls the parts of a scan by name.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .graph import Graph, Node, attr_key
from .rebuild import rebuild
from .types import Size, TensorType


class Body:
    """`inputs` are the types of the locals; `digests` tell the roots of all bodies apart by what they compute."""

    __slots__ = ("digests", "final", "graph", "inputs", "key", "roots", "settled")

    def __init__(self, graph: Graph, inputs: Sequence[TensorType], roots: Sequence[Node]) -> None:
        self.graph, self.inputs, self.roots = graph, tuple(inputs), tuple(roots)
        graph.outputs.clear()
        for number, root in enumerate(self.roots):
            graph.outputs[str(number)] = root
        graph.prune()
        self.digests = _digests(graph, self.roots)
        self.key = _hash((self.digests, self.inputs))
        self.settled = self.final = False  # whether the simplifier has nothing more to do here

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Body) and self.key == other.key

    def __hash__(self) -> int:
        return hash(self.key)

    def __str__(self) -> str:
        return self.key[:8]

    def locals(self) -> dict[int, Node]:
        """The placeholders that the body reads, by number."""
        found = {node.attrs["number"]: node for node in self.graph.nodes if node.op.name == "local"}
        return dict(sorted(found.items()))

    def iteration(self) -> Node | None:
        """The number of the iteration, if the body reads it."""
        return next((node for node in self.graph.nodes if node.op.name == "iteration"), None)

    def copied(self, into: Graph, mapping: Mapping[Node, Node] | None = None) -> list[Node]:
        """The roots made again in another graph; locals keep their numbers where `mapping` has none for them."""
        return rebuild(into, self.roots, mapping or {})

    def changed(self, change: Callable[[Graph], object]) -> Body:
        """The body with its graph rewritten: `change` is given a copy, whose outputs are the roots by number."""
        graph = Graph()
        Body(graph, self.inputs, self.copied(graph))
        change(graph)
        return Body(graph, self.inputs, [graph.outputs[str(number)] for number in range(len(self.roots))])

    def text(self) -> str:
        return self.graph.text(self.roots)


def _hash(value: Any) -> str:
    return hashlib.sha256(repr(value).encode()).hexdigest()


def _digests(graph: Graph, roots: Sequence[Node]) -> tuple[str, ...]:
    """For each root a text that is equal where the same is computed. A result of a scan within is told by the states
    and by its own root, not by what else that scan emits: the derivative adds emits."""
    found: dict[Node, str] = {}
    for node in graph.order(roots):
        inputs = [found[source] for source in node.inputs]
        if node.op.commutative:
            inputs.sort()
        attrs = node.attrs
        if node.op.name == "scan":
            found[node] = _hash(("scan", *inputs, *core(node)))
        elif node.op.name == "result":
            [scan] = node.inputs
            number, axis = attrs["index"], place(scan, attrs["index"])
            found[node] = _hash(
                ("result", *inputs, number if axis is None else -1, axis, scan.attrs["body"].digests[number])
            )
        else:
            found[node] = _hash((node.op.name, *inputs, *((name, attr_key(attrs[name])) for name in sorted(attrs))))
    return tuple(found[root] for root in roots)


def core(scan: Node) -> tuple[Any, ...]:
    """What tells apart scans on the same inputs, but for what they emit."""
    attrs = scan.attrs
    body: Body = attrs["body"]
    return (
        attrs["states"],
        attrs["axes"],
        attr_key(attrs["length"]),
        attrs["reverse"],
        body.inputs,
        body.digests[: attrs["states"]],
    )


# --- the parts of a scan by name


@dataclass(frozen=True, slots=True, eq=False)
class State:
    """What iterations hand on: `value` before the first one, and in the body `after` each."""

    number: int
    value: Node
    after: Node


@dataclass(frozen=True, slots=True, eq=False)
class Scanned:
    """A value whose element t along an axis is given to iteration t."""

    number: int
    value: Node
    axis: int


@dataclass(frozen=True, slots=True, eq=False)
class Captured:
    """A value that every iteration is given as it is."""

    number: int
    value: Node


@dataclass(frozen=True, slots=True, eq=False)
class Emitted:
    """What each iteration gives, a root of the body: along an axis of the result stand the iterations."""

    number: int
    root: Node
    axis: int


class ScanView:
    """A scan by the names of its parts. `number` is that of the input and of the local; of a result its index."""

    def __init__(self, scan: Node) -> None:
        attrs, count = scan.attrs, scan.attrs["states"]
        self.node = scan
        self.body: Body = attrs["body"]
        self.length: Size = attrs["length"]
        self.reverse: bool = attrs["reverse"]
        given, roots, last = scan.inputs, self.body.roots, count + len(attrs["axes"])
        self.states = [State(number, given[number], roots[number]) for number in range(count)]
        self.scanned = [Scanned(number, given[number], axis) for number, axis in enumerate(attrs["axes"], count)]
        self.captured = [Captured(number, value) for number, value in enumerate(given[last:], last)]
        self.emitted = [Emitted(number, roots[number], axis) for number, axis in enumerate(attrs["places"], count)]
        self.inputs: list[State | Scanned | Captured] = [*self.states, *self.scanned, *self.captured]
        self.results: list[State | Emitted] = [*self.states, *self.emitted]

    def given(self, local: Node) -> State | Scanned | Captured:
        """What a placeholder of the body stands for."""
        number: int = local.attrs["number"]
        return self.inputs[number]


def place(scan: Node, index: int) -> int | None:
    """The axis of a result along which the iterations stand; None where it is a state after the last one."""
    states: int = scan.attrs["states"]
    axis: int | None = scan.attrs["places"][index - states] if index >= states else None
    return axis


def scans(graph: Graph) -> Iterator[Node]:
    """The scans that the outputs need, inputs first, but those that are gone by the time they are come to."""
    for node in graph.order(graph.outputs.values()):
        if node.op.name == "scan" and node in graph:
            yield node


def with_body(scan: Node, body: Body, **attrs: Any) -> Node:
    """The scan with another body, and other attributes if given, on the same inputs."""
    return scan.graph.add(scan.op, scan.inputs, {**scan.attrs, "body": body, **attrs})
