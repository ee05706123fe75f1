"""`scan t over time { ... }`: one iteration is elaborated on placeholders, and then closed into the body of a scan."""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from dataclasses import dataclass, field
from functools import cached_property

from .. import ops
from ..diagnostics import CompileError, error
from ..ir.graph import Node
from ..ir.reachable import needed
from ..ir.types import Dim, Size
from ..ops import scan_builder
from ..source import Span
from ..syntax import tree as syntax
from . import ending, expressions, parameters, statements, types
from .context import Context, poisoned, to_node
from .scope import Frame, StateSlot
from .values import POISON, Label, NamedDim, NamedInt, Range, Reversed, Tensor, Value, kind, label_of, plain


@dataclass
class Emit:
    """`y[:, t] = value`: what each iteration gives, and where its dimension stands."""

    node: Node
    labels: tuple[Label | None, ...]
    place: int
    span: Span


@dataclass(eq=False)
class OpenScan:
    """A scan whose iteration is being elaborated."""

    statement: syntax.Scan
    number: int
    iteration: Node
    length: Size
    first: int  # the id of the first node that can depend on the iteration
    outside: dict[str, None]  # names that were there before
    undecided: Span | None
    starts: dict[Node, Node] = field(default_factory=dict)  # placeholder of a state -> its value before the scan
    before: list[tuple[StateSlot, Node]] = field(default_factory=list)  # states from outside, as they are there
    slots: dict[str, tuple[Node, StateSlot]] = field(default_factory=dict)  # states declared in the scan
    emits: dict[str, Emit | None] = field(default_factory=dict)  # None where its value was in error

    @cached_property
    def collected(self) -> dict[str, Span]:
        """The names that iterations give their parts to, `y[:, t] = ...`, and where the first does."""
        targets = [
            target
            for part in syntax.walk(self.statement.body)
            if isinstance(part, syntax.Assign)
            for target in part.targets
            if isinstance(target, syntax.Index)
        ]
        found: dict[str, Span] = {}
        for target in targets:
            if isinstance(target.value, syntax.Name) and any(
                isinstance(e, syntax.Name) and e.name == self.statement.name for e in target.places
            ):
                found.setdefault(target.value.name, target.span)
        return found

    def state(self, c: Context, start: Node) -> Node:
        """The placeholder of one more state."""
        leaf = ops.make_local(c.graph, len(self.starts), start.type, scan=self.number)
        self.starts[leaf] = start
        return leaf


class _Moving(MutableMapping[str, Node]):
    """States of layers that are applied in an iteration: their values are carried from iteration to iteration."""

    def __init__(self, c: Context, open_scan: OpenScan) -> None:
        self.c, self.open_scan, self.outer = c, open_scan, c.moving
        self.values_: dict[str, Node] = {}
        self.leaves: dict[str, Node] = {}

    def __getitem__(self, path: str) -> Node:
        if path not in self.values_:
            variable = self.c.module.variables.get(path)
            if variable is None or variable.kind == "parameter":
                raise KeyError(path)
            self.leaves[path] = self.open_scan.state(self.c, self.outer.get(path, variable.node))
            self.values_[path] = self.leaves[path]
        return self.values_[path]

    def __contains__(self, path: object) -> bool:
        variable = self.c.module.variables.get(str(path))
        return variable is not None and variable.kind != "parameter"

    def __setitem__(self, path: str, node: Node) -> None:
        self[path]
        self.values_[path] = node

    def __delitem__(self, path: str) -> None:
        raise KeyError(path)

    def __iter__(self) -> Iterator[str]:
        return iter(self.values_)

    def __len__(self) -> int:
        return len(self.values_)


def scan(c: Context, frame: Frame, statement: syntax.Scan) -> None:
    over = expressions.evaluate(c, frame, statement.over)
    if poisoned(over, over.value if isinstance(over, Reversed) else None):
        statements.poison(frame, [statement])
        return
    length, label, reverse = _iterations(statement, over)
    shown = f"scan {statement.name} over {length}{', backwards' * reverse}"
    with c.within("call", shown, statement.span):
        _scan(c, frame, statement, length, label, reverse)


