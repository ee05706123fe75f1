"""`where` protects: what is not chosen leaves no NaN in a derivative, of first or second order."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from dlc import ops
from dlc.autodiff.reverse import gradients
from dlc.diagnostics import CompileError
from dlc.ir import interpret
from dlc.ir.graph import Graph, Node
from dlc.ir.types import Dim, TensorType
from dlc.ops.leaf import make_input
from dlc.optimize import fuse, simplify
from hypothesis import assume, given, settings, strategies as st
from op_cases import file_of, run
from spec_cases import body

F = Callable[[Node], Node]
NASTY = np.array([0.0, -0.0, -1.0, -2.5, 1.0, np.nan, np.inf, -np.inf, 0.3, 0.55, 0.8, 1.4, 1e-200, 2.0, -0.4, 1e200])


def leaf(graph: Graph, name: str, dtype: str, *shape) -> Node:
    return make_input(graph, name, TensorType(dtype, shape))


def total(node: Node) -> Node:
    return ops.reduce_sum(node, axes=range(node.rank))


def by(target: Node, x: Node) -> Node | None:
    """The derivative; None where it is zero everywhere, which is E0402 where a kink makes it so."""
    try:
        [found] = gradients(target, [x])
    except CompileError as problem:
        assert problem.code == "E0402"
        return None
    return found


def derivatives(build: F, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The first derivative by each element of x of the sum, and the derivative of the sum of its squares."""
    graph = Graph()
    node = leaf(graph, "x", "float", *x.shape)
    [first] = gradients(total(build(node)), [node])
    second = by(total(first * first), node)
    if second is None:
        return *interpret.evaluate([first], {"x": x}), np.zeros_like(x)
    return tuple(interpret.evaluate([first, second], {"x": x}))


def protected(f: F) -> F:
    return lambda x: ops.where(ops.gt(x, 0.0), f(x), 0.0)


@pytest.mark.parametrize(("f", "slope"), [
    (ops.log, lambda x: 1 / x),
    (ops.sqrt, lambda x: 0.5 / np.sqrt(x)),
    (lambda x: 1.0 / x, lambda x: -1 / x**2),
    (lambda x: ops.pow_(x, 0.3), lambda x: 0.3 * x**-0.7),
    (lambda x: ops.pow_(x, x), lambda x: x**x * (np.log(x) + 1)),
    (lambda x: ops.log1p(x - 1.0), lambda x: 1 / x),
    (lambda x: x * ops.log(x), lambda x: np.log(x) + 1),
    (lambda x: ops.exp(ops.log(x) * x) / x, lambda x: x ** (x - 1) * (np.log(x) + 1 - 1 / x)),
    (lambda x: ops.sqrt(ops.log(ops.sqrt(x) + 1.0)),
     lambda x: 0.25 / np.sqrt(np.log(np.sqrt(x) + 1)) / (np.sqrt(x) + 1) / np.sqrt(x)),
])  # fmt: skip
def test_the_side_not_chosen_sends_nothing(f, slope):
    first, second = derivatives(protected(f), np.array([-1.0, -0.0, 0.0, 0.5, 2.0]))
    assert first[:3].tolist() == [0.0] * 3 and second[:3].tolist() == [0.0] * 3
    assert np.allclose(first[3:], slope(np.array([0.5, 2.0])), rtol=1e-12)
    h = 1e-6
    moved = (slope(np.array([0.5, 2.0]) + h) ** 2 - slope(np.array([0.5, 2.0]) - h) ** 2) / (2 * h)
    assert np.allclose(second[3:], moved, rtol=1e-6)


def test_the_other_branch_too():
    first, second = derivatives(lambda x: ops.where(ops.le(x, 0.0), x * 3.0, ops.log(x)), np.array([0.0, 2.0]))
    assert first.tolist() == [3.0, 0.5] and second.tolist() == [0.0, -0.25]


def test_both_branches_share_what_they_are_made_of():
    """sqrt(x) + 1 stands above both sides, and 1 / x in one."""

    def f(x: Node) -> Node:
        root = ops.sqrt(x)
        return ops.where(ops.gt(x, 0.0), root / x, ops.where(ops.gt(x, -1.0), x, ops.log(-x) + root * 0.0))

    first, second = derivatives(f, np.array([0.25, 0.0, -0.5]))
    assert np.allclose(first, [-4.0, 1.0, 1.0]) and np.allclose(second, [2 * -4.0 * 24.0, 0, 0])


def test_the_two_sides_of_a_choice_meet_in_one_where():
    graph = Graph()
    x = leaf(graph, "x", "float", 3)
    [g] = gradients(total(ops.where(ops.gt(x, 0.0), ops.exp(x), ops.sin(x))), [x])
    assert [node.op.name for node in graph.order([g])].count("where") == 1


