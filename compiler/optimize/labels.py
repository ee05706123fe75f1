"""Labels that count from 0: data are held to it before the first step."""

from __future__ import annotations

from collections.abc import Collection

from .. import ops
from ..ir.graph import Graph, Node


def labels_in_range(graph: Graph, targets: Collection[Node]) -> None:
    """one_hot(y mod n, n) = one_hot(y, n) of a target y, which the signature of the file holds to 0, ..., n - 1"""
    for label in targets:
        for node in graph.users(label) if label in graph else ():  # one that nothing reads is there no more
            if node.op.name == "one_hot" and node.attrs["wrap"]:
                with graph.like(node):
                    graph.replace(node, ops.one_hot(label, depth=node.attrs["depth"], wrap=False))
