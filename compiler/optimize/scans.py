"""Scans made smaller: what need not be done iteration by iteration is done once, before or after the iterations.

    f(captured)                     -> before the scan, and captured
    f(slices, captured)             -> before the scan, of all iterations at once: `x[:, t] @ W` is one product
    emit f(g(state), captured)      -> emit g(state), and f of all iterations at once after the scan
    a state that nothing reads      -> gone; so are results, slices and captured values
    a slice of a value that is the same in every iteration -> captured

All scanned values and all that iterations emit have the iterations along their first dimension afterwards: transposes
stand outside, where they meet others. What the derivative asks of each iteration (factors of sums over the iterations)
leaves the scan in the same way.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from .. import ops
from ..ir.body import Body, Scanned, ScanView, State, scans, with_body
from ..ir.graph import Graph, Node
from ..ir.rebuild import Taken, rebuild
from ..ir.types import Shape, product
from ..ops.match import REDUCTIONS, on_elements
from ..ops.scan_builder import CLOSED, Intake

FEW = 4096  # elements that a value of one iteration may grow to when all iterations are computed at once
WORTH = ("matmul", "gather", "softmax", "log_softmax", *REDUCTIONS)

Simplify = Callable[[Graph, bool], None]


def simplify_bodies(graph: Graph, final: bool, simplify: Simplify) -> None:
    """Simplifies the bodies of all scans. A body that is done with is not looked at again."""
    for scan in scans(graph):
        body = simplified(scan.attrs["body"], final, simplify)
        if body is not scan.attrs["body"]:
            graph.replace(scan, with_body(scan, body))


def simplified(body: Body, final: bool, simplify: Simplify) -> Body:
    if body.final if final else body.settled:
        return body
    made = body.changed(lambda graph: simplify(graph, final))
    if made.key == body.key:
        made = body
    made.settled = True
    made.final = made.final or final
    return made


def each_body(graph: Graph, change: Callable[[Graph], object]) -> None:
    """Changes the bodies of all scans, inner ones first: `change` rewrites their graphs."""

    def inside(body: Graph) -> None:
        each_body(body, change)
        change(body)

    for scan in scans(graph):
        graph.replace(scan, with_body(scan, scan.attrs["body"].changed(inside)))


def improve(graph: Graph, final: bool) -> bool:
    """Moves out of all scans what need not be in them; returns whether anything changed."""
    graph.prune()
    changed = False
    for node in scans(graph):
        if any(inner.op.name in ops.PLACEHOLDERS for inner in node.attrs["body"].graph.nodes):
            continue
        results = [user for user in graph.users(node) if user.op.name == "result"]
        with graph.like(node, derived=node.derived):
            found = _Improving(node, final).run({result.attrs["index"] for result in results})
        for result in results:
            new = found[result.attrs["index"]]
            if new is not result:
                graph.replace(result, new)
                changed = True
    graph.prune()
    return changed


class _Improving:
    def __init__(self, scan: Node, final: bool) -> None:
        self.scan, self.outside, self.final = ScanView(scan), scan.graph, final
        self.length, body = self.scan.length, self.scan.body
        self.order = body.graph.order(body.roots)
        self.kinds: dict[Node, str] = {}  # "closed", "same" in every iteration, "apart" from the states, "carried"
        for node in self.order:
            self.kinds[node] = self._kind(node)
        self.early = self._early()
        self.values: dict[Node, Node] = {}  # outside: of what is the same; of what is apart for all iterations
        self.iterations = Graph()

    # --- what depends on what

    def _kind(self, node: Node) -> str:
        if node.op.name == "local":
            given = self.scan.given(node)
            if isinstance(given, State):  # one that never moves is none
                return "same" if given.after is node else "carried"
            return "apart" if isinstance(given, Scanned) and not _alike(given.value, given.axis) else "same"
        if node.op.name == "iteration":
            return "apart"
        if node.op.name == "formal":  # what a rule for a derivative says stays with its function
            return "carried"
        if node.op.name in CLOSED:
            return "closed"
        kinds = {self.kinds[source] for source in node.inputs}
        drawn = any(value.dtype == "key" for value in (node, *node.inputs))
        if "carried" in kinds or drawn or node.op.name in ("scan", "result"):
            return "carried" if kinds - {"closed", "same"} else "same"
        if "apart" in kinds:
            return "apart" if self._vectorised(node) else "carried"
        return "same" if "same" in kinds or not kinds else "closed"

    def _early(self) -> set[Node]:
        """What is apart from the states and worth taking out of the iterations: products, lookups, sums, and what lies
        before or behind them. Other operations cost the same in the iteration, on values that are in the cache."""
        below: set[Node] = set()
        above: set[Node] = set()
        apart = [node for node in self.order if self.kinds[node] == "apart"]
        for node in apart:
            if node.op.name in WORTH or any(source in below for source in node.inputs):
                below.add(node)
        for node in reversed(apart):
            if node.op.name in WORTH or node in above:
                above.update(source for source in node.inputs if self.kinds[source] == "apart")
        return below | above

    def _inside(self, node: Node) -> bool:
        """Whether the iteration computes a value, if it needs it."""
        kind = self.kinds[node]
        return kind == "carried" or (kind == "apart" and bool(node.inputs) and node not in self.early)

    def _vectorised(self, node: Node) -> bool:
        """Whether the operation can act on all iterations at once, and its result is not much larger than what it
        reads."""
        varying = [source for source in node.inputs if self.kinds[source] == "apart"]
        name = node.op.name
        if on_elements(node) or name == "broadcast_to":
            return _small(node.shape) or any(source.shape == node.shape for source in varying)
        if name == "gather":
            return varying == [node.inputs[1]] and node.attrs["axis"] in (0, -node.inputs[0].rank)
        if name in ("concat", "pick"):
            return len(varying) == len(node.inputs)
        return name in (
            "matmul",
            "reshape",
            "transpose",
            "slice",
            "softmax",
            "log_softmax",
            "stop_gradient",
            *REDUCTIONS,
        )

    def _same(self, node: Node) -> Node:
        """The value outside of what is the same in every iteration."""
        return rebuild(self.outside, [node], {}, make=self._given, done=self.values)[0]

    def _given(self, node: Node, taken: Taken) -> Node | None:
        if node.op.name != "local":
            return None
        given, scan = self.scan.given(node), self.scan.node
        with self.outside.like(scan, derived=scan.derived):
            return _any(given.value, given.axis) if isinstance(given, Scanned) else given.value

    def _all(self, node: Node) -> Node:
        """The values of all iterations, along a new first dimension, of what is apart from the states."""
        if node not in self.values:
            if node.op.name == "local":
                given = self.scan.given(node)
                assert isinstance(given, Scanned)
                self.values[node] = ops.moveaxis(given.value, given.axis, 0)
            elif node.op.name == "iteration":
                self.values[node] = ops.make_arange(self.outside, self.length)
            else:
                with self.outside.like(node, derived=node.derived):
                    self.values[node] = self._vector(
                        node, {source: self._all(source) for source in node.inputs if self.kinds[source] == "apart"}
                    )
        return self.values[node]

    def _vector(self, node: Node, stacks: Mapping[Node, Node]) -> Node:
        """The operation on all iterations at once; `stacks` has the operands that vary."""
        name, attrs, iterations = node.op.name, node.attrs, self.length
        rank = node.rank
        if name == "matmul":
            rank = max(source.rank for source in node.inputs)
        if on_elements(node) or name in ("matmul", "broadcast_to"):
            given = [
                _ranked(stacks[source], rank) if source in stacks else self._same(source) for source in node.inputs
            ]
            if name == "broadcast_to":
                attrs = {"shape": (iterations, *attrs["shape"])}
            return self.outside.add(node.op, given, attrs)
        given = [stacks[source] if source in stacks else self._same(source) for source in node.inputs]
        before = node.inputs[0].rank
        if name == "reshape":
            return ops.reshape(given[0], shape=(iterations, *node.shape))
        if name == "transpose":
            return ops.transpose(given[0], perm=(0, *(axis + 1 for axis in attrs["perm"])))
        if name == "slice":
            return ops.slice_(
                given[0], starts=(0, *attrs["starts"]), stops=(iterations, *attrs["stops"]), steps=(1, *attrs["steps"])
            )
        if name in REDUCTIONS:
            attrs = {**attrs, "axes": tuple(axis % before + 1 for axis in attrs["axes"])}
        elif name in ("softmax", "log_softmax", "concat"):
            attrs = {**attrs, "axis": attrs["axis"] % before + 1}
        elif name == "gather":
            attrs = {**attrs, "axis": 0}
        return self.outside.add(node.op, given, attrs)

    # --- the new scan

    def run(self, used: set[int]) -> dict[int, Node]:
        """What each used result is now."""
        emits: dict[Node, int] = {}
        later: dict[int, Callable[[Node], Node]] = {}
        results: dict[int, Node] = {}
        for emit in self.scan.emitted:
            number, root, axis = emit.number, emit.root, emit.axis
            if number not in used:
                continue
            if self.kinds[root] in ("closed", "same"):
                value = ops.expand_dims(self._same(root), axis)
                results[number] = ops.broadcast_to(value, shape=(*root.shape[:axis], self.length, *root.shape[axis:]))
            elif self.kinds[root] == "apart":
                results[number] = ops.moveaxis(self._all(root), 0, axis)
            else:
                later[number] = self._after(root, emits)
        moved = [state for state in self.scan.states if _moves(state)]
        needed = self._alive([state for state in moved if state.number in used], list(emits))
        states = [state for state in moved if state.number in needed]
        leaves = {state.number: ops.make_local(self.iterations, state.number, state.after.type) for state in states}
        intake = Intake(self.iterations, list(leaves.values()))
        order = [node for node in self.order if (self._inside(node) and node in needed) or self._stays(node)]
        placed = {node: leaves[node.attrs["number"]] for node in order if node.op.name == "local"}
        roots = rebuild(
            self.iterations,
            [*(state.after for state in states), *emits],
            placed,
            order,
            outside=partial(self._in, intake),
        )
        results.update((state.number, state.value) for state in self.scan.states if state.number in used)
        if not states and not emits:
            return results
        scan = intake.scan(
            self.outside, [state.value for state in states], roots, [0] * len(emits), self.length, self.scan.reverse
        )
        results.update(
            (state.number, ops.result(scan, place)) for place, state in enumerate(states) if state.number in used
        )
        results.update(
            (emit.number, ops.moveaxis(later[emit.number](scan), 0, emit.axis))
            for emit in self.scan.emitted
            if emit.number in later
        )
        return results

    def _stays(self, node: Node) -> bool:
        """Whether a value that needs no iteration is made in one all the same: numbers, and until the end what is made
        of numbers alone, which the rules look at."""
        return self.kinds[node] == "closed" and (not self.final or not node.inputs)

    def _in(self, intake: Intake, node: Node) -> Node:
        """A value that the iteration does not compute, as it sees it."""
        if self.kinds[node] == "apart":
            if node.op.name == "iteration":
                return ops.make_iteration(self.iterations)
            return intake.slice(self._all(node), 0)
        value = self._same(node)
        plain = value.inputs[0] if value.op.name == "broadcast_to" else value
        if plain.op.name == "constant" and (not self.final or plain is value) and not plain.rank:
            number = ops.constant(self.iterations, plain.attrs["value"], plain.dtype)
            return ops.broadcast_to(number, shape=value.shape)
        return intake.capture(value)

    def _alive(self, used: list[State], emits: list[Node]) -> set[object]:
        """Nodes and numbers of states that the used results need."""
        needed: set[object] = {state.number for state in used}
        stack: list[Node] = [*emits, *(state.after for state in used)]
        while stack:
            node = stack.pop()
            if node in needed or not self._inside(node):
                continue
            needed.add(node)
            stack += node.inputs
            given = self.scan.given(node) if node.op.name == "local" else None
            if isinstance(given, State) and given.number not in needed:
                needed.add(given.number)
                stack.append(given.after)
        return needed

    def _after(self, root: Node, emits: dict[Node, int]) -> Callable[[Node], Node]:
        """All values of an emitted root along a first dimension, once the scan is made. As long as all that varies in
        an operation but one operand is known apart from the states, it is done after the scan."""
        carried = [source for source in dict.fromkeys(root.inputs) if self.kinds[source] == "carried"]
        if len(carried) == 1 and root not in emits and root not in self._within():
            [source] = carried
            outer = root.op.name == "matmul" and root.rank == 2 and source.rank == 2
            alike = on_elements(root) and source.shape == root.shape
            if (outer or alike) and (source in emits or source in self._within() or source.op.name != "local"):
                inner = self._after(source, emits)

                def later(scan: Node) -> Node:
                    stacks = {s: self._all(s) for s in root.inputs if self.kinds[s] == "apart"}
                    with self.outside.like(root, derived=root.derived):
                        return self._vector(root, {**stacks, source: inner(scan)})

                return later
        number = emits.setdefault(root, len(emits))
        return lambda scan: ops.result(scan, scan.attrs["states"] + number)

    def _within(self) -> set[Node]:
        """What the states need from iteration to iteration."""
        if not hasattr(self, "_cached"):
            self._cached = set(self.scan.body.graph.order([state.after for state in self.scan.states]))
        return self._cached


def _moves(state: State) -> bool:
    """Whether iterations change it."""
    return state.after.op.name != "local" or state.after.attrs["number"] != state.number


def _small(shape: Shape) -> bool:
    size = product(shape)
    return isinstance(size, int) and size <= FEW


def _ranked(stack: Node, rank: int) -> Node:
    """[iterations, ...] with ones after the iterations, so that the rest has this rank and broadcasts as in one
    iteration."""
    missing = rank - (stack.rank - 1)
    return ops.reshape(stack, shape=(stack.shape[0], *(1,) * missing, *stack.shape[1:])) if missing > 0 else stack


def _alike(value: Node, axis: int) -> bool:
    """Whether a scanned value is the same in every iteration."""
    if value.op.name != "broadcast_to" or value.shape[axis] == 1:
        return False
    lead = value.rank - value.inputs[0].rank
    return axis < lead or value.inputs[0].shape[axis - lead] == 1


def _any(value: Node, axis: int) -> Node:
    """The slice of any iteration, of a value that is the same in all."""
    [x] = value.inputs
    lead = value.rank - x.rank
    if axis >= lead:
        x = ops.reshape(x, shape=(*x.shape[: axis - lead], *x.shape[axis - lead + 1 :]))
    return ops.broadcast_to(x, shape=(*value.shape[:axis], *value.shape[axis + 1 :]))
