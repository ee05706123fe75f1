"""The engine of the simplifier: rules on nodes, applied in place until none applies.

    rule: node -> node that takes its place, or None

A sweep visits the nodes inputs first; what a rule makes is visited at once, and users whose inputs changed are visited
(again) later. Sweeps follow each other until one changes nothing, so a pattern is found however late its parts came to
be. Each rule makes a graph smaller, or moves something in one direction only (signs and scalars outwards, broadcasts
towards the end), so this ends; a count guards it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence

from ..diagnostics import InternalError
from ..ir.graph import Graph, Node

Rule = Callable[[Node], Node | None]
PATIENCE = 40  # rewrites for each node there was; real graphs take less than 3


class Rules(dict[str, list[Rule]]):
    """Rules by the name of the operation they rewrite, in the order they are tried."""

    def on(self, *names: str) -> Callable[[Rule], Rule]:
        def register(rule: Rule) -> Rule:
            for name in names:
                self.setdefault(name, []).append(rule)
            return rule

        return register


def together(groups: Sequence[Mapping[str, Sequence[Rule]]]) -> Rules:
    """One table of rules; those of earlier groups are tried first."""
    table = Rules()
    for group in groups:
        for name, rules in group.items():
            table.setdefault(name, []).extend(rules)
    return table


def rewrite(graph: Graph, rules: Mapping[str, Sequence[Rule]]) -> int:
    """Applies the rules to what the outputs need until none applies; returns how often one did.

    New nodes take the scope and the span of the node they replace. Linear in the nodes for rules that look only a few
    nodes deep. InternalError if it does not end.
    """
    graph.prune()
    total, limit = 0, PATIENCE * (len(graph) + 100)
    with graph.at():  # the sweeps set scope, span and place for each node
        while True:
            count = _sweep(graph, rules, limit - total)
            if not count:
                return total
            graph.prune()
            total += count


def _sweep(graph: Graph, rules: Mapping[str, Sequence[Rule]], limit: int) -> int:
    order = graph.order(graph.outputs.values())
    waiting = deque(order)
    queued, seen = set(order), set(order)  # asked only for membership
    count = 0
    while waiting:
        node = waiting.popleft()
        queued.discard(node)
        found = rules.get(node.op.name)
        if found is None or node not in graph:
            continue
        graph.scope, graph.span, graph.block = node.scope, node.span, node.block
        graph.derived, graph.place = node.derived, node.place
        new = _first(found, node)
        if new is None:
            continue
        count += 1
        if count > limit:
            raise InternalError(f"simplification does not end: {node}")
        for fresh in _unseen(new, seen):  # the result is pushed first, so that its inputs come out before it
            waiting.appendleft(fresh)
            queued.add(fresh)
        for user in graph.replace(node, new):
            if user in seen and user not in queued:
                waiting.append(user)
                queued.add(user)
        for source in node.inputs:  # so that rules can ask how many read a value
            graph.discard(source)
    return count


def _first(rules: Sequence[Rule], node: Node) -> Node | None:
    for rule in rules:
        new = rule(node)
        if new is not None and new is not node:
            return new
    return None


def _unseen(root: Node, seen: set[Node]) -> list[Node]:
    """The nodes that a rule made, users before their inputs; they count as seen from now on."""
    made: list[Node] = []
    stack = [(root, False)]
    while stack:
        node, entered = stack.pop()
        if entered:
            made.append(node)
        elif node not in seen:
            seen.add(node)
            stack.append((node, True))
            stack += [(source, False) for source in node.inputs]
    return made[::-1]
