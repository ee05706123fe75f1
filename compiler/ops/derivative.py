"""Derivatives as nodes: placeholders that `differentiate.expand` turns into the graphs they stand for."""
from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import reduce
from itertools import count
from operator import add
from typing import Any

from ..diagnostics import CompileError, error
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

def put(
    roots: Sequence[Node], values: Mapping[Node, Node], needs: Mapping[Node, None] | None = None, plain: bool = False
) -> list[Node]:
    """The roots with values in the place of formal ones. A `custom` node keeps the formal values that are its own.

    needs: what is to be made again, else all that needs the formal values; nothing else is looked at, however large
    the graph is. plain: of a function with a derivative of its own only the value is taken.
    """
    graph = roots[0].graph
    needs = _users(values) if needs is None else needs
    done = dict(values)
    stack = list(roots)
    while stack:
        node = stack[-1]
        inputs = node.inputs[:1] if plain and node.op.name == "custom" else node.inputs
        waiting = [] if node in done or node not in needs else [source for source in inputs if source not in done]
        if waiting:
            stack += waiting
            continue
        stack.pop()
        if node not in done:
            done[node] = node
            if node in needs and inputs is not node.inputs:
                done[node] = done[inputs[0]]
            elif node in needs:
                with graph.at(node.scope, node.span):
                    done[node] = graph.add(node.op, [done[source] for source in inputs], node.attrs)
    return [done[root] for root in roots]


def _users(formals: Iterable[Node]) -> dict[Node, None]:
    """What needs formal values: all that reads them, but the node whose own they are."""
    stack = list(formals)
    own, found = dict.fromkeys(stack), dict.fromkeys(stack)
    while stack:
        node = stack.pop()
        for user in node.graph.users(node):
            if user not in found and not (user.op.name == "custom" and own.keys() & user.inputs[1:3]):
                found[user] = None
                stack.append(user)
    return found


def _custom_grad(
    g: Node, y: Node, value: Node, formal_g: Node, formal_y: Node, *rest: Node, count: int, name: str
) -> list[Any]:
    """What the rules say; nothing by the way of the value itself."""
    sent = put(rest[count:], {formal_g: g, formal_y: y}) if count else []
    return [NONE, NONE, NONE, *sent, *[NONE] * count]


def _custom_jvp(
    tangents: Sequence[Node | None], y: Node, value: Node, formal_g: Node, formal_y: Node, *rest: Node, count: int,
    name: str,
) -> Node | None:
    """The transpose of the reverse rule: with Jᵀ g = rule(g), J t is the derivative of Σ t · rule(g) by g. E0415 if
    the rule is not linear in g, so that there is no such transpose."""
    from ..differentiate import gradients
    from .reduction import reduce_sum

    moved = [(rule, t) for rule, t in zip(rest[count:], tangents[3 : 3 + count], strict=True) if t is not None]
    if not moved:
        return None
    graph = y.graph
    formal_ts = [make_formal(graph, t.type) for _, t in moved]
    inside, around = _within([rule for rule, _ in moved], (formal_g, formal_y))
    outer = {node: make_formal(graph, node.type) for node in around}  # what the rules read, as leaves: a small graph
    rules = put([rule for rule, _ in moved], {formal_g: formal_g, **outer}, inside, plain=True)
    back: Node | None = None
    if formal_g in inside:
        sums = [reduce_sum(rule * t, axes=range(rule.rank)) for rule, t in zip(rules, formal_ts, strict=True)]
        try:
            [back] = gradients(reduce(add, sums), [formal_g])
        except CompileError:  # only through what has no derivative, as round(g)
            back = formal_g
    if back is None:
        return None
    if formal_g in graph.order([back]):
        raise error(
            "E0415", f"the derivative given for `{name}` has no forward mode", y.span, "used here",
            notes=["its rule is not linear in what flows back"],
            help="`grad` and `vjp` take it; `jvp`, `hvp` and `hessian` need a rule that is a multiple of g",
        )
    given = {formal: node for node, formal in outer.items()}
    given.update(zip(formal_ts, [t for _, t in moved], strict=True))
    return put([back], {**given, formal_y: y})[0]


def _within(roots: Sequence[Node], formals: Sequence[Node]) -> tuple[dict[Node, None], dict[Node, None]]:
    """The nodes of rules that need a formal value (and those values), and what else these read but constants."""
    users = _users(formals)
    inside: dict[Node, None] = {}
    around: dict[Node, None] = {}
    stack = list(roots)
    while stack:
        node = stack.pop()
        if node in users and node not in inside:
            inside[node] = None
            stack += node.inputs[:1] if node.op.name == "custom" else node.inputs
        elif node not in users and node.op.name != "constant":
            around[node] = None
    return inside, around


custom = define(  # a value with a given derivative by `count` others: the value, formal g, y, the others, their rules
    "custom", infer=lambda value, *rest, count, name: value, grad=_custom_grad, jvp=_custom_jvp, lower=_lower,
    reference=_unexpanded, samples=None, cost=free,
)

_numbers = count(1)  # not of one graph: a node may be copied into another

PLACEHOLDERS = ("gradient", "tangent", "jacobian")

formal = define(  # a value that a rule is written in terms of; what it stands for takes its place
    "formal", infer=lambda number, type: type, grad=no_gradient(0), jvp=NONE, lower=_lower, reference=_unexpanded,
    samples=None, cost=free,
)


def make_formal(graph: Graph, type: TensorType) -> Node:
    """A formal value that is no other one."""
    return graph.add(formal, (), {"number": next(_numbers), "type": type})
