"""Where an adjoint is not zero: what keeps 0 · ∞ out of the derivative of `where`.

`where(x > 0, log(x), 0)` sends `where(x > 0, g, 0)` back to the logarithm, whose derivative multiplies it by 1 / x: at
x = 0 that is 0 · ∞ = NaN, though the logarithm was not taken there. So an adjoint has two parts here: a value, which
may be anything where a condition fails, and that condition, its mask. An operation on each element derives the value
alone and hands the mask on; the zeros are written once, where the chain of such operations ends. A chain under one
`where` thus costs the one `where` it costs anyway. Masks become nodes only when they are needed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from .. import ops
from ..ir.graph import Node
from ..ir.types import Shape, TypeProblem, broadcast
from ..ops.match import is_number
from ..ops.operands import is_constant

Sum = Callable[[list[Node]], Node]


class Mask:
    """A condition on elements. `make` builds its node from those of `parts`; `half` says of which choice it is a side:
    the mask outside of it, the condition, and whether that holds."""

    __slots__ = ("half", "make", "node", "parts", "shape")

    def __init__(
        self,
        parts: Sequence[Mask],
        shape: Shape,
        make: Callable[..., Node],
        half: tuple[Mask | None, Node, bool] | None = None,
    ) -> None:
        self.parts, self.shape, self.make, self.half = parts, shape, make, half
        self.node: Node | None = None


class Adjoint(NamedTuple):
    """`value` where the mask holds, and 0 elsewhere: `clean` if the value is 0 there already. The mask broadcasts to
    the value's shape."""

    value: Node
    mask: Mask | None = None
    clean: bool = False


