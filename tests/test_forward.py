"""Forward mode of every operation against differences and against reverse mode, and the mixes of both.

Like test_ops.py these tests are written by the registry: an operation that is added is checked here without a line
more.
"""

from __future__ import annotations

import zlib

import numpy as np
import pytest
from dlc import ops
from dlc.autodiff.forward import tangents
from dlc.autodiff.reverse import gradients
from dlc.ir import interpret
from dlc.ir.graph import Graph
from dlc.ir.op import NONE, OPS
from dlc.ir.types import TensorType
from dlc.ops.leaf import make_input
from op_cases import Case, differentiable, error_of, file_of, fixed_of, float_leaves, run, sampled, samples, slope

COUNT = 25
smooth = pytest.mark.parametrize("op", [op for op in sampled() if differentiable(op)], ids=lambda op: op.name)


class Moved:
    """A case with a random direction for its float leaves, and the tangent of its result."""

    def __init__(self, op, sample, rng, *, fixed=(), still=()):
        self.case = Case(op, sample, fixed=fixed)
        self.leaves = [leaf for i, leaf in enumerate(float_leaves(self.case)) if i not in still]
        if self.case.node.dtype != "float" or not self.leaves:
            self.node = None
            return
        graph = self.case.graph
        self.direction = {leaf: rng.uniform(-1, 1, leaf.shape) for leaf in self.leaves}
        self.seeds = {leaf: ops.constant(graph, v, "float") for leaf, v in self.direction.items()}
        [self.node] = tangents([self.case.node], self.seeds)

    def slope_of(self, value) -> np.ndarray:
        """The derivative of any value of the graph along the direction, by differences; 0 of an infinite value,
        the extreme of nothing."""

        def moved(h):
            feeds = dict(self.case.feeds)
            for leaf, v in self.direction.items():
                feeds[leaf.attrs["name"]] = feeds[leaf.attrs["name"]] + h * v
            return interpret.evaluate([value], feeds)[0]

        with np.errstate(invalid="ignore"):
            return np.where(np.isfinite(moved(0)), slope(moved), 0.0)


def cases(op, turn, rng):
    """Moved cases: of several float operands now and then one is a constant, now and then one stays."""
    for number, sample in enumerate(samples(op, COUNT, turn=turn)):
        count = sum(value.dtype.kind == "f" for value in sample.inputs)
        still = [number % count] if number % 3 == 1 and count > 1 else []
        moved = Moved(op, sample, rng, fixed=fixed_of(op, sample, number), still=still)
        if moved.node is not None:
            yield moved


@smooth
def test_forward_mode_against_differences(op, checked):
    rng = np.random.default_rng([zlib.crc32(op.name.encode()), 4])
    for moved in cases(op, 4, rng):
        found = interpret.evaluate([moved.node], moved.case.feeds)[0]
        assert found.shape == moved.case.node.shape
        assert error_of(found, moved.slope_of(moved.case.node)) <= 1e-6
        checked(op)


@smooth
def test_forward_mode_agrees_with_reverse_mode(op, checked):
    """u · (J v) = v · (Jᵀ u), to rounding."""
    rng = np.random.default_rng([zlib.crc32(op.name.encode()), 5])
    for moved in cases(op, 5, rng):
        weights = rng.uniform(-1, 1, moved.case.node.shape)
        total = moved.case.node * ops.constant(moved.case.graph, weights, "float")
        back = gradients(ops.reduce_sum(total, axes=range(total.rank)), moved.leaves)
        along, *sent = interpret.evaluate([moved.node, *back], moved.case.feeds)
        reverse = sum(np.sum(g * moved.direction[leaf]) for leaf, g in zip(moved.leaves, sent, strict=True))
        assert error_of(np.sum(along * weights), reverse) <= 1e-10
        checked(op)


