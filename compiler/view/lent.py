"""What a layer lends to what is around it, and gets back changed.

    spectral_norm(dense(8))         divides the W that `dense` learns, and gives it what comes out
    atom(found)                     where `found` was sought with `normalize(atom.D)`

Folded into the box of its layer such a value would leave it and flow back into it: a circle. So what a layer makes of
its parameters alone, and what is read outside and comes back, lies outside. Linear, but for the sets of such layers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

from ..ir.graph import Node
from ..ir.place import Place
from ..ir.reachable import needed

Path: TypeAlias = tuple[Place, ...]
GIVEN = ("input", "seed", "local")  # what a value may depend on beside parameters


class Lent:
    """Where those values of a model lie (`nodes`), and what is derived of them (`places`)."""

    def __init__(self, order: Sequence[Node], chain: Callable[[Place], Path]) -> None:
        self.nodes: dict[Node, Path] = {}
        self.places: dict[Place, Path] = {}
        free: set[Node] = set()  # depends on parameters alone
        read: dict[Place, list[Node]] = {}  # of layers, what is read outside
        for node in order:
            if node.op.name not in GIVEN and all(source in free for source in node.inputs):
                free.add(node)
            for source in node.inputs:
                for layer in _left(source, node, chain) if source in free else ():
                    read.setdefault(layer, []).append(source)
        if not read:
            return
        for layer in _returned(order, free, {layer: 1 << i for i, layer in enumerate(read)}, chain):
            for node in needed(read[layer], lambda node, layer=layer: _within(node, layer, chain)):  # type: ignore[misc]
                path = self.nodes.get(node, chain(node.place))
                self.nodes[node] = tuple(place for place in path if place is not layer)
        stay = {node.place for node in order if node not in self.nodes}
        self.places = {node.place: path for node, path in self.nodes.items() if node.place not in stay}


def _left(source: Node, node: Node, chain: Callable[[Place], Path]) -> list[Place]:
    """The layers that a value lies in, and one that reads it does not."""
    if source.place is node.place:
        return []
    around = chain(node.place)
    return [place for place in chain(source.place) if place.kind == "layer" and place not in around]


def _within(node: Node, layer: Place, chain: Callable[[Place], Path]) -> list[Node]:
    return [source for source in node.inputs if layer in chain(source.place)]


def _returned(
    order: Sequence[Node], free: set[Node], bits: dict[Place, int], chain: Callable[[Place], Path]
) -> list[Place]:
    """The layers into which flows what left them."""
    away: dict[Node, int] = {}
    back = 0
    for node in order:
        gone = 0
        for source in node.inputs:
            gone |= away.get(source, 0)
            if source in free:
                for layer in _left(source, node, chain):
                    gone |= bits[layer]
        if gone:
            away[node] = gone
            for place in chain(node.place):
                back |= gone & bits.get(place, 0)
    return [layer for layer, bit in bits.items() if back & bit]
