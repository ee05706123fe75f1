"""Many small draws made as one: the start values of a deep net are thousands of little tensors.

Draws of one key whose counters follow on each other are slices of one longer draw, number for number.
"""

from __future__ import annotations

from collections.abc import Iterator

from .. import ops
from ..ir.graph import Graph, Node
from ..ir.types import product

LIMIT = 1 << 21  # elements of one draw: its 64-bit intermediate values stay small


def merge_draws(graph: Graph) -> None:
    """Rewrites the graph in place. Linear in its nodes, but for sorting the draws."""
    by_key: dict[tuple[Node, int], list[tuple[int, int, Node]]] = {}  # what a block draws is not kept for the next
    for node in graph.order(graph.outputs.values()):
        size = product(node.shape) if node.op.name == "random_words" else 0
        if isinstance(size, int) and size:
            by_key.setdefault((node.inputs[0], node.block), []).append((node.attrs["start"], size, node))
    for (key, _), draws in by_key.items():
        for run in _runs(sorted(draws, key=lambda draw: draw[:2])):
            first = run[0][0]
            total = sum(size for _, size, _ in run)
            with graph.like(run[0][2]):
                whole = ops.random_words(key, shape=(total,), start=first)
                for start, size, node in run:
                    for user in list(graph.users(node)):  # what acts word by word does so on all of them
                        if user.op.name in ("random_uniform", "random_normal", "random_whole"):
                            graph.replace(user, _part(user.op(whole, **user.attrs), start - first, size, user))
                    graph.replace(node, _part(whole, start - first, size, node))


def _part(whole: Node, start: int, size: int, node: Node) -> Node:
    return ops.reshape(ops.slice_(whole, starts=(start,), stops=(start + size,), steps=(1,)), shape=node.shape)


def _runs(draws: list[tuple[int, int, Node]]) -> Iterator[list[tuple[int, int, Node]]]:
    """Runs of at least two draws whose counters follow on each other."""
    run: list[tuple[int, int, Node]] = []
    total = 0
    for draw in draws:
        if run and (draw[0] != run[-1][0] + run[-1][1] or total + draw[1] > LIMIT):
            if len(run) > 1:
                yield run
            run, total = [], 0
        run.append(draw)
        total += draw[1]
    if len(run) > 1:
        yield run
