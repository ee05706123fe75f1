"""The derivative of a scan as the recurrence of its adjoints: backpropagation through time (Werbos 1990).

hₜ = f(xₜ, hₜ₋₁)      an iteration is a chain of its own (`chain.py`)
dhₜ = dyₜ + ...ₜ₊₁    the adjoint of a state: from what the iteration gives, and from the iteration after
dW = Σ_t ...          what every iteration reads hears from all of them
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ..ir.body import Captured, Scanned, ScanView, State
from ..ir.graph import Node
from .algebra import pull, sum_of
from .chain import LEAVES, Chain, Step
from .notation import Apply, Expression, Formula, Symbol


class Block:
    """The recurrence of the adjoints of a scan. `sent`: what reaches each value outside."""

    def __init__(self, outer: Chain, scan: Node) -> None:
        self.outer, self.view = outer, ScanView(scan)
        view = self.view
        graph = view.body.graph
        t = next((p.name.split()[1] for p in scan.place.chain()[::-1] if p.name.startswith("scan ")), "t")
        back = 1 if view.reverse else -1  # where the iteration before stands
        marks: dict[Node, str] = {}
        for name, node in graph.marks.items():
            if not name.startswith("state/") and node.op.name not in LEAVES:
                marks.setdefault(node, name)
        renamed: dict[str, str] = {}
        outside = {**outer.names, **{value.node: value.name for value in outer.values.values()}}

        def own(name: str) -> str:
            """The name of a value of the iteration, another where a value outside has it."""
            if name not in renamed:
                others = [n for n, other in outside.items() if other == name and not last(n)]
                renamed[name] = outer.letters.fresh(name) if others else name
            return renamed[name]

        def last(node: Node) -> bool:
            """Whether a value is a state after the last iteration, which has the name of the state."""
            return node.op.name == "result" and node.inputs[0] is scan and node.attrs["index"] < len(view.states)

        states = {node: name[6:] for name, node in graph.marks.items() if name.startswith("state/")}
        marks = {node: own(name) for node, name in marks.items()}
        local = view.body.locals()
        leaves: dict[Node, tuple[str, int | None]] = {}
        by: list[Node] = []
        results = {n.attrs["index"]: n for n in outer.order if n.op.name == "result" and n.inputs[0] is scan}
        self.named: dict[Node, str] = {}
        for number, node in local.items():
            given = view.inputs[number]
            if isinstance(given, State):
                name = own(states.get(node, "s"))
                leaves[node] = name, back
            else:
                name = _name_of(outer, given.value)
                leaves[node] = name, (0 if isinstance(given, Scanned) else None)
            self.named[node] = name
        roots: dict[Node, str] = {}
        for state in view.states:
            if state.after.dtype == "float":
                before = local.get(state.number)
                roots.setdefault(state.after, self.named[before] if before is not None else outer.letters.fresh("s"))
        emitted: dict[Node, list[str]] = {}
        for emit in view.emitted:
            result = results.get(emit.number)
            value = outer.values.get(result) if result is not None else None
            if emit.root.dtype == "float" and value is not None and value.node in outer.active:
                emitted.setdefault(emit.root, []).append(value.name)
                roots.setdefault(emit.root, value.name)
        carried = {n: node for n, node in local.items() if isinstance(view.inputs[n], State) and node.dtype == "float"}
        for number, node in local.items():
            given = view.inputs[number]
            if node.dtype == "float" and (number in carried or given.value in outer.active):
                by.append(node)
        self.chain = Chain(roots, by, marks, outer.letters, Block, iteration=(t, -back), leaves=leaves)
        self.t, self.back = t, back
        self.sent: dict[Node, Expression] = {}
        self.slices: list[Step] = []
        self.steps = self._steps(results, roots, emitted)

    def _steps(
        self, results: Mapping[int, Node], roots: Mapping[Node, str], emitted: Mapping[Node, list[str]]
    ) -> list[Step]:
        chain, view = self.chain, self.view
        inside = chain.steps()
        found: list[Step] = []
        after: dict[Node, list[int]] = {}
        for state in view.states:
            after.setdefault(state.after, []).append(state.number)
        own = {step.left: step for step in inside}
        local = view.body.locals()
        edge, beside = ("first", f"{self.t}−1") if view.reverse else ("last", f"{self.t}+1")
        for node in roots:
            value = chain.values.get(node)
            if value is None or node not in chain.active:
                continue
            left = chain.symbol(value, adjoint=True)
            terms: list[tuple[int, Expression]] = [
                (1, Symbol(name, self.t, adjoint=True)) for name in emitted.get(node, ())
            ]
            reason = []
            for number in after.get(node, ()):
                leaf = chain.values.get(local[number]) if number in local else None
                if leaf is not None and f"step/{leaf.key}" in chain.scratch.outputs:
                    terms.append((1, chain.written(f"step/{leaf.key}", -self.back).expression))
                end = results.get(number)
                outside = self.outer.values.get(end) if end is not None else None
                if outside is not None and end in self.outer.active:
                    reason.append(f"d{outside.name} instead of the term of {beside} in the {edge} iteration")
                elif leaf is not None:
                    reason.append(f"no term of {beside} in the {edge} iteration")
            if left in own:
                terms.append((1, own.pop(left).right.expression))
            if terms:
                found.append(Step(left, Formula(sum_of(_distinct(terms))), "; ".join(reason), inner=True))
        placed = {step.left for step in found}
        found += [Step(step.left, step.right, step.reason, inner=True) for step in inside if step.left not in placed]
        if found:
            way = "to the last" if view.reverse else "to the first"
            start = "first" if view.reverse else "last"
            found[0] = Step(
                found[0].left, found[0].right, found[0].reason, True, f"for each {self.t}, from the {start} {way}:"
            )
        for number, node in local.items():
            given = view.inputs[number]
            value = chain.values.get(node)
            if (
                value is None
                or f"step/{value.key}" not in chain.scratch.outputs
                or given.value not in self.outer.active
            ):
                continue
            share = chain.written(f"step/{value.key}")
            if isinstance(given, Captured):
                term = pull(share.expression, lambda core: Apply(f"Σ_{self.t}", (core,)))
                self._send(given.value, term)
            elif isinstance(given, Scanned):
                whole = self.outer.values.get(given.value)
                alone = whole is None or f"step/{whole.key}" not in self.outer.scratch.outputs
                name = _name_of(self.outer, given.value) if alone else self.outer.letters.fresh("g")
                found.append(Step(Symbol(name, self.t, adjoint=alone), share, chain.why(value), inner=True))
                if alone:
                    self.slices.append(found[-1])
                self._send(given.value, Symbol(name, "", adjoint=alone))
            else:
                self._send(given.value, Apply(f"[{self.t} = {'last' if view.reverse else 0}]", (share.expression,)))
        return found

    def _send(self, node: Node, term: Expression) -> None:
        self.sent[node] = sum_of([(1, self.sent[node]), (1, term)]) if node in self.sent else term


def _distinct(terms: Iterable[tuple[int, Expression]]) -> list[tuple[int, Expression]]:
    return list(dict.fromkeys(terms))


def _name_of(chain: Chain, node: Node) -> str:
    if node in chain.values:
        return chain.values[node].name
    if node.op.name in ("input", "variable"):
        name: str = node.attrs.get("name") or node.attrs["path"]
        return name
    return chain.names.get(node) or chain.letters.fresh("s")
