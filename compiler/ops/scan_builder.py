"""Scans taken apart and put together: from nodes of the surrounding graph, and several of one recurrence into one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from .. import ops
from ..ir.body import Body, ScanView, core
from ..ir.graph import Graph, Node
from ..ir.reachable import dependent, needed
from ..ir.rebuild import Taken, rebuild
from ..ir.types import Dim, Size, TensorType

CLOSED = ("constant", "size", "arange")  # leaves that are the same wherever they stand


@dataclass
class Intake:
    """What a body under construction reads from the surrounding graph: each value once, as a numbered local.

    Locals get their numbers when the body is closed: first those of `states`.
    """

    graph: Graph  # where the iteration is written
    states: Sequence[Node]  # the placeholders of the states there
    scanned: dict[tuple[Node, int], Node] = field(default_factory=dict)  # (value, axis) -> its slice in the body
    captured: dict[Node, Node] = field(default_factory=dict)

    def slice(self, value: Node, axis: int) -> Node:
        """Element t of a value along an axis."""
        key = (value, axis)
        if key not in self.scanned:
            type = value.type.with_shape(value.shape[:axis] + value.shape[axis + 1 :])
            self.scanned[key] = ops.make_local(self.graph, len(self.scanned), type, scan=1)
        return self.scanned[key]

    def capture(self, value: Node) -> Node:
        if value not in self.captured:
            self.captured[value] = ops.make_local(self.graph, len(self.captured), value.type, scan=2)
        return self.captured[value]

    def scan(
        self,
        outside: Graph,
        states: Sequence[Node],
        roots: Sequence[Node],
        places: Sequence[int],
        length: Size,
        reverse: bool,
        names: Mapping[str, Node] | None = None,
    ) -> Node:
        """The scan of these roots: the states after the iteration, then what it emits. `states` are those before the
        first iteration. `names`: what the text calls values of an iteration."""
        mapping: dict[Node, Node] = {}
        body = Graph()
        types: list[TensorType] = []
        for leaf in [*self.states, *self.scanned.values(), *self.captured.values()]:
            mapping[leaf] = ops.make_local(body, len(types), leaf.type)
            types.append(leaf.type)
        done: dict[Node, Node] = {}
        made = Body(body, types, rebuild(body, roots, mapping, done=done))
        for name, node in (names or {}).items():
            if node in done and done[node] in body:
                body.marks[name] = done[node]
        return ops.make_scan(
            outside,
            made,
            states,
            [value for value, _ in self.scanned],
            list(self.captured),
            length=length,
            axes=[axis for _, axis in self.scanned],
            places=places,
            reverse=reverse,
        )


def close(
    graph: Graph,
    states: Mapping[Node, Node],
    iteration: Node,
    after: Sequence[Node],
    emits: Sequence[Node],
    places: Sequence[int],
    length: Size,
    reverse: bool,
    first: int,
    names: Mapping[str, Node] | None = None,
) -> list[Node]:
    """The results of the scan whose iteration was written into the surrounding graph, on placeholders.

    `states` maps the placeholder of each state to its value before the first iteration, `after` has their values after
    the iteration; `iteration` is the placeholder of the iteration's number; `first` is the id of the first node that
    can depend on them. What depends on none of them is computed once, outside; `x[..., t + k, ...]` of such a value is
    a scanned value. A state that the iteration does not change is no state. `names`: what the text calls values of the
    iteration, the placeholders of states among them; the body has them as marks.
    """
    same = [leaf for leaf, end in zip(states, after, strict=True) if leaf is end]
    moved = [leaf for leaf in states if leaf not in same]
    roots = [*(end for leaf, end in zip(states, after, strict=True) if leaf is not end), *emits]
    order = needed(roots, lambda node: () if node.id < first else node.inputs)
    by = dict.fromkeys(node.inputs[1] for node in order if node.op.name in ops.PLACEHOLDERS)
    if any(node.id < first for node in by):  # then what lies between it and its target must be inside
        order = graph.order(roots)
    # The formal values of a rule for a derivative belong to the iteration that applies its function.
    formals = [node for node in order if node.op.name == "formal" and node.id >= first]
    leaves = dict.fromkeys([*states, iteration, *formals])
    inside = dependent(order, [*leaves, *by])
    for node in [node for node in by if node not in leaves and not any(source in inside for source in node.inputs)]:
        del inside[node]  # what is derived by may stand outside, if not what is computed from it
    closed: dict[Node, None] = {}
    for node in order:
        if node not in inside and (node.op.name in CLOSED or (node.inputs and all(s in closed for s in node.inputs))):
            closed[node] = None
    iterations = Graph()
    placed = {leaf: ops.make_local(iterations, number, leaf.type) for number, leaf in enumerate(moved)}
    intake = Intake(iterations, list(placed.values()))
    placed[iteration] = ops.make_iteration(iterations)

    def make(node: Node, taken: Taken) -> Node | None:
        if node in states:
            return intake.capture(states[node])
        found = _slice(node, iteration, length) if node.op.name == "gather" and node.inputs[0] not in inside else None
        return None if found is None else intake.slice(*found)

    made = [node for node in order if node in inside or node in closed]
    done: dict[Node, Node] = {}
    inner = rebuild(iterations, roots, placed, made, outside=intake.capture, make=make, done=done)
    within = {name: done[node] for name, node in (names or {}).items() if node in done}
    scan = intake.scan(graph, [states[leaf] for leaf in moved], inner, places, length, reverse, within)
    last = {leaf: ops.result(scan, number) for number, leaf in enumerate(moved)}
    return [
        *(last.get(leaf, start) for leaf, start in states.items()),
        *(ops.result(scan, len(moved) + number) for number in range(len(emits))),
    ]


def _slice(node: Node, iteration: Node, length: Size) -> tuple[Node, int] | None:
    """The value and axis such that node is element t of it, where node is x[t + k] and all those elements exist."""
    value, index = node.inputs
    offset = 0
    if index is not iteration:
        if index.op.name not in ("add", "sub") or iteration not in index.inputs:
            return None
        a, b = index.inputs
        number = b if a is iteration else a
        if number.op.name != "constant" or number.rank or (index.op.name == "sub" and a is not iteration):
            return None
        offset = int(number.attrs["value"]) * (-1 if index.op.name == "sub" else 1)
    axis = node.attrs["axis"] % value.rank
    rest = value.shape[axis] - length - offset
    if offset < 0 or isinstance(rest, Dim) or rest < 0:
        return None
    return ops.narrow(value, axis, offset, length + offset), axis


# --- several of one recurrence


def merge(graph: Graph, roots: Sequence[Node]) -> list[Node]:
    """The roots, with scans that differ in nothing but what they emit made one. The derivative makes such: the scan
    that it is taken of, and the same one emitting what its way back needs."""
    groups: dict[tuple[object, ...], list[Node]] = {}
    order = graph.order(roots)
    for node in order:
        if node.op.name == "scan":
            groups.setdefault((tuple(source.id for source in node.inputs), *core(node)), []).append(node)
    several = {node: members for members in groups.values() if len(members) > 1 for node in members}
    if not several:
        return list(roots)
    united: dict[Node, Node] = {}
    numbers: dict[Node, list[int]] = {}  # of a scan that was merged: the numbers that its results have now

    def make(node: Node, taken: Taken) -> Node | None:
        if node in several:
            if node not in united:
                whole = _united(graph, several[node], [taken(source) for source in node.inputs], numbers)
                united.update(dict.fromkeys(several[node], whole))
            return united[node]
        if node.op.name == "result" and node.inputs[0] in numbers:
            return ops.result(taken(node.inputs[0]), numbers[node.inputs[0]][node.attrs["index"]])
        return None

    return rebuild(graph, roots, {}, order, make=make)


def merge_all(graph: Graph) -> None:
    """Merges the scans that run together. Roots that other runs ask for (an output, beside a step) keep the scan that
    emits no more than they need."""
    groups: dict[str, list[str]] = {}
    for name in graph.outputs:
        kind = name.partition("/")[0]
        groups.setdefault("step" if kind in ("loss", "metric", "next") else kind, []).append(name)
    for names in groups.values():
        roots = [graph.outputs[name] for name in names]
        needed = set(graph.order(roots)) if graph.marks else set()
        marks = [name for name, node in graph.marks.items() if node in needed]
        made = merge(graph, [*roots, *(graph.marks[name] for name in marks)])
        graph.outputs.update(zip(names, made, strict=False))
        graph.marks.update(zip(marks, made[len(names) :], strict=True))


def _united(graph: Graph, members: Sequence[Node], inputs: Sequence[Node], numbers: dict[Node, list[int]]) -> Node:
    """One scan for all members, which emits what any of them does."""
    inner = Graph()
    roots: list[Node] = []
    places: list[int] = []
    known: dict[object, int] = {}
    for member in members:
        view = ScanView(member)
        made = view.body.copied(inner)
        if not roots:
            roots = made[: len(view.states)]
        numbers[member] = [state.number for state in view.states]
        for emit in view.emitted:
            key = view.body.digests[emit.number], emit.axis
            if key not in known:
                known[key] = len(roots)
                roots.append(made[emit.number])
                places.append(emit.axis)
            numbers[member].append(known[key])
    first = members[0]
    body = Body(inner, first.attrs["body"].inputs, merge(inner, roots))
    return graph.add(first.op, inputs, {**first.attrs, "body": body, "places": tuple(places)})
