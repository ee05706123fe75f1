"""The chain rule between the values of a text that have names, as a person applies it.

    links = what each named value is in terms of those before it
    steps = the adjoint of each, in terms of those after it

Each link is differentiated by itself, on a graph in which every named value is a leaf. What the text gives no name to
and a person would, the argument and the result of an activation, the result of a layer, a draw, gets a letter. The
derivative of an activation stays `σ′(a)`. A scan is not differentiated as a whole: its iteration is a chain of its own,
whose states hand their adjoints to the iteration before.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from .. import ops
from ..autodiff.reverse import pull_back
from ..ir.graph import Graph, Node
from ..ir.place import Place
from ..ir.reachable import dependent
from ..ir.rebuild import rebuild
from ..optimize import simplify
from .algebra import in_full, plain, sum_of
from .formula import DRAWS, of_value
from .notation import Apply, Expression, Formula, Symbol
from .rules import reasons

LEAVES = ("input", "variable", "constant", "size", "seed", "local", "iteration", "arange")
MIXING = ("matmul", "gemm", "contract", "conv", "conv_input", "conv_weight", "gather", "scan")
ACTIVATIONS = {"sigmoid": "σ"}  # as formulas write them
SQUASHING = ("sigmoid", "tanh", "relu")  # of which the derivative has a name wherever they stand
MOVES = ("reshape", "slice", "cast", "narrow", "gather")


@dataclass(eq=False)
class Value:
    """A value of the chain. `leaf` stands for it in the graph of the links, where `key` names its own link."""

    node: Node
    name: str
    key: str
    leaf: Node
    given: bool  # its name is the spec's
    when: int | None = None  # of an iteration: this one (0) or one beside it
    link: bool = True
    activation: Activation | None = None
    inline: bool = False  # written as what it is, `σ(a)`, without a step of its own


@dataclass(frozen=True)
class Activation:
    """A function of each element of one value."""

    function: str
    argument: Node
    known: bool  # one of SQUASHING


@dataclass(frozen=True)
class Step:
    """`left = right`, and why; `inner`: in every iteration of a scan. `title`: what stands above it."""

    left: Symbol
    right: Formula
    reason: str = ""
    inner: bool = False
    title: str = ""


@dataclass
class Names:
    """Letters for what has no name, none of them twice."""

    taken: set[str]
    count: dict[str, int] = field(default_factory=dict)

    def fresh(self, letter: str) -> str:
        while True:
            i = self.count[letter] = self.count.get(letter, -1) + 1
            name = f"{letter}{i or ''}"
            if name not in self.taken:
                self.taken.add(name)
                return name


class Recurrence(Protocol):
    """What a scan does to a chain (`recurrence.py`). `steps`: its adjoints; `sent`: what reaches each value outside, of
    which `slices` come iteration by iteration; `chain`: that of an iteration."""

    chain: Chain
    steps: list[Step]
    slices: list[Step]
    sent: dict[Node, Expression]


class Chain:
    """The chain from some roots down to `by`. `names`: what the text calls its values. `iteration`: the variable of the
    scan whose iteration this is, and 1 or -1, the way it runs."""

    def __init__(
        self,
        roots: Mapping[Node, str],
        by: Sequence[Node],
        names: Mapping[Node, str],
        letters: Names,
        recurrence: Callable[[Chain, Node], Recurrence],
        *,
        closed: bool = True,
        iteration: tuple[str, int] | None = None,
        leaves: Mapping[Node, tuple[str, int | None]] | None = None,
    ) -> None:
        self.roots, self.names, self.letters, self.iteration = dict(roots), names, letters, iteration
        self.found: list[Step] = []
        self._spelt: dict[int, dict[Node, Expression]] = {}
        self._known: dict[tuple[Node, int, Value | None], Formula] = {}
        self.recurrence = recurrence
        self.blocks: dict[Node, Recurrence] = {}
        self.leaves = dict(leaves or {})  # placeholders of an iteration: their names, and of which iteration they are
        graph = next(iter(roots)).graph
        self.order = graph.order(roots)
        self.by = [node for node in by if node in set(self.order)]
        self.active = dependent(self.order, self.by)
        self.readers: dict[Node, list[Node]] = {}
        for node in self.order:
            for source in node.inputs:
                self.readers.setdefault(source, []).append(node)
        self.mixed = self._mixed()
        self.closed = closed
        self.values: dict[Node, Value] = {}
        self.scratch = Graph()
        self.done: dict[Node, Node] = {}
        self._find()
        self._link()
        self._derive()

    # --- which values have names

    def _mixed(self) -> set[Node]:
        """The values that reach the roots only by way of what mixes elements: those of hidden layers."""
        found: set[Node] = set()
        for node in reversed(self.order):
            readers = self.readers.get(node)
            hidden = node not in self.roots and readers
            if hidden and all(reader.op.name in MIXING or reader in found for reader in readers or ()):
                found.add(node)
        return found

    def _find(self) -> None:
        calls: dict[Place, list[Node]] = {}
        for node in self.order:
            call = _call(node)
            if call is not None and node.op.name not in ("scan", "result"):
                calls.setdefault(call, []).append(node)
        functions: dict[Node, Activation] = {}
        results: set[Node] = set()
        for call, members in calls.items():
            inside = set(members)
            leaving = [n for n in members if n in self.roots or any(r not in inside for r in self.readers.get(n, ()))]
            if len(leaving) == 1 and leaving[0].rank and leaving[0].dtype == "float":
                results.add(leaving[0])
                found = _activation(call, members, leaving[0], inside)
                if found is not None:
                    functions[leaving[0]] = found
        letters: dict[Node, str] = {}
        inline: set[Node] = set()
        moving = dependent(self.order, [node for node in self.order if node.op.name in ("input", "variable", "local")])
        for node in self.order:
            if node.op.name == "scan":
                for source in node.inputs:
                    if source.dtype == "float" and source.op.name not in LEAVES and source.rank and source in moving:
                        letters.setdefault(source, "a")
            elif node.op.name == "result":
                letters.setdefault(node, "s")
            elif node.op.name in DRAWS:
                letters.setdefault(node, "r")
            elif node in functions and (node in self.mixed or (self.iteration is not None and node in self.roots)):
                letters[functions[node].argument] = "a"
                letters.setdefault(node, "h")
            elif node in functions and self.closed and functions[node].known:
                letters.setdefault(functions[node].argument, "a")
                if node not in self.names:
                    inline.add(node)
                letters.setdefault(node, "h")
            elif self._of_layer(node) or self._branches(node):
                letters.setdefault(node, "u")
        for node in self.order:
            root = node in self.roots
            if node.op.name in LEAVES:
                if node in self.by or node in self.leaves:
                    self._value(node, "", link=False)
                continue
            named = node in self.names
            if not root and (not (named or node in letters) or (not node.rank and not named)):
                continue
            if not self.closed and not root and node in results and node not in self.mixed and node not in letters:
                continue
            if not root and not named and self._only_moved(node, letters):
                continue
            self._value(node, letters.get(node, "s"), functions.get(node), node.op.name != "result", node in inline)

    def _of_layer(self, node: Node) -> bool:
        """Whether a value leaves the layer that made it."""
        if not node.rank or node.dtype != "float" or node.op.name in LEAVES:
            return False
        layer = _layer(node)
        return layer is not None and any(_layer(r) is not layer for r in self.readers.get(node, ()))

    def _branches(self, node: Node) -> bool:
        """Whether a value goes into a layer and on beside it, as in a residual network."""
        if _call(node) is not None or not node.rank or node.dtype != "float" or node.op.name in LEAVES:
            return False
        readers = self.readers.get(node, ())
        return len(readers) > 1 and any(r.op.name in MIXING or r in self.mixed for r in readers)

    def _only_moved(self, node: Node, letters: Mapping[Node, str]) -> bool:
        """Whether all that reads a value gives it other dimensions of size 1, under a name of its own."""
        while True:
            readers = self.readers.get(node, [])
            if len(readers) != 1 or readers[0].op.name not in MOVES or not _same(readers[0]):
                return False
            node = readers[0]
            if node in self.names or node in letters:
                return True

    def _value(
        self, node: Node, letter: str, activation: Activation | None = None, link: bool = True, inline: bool = False
    ) -> None:
        key, when = str(len(self.values)), None if self.iteration is None else 0
        if node in self.leaves:
            name, when = self.leaves[node]
        elif node.op.name in ("input", "variable"):
            name = node.attrs.get("name") or node.attrs["path"]
        else:
            name = self.roots.get(node) or self.names.get(node) or ("" if inline else self.letters.fresh(letter))
        leaf = self.scratch.add(ops.input_, (), {"name": f"value/{key}", "type": node.type})
        if node.op.name in ("input", "variable"):
            [leaf] = rebuild(self.scratch, [node], {})
        given = node in self.names or node in self.roots or node.op.name in LEAVES
        self.values[node] = Value(node, name, key, leaf, given, when, link, activation, inline)
        self.done[node] = leaf

    # --- what each is

    def _link(self) -> None:
        """The links, each simplified by itself, in the graph of all."""
        for value in self.values.values():
            if value.link:
                leaf = self.done.pop(value.node)
                [made] = rebuild(self.scratch, [value.node], {}, done=self.done)
                self.done[value.node] = leaf
                self.scratch.outputs[f"link/{value.key}"] = made
        for node, name in self.names.items():  # it is called so, even where no link begins there
            if node in self.done and node not in self.values:
                self.scratch.outputs[f"name/{name}"] = self.done[node]
        self._before = dict(self.scratch.outputs.items())
        simplify(self.scratch)

    def _derive(self) -> None:
        """The adjoint of each value by the links that read it: in terms of their adjoints (`step/`), and in full
        (`whole/`)."""
        scratch = self.scratch
        reading: dict[Node, list[Value]] = {}
        by_leaf = {value.leaf: value for value in self.values.values()}
        self.used: dict[Value, list[Value]] = {}
        for value in self.values.values():
            if value.link and value.node in self.active and value.node.dtype == "float":
                root = scratch.outputs[f"link/{value.key}"]
                self.used[value] = [by_leaf[n] for n in scratch.order([root]) if n in by_leaf]
                for source in self.used[value]:
                    reading.setdefault(source.node, []).append(value)
        self.scans = [node for node in self.order if node.op.name == "scan" and node in self.active]
        taken = {source for scan in self.scans for source in scan.inputs}
        self.local: dict[Value, list[Value]] = {}
        leaves: dict[Value, Node] = {}
        slopes: dict[Value, Node] = {}
        whole: dict[Value, Node] = {}

        def formal(value: Value, name: str) -> Node:
            return scratch.add(ops.input_, (), {"name": f"{name}/{value.key}", "type": value.node.type})

        for node in reversed(self.order):
            if node not in self.values or node not in self.active or node.dtype != "float":
                continue
            value = self.values[node]
            leaves[value] = formal(value, "adjoint")
            if self.iteration is None and node in self.roots:
                leaves[value] = whole[value] = ops.constant(scratch, 1.0, "float")
            readers = self.local[value] = [r for r in reading.get(node, []) if r in whole or r.node in self.roots]
            for kind, adjoints in (("step", leaves), ("whole", whole)):
                sent: dict[Node, Node] = {}
                parts: list[Node] = []
                for reader in readers:
                    made = scratch.outputs[f"link/{reader.key}"]
                    if reader.activation is not None and self.done.get(reader.activation.argument) is value.leaf:
                        slopes.setdefault(reader, formal(reader, "slope"))
                        parts.append(adjoints[reader] * slopes[reader])
                    elif made in sent:
                        sent[made] = sent[made] + adjoints[reader]
                    else:
                        sent[made] = adjoints[reader]
                if sent:
                    [found] = pull_back(sent, [value.leaf], strict=False)
                    if found is not None:
                        parts.append(found)
                if parts:
                    total = parts[0]
                    for part in parts[1:]:
                        total = total + part
                    scratch.outputs[f"{kind}/{value.key}"] = total
            if value.inline and f"step/{value.key}" in scratch.outputs:
                leaves[value] = scratch.outputs[f"step/{value.key}"]
            if node in taken or node.op.name == "local" or (self.iteration is not None and node in self.roots):
                whole[value] = leaves[value]
            elif f"whole/{value.key}" in scratch.outputs and value not in whole:
                whole[value] = scratch.outputs[f"whole/{value.key}"]
            elif value not in whole:
                whole[value] = leaves[value]
        self.adjoints, self.slopes, self.taken = leaves, slopes, taken
        for reader in slopes:
            assert reader.activation is not None
            one = ops.broadcast_to(ops.constant(scratch, 1.0, "float"), shape=reader.node.shape)
            argument = self.done[reader.activation.argument]
            [found] = pull_back({scratch.outputs[f"link/{reader.key}"]: one}, [argument], strict=False)
            if found is not None:
                scratch.outputs[f"slope/{reader.key}"] = found
        simplify(scratch, final=True)

    # --- in writing

    def shown(self, value: Value, shift: int = 0) -> Expression:
        """A value as formulas write it: by its name, or as the activation that it is."""
        if value.inline and value.activation is not None:
            return Apply(value.activation.function, (self._argument(value.activation, shift),))
        return self.symbol(value, shift)

    def _argument(self, activation: Activation, shift: int) -> Expression:
        argument = self.values.get(activation.argument)
        if argument is not None:
            return self.shown(argument, shift)
        attrs = activation.argument.attrs
        return Symbol(attrs.get("name") or attrs["path"])

    def symbol(self, value: Value, shift: int = 0, adjoint: bool = False) -> Symbol:
        return Symbol(value.name, self._index(value.when, shift), adjoint)

    def _index(self, when: int | None, shift: int) -> str:
        if when is None or self.iteration is None:
            return ""
        offset = when + shift
        return self.iteration[0] + (f"{'+' if offset > 0 else '−'}{abs(offset)}" if offset else "")

    def written(self, key: str, shift: int = 0, but: Value | None = None) -> Formula:
        """An output of the graph of the links, in terms of the values and their adjoints."""
        if shift not in self._spelt:
            self._spelt[shift] = self._spelling(shift)
        names, root = self._spelt[shift], self.scratch.outputs[key]
        here = {node: names[node] for node in self.scratch.order([root]) if node in names}
        if but is not None and here.get(root) == self.shown(but, shift):
            del here[root]
        known = self._known.get((root, shift, but))
        if known is None:  # what it abbreviates has a letter of its own, in every place that shows the formula
            known = self._known[root, shift, but] = of_value(root, here, self.letters.taken)
            self.letters.taken.update(symbol.name for symbol, _ in known.where)
        return known

    def _spelling(self, shift: int) -> dict[Node, Expression]:
        """How formulas write the nodes of the graph of the links."""
        names: dict[Node, Expression] = {}
        for key, node in self.scratch.outputs.items():
            if key.startswith("name/") and node.op.name not in LEAVES:
                names.setdefault(node, Symbol(key[5:], self._index(0, shift)))
        for value in self.values.values():
            names[value.leaf] = self.shown(value, shift)
            if value in self.adjoints and not value.inline and value.node.op.name != "constant":
                names.setdefault(self.adjoints[value], self.symbol(value, shift, adjoint=True))
            if value.link:
                root = self.scratch.outputs[f"link/{value.key}"]
                if root.op.name not in LEAVES:
                    names.setdefault(root, self.shown(value, shift))
            if value in self.slopes and value.activation is not None:
                inner = self._argument(value.activation, shift)
                names[self.slopes[value]] = Apply(value.activation.function + "′", (inner,))
        names = {node: name for node, name in names.items() if node.op.name != "constant"}
        for node, name in list(names.items()):
            if node.op.name == "softmax":  # guarded or not, which no formula says
                for other in self.scratch.users(node.inputs[0]):
                    if other.op is node.op and other.attrs["axis"] == node.attrs["axis"]:
                        names.setdefault(other, name)
        return names

    def definition(self, value: Value) -> Formula:
        if value.activation is not None:
            return Formula(Apply(value.activation.function, (self._argument(value.activation, 0),)))
        return self.written(f"link/{value.key}", but=value)

    def why(self, value: Value) -> str:
        """By which links an adjoint comes, and the rules of the operations between."""
        by: dict[str, dict[str, None]] = {}
        stack: list[tuple[Value, Value, tuple[str, ...]]] = []
        stack += [(value, reader, ()) for reader in self.local.get(value, ())][::-1]
        while stack:
            source, reader, before = stack.pop()
            rules = (*self._rules(source, reader), *before)
            if reader.inline:
                stack += [(reader, further, rules) for further in self.local.get(reader, ())][::-1]
            else:
                by.setdefault(Formula(self.symbol(reader)).text, {}).update(dict.fromkeys(rules))
        return "; ".join(f"by {name}: {'; '.join(rules)}" for name, rules in by.items())

    def _rules(self, value: Value, reader: Value) -> list[str]:
        activation = reader.activation
        if reader in self.slopes and activation is not None and self.done.get(activation.argument) is value.leaf:
            slope = Apply(activation.function + "′", (self._argument(activation, 0),))
            said = [] if reader.inline else ["each element by itself"]
            if f"slope/{reader.key}" in self.scratch.outputs:
                known = plain(in_full(self.written(f"slope/{reader.key}")))
                said.append(f"{Formula(slope).text} = {Formula(known).text}")
            return said
        root = self._before[f"link/{reader.key}"]
        order = self.scratch.order([root])
        through = dependent(order, [value.leaf])
        return reasons([*(node for node in reversed(order) if node in through and node is not value.leaf), value.leaf])

    # --- step by step

    def steps(self) -> list[Step]:
        """The adjoint of every value that lies between the roots and `by`, the roots' own left out."""
        found: list[Step] = []
        for node in reversed(self.order):
            if node in self.scans:
                block = self.blocks[node] = self.recurrence(self, node)
                found += block.steps
            elif node in self.values and node in self.active and not (self.iteration is None and node in self.roots):
                found += self._step(self.values[node])
        return found

    def _step(self, value: Value) -> list[Step]:
        if value.inline:
            return []
        parts = [self.blocks[scan].sent[value.node] for scan in self.scans if value.node in self.blocks_of(scan)]
        key = f"step/{value.key}"
        reason = [self.why(value)]
        slices = {step.left.name for block in self.blocks.values() for step in block.slices}
        if parts and value.name in slices and key not in self.scratch.outputs:
            return []  # its iterations' shares are its adjoint
        terms = [(1, part) for part in parts]
        where: tuple[tuple[Symbol, Expression], ...] = ()
        if key in self.scratch.outputs:
            own = self.written(key)
            terms.append((1, own.expression))
            where = own.where
        if not terms or (self.iteration is not None and value.node in self.leaves):
            return []
        if parts:
            reason.insert(0, "a sum over the iterations")
        left = self.symbol(value, adjoint=True)
        return [Step(left, Formula(sum_of(terms), where), "; ".join(filter(None, reason)))]

    def blocks_of(self, scan: Node) -> Collection[Node]:
        return self.blocks[scan].sent if scan in self.blocks else ()


def _call(node: Node) -> Place | None:
    """The outermost call that made a value, within the iteration of a scan."""
    return next(
        (p for p in node.place.chain() if p.kind in ("call", "operation") and not p.name.startswith("scan ")), None
    )


def _layer(node: Node) -> Place | None:
    return next((place for place in node.place.chain()[::-1] if place.kind == "layer"), None)


def _same(node: Node) -> bool:
    before = [size for size in node.inputs[0].shape if size != 1]
    return before == [size for size in node.shape if size != 1]


def _activation(call: Place, members: Sequence[Node], result: Node, inside: Collection[Node]) -> Activation | None:
    """The call as a function of each element of one value, if it is one."""
    entering = dict.fromkeys(
        source
        for node in members
        for source in node.inputs
        if source not in inside and source.op.name not in ("constant", "size")
    )
    if len(entering) != 1 or any(
        not (n.op.elementwise or n.op.marker or n.op.name in ("constant", "size", "broadcast_to")) for n in members
    ):
        return None
    [argument] = entering
    if argument.shape != result.shape or argument.dtype != "float":
        return None
    if call.kind == "operation" and call.name not in SQUASHING:
        return None
    return Activation(ACTIVATIONS.get(call.name, call.name), argument, call.name in SQUASHING)
