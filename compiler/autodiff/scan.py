"""The derivatives of a scan, each of them a scan.

Backwards through time the states are the adjoints of the states, and the iterations run in the other direction (Werbos
1990, "Backpropagation through time: what it does and how to do it"); forwards they are the tangents of the states. The
scan itself is asked to emit, iteration by iteration, what the derivative reads of it, so nothing is computed again. A
value that every iteration reads gets a sum over the iterations as its adjoint: where each iteration's share is a
product of matrices or a sum over rows, the iterations emit the factors, and one product over all iterations and rows is
taken afterwards; other shares are added up in states of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping, Sequence

from .. import ops
from ..ir.body import Body, Captured, Scanned, ScanView, State, with_body
from ..ir.graph import Graph, Node
from ..ir.reachable import dependent, needed
from ..ir.rebuild import rebuild
from ..ir.types import TensorType, product
from ..ops.scan_builder import CLOSED, Intake, merge

PullBack = Callable[[Mapping[Node, Node], Sequence[Node]], "list[Node | None]"]
Tangents = Callable[[Sequence[Node], Mapping[Node, Node], "dict[Node, None]"], "list[Node | None]"]
Later = Callable[[Node], Node]  # a value of the surrounding graph, once the scan of the derivative is there


def zeros(graph: Graph, type: TensorType) -> Node:
    return ops.broadcast_to(ops.constant(graph, 0, type.dtype), shape=type.shape)


class _Derived:
    """One iteration and its derivative, in a graph of their own."""

    def __init__(self, scan: Node) -> None:
        self.scan, self.outside = ScanView(scan), scan.graph
        self.graph = Graph()
        self.roots = self.scan.body.copied(self.graph)  # and then what the derivative wants emitted besides
        self.locals = [ops.make_local(self.graph, number, type) for number, type in enumerate(self.scan.body.inputs)]
        self.ahead = dict.fromkeys(self.graph.order([*self.roots, *self.locals]))  # what the scan itself computes
        self.kept: dict[Node, int] = {}  # what it must emit for the derivative: the number of the result
        self.derived: Container[Node] = ()  # what depends on adjoints or tangents
        self.leaves: list[Node] = []  # placeholders of the states of the derivative,
        self.starts: list[Node] = []  # their values before its first iteration,
        self.after: list[Node] = []  # and after each iteration
        self.slices: dict[Node, tuple[Node, int]] = {}  # placeholder -> a scanned value outside, and its axis
        self.shared: dict[Node, Node] = {}  # placeholder -> a captured value outside
        self.emits: dict[tuple[Node, int], int] = {}  # what an iteration of the derivative emits, and at which place

    def leaf(self, kind: int, number: int, type: TensorType) -> Node:
        """A placeholder; kinds from 3 on, since `Intake` has its own."""
        return ops.make_local(self.graph, number, type, scan=kind)

    def derive(self, leaves: Sequence[Node], roots: Sequence[Node]) -> None:
        """Notes what depends on the placeholders of adjoints or tangents."""
        self.derived = dependent(self.graph.order([*leaves, *roots]), leaves)

    def is_ahead(self, node: Node) -> bool:
        """Whether a value belongs to the scan itself; what an inner scan emits for its derivative does."""
        return node in self.ahead or (node not in self.derived and node.op.name in ("scan", "result"))

    def emit(self, node: Node, place: int) -> Later:
        number = self.emits.setdefault((node, place), len(self.emits))
        return lambda made: ops.result(made, made.attrs["states"] + number)

    def keep(self, node: Node) -> None:
        if node in self.kept:
            return
        for emit in self.scan.emitted:
            if self.roots[emit.number] is node and emit.axis == 0:
                self.kept[node] = emit.number
                return
        self.kept[node] = len(self.roots)
        self.roots.append(node)

    def at_hand(self, node: Node) -> bool:
        """Whether a value of the scan itself is there without being emitted: what it is given, the iteration,
        numbers."""
        if node.op.name == "local":
            return not isinstance(self.scan.given(node), State)
        return node.op.name == "iteration" or all(
            leaf.inputs or leaf.op.name in CLOSED for leaf in self.graph.order([node])
        )

    def close(self, reverse: bool) -> Node:
        """Makes the scan with what it must emit besides, and then that of the derivative."""
        roots = [*self.after, *(node for node, _ in self.emits)]
        order = needed(roots, lambda node: () if self.is_ahead(node) else node.inputs)
        for node in order:
            if self.is_ahead(node) and not self.at_hand(node):
                self.keep(node)
        inner = Graph()
        made = Body(inner, self.scan.body.inputs, rebuild(inner, merge(self.graph, self.roots), {}))
        places = [emit.axis for emit in self.scan.emitted]
        places += [0] * (len(self.roots) - len(self.scan.results))
        self.forward = with_body(self.scan.node, made, places=tuple(places))
        intake = Intake(self.graph, self.leaves)
        mapping: dict[Node, Node] = {}
        for leaf, (value, axis) in self.slices.items():
            mapping[leaf] = intake.slice(value, axis)
        for leaf, value in self.shared.items():
            mapping[leaf] = intake.capture(value)
        for node in order:
            if node in self.kept:
                mapping[node] = intake.slice(ops.result(self.forward, self.kept[node]), 0)
            elif node in self.ahead and node.op.name == "local":
                given = self.scan.given(node)
                mapping[node] = (
                    intake.slice(given.value, given.axis) if isinstance(given, Scanned) else intake.capture(given.value)
                )
        return intake.scan(
            self.outside,
            self.starts,
            rebuild(self.graph, roots, mapping),
            [place for _, place in self.emits],
            self.scan.length,
            reverse,
        )

    def reached(self, active: Sequence[bool]) -> list[bool]:
        """Which inputs matter to a derivative by the active ones: the states that they come to act on, too."""
        active = list(active)
        order = self.graph.order(self.roots)
        while True:
            found = dependent(order, [leaf for leaf, flag in zip(self.locals, active, strict=True) if flag])
            new = [
                state.number
                for state in self.scan.states
                if self.roots[state.number] in found and not active[state.number] and state.after.dtype == "float"
            ]
            if not new:
                return active
            for number in new:
                active[number] = True


# --- backwards


def backward(scan: Node, given: Mapping[int, Node], wanted: Sequence[bool], pull_back: PullBack) -> list[Node | None]:
    """The adjoint of each wanted input of a scan, from those of its results. None where nothing comes back."""
    return _Backward(scan, given, wanted).run(pull_back)


class _Backward(_Derived):
    def __init__(self, scan: Node, given: Mapping[int, Node], wanted: Sequence[bool]) -> None:
        super().__init__(scan)
        self.given = given
        self.active = self.reached(
            [flag and leaf.dtype == "float" for flag, leaf in zip(wanted, self.locals, strict=True)]
        )
        self.sums: dict[Node, int] = {}  # shares that are added up from iteration to iteration: the number of the state
        self.sent: dict[Node, int] = {}  # placeholder of the adjoint of what an iteration emits -> number of the result

    def run(self, pull_back: PullBack) -> list[Node | None]:
        for emit in self.scan.emitted:
            if emit.number in self.given and emit.root.dtype == "float":
                leaf = self.leaf(4, emit.number, emit.root.type)
                self.sent[leaf] = emit.number
                self.slices[leaf] = self.given[emit.number], emit.axis
        states = [state.number for state in self.scan.states]
        carried = {n: self._carried(n) for n in states if n in self.given and self.active[n]}
        by = [number for number, flag in enumerate(self.active) if flag]
        while True:  # a state has an adjoint where its result has one, or it acts on what has one
            sent: dict[Node, Node] = {}
            for leaf, number in [*((leaf, n) for n, leaf in carried.items()), *self.sent.items()]:
                root = self.roots[number]
                sent[root] = sent[root] + leaf if root in sent else leaf
            found = dict(zip(by, pull_back(sent, [self.locals[number] for number in by]), strict=True))
            new = [n for n in states if found.get(n) is not None and n not in carried]
            if not new:
                break
            carried.update({number: self._carried(number) for number in new})
        return self._results(carried, found)

    def _carried(self, number: int) -> Node:
        return self.leaf(3, number, self.locals[number].type)

    def _results(self, carried: Mapping[int, Node], found: Mapping[int, Node | None]) -> list[Node | None]:
        states = list(carried)
        for number, leaf in carried.items():
            adjoint, type = found.get(number), self.locals[number].type
            self.leaves.append(leaf)
            self.after.append(adjoint if adjoint is not None else zeros(self.graph, type))
            self.starts.append(self.given[number] if number in self.given else zeros(self.outside, type))
        there = {number: node for number, node in found.items() if node is not None}
        self.derive([*self.leaves, *self.sent], [*self.after, *there.values()])
        for given in self.scan.captured:
            if given.number in there:  # products first: sums of rows may share what they emit
                self._factors(there[given.number])
        later: dict[int, Later] = {}
        for number, node in there.items():
            part = self.scan.inputs[number]
            if isinstance(part, Captured):
                later[number] = self._total(node)
            elif isinstance(part, Scanned):
                later[number] = self.emit(node, part.axis)
        made = self.close(not self.scan.reverse)
        return [
            ops.result(made, states.index(number))
            if number in carried
            else later[number](made)
            if number in later
            else None
            for number in range(len(self.locals))
        ]

    def _stack(self, node: Node) -> Later:
        """The values of all iterations, along a new first dimension."""
        if node in self.slices:
            value, axis = self.slices[node]
            return lambda made: ops.moveaxis(value, axis, 0)
        given = self.scan.given(node) if node in self.ahead and node.op.name == "local" else None
        if isinstance(given, Scanned):
            return lambda made: ops.moveaxis(given.value, given.axis, 0)
        if self.is_ahead(node) and not self.at_hand(node):
            self.keep(node)
            return lambda made: ops.result(self.forward, self.kept[node])
        return self.emit(node, 0)

    def _factors(self, node: Node) -> None:
        """Finds out what a sum over the iterations will want emitted."""
        if _is_product(node):
            for source in node.inputs:
                self._stack(source)
        elif node.op.name in ("add", "sub", "neg", "reshape", "transpose"):
            for source in node.inputs:
                if source.shape == node.shape or len(node.inputs) == 1:
                    self._factors(source)

    def _total(self, node: Node) -> Later:
        """The sum over all iterations of each iteration's share."""
        name = node.op.name
        if name in ("add", "sub") and all(source.shape == node.shape for source in node.inputs):
            a, b = (self._total(source) for source in node.inputs)
            return (lambda made: a(made) + b(made)) if name == "add" else (lambda made: a(made) - b(made))
        if name in ("neg", "reshape", "transpose"):
            inner = self._total(node.inputs[0])
            return lambda made: self.outside.add(node.op, [inner(made)], node.attrs)
        if _is_product(node):
            a, b = (self._stack(source) for source in node.inputs)
            ta, tb = node.attrs["ta"], node.attrs["tb"]
            return lambda made: ops.matmul(_joined(a(made), 0 if ta else 1), _joined(b(made), 1 if tb else 0), ta, tb)
        if name == "reduce_sum" and not node.attrs["keepdims"] and self._stacked(node.inputs[0]):
            rows = self._stack(node.inputs[0])
            axes = tuple(axis % node.inputs[0].rank + 1 for axis in node.attrs["axes"])
            return lambda made: ops.reduce_sum(rows(made), axes=(0, *axes))
        if node not in self.sums:
            self.sums[node] = len(self.starts)
            self.starts.append(zeros(self.outside, node.type))
            leaf = self.leaf(5, self.sums[node], node.type)
            self.leaves.append(leaf)
            self.after.append(leaf + node)
        number = self.sums[node]
        return lambda made: ops.result(made, number)

    def _stacked(self, node: Node) -> bool:
        """Whether the values of all iterations are there anyway."""
        return (node, 0) in self.emits or node in self.slices or node in self.kept