@smooth
def test_second_order_by_both_mixes(op, checked):
    """d/dt of v · Jᵀu along another direction: forward over reverse, and reverse over forward, against differences."""
    rng = np.random.default_rng([zlib.crc32(op.name.encode()), 6])
    for moved in cases(op, 6, rng):
        graph, leaves = moved.case.graph, moved.leaves
        weights = ops.constant(graph, rng.uniform(-1, 1, moved.case.node.shape), "float")
        whole = range(moved.case.node.rank)
        back = gradients(ops.reduce_sum(moved.case.node * weights, axes=whole), leaves)
        other = {leaf: ops.constant(graph, rng.uniform(-1, 1, leaf.shape), "float") for leaf in leaves}
        reverse = ops.constant(graph, 0.0, "float")
        for leaf, g in zip(leaves, back, strict=True):
            reverse = reverse + ops.reduce_sum(g * other[leaf], axes=range(leaf.rank))
        expected = moved.slope_of(reverse)

        [first] = tangents([reverse], moved.seeds)  # forward over reverse
        assert error_of(0.0 if first is None else interpret.evaluate([first], moved.case.feeds)[0], expected) <= 1e-6

        [along] = tangents([moved.case.node], other)  # reverse over forward
        forward = ops.reduce_sum(along * weights, axes=whole)
        second = 0.0
        for leaf, g in zip(leaves, (or_none(forward, leaf) for leaf in leaves), strict=True):
            if g is not None:
                second += np.sum(interpret.evaluate([g], moved.case.feeds)[0] * moved.direction[leaf])
        assert error_of(second, expected) <= 1e-6
        checked(op)


def or_none(target, leaf):
    from test_ops import or_none as reverse  # the one place that says when a derivative is zero

    return reverse(target, leaf)


@smooth
def test_forward_mode_is_lowered_too(op, checked):
    rng = np.random.default_rng(5)
    for precision, tolerance in (("float32", 3e-5), ("float64", 1e-12)):
        for sample in samples(op, 4, turn=7):
            moved = Moved(op, sample, rng)
            if moved.node is None:
                continue
            feeds = {
                name: value.astype(precision).astype(value.dtype) if value.dtype.kind == "f" else value
                for name, value in moved.case.feeds.items()
            }
            [expected] = interpret.evaluate([moved.node], feeds)
            [found] = run(file_of({"t": moved.node}, moved.case.leaves, precision), feeds, precision, False)
            assert found.shape == expected.shape and error_of(found, expected) <= tolerance
            checked(op)


def test_what_has_no_derivative_does_not_move():
    for op in sampled():
        if differentiable(op):
            continue
        for sample in samples(op, 5):
            case = Case(op, sample)
            leaves = float_leaves(case)
            ends: dict = {}
            one = {leaf: ops.broadcast_to(ops.constant(case.graph, 1.0, "float"), shape=leaf.shape) for leaf in leaves}
            assert tangents([case.node], one, ends) == [None]
            assert list(ends) == ([case.node] if leaves else [])


def test_every_operation_says_what_it_costs():
    for op in sampled():
        for sample in samples(op, 5):
            cost = op.cost(Case(op, sample).node)
            assert isinstance(cost, int) and cost >= 0
    graph = Graph()
    a, b = (make_input(graph, name, TensorType("float", shape)) for name, shape in (("a", (2, 3, 4)), ("b", (4, 5))))
    product = ops.matmul(a, b)
    assert product.op.cost(product) == 2 * 3 * 4 * 5
    turned = ops.matmul(b, a, ta=True, tb=True)
    assert turned.op.cost(turned) == 2 * 5 * 4 * 3
    assert (a + a).op.cost(a + a) == 0 and (a * a).op.cost(a * a) == 24
    assert all(callable(op.jvp) or op.jvp is NONE for op in OPS.values())


def test_a_sweep_is_linear_in_the_nodes_and_serves_all_targets():
    """A chain of n sines: each is derived once."""

    def size(n: int) -> int:
        graph = Graph()
        x = make_input(graph, "x", TensorType("float", (3,)))
        values = [x]
        for _ in range(n):
            values.append(ops.sin(values[-1]))
        before = len(graph)
        found = tangents(values[1:], {x: ops.constant(graph, np.ones(3), "float")})
        assert all(found)
        return len(graph) - before

    assert size(600) - size(400) == size(400) - size(200) <= 2 * 200  # a cosine and a product each


def test_a_tangent_has_the_place_of_what_it_derives():
    graph = Graph()
    x = make_input(graph, "x", TensorType("float", ()))
    with graph.at("encoder"):
        y = ops.tanh(x)
    [t] = tangents([y], {x: ops.constant(graph, 2.0, "float")})
    assert t.scope == "encoder"
    assert interpret.evaluate([t], {"x": 0.5})[0] == pytest.approx(2 * (1 - np.tanh(0.5) ** 2), abs=1e-15)
