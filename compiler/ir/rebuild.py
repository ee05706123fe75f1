"""Values computed again with others in the place of some: in the same graph, or in another."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from operator import is_

from .graph import Graph, Node
from .reachable import needed

Taken = Callable[[Node], Node]  # what a node has become
Rule = Callable[[Node, Taken], "Node | None"]


def rebuild(
    graph: Graph,
    roots: Sequence[Node],
    mapping: Mapping[Node, Node],
    order: Iterable[Node] | None = None,
    *,
    outside: Taken | None = None,
    make: Rule | None = None,
    here: bool = False,
    done: dict[Node, Node] | None = None,
) -> list[Node]:
    """The roots made again in `graph`, where `mapping` says what some nodes are there. Linear.

    order: the nodes to be made, inputs first; else all that the roots need, down to those of `mapping`.
    outside: what stands for a value that is not made, asked where it is first read; else that is itself.
    make: a rule of its own for some nodes, None for the others.
    here: new nodes belong to the derivative and the `checkpoint` block that `Graph.at` set; else each to its own (to
        no block in another graph). Scope, span and place are those of the node in either case.
    done: what nodes have become in earlier calls; this one adds to it.
    """
    done = {} if done is None else done
    done.update(mapping)

    def taken(node: Node) -> Node:
        if node not in done:
            done[node] = node if outside is None else outside(node)
        return done[node]

    if order is None:
        order = needed(roots, lambda node: () if node in done else node.inputs)
    with graph.at():  # set for each node
        span, block, derived = graph.span, graph.block, graph.derived
        for node in order:
            if node in done:
                continue
            graph.scope, graph.span, graph.place = node.scope, node.span or span, node.place
            graph.block = block if here or node.graph is not graph else node.block
            graph.derived = derived if here else node.derived
            found = None if make is None else make(node, taken)
            if found is None:
                inputs = [taken(source) for source in node.inputs]
                same = node.graph is graph and all(map(is_, inputs, node.inputs))
                found = node if same else graph.add(node.op, inputs, node.attrs)
            done[node] = found
    return [taken(root) for root in roots]