def test_a_chain_under_a_where_costs_one_where():
    graph = Graph()
    x = leaf(graph, "x", "float", 3)
    y = x
    for _ in range(20):
        y = ops.log(ops.exp(y) + 1.0)
    [g] = gradients(total(ops.where(ops.gt(x, 0.0), y, 0.0)), [x])
    assert [node.op.name for node in graph.order([g])].count("where") == 1


def test_deeply_nested_choices_cost_linear_work():
    sizes = []
    for depth in (100, 3000):
        graph = Graph()
        x = leaf(graph, "x", "float", 3)
        weights = [leaf(graph, f"w{i}", "float", 3) for i in range(depth)]
        y = x
        for i, w in enumerate(weights):
            y = ops.where(ops.gt(w, float(i)), ops.sin(y) * w, 0.0)
        found = gradients(total(y), weights)
        sizes.append(len(graph.order(found)) / depth)
    assert sizes[1] < 1.05 * sizes[0]


@pytest.mark.parametrize("shape", [(), (1,), (4, 1), (1, 3), (4, 3)])
def test_operands_that_are_broadcast(shape):
    """log(s) is 0 · ∞ for a row of which no element was chosen."""
    rng = np.random.default_rng(0)
    chosen = rng.random((4, 3)) < 0.5
    chosen[0] = chosen[:, 1] = False
    s = np.where(
        np.broadcast_to(chosen, (4, 3)).any(
            tuple(i for i, size in enumerate((1,) * (2 - len(shape)) + shape) if size == 1), keepdims=True
        ),
        0.7,
        0.0,
    )
    s = s.reshape(shape) if s.size == np.prod(shape) else np.full(shape, 0.7)
    graph = Graph()
    c, x, node = leaf(graph, "c", "bool", 4, 3), leaf(graph, "x", "float", 4, 3), leaf(graph, "s", "float", *shape)
    y = total(ops.where(c, x * ops.log(node), ops.sin(x)))
    by_x, by_s = gradients(y, [x, node])
    [again] = gradients(total(by_s * by_s), [x])
    given = {"c": chosen, "x": rng.normal(size=(4, 3)), "s": s}
    values = interpret.evaluate([by_x, by_s, again], given)
    assert all(np.isfinite(value).all() for value in values)
    weights = np.where(chosen, given["x"], 0.0)
    lead = tuple(range(2 - len(shape)))
    ones = tuple(i for i in range(2) if i >= 2 - len(shape) and shape[i - 2 + len(shape)] == 1)
    summed = weights.sum(lead + ones, keepdims=True).reshape(shape)
    assert np.allclose(values[1], np.where(s > 0, summed / np.where(s > 0, s, 1), 0))


def test_through_reshape_transpose_and_free_sizes():
    graph = Graph()
    n = Dim.name("n")
    c, x = leaf(graph, "c", "bool", 3, n), leaf(graph, "x", "float", n, 3)
    y = ops.transpose(ops.reshape(ops.log(x), shape=(n, 3, 1)), perm=(2, 1, 0))
    [g] = gradients(total(ops.where(c, y, 0.0)), [x])
    chosen = np.array([[True, False], [False, True], [True, True]])
    found = interpret.evaluate([g], {"c": chosen, "x": np.where(chosen.T, 2.0, 0.0)})[0]
    assert found.tolist() == np.where(chosen.T, 0.5, 0.0).tolist()


@pytest.mark.parametrize(
    ("f", "at", "slope"),
    [
        (lambda x: ops.maximum(ops.log(x), -100.0), [0.0, 0.5], [0.0, 2.0]),
        (lambda x: ops.minimum(ops.maximum(ops.log(x), -100.0), -1.0), [0.0, 0.125, 0.5], [0.0, 8.0, 0.0]),
        (lambda x: ops.minimum(1.0 / x, 4.0), [0.0, 0.5], [0.0, -4.0]),
        (lambda x: ops.relu(ops.log(x)), [0.0, 4.0], [0.0, 0.25]),
    ],
)
def test_limits_protect_too(f, at, slope):
    assert derivatives(f, np.array(at))[0].tolist() == slope


def test_a_decision_of_the_run_protects():
    """A run-time `if` computes both sides; `grad` sees the one that was taken."""
    spec = body(
        """
        s = sum(x)
        if s > 0 { y = log(s) } else { y = 2 * s }
        output z = grad(y, x)
    """,
        "input x: float[3]",
    )
    assert spec.get("z", {"x": np.array([0.0, 0.0, 0.0])}).tolist() == [2.0] * 3
    assert np.allclose(spec.get("z", {"x": np.array([1.0, 2.0, 1.0])}), 0.25)
    spec = body(
        """
        d = grad(sum(where(x > 0, sqrt(x), 0)), x)
        output z = grad(sum(d^2), x)
    """,
        "input x: float[3]",
    )
    assert np.allclose(spec.get("z", {"x": np.array([0.0, -1.0, 0.5])}), [0.0, 0.0, -1.0])