class Masks:
    """The masks of one sweep: equal ones are one object."""

    def __init__(self) -> None:
        self._known: dict[Any, Mask] = {}

    def zeroed(self, adjoint: Adjoint) -> Node:
        """The adjoint as a value: with zeros where its mask does not hold."""
        value, mask, clean = adjoint
        if mask is None or clean:
            return value
        if mask.half is not None and mask.half[0] is None:
            _, condition, holds = mask.half
            return ops.where(condition, value, 0.0) if holds else ops.where(condition, 0.0, value)
        return ops.where(_node(mask), value, 0.0)

    def sent(
        self, adjoint: Adjoint, node: Node, y: Node, inputs: Sequence[Node], active: Callable[[Node], bool]
    ) -> list[Adjoint | None]:
        """What a node sends back to each of its inputs; None where it has no derivative. y and inputs: the node and its
        inputs, or what has their values when the derivative is computed."""
        through = _through(node)
        value, mask = (adjoint.value, adjoint.mask) if through else (self.zeroed(adjoint), None)
        if node.op.name == "where":
            condition = inputs[0]
            found = [(value, self._side(mask, condition, holds)) for holds in (True, False)]
            return [
                None,
                *(
                    self._fitted(*part, source.shape) if active(source) else None
                    for part, source in zip(found, node.inputs[1:], strict=True)
                ),
            ]
        parts = node.op.grad(value, y, *inputs, **node.attrs)
        if mask is not None:
            mask = self._moved(mask, node)
        sent: list[Adjoint | None] = []
        for source, part in zip(node.inputs, parts, strict=True):
            own = mask
            if not isinstance(part, Node) or not active(source):
                sent.append(None)
                continue
            # a limit is a choice too: `maximum(log(x), -100)` at 0
            if node.op.limit and _steep(source) and part.op.name == "where" and is_number(part.inputs[2], 0):
                condition, part, _ = part.inputs
                own = self._side(mask, condition, True)
            sent.append(self._fitted(part, own, source.shape))
        return sent

    def total(self, parts: Sequence[Adjoint], add: Sum) -> Adjoint:
        """What several users send back, added up: by masks first; the two sides of one choice are one `where`."""
        groups: dict[Mask | None, list[Adjoint]] = {}
        for part in parts:
            groups.setdefault(part.mask, []).append(part)
        sums = {
            mask: Adjoint(add([part.value for part in group]), mask, all(part.clean for part in group))
            for mask, group in groups.items()
        }
        waiting = list(sums)
        while waiting:  # from the innermost choice outwards
            mask = waiting.pop()
            if mask is None or mask.half is None or mask not in sums:
                continue
            outside, condition, holds = mask.half
            twin = self._known.get((outside, condition, not holds))
            if twin is None or twin not in sums:
                continue
            yes, no = (mask, twin) if holds else (twin, mask)
            value = ops.where(condition, sums.pop(yes).value, sums.pop(no).value)
            if outside in sums:
                value = add([sums[outside].value, value])
            sums[outside] = Adjoint(value, outside)
            waiting.append(outside)
        if len(sums) == 1:
            [whole] = sums.values()
            return whole
        value = add([self.zeroed(part) for part in sums.values()])
        masks = [mask for mask in sums if mask is not None]
        return Adjoint(value, self._either(masks) if len(masks) == len(sums) else None, clean=True)

    # --- making masks

    def _one(self, key: Any, make: Callable[[], Mask]) -> Mask:
        if key not in self._known:
            self._known[key] = make()
        return self._known[key]

    def _side(self, outside: Mask | None, condition: Node, holds: bool) -> Mask:
        """Where the condition holds (or does not), within another mask."""

        def make() -> Mask:
            def node(*below: Node) -> Node:
                own = condition if holds else ops.not_(condition)
                return ops.and_(*below, own) if below else own

            parts = () if outside is None else (outside,)
            shape = broadcast(condition.shape, *(part.shape for part in parts))
            return Mask(parts, shape, node, (outside, condition, holds))

        return self._one((outside, condition, holds), make)

    def _either(self, masks: Sequence[Mask]) -> Mask:
        def node(*nodes: Node) -> Node:
            result = nodes[0]
            for other in nodes[1:]:
                result = ops.or_(result, other)
            return result

        return self._one(tuple(masks), lambda: Mask(masks, broadcast(*(mask.shape for mask in masks)), node))

    def _fitted(self, part: Node, mask: Mask | None, shape: Shape) -> Adjoint:
        """A part summed back to the shape of the operand it is for. Where elements with different masks are summed the
        sum can be other than zero if any of them can."""
        if mask is None or _fits(mask.shape, shape):
            return Adjoint(ops.sum_to(part, shape), mask)
        value = ops.sum_to(self.zeroed(Adjoint(part, mask)), shape)
        inner = mask.shape[max(len(mask.shape) - len(shape), 0) :]
        own = shape[len(shape) - len(inner) :]
        reduced = tuple(1 if wanted == 1 else size for size, wanted in zip(inner, own, strict=True))

        def make() -> Mask:
            def node(whole: Node) -> Node:
                return ops.gt(ops.sum_to(ops.cast(whole, dtype="int"), reduced), 0)

            return Mask((mask,), reduced, node)

        return Adjoint(value, self._one((mask, reduced), make), clean=True)

    def _moved(self, mask: Mask, node: Node) -> Mask:
        """The mask of the operand of a reshape or transpose."""
        if node.op.name not in _MOVES or (all(size == 1 for size in mask.shape) and len(mask.shape) <= 1):
            return mask
        [source] = node.inputs

        def make(whole: Node) -> Node:
            [moved] = node.op.grad(ops.broadcast_to(whole, shape=node.shape), node, source, **node.attrs)
            assert isinstance(moved, Node)
            return moved

        return self._one((mask, node), lambda: Mask((mask,), source.shape, make))


_MOVES = ("reshape", "transpose")


def _steep(node: Node) -> bool:
    """Whether the derivative of an operation can be infinite where its value is what a limit cuts off."""
    return node.op.name in ("log", "log1p", "sqrt", "pow") or (node.op.name == "div" and is_constant(node.inputs[0]))


def _through(node: Node) -> bool:
    """Whether each element of the result depends on one element of each input."""
    return node.op.elementwise or node.op.name in ("broadcast_to", *_MOVES)


def _fits(shape: Shape, into: Shape) -> bool:
    try:
        return broadcast(shape, into) == tuple(into)
    except TypeProblem:
        return False


def _node(mask: Mask) -> Node:
    """The mask as a value of the graph. Not recursive: choices nest as deeply as a model is long."""
    stack = [mask]
    while stack:
        top = stack[-1]
        waiting = [part for part in top.parts if part.node is None]
        if top.node is None and not waiting:
            top.node = top.make(*[part.node for part in top.parts])
        if top.node is not None:
            stack.pop()
        stack += waiting
    assert mask.node is not None
    return mask.node