def _is_product(node: Node) -> bool:
    return node.op.name == "matmul" and all(source.rank == 2 for source in node.inputs)


def _joined(x: Node, axis: int) -> Node:
    """[iterations, m, n] with the iterations joined to dimension m (axis 0) or n (axis 1) of each iteration's
    matrix."""
    iterations, m, n = x.shape
    if axis:
        return ops.reshape(ops.transpose(x, perm=(1, 0, 2)), shape=(m, product((iterations, n))))
    return ops.reshape(x, shape=(product((iterations, m)), n))


# --- forwards


def forward(scan: Node, given: Sequence[Node | None], tangents: Tangents) -> dict[int, Node]:
    """The tangents of the results of a scan that move, from those of its inputs."""
    return _Forward(scan).run(given, tangents)


class _Forward(_Derived):
    def run(self, given: Sequence[Node | None], tangents: Tangents) -> dict[int, Node]:
        moved: dict[Node, Node] = {}
        for part, tangent in zip(self.scan.inputs, given, strict=True):
            if tangent is None or isinstance(part, State):
                continue
            leaf = self.leaf(4, part.number, self.locals[part.number].type)
            moved[self.locals[part.number]] = leaf
            if isinstance(part, Scanned):
                self.slices[leaf] = tangent, part.axis
            else:
                self.shared[leaf] = tangent
        states = [state.number for state in self.scan.states]
        carried = [n for n in states if given[n] is not None]
        while True:  # a state moves where it starts so, or by what moves it
            for number in carried:
                moved.setdefault(self.locals[number], self.leaf(3, number, self.locals[number].type))
            found = tangents(self.roots[: len(self.scan.results)], moved, {})
            new = [n for n in states if found[n] is not None and n not in carried]
            if not new:
                break
            carried += new
        for number in carried:
            start, type, tangent = given[number], self.locals[number].type, found[number]
            self.leaves.append(moved[self.locals[number]])
            self.starts.append(start if start is not None else zeros(self.outside, type))
            self.after.append(tangent if tangent is not None else zeros(self.graph, type))
        there = {n: node for n, node in enumerate(found) if node is not None}
        self.derive(list(moved.values()), [*self.after, *there.values()])
        later = {
            emit.number: self.emit(there[emit.number], emit.axis) for emit in self.scan.emitted if emit.number in there
        }
        made = self.close(self.scan.reverse)
        return {
            **{n: ops.result(made, k) for k, n in enumerate(carried)},
            **{n: result(made) for n, result in later.items()},
        }