def _scan(c: Context, frame: Frame, statement: syntax.Scan, length: Size, label: Label | None, reverse: bool) -> None:
    fresh(frame, statement.name, statement.name_span)
    if statement.name in frame.loops:  # a `for` that has ended needs its variable no more
        del frame.names[statement.name]
        frame.loops.remove(statement.name)
    if statement.name in frame.names or statement.name in frame.states:
        raise error(
            "E0370",
            f"the iteration variable `{statement.name}` has a name from outside the scan",
            statement.name_span,
            "named here",
            help="give the variable another name",
        )
    c.scans += 1
    first = c.graph.next_id
    iteration = ops.make_iteration(c.graph, c.scans)
    open_scan = OpenScan(
        statement,
        c.scans,
        iteration,
        length,
        first,
        {**dict.fromkeys(frame.names), **dict.fromkeys(frame.states)},
        frame.undecided,
    )
    # States from outside that the iteration moves are carried along, too.
    held = {name: (open_scan.state(c, slot.value), slot) for name, slot in frame.states.items()}
    moving = _Moving(c, open_scan)
    before = frame.scan, dict(frame.states), c.moving
    open_scan.before = [(slot, slot.value) for slot in frame.states.values()]
    for leaf, slot in held.values():
        slot.value = leaf
    frame.scan, c.moving = open_scan, moving
    c.open_scans.append(open_scan)
    frame.names[statement.name] = Tensor(iteration)
    found = len(c.problems.errors)
    names: dict[str, Node] = {}
    try:
        statements.run(c, frame, statement.body)
        names.update(
            (n, v.node) for n, v in frame.names.items() if isinstance(v, Tensor) and n not in open_scan.outside
        )
        until = None
        if statement.until is not None and len(c.problems.errors) == found:
            until = ending.condition(c, frame, statement.until)
    finally:
        after = {name: slot.value for name, (_, slot) in held.items()}
        inner = {name: slot.value for name, (_, slot) in open_scan.slots.items()}
        frame.scan, frame.states, c.moving = before
        for slot, value in open_scan.before:
            slot.value = value
        c.open_scans.pop()
        frame.names = {name: frame.names[name] for name in open_scan.outside if name in frame.names}
    if len(c.problems.errors) > found:
        statements.poison(frame, [statement])
        return
    ends = {leaf: after[name] for name, (leaf, _) in held.items()}
    ends.update((leaf, inner[name]) for name, (leaf, _) in open_scan.slots.items())
    ends.update((leaf, moving.values_[path]) for path, leaf in moving.leaves.items())
    emits = {name: emit for name, emit in open_scan.emits.items() if emit is not None}
    carried = {**{n: leaf for n, (leaf, _) in held.items()}, **{n: leaf for n, (leaf, _) in open_scan.slots.items()}}
    names.update((f"state/{name}", leaf) for name, leaf in carried.items())
    if until is not None:
        ending.end(c, frame, open_scan, until, ends, emits)
    with c.at(frame, statement.span):
        made = scan_builder.close(
            c.graph,
            open_scan.starts,
            iteration,
            [ends[leaf] for leaf in open_scan.starts],
            [e.node for e in emits.values()],
            [e.place for e in emits.values()],
            length,
            reverse,
            first,
            names,
        )
    last = dict(zip(open_scan.starts, made, strict=False))
    for leaf, slot in held.values():
        if last[leaf] is not slot.value:
            slot.value = last[leaf]
            if slot.path:
                c.moving[slot.path] = slot.value
    for path, leaf in moving.leaves.items():
        if last[leaf] is not open_scan.starts[leaf]:
            c.moving[path] = last[leaf]
    for name, (leaf, slot) in open_scan.slots.items():
        frame.names[name] = Tensor(last[leaf], slot.labels)
    for (name, emit), node in zip(emits.items(), made[len(open_scan.starts) :], strict=True):
        labels = emit.labels if len(emit.labels) == emit.node.rank else (None,) * emit.node.rank
        frame.names[name] = Tensor(node, (*labels[: emit.place], label, *labels[emit.place :]))
    frame.names.update({name: POISON for name, emit in open_scan.emits.items() if emit is None})


def _iterations(statement: syntax.Scan, over: Value) -> tuple[Size, Label | None, bool]:
    """How many iterations there are, the name of their dimension, and whether they run backwards."""
    reverse = False
    while isinstance(over, Reversed):
        over, reverse = over.value, not reverse
    if isinstance(over, NamedInt | NamedDim):
        return plain(over), over.label, reverse
    if isinstance(over, Dim):
        return over, None, reverse
    if isinstance(over, Range):
        for bound in (over.start, over.stop):
            if isinstance(bound, bool) or not isinstance(bound, int | Dim):
                raise error(
                    "E0371",
                    f"a bound of a scan is a size, not {kind(bound)}",
                    statement.over.span,
                    f"this is {kind(bound)}",
                    help="integers and sizes such as `time` are known before "
                    "the iterations begin; skip iterations with a mask: `where(t < lengths, new, old)`",
                )
        if plain(over.start) != 0:
            raise error(
                "E0371",
                "the iterations of a scan are numbered from 0",
                statement.over.span,
                f"this begins at {over.start}",
                help="write `0..n` and read `x[:, t + 1]`",
            )
        stop = over.stop
        if isinstance(stop, int) and stop < 1:
            raise error("E0371", "a scan has at least one iteration", statement.over.span, f"{stop} iterations")
        return plain(stop), label_of(stop), reverse
    helps = {
        int: "write `0..n` for a number of iterations",
        Tensor: "`scan t over time` runs over the dimension `time`; each iteration reads `x[:, t]`",
        list: "`for` runs over a list",
    }
    raise error(
        "E0371",
        f"a scan runs over a dimension or `0..n`, not {kind(over)}",
        statement.over.span,
        f"this is {kind(over)}",
        help=next((h for t, h in helps.items() if isinstance(over, t)), None),
    )