# --- chains at random


UNARY: list[F] = [
    ops.log, ops.sqrt, ops.log1p, ops.exp, ops.expm1, ops.tanh, ops.sin, ops.sigmoid, ops.softplus, ops.neg, ops.abs_,
    ops.relu, lambda x: 1.0 / x, lambda x: ops.pow_(x, 0.3), lambda x: ops.pow_(x, -1.5), lambda x: x * x,
    lambda x: x - 1.0, lambda x: ops.maximum(x, 0.2), lambda x: ops.pow_(2.0, x), lambda x: ops.cos(x) / x,
]  # fmt: skip
BINARY = [ops.add, ops.sub, ops.mul, ops.div, ops.pow_, ops.maximum]


@st.composite
def chains(draw) -> list[tuple[int, int, int]]:
    """Steps (which, first, second): an operation on values made before; `second` -1 takes one operand."""
    steps = []
    for made in range(1, draw(st.integers(2, 6))):
        first = draw(st.integers(max(0, made - 2), made - 1))
        second = draw(st.sampled_from([-1, -1, *range(made)]))
        which = draw(st.integers(0, (len(UNARY) if second < 0 else len(BINARY)) - 1))
        steps.append((which, first, second))
    return steps


def follow(steps, x: Node) -> list[Node]:
    values = [x]
    for which, first, second in steps:
        operands = [values[first]] if second < 0 else [values[first], values[second]]
        values.append((UNARY if second < 0 else BINARY)[which](*operands))
    return values


def tame(build: F) -> np.ndarray:
    """Where in NASTY the function is finite, smooth and moderate to second order."""
    graph = Graph()
    x = leaf(graph, "x", "float", len(NASTY))
    roots = [build(x)]
    for _ in range(3):
        slope = by(total(roots[-1]), x)
        if slope is None:
            break
        roots.append(slope)
    with np.errstate(all="ignore"):
        values = interpret.evaluate(roots, {"x": NASTY})
        fine = np.isfinite(NASTY) & (np.abs(NASTY) < 10)
        for value in values:
            fine &= np.isfinite(value) & (np.abs(value) < 1e3)
        h = 1e-5
        low, high = (interpret.evaluate(roots[:-1], {"x": NASTY + step}) for step in (-h, h))
        for before, after, slope in zip(low, high, values[1:], strict=True):
            fine &= np.abs((after - before) / (2 * h) - slope) < 1e-4 * np.maximum(1, np.abs(slope))
    return fine


@settings(max_examples=120, deadline=None, derandomize=True)
@given(steps=chains(), second=st.integers(0, 6), seed=st.integers(0, 1000), linear=st.booleans())
def test_random_chains(steps, second, seed, linear):
    """where(c, f, where(d, h, 0)): f and h share intermediates; each is taken only where it is tame."""

    def f(x: Node) -> Node:
        return follow(steps, x)[-1]

    def h(x: Node) -> Node:
        made = follow(steps, x)[second % len(steps)]
        return made * 2.0 if linear else ops.sin(made)

    rng = np.random.default_rng(seed)
    c = tame(f) & (rng.random(len(NASTY)) < 0.8)
    d = tame(h) & (rng.random(len(NASTY)) < 0.7)
    graph = Graph()
    x = leaf(graph, "x", "float", len(NASTY))
    chosen, other = leaf(graph, "c", "bool", len(NASTY)), leaf(graph, "d", "bool", len(NASTY))
    y = ops.where(chosen, f(x), ops.where(other, h(x), 0.0))
    first = by(total(y), x)
    assume(first is not None)
    again = by(total(first), x)
    graph.outputs.update({"first": first, **({} if again is None else {"second": again})})
    given = {"x": NASTY, "c": c, "d": d}
    with np.errstate(all="ignore"):
        step = 1e-5
        moved = [interpret.evaluate([y, first], {**given, "x": NASTY + h}) for h in (-step, step)]
        values = interpret.evaluate(list(graph.outputs.values()), given)
    taken = c | d
    for value, before, after in zip(values, moved[0], moved[1], strict=False):
        assert np.isfinite(value).all()
        assert (value[~taken] == 0).all()
        expected = (after - before)[taken] / (2 * step)
        assert np.allclose(value[taken], expected, rtol=1e-3, atol=1e-3)

    leaves = [node for node in (x, chosen, other) if node in dict.fromkeys(graph.order(graph.outputs.values()))]
    files = [file_of(graph.outputs, leaves, "float64")]
    simplify(graph, final=True)
    fuse(graph, "float64")
    files.append(file_of(graph.outputs, leaves, "float64"))
    for model in files:
        for optimized in (False, True):
            for value, found in zip(
                values,
                run(model, {n.attrs["name"]: given[n.attrs["name"]] for n in leaves}, "float64", optimized),
                strict=True,
            ):
                assert np.allclose(found, value, rtol=1e-8, atol=1e-8)
