"""Derivatives as nodes: placeholders that `differentiate.expand` turns into the graphs they stand for."""
from __future__ import annotations

from typing import Any

from ..graph import Graph, Node
from ..tensor_type import TensorType, TypeProblem
from .registry import NONE, define, free, no_gradient


def _floats(target: TensorType, wrt: TensorType) -> None:
    if target.dtype != "float":
        raise TypeProblem("E0403", "a derivative is taken of a float value", {0: f"this is `{target}`"})
    if wrt.dtype != "float":
        raise TypeProblem("E0404", "a derivative is taken by a float value", {1: f"this is `{wrt}`"})


def _infer(target: TensorType, wrt: TensorType) -> TensorType:
    if target.dtype != "float" or target.rank:
        raise TypeProblem("E0403", "`grad` takes the derivative of a single float number", {0: f"this is `{target}`"})
    _floats(target, wrt)
    return wrt


def _unexpanded(*arguments: Any, **attrs: Any) -> Any:
    raise KeyError("a derivative was not expanded")


def _lower(out: Any, node: Node, *names: str) -> str:
    return str(_unexpanded())


gradient = define("gradient", infer=_infer, grad=no_gradient(2), jvp=NONE, lower=_lower, reference=_unexpanded,
                  samples=None, cost=free)


def _tangent_infer(target: TensorType, wrt: TensorType, direction: TensorType) -> TensorType:
    _floats(target, wrt)
    if direction != wrt:
        raise TypeProblem("E0410", "a direction has the shape of what moves along it",
                          {1: f"this is `{wrt}`", 2: f"this is `{direction}`"})
    return target


tangent = define(  # J v: how the target moves as the second operand moves along the third
    "tangent", infer=_tangent_infer, grad=no_gradient(3), jvp=NONE, lower=_lower, reference=_unexpanded, samples=None,
    cost=free,
)


def _jacobian_infer(target: TensorType, wrt: TensorType, per: tuple[tuple[int, int], ...]) -> TensorType:
    _floats(target, wrt)
    ours, theirs = dict(per), {b: a for a, b in per}
    return TensorType("float", (
        *(target.shape[a] for a, _ in per),
        *(size for i, size in enumerate(target.shape) if i not in ours),
        *(size for i, size in enumerate(wrt.shape) if i not in theirs),
    ))


jacobian = define(  # dy/dx of the shape of y by that of x; `per`: pairs of their dimensions that go together, in front
    "jacobian", infer=_jacobian_infer, grad=no_gradient(2), jvp=NONE, lower=_lower, reference=_unexpanded, samples=None,
    cost=free, defaults={"per": ()},
)

PLACEHOLDERS = ("gradient", "tangent", "jacobian")

formal = define(  # a value that a rule is written in terms of; what it stands for takes its place
    "formal", infer=lambda number, type: type, grad=no_gradient(0), jvp=NONE, lower=_lower, reference=_unexpanded,
    samples=None, cost=free,
)


def make_formal(graph: Graph, type: TensorType) -> Node:
    """A formal value that is no other one."""
    graph.formals += 1
    return graph.add(formal, (), {"number": graph.formals, "type": type})
