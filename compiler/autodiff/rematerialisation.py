"""`checkpoint { ... }`: what a block computed is computed again where its derivative needs it, instead of being kept.

A block is a number on the nodes made in it. In the sweep of reverse mode the rules of its nodes are given copies of the
values instead of the values: made of what entered the block, which is kept, and of parameters. So that the copies are
copies (equal nodes are one node, here and in ONNX Runtime) and none is made early, what enters is tied to the first
adjoint that reaches the block (Chen, Xu, Zhang and Guestrin 2016, "Training deep nets with sublinear memory cost").

Nothing here can change a value: whatever rewrites did to the numbers on nodes, a copy has the value of its original.
"""

from __future__ import annotations

from collections.abc import Sequence

from .. import ops
from ..ir.graph import Node
from ..ir.reachable import depends, needed
from ..ir.rebuild import rebuild


class Recomputation:
    """The copies that one sweep needs; `order` are the nodes of its target, inputs first."""

    def __init__(self, order: Sequence[Node]) -> None:
        self._again: dict[int, dict[Node, Node]] = {}  # by block: what nodes are in its second computation
        self._since: dict[int, list[Node]] = {}  # by block: what is computed before it is entered again
        self._sent: dict[Node, None] = {}  # what was sent to leaves since the last block was entered
        self._moving: dict[Node, bool] = {}
        # Values that something outside their block reads are kept anyway.
        self._kept: dict[Node, None] = {}
        if not any(node.block for node in order):
            return
        for node in order:
            for source in node.inputs:
                if source.block and source.block != node.block:
                    self._kept[source] = None
        self._kept[order[-1]] = None

    def sent(self, part: Node) -> None:
        """A part of the derivative by a leaf. The next block waits for it: else one order of execution computes all
        such parts at the end, and keeps what they are made of."""
        if self._since:
            self._sent[part] = None

    def operands(self, node: Node, adjoint: Node) -> tuple[Node, Sequence[Node]]:
        """The node and its inputs, or copies of them, for the rule of its derivative."""
        block = node.block
        if not block:
            return node, node.inputs
        if block not in self._since:
            first = adjoint if self._depends(adjoint) else node
            self._since[block] = list(dict.fromkeys((first, *self._sent)))
            self._sent.clear()
        sources = [self._value(source, block) for source in node.inputs]
        return node if node in self._kept else self._value(node, block), sources

    def _value(self, node: Node, block: int) -> Node:
        """What has the node's value in the second computation of a block."""
        done = self._again.setdefault(block, {})

        def is_copied(node: Node) -> bool:
            """What does not depend on the data and no draw is as large as the parameters are, and kept."""
            return node.block == block and node not in done and node not in self._kept and self._depends(node)

        def entering(node: Node) -> Node:
            """What stands for a value of which no copy is made: what enters the block is tied."""
            with node.graph.like(node):
                return ops.tie(node, *self._since[block]) if self._depends(node) else node

        order = needed([node], lambda node: node.inputs if is_copied(node) else ())
        copied = [node for node in order if is_copied(node)]
        return rebuild(node.graph, [node], {}, copied, outside=entering, here=True, done=done)[0]

    def _depends(self, node: Node) -> bool:
        """Whether a value depends on the data or on a draw."""
        return depends(node, _moves, self._moving)


def _moves(node: Node) -> bool:
    return node.op.name in ("input", "seed") or (node.op.name == "variable" and node.dtype == "key")