def fresh(frame: Frame, name: str, span: Span) -> None:
    """Names of an iteration end with it, and may not repeat one from outside. E0370."""
    if frame.scan is not None and name in frame.scan.outside and frame.names.get(name) is not POISON:
        raise error(
            "E0370",
            f"`{name}` is a name from outside the scan",
            span,
            "assigned in an iteration",
            more=[(frame.scan.statement.name_span, "names of an iteration end with it")],
            help=f"what is carried from iteration to iteration is a state: `state {name}: float[...] = ...`, "
            f"`{name} <- ...`; otherwise choose another name",
        )


def state(c: Context, frame: Frame, statement: syntax.State) -> None:
    """`state h: float[batch, hidden] = 0` in an iteration: carried from iteration to iteration."""
    open_scan = frame.scan
    assert open_scan is not None
    name = statement.name
    if name in open_scan.outside or name in frame.names or name in frame.states:
        raise error("E0203", f"`{name}` is defined twice", statement.name_span, "again here")
    if frame.undecided is not open_scan.undecided or statement.drawn:
        raise error(
            "E0372",
            "a state of a scan has one start value",
            statement.span,
            "drawn here" if statement.drawn else "made under a run-time condition",
            help=f"write `state {name}: float[batch, n] = VALUE`, first in the scan",
        )
    with _before(c, open_scan):
        rule = expressions.evaluate(c, frame, statement.value)
        if rule is POISON:
            frame.names[name] = POISON
            return
        node = to_node(c, rule)
        if node is None:
            raise error(
                "E0329",
                f"{kind(rule)} is not a start value",
                statement.value.span,
                f"this is {kind(rule)}",
                help="use a number or a tensor",
            )
        labels = rule.labels if isinstance(rule, Tensor) else ()
        type = node.type
        if statement.type is not None:
            type, labels = types.declared(c, frame, statement.type)
        start = parameters.fitting(c, rule, name, type, statement.value.span)
    if depends(start, open_scan):
        raise error(
            "E0372",
            f"`{name}` starts before the first iteration",
            statement.value.span,
            "depends on the iteration",
            help="a start value is made from what is outside the scan",
        )
    leaf = open_scan.state(c, start)
    slot = StateSlot("", type, leaf, labels, open_scan)
    frame.states[name] = slot
    open_scan.slots[name] = (leaf, slot)


class _before:
    """What is made inside belongs to no iteration: it draws once, and reads and moves states as they stand outside."""

    def __init__(self, c: Context, open_scan: OpenScan) -> None:
        self.c, self.open_scan, self.open_scans, self.moving = c, open_scan, c.open_scans, c.moving

    def __enter__(self) -> None:
        self.c.open_scans = [t for t in self.open_scans if t is not self.open_scan]
        self.moved = [(slot, slot.value) for slot, _ in self.open_scan.before]
        for slot, value in self.open_scan.before:
            slot.value = value
        assert isinstance(self.moving, _Moving)
        self.c.moving = self.moving.outer

    def __exit__(self, *problem: object) -> None:
        self.c.open_scans, self.c.moving = self.open_scans, self.moving
        for slot, value in self.moved:
            slot.value = value
        assert isinstance(self.moving, _Moving)
        for path, leaf in self.moving.leaves.items():  # the iterations go on from where that left the states of layers
            self.open_scan.starts[leaf] = self.moving.outer.get(path, self.open_scan.starts[leaf])


def depends(node: Node, open_scan: OpenScan) -> bool:
    """Whether a value depends on the iteration."""
    since = needed([node], lambda n: () if n.id < open_scan.first else n.inputs)
    return any(n.op.name in ("local", "iteration") and n.attrs.get("scan") == open_scan.number for n in since)


def check_outside(c: Context, node: Node, what: str, span: Span | None) -> None:
    """E0373 where a value of one iteration would leave its scan."""
    if any(depends(node, open_scan) for open_scan in c.open_scans):
        raise error(
            "E0373",
            f"{what} cannot be in a scan",
            span,
            "depends on the iteration",
            help="collect the iterations, `y[:, t] = ...`, and write it after the scan",
        )


