"""What needs what: reachability along the edges of a graph, backwards and forwards. Linear, and none recursive."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from .graph import Node


def inputs(node: Node) -> Sequence[Node]:
    return node.inputs


def needed(roots: Iterable[Node], below: Callable[[Node], Sequence[Node]] = inputs) -> list[Node]:
    """The roots and what they need, inputs first. `below` says which inputs of a node are followed: none where the
    search ends. (`Graph.order` is the same for all inputs, and finds a cycle.)"""
    done: dict[Node, None] = {}
    stack = [(node, False) for node in list(roots)[::-1]]
    while stack:
        node, entered = stack.pop()
        if node in done:
            continue
        followed = () if entered else below(node)
        if not followed:
            done[node] = None
            continue
        stack.append((node, True))
        stack += [(source, False) for source in followed[::-1] if source not in done]
    return list(done)


def dependent(order: Iterable[Node], leaves: Iterable[Node]) -> dict[Node, Node | None]:
    """The leaves, and what of an order (inputs first) is computed from them: each with the first of its inputs that is
    among them, so that paths can be followed back. None for a leaf."""
    found: dict[Node, Node | None] = dict.fromkeys(leaves)
    for node in order:
        for source in node.inputs:
            if source in found:
                found.setdefault(node, source)
                break
    return found


def readers(leaves: Iterable[Node], without: Callable[[Node], bool]) -> dict[Node, None]:
    """The leaves, and what is computed from them anywhere in their graph, but not what is only by way of a node that is
    left out. Nothing else is looked at, however large the graph is."""
    found = dict.fromkeys(leaves)
    stack = list(found)
    while stack:
        node = stack.pop()
        for user in node.graph.users(node):
            if user not in found and not without(user):
                found[user] = None
                stack.append(user)
    return found


def depends(node: Node, on: Callable[[Node], bool], known: dict[Node, bool]) -> bool:
    """Whether a value is, or is computed from, one of which `on` says so. `known` keeps what was found out: each node
    is looked at once, whatever is asked."""
    stack = [node]
    while stack:
        top = stack[-1]
        if top not in known:
            waiting = [source for source in top.inputs if source not in known]
            if on(top):
                known[top] = True
            elif waiting:
                stack += waiting
                continue
            else:
                known[top] = any(known[source] for source in top.inputs)
        stack.pop()
    return known[node]
