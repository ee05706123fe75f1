"""Derivatives as nodes: placeholders that `autodiff.expand` turns into the graphs they stand for."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from itertools import count
from typing import Any

from ..ir.graph import Graph, Node
from ..ir.op import NONE, define, free, no_gradient
from ..ir.reachable import needed, readers
from ..ir.rebuild import Taken, rebuild
from ..ir.types import TensorType, TypeProblem


def _floats(target: TensorType, wrt: TensorType) -> None:
    if target.dtype != "float":
        raise TypeProblem("E0403", "only a float value can be differentiated", {0: f"this is `{target}`"})
    if wrt.dtype != "float":
        raise TypeProblem("E0404", "a derivative is taken with respect to a float value", {1: f"this is `{wrt}`"})


def _infer(target: TensorType, wrt: TensorType) -> TensorType:
    if target.dtype != "float" or target.rank:
        raise TypeProblem("E0403", "`grad` takes the derivative of a single float number", {0: f"this is `{target}`"})
    _floats(target, wrt)
    return wrt


def _unexpanded(*arguments: Any, **attrs: Any) -> Any:
    raise KeyError("a derivative was not expanded")


def _lower(out: Any, node: Node, *names: str) -> str:
    return str(_unexpanded())


gradient = define(
    "gradient",
    infer=_infer,
    grad=no_gradient(2),
    jvp=NONE,
    lower=_lower,
    reference=_unexpanded,
    samples=None,
    cost=free,
)


def _tangent_infer(target: TensorType, wrt: TensorType, direction: TensorType) -> TensorType:
    _floats(target, wrt)
    if direction != wrt:
        raise TypeProblem(
            "E0410",
            "a direction must have the shape of the value that moves along it",
            {1: f"this is `{wrt}`", 2: f"this is `{direction}`"},
        )
    return target


tangent = define(  # J v: how the target moves as the second operand moves along the third
    "tangent",
    infer=_tangent_infer,
    grad=no_gradient(3),
    jvp=NONE,
    lower=_lower,
    reference=_unexpanded,
    samples=None,
    cost=free,
)


def _jacobian_infer(target: TensorType, wrt: TensorType, per: tuple[tuple[int, int], ...]) -> TensorType:
    _floats(target, wrt)
    ours, theirs = dict(per), {b: a for a, b in per}
    return TensorType(
        "float",
        (
            *(target.shape[a] for a, _ in per),
            *(size for i, size in enumerate(target.shape) if i not in ours),
            *(size for i, size in enumerate(wrt.shape) if i not in theirs),
        ),
    )


jacobian = define(  # dy/dx of the shape of y by that of x; `per`: pairs of their dimensions that go together, in front
    "jacobian",
    infer=_jacobian_infer,
    grad=no_gradient(2),
    jvp=NONE,
    lower=_lower,
    reference=_unexpanded,
    samples=None,
    cost=free,
    defaults={"per": ()},
)


def put(
    roots: Sequence[Node], values: Mapping[Node, Node], needs: Container[Node] | None = None, plain: bool = False
) -> list[Node]:
    """The roots with values in the place of formal ones. A `custom` node keeps the formal values that are its own.

    needs: what is to be made again, else all that needs the formal values; nothing else is looked at, however large
    the graph is. plain: of a function with a derivative of its own only the value is taken.
    """
    inside = needing(values) if needs is None else needs

    def below(node: Node) -> Sequence[Node]:
        if node in values or node not in inside:
            return ()
        return node.inputs[:1] if plain and node.op.name == "custom" else node.inputs

    def value(node: Node, taken: Taken) -> Node | None:
        return taken(node.inputs[0]) if plain and node.op.name == "custom" else None

    order = [node for node in needed(roots, below) if node in inside]
    return rebuild(roots[0].graph, roots, values, order, make=value, here=True)


def needing(formals: Iterable[Node]) -> dict[Node, None]:
    """What needs formal values: all that reads them, but the node whose own they are."""
    own = dict.fromkeys(formals)
    return readers(own, lambda user: user.op.name == "custom" and any(x in own for x in user.inputs[1:3]))


def _elsewhere(*arguments: Any, **attrs: Any) -> Any:
    raise KeyError("a function with a derivative of its own is moved forward by autodiff/custom.py")


def _custom_grad(
    g: Node, y: Node, value: Node, formal_g: Node, formal_y: Node, *rest: Node, count: int, name: str
) -> list[Any]:
    """What the rules say; nothing by the way of the value itself."""
    sent = put(rest[count:], {formal_g: g, formal_y: y}) if count else []
    return [NONE, NONE, NONE, *sent, *[NONE] * count]


custom = define(  # a value with a given derivative by `count` others: the value, formal g, y, the others, their rules
    "custom",
    infer=lambda value, *rest, count, name: value,
    grad=_custom_grad,
    jvp=_elsewhere,
    lower=_lower,
    reference=_unexpanded,
    samples=None,
    cost=free,
)

_numbers = count(1)  # not of one graph: a node may be copied into another

PLACEHOLDERS = ("gradient", "tangent", "jacobian")

formal = define(  # a value that a rule is written in terms of; what it stands for takes its place
    "formal",
    infer=lambda number, type: type,
    grad=no_gradient(0),
    jvp=NONE,
    lower=_lower,
    reference=_unexpanded,
    samples=None,
    cost=free,
)


def make_formal(graph: Graph, type: TensorType) -> Node:
    """A formal value that is no other one."""
    return graph.add(formal, (), {"number": next(_numbers), "type": type})