def collects(frame: Frame, target: syntax.Index) -> bool:
    """Whether `name[...] = ` collects iterations: the iteration of a scan of this frame stands in it, or a slice."""
    return any(isinstance(e, syntax.Slice | syntax.Ellipsis) or _is_iteration(frame, e) for e in target.places)


def _is_iteration(frame: Frame, expr: syntax.Expr) -> bool:
    value = frame.names.get(expr.name) if isinstance(expr, syntax.Name) else None
    return isinstance(value, Tensor) and value.node.op.name == "iteration"


def collect(c: Context, frame: Frame, target: syntax.Index, value: Value) -> None:
    """`y[:, t] = value`"""
    assert isinstance(target.value, syntax.Name)
    name, open_scan = target.value.name, frame.scan
    if open_scan is None:
        raise error(
            "E0374",
            f"`{target.span.text} = ...` collects the iterations of a scan, and this is outside one",
            target.span,
            "assigned here",
            help="a value cannot be changed in part: make a new one with `concat`, `where` or `stack`",
        )
    mine = [i for i, e in enumerate(target.places) if isinstance(e, syntax.Name) and e.name == open_scan.statement.name]
    gaps = [i for i, e in enumerate(target.places) if isinstance(e, syntax.Ellipsis)]
    plain_ = all(
        i in mine or i in gaps or (isinstance(e, syntax.Slice) and not (e.start or e.stop or e.step))
        for i, e in enumerate(target.places)
    )
    if len(mine) != 1 or len(gaps) > 1 or not plain_:
        iteration = open_scan.statement.name
        raise error(
            "E0375",
            f"the iterations are collected with `:` and the iteration variable `{iteration}`, once",
            target.span,
            "another form",
            help=f"write `{name}[:, {iteration}] = ...`; what an inner scan collects is "
            f"collected once more after it: `{name}[:, {iteration}] = inner`",
        )
    if frame.undecided is not open_scan.undecided:
        raise error(
            "E0376",
            f"`{name}` is given a value in every iteration",
            target.span,
            "only if a run-time condition holds",
            more=[(frame.undecided, "decided at run time")] if frame.undecided else [],
            help=f"choose the value: `{target.span.text} = where(condition, a, b)`",
        )
    known = open_scan.emits.get(name)
    if known is not None:
        raise error("E0203", f"`{name}` is defined twice", target.span, "again here", more=[(known.span, "first here")])
    fresh(frame, name, target.span)
    if name in frame.names or name in frame.states:
        raise error("E0203", f"`{name}` is defined twice", target.span, "again here")
    statements.hides(c, frame, name, target.span)
    open_scan.emits[name] = None
    if value is POISON:
        return
    node = to_node(c, value)
    if node is None or node.dtype == "key":
        raise error("E0301", f"a scan collects tensors, not {kind(value)}", target.span, f"given {kind(value)}")
    count = len(target.places) - len(gaps)
    if count > node.rank + 1:
        raise error(
            "E0324",
            f"`{name}` has {count - 1} dimensions besides that of the iterations, its value has {node.rank}",
            target.span,
            f"the value is `{node.type}`",
        )
    place = mine[0] if not gaps or mine[0] < gaps[0] else node.rank + 1 - (len(target.places) - mine[0])
    open_scan.emits[name] = Emit(node, value.labels if isinstance(value, Tensor) else (), place, target.span)


def unfinished(c: Context, name: syntax.Name) -> CompileError | None:
    """E0377 if the name is that of a tensor whose iterations a scan around it collects."""
    for open_scan in reversed(c.open_scans):
        around = open_scan.statement.span
        if around.source is not name.span.source or not around.start <= name.span.start < around.end:
            continue
        target = open_scan.collected.get(name.name)
        if target is not None:
            before = f"{name.name}_before"
            return error(
                "E0377",
                f"`{name.name}` exists only after its scan",
                name.span,
                "read in an iteration",
                more=[(target, "each iteration writes its part here")],
                help=f"what an iteration reads from the one before is a state: `state {before}: float[...] = ...` "
                f"first, and last `{before} <-` what `{target.text}` is given",
            )
    return None


def check_range(c: Context, index: Node, size: Size, span: Span) -> None:
    """E0238 where an index by the iteration is known to leave a dimension."""
    for open_scan in c.open_scans:
        iterations = open_scan.length
        if index is open_scan.iteration and isinstance(size, int) and isinstance(iterations, int) and size < iterations:
            raise error(
                "E0238",
                f"the iterations run to {iterations - 1}, outside a dimension of {size}",
                span,
                f"valid indices are 0 to {size - 1}",
                more=[(open_scan.statement.over.span, f"{iterations} iterations")],
            )
