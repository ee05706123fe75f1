"""The interpreter: feeding, sizes, memory and special values."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from dlc import ops
from dlc.ir import interpret
from dlc.ir.graph import Graph
from dlc.ir.types import Dim, TensorType
from dlc.ops.leaf import make_input, make_size, make_variable

BATCH = Dim.name("batch")


def leaf(graph, name, *shape, dtype="float"):
    return make_input(graph, name, TensorType(dtype, shape))


def test_leaves_are_fed_by_name_path_or_node():
    graph = Graph()
    x, w, seed = leaf(graph, "x", 2), make_variable(graph, "f.W", TensorType("float", (2,))), graph.add(ops.seed)
    roots = [x + w, ops.fold(seed, 0)]
    by_name = interpret.evaluate(roots, {"x": [1, 2], "f.W": [3, 4], "seed": 9})
    by_node = interpret.evaluate(roots, {x: [1, 2], w: [3, 4], seed: 9})
    assert by_name[0].tolist() == by_node[0].tolist() == [4.0, 6.0]
    assert by_name[1] == by_node[1] and by_name[1].dtype == np.uint64
    assert by_name[0].dtype == np.float64


def test_sizes_come_from_what_is_fed():
    graph = Graph()
    x = leaf(graph, "x", BATCH, 3)
    leaf(graph, "unread", Dim.name("time"))
    roots = [ops.mean(x, (0, 1)), make_size(graph, BATCH * 2 + 1), make_size(graph, Dim.name("time"))]
    mean, size, steps = interpret.evaluate(roots, {"x": np.ones((5, 3)), "unread": np.zeros(8)})
    assert (mean, size, steps) == (1.0, 11, 8)


def test_shapes_that_are_arithmetic_on_names_are_checked():
    graph = Graph()
    x, y = leaf(graph, "x", BATCH), leaf(graph, "y", 2 * BATCH + 1)
    roots = [ops.reduce_sum(x, axes=(0,)) + ops.reduce_sum(y, axes=(0,))]
    assert interpret.evaluate(roots, {"x": np.ones(2), "y": np.ones(5)})[0] == 7
    with pytest.raises(ValueError, match=r"shape \[4\]"):
        interpret.evaluate(roots, {"x": np.ones(2), "y": np.ones(4)})


def test_a_leaf_that_was_pruned_still_tells_its_size():
    graph = Graph()
    x = leaf(graph, "x", BATCH, 3)
    graph.outputs["draw"] = ops.random_uniform(ops.seed_key(graph), shape=x.shape)
    graph.prune()
    assert x not in graph.nodes
    for feeds in ({"x": np.zeros((4, 3))}, {x: np.zeros((4, 3))}):
        assert interpret.evaluate([graph.outputs["draw"]], {**feeds, "seed": 1})[0].shape == (4, 3)


@pytest.mark.parametrize(("feeds", "message"), [
    ({"x": np.ones((2, 3))}, "no value was given for y"),
    ({"x": np.ones((2, 3)), "y": np.ones(3)}, "dimension batch is 2 and 3"),
    ({"x": np.ones(2), "y": np.ones(2)}, "shape \\[2\\]"),
    ({"x": np.ones((2, 4)), "y": np.ones(2)}, "shape \\[2, 4\\]"),
])  # fmt: skip
def test_what_does_not_fit_is_an_error(feeds, message):
    graph = Graph()
    root = ops.reduce_sum(leaf(graph, "x", BATCH, 3), axes=(1,)) + leaf(graph, "y", BATCH)
    with pytest.raises(ValueError, match=message):
        interpret.evaluate([root], feeds)


def test_a_size_that_nothing_tells_is_an_error():
    graph = Graph()
    with pytest.raises(ValueError, match="the size batch"):
        interpret.evaluate([make_size(graph, BATCH)], {})


def test_roots_in_order_with_repeats_and_leaves():
    graph = Graph()
    x = leaf(graph, "x")
    y = ops.exp(x)
    found = interpret.evaluate([y, x, y, ops.constant(graph, 4, "int")], {"x": 0.0})
    assert [float(v) for v in found] == [1.0, 0.0, 1.0, 4.0] and found[3].dtype == np.int64
    assert interpret.evaluate([], {}) == []


def test_special_values_go_through_quietly(recwarn):
    graph = Graph()
    x = leaf(graph, "x", 5)
    roots = [ops.log(x), 1.0 / x, ops.sqrt(x), ops.exp(x * 1000.0), x - x]
    found = interpret.evaluate(roots, {"x": np.array([-1, 0, np.inf, -np.inf, np.nan])})
    with np.errstate(all="ignore"):
        given = np.array([-1, 0, np.inf, -np.inf, np.nan])
        expected = [np.log(given), 1 / given, np.sqrt(given), np.exp(given * 1000), given - given]
    for a, b in zip(found, expected, strict=True):
        assert np.array_equal(a, b, equal_nan=True)
    assert not recwarn


def test_values_are_dropped_once_read():
    """A chain of 50 values of 8 MB never holds more than a few at a time."""
    graph = Graph()
    y = leaf(graph, "x", 1_000_000)
    for _ in range(50):
        y = ops.tanh(y + 1.0)
    fed = {"x": np.zeros(1_000_000)}
    tracemalloc.start()
    interpret.evaluate([ops.reduce_sum(y, axes=(0,))], fed)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 50e6
