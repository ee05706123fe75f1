"""Operations built from others: reductions of booleans, shapes, sums that undo broadcasting."""

from __future__ import annotations

import numpy as np
from dlc import ops
from dlc.autodiff.reverse import gradients
from dlc.ir import interpret
from dlc.ir.graph import Graph
from dlc.ir.types import TensorType
from dlc.ops.leaf import make_input
from op_cases import file_of, run


def test_reductions_of_truth_values():
    graph = Graph()
    x = make_input(graph, "x", TensorType("bool", (3, 2)))
    value = np.array([[True, True], [False, True], [False, False]])
    roots = [ops.any_(x, (1,)), ops.all_(x, (1,), keepdims=True), ops.mean(x, (0, 1))]
    found = interpret.evaluate(roots, {"x": value})
    assert found[0].tolist() == [True, True, False]
    assert found[1].tolist() == [[True], [False], [False]]
    assert found[2] == 0.5


def test_shapes_are_built():
    graph = Graph()
    x = make_input(graph, "x", TensorType("float", (2, 3, 4)))
    value = np.arange(24.0).reshape(2, 3, 4)
    parts = ops.split(x, 2, axis=-1)
    cases = [
        (ops.moveaxis(x, 0, -1), np.moveaxis(value, 0, -1)),
        (ops.swap_last(x), np.swapaxes(value, -1, -2)),
        (ops.flip(x, 1), np.flip(value, 1)),
        (ops.stack([x, x], axis=1), np.stack([value, value], axis=1)),
        (ops.expand_dims(x, -1), value[..., None]),
        (ops.squeeze(ops.expand_dims(x, 0), 0), value),
        (parts[1], value[..., 2:]),
        (ops.concat(*parts, axis=2), value),
        (ops.narrow(x, 1, 1, 2), value[:, 1:2]),
    ]
    for found, (_, expected) in zip(interpret.evaluate([node for node, _ in cases], {"x": value}), cases, strict=True):
        assert np.array_equal(found, expected)


def test_sum_to_undoes_broadcasting():
    rng = np.random.default_rng(3)
    for _ in range(200):
        rank = int(rng.integers(0, 4))
        wide = tuple(int(s) for s in rng.integers(1, 4, rank))
        narrow = tuple(1 if rng.random() < 0.4 else s for s in wide)[int(rng.integers(0, rank + 1)) :]
        graph = Graph()
        x = make_input(graph, "x", TensorType("float", wide))
        value = rng.integers(-9, 9, wide).astype(float)
        found = interpret.evaluate([ops.sum_to(x, narrow)], {"x": value})[0]
        expected = np.zeros(narrow)
        for index in np.ndindex(*wide):
            at = tuple(0 if narrow[i] == 1 else j for i, j in enumerate(index[rank - len(narrow) :]))
            expected[at] += value[index]
        assert np.array_equal(found, expected)


def test_equal_reductions_are_one_node():
    graph = Graph()
    x = make_input(graph, "x", TensorType("float", (2, 3)))
    assert ops.reduce_sum(x, axes=(-1,)) is ops.reduce_sum(x, axes=(1,))
    assert ops.softmax(x, axis=-1) is ops.softmax(x, axis=1)
    assert ops.argmax(x, axis=-1) is ops.argmax(x, axis=1)


def test_large_tables_add_by_scatter():
    """Beyond ONE_HOT_ROWS rows the adjoint of a gather is another operator, with the same meaning."""
    graph = Graph()
    rows = ops.indexing.ONE_HOT_ROWS + 5
    table = make_input(graph, "table", TensorType("float", (rows, 2)))
    index = make_input(graph, "index", TensorType("int", (6,)))
    [g] = gradients(ops.reduce_sum(ops.gather(table, index, axis=0) * 2.0, axes=(0, 1)), [table])
    fed = {"table": np.zeros((rows, 2)), "index": np.array([1, rows - 1, 1, -1, 0, 7])}
    expected = interpret.evaluate([g], fed)[0]
    assert expected[rows - 1].tolist() == [4.0, 4.0]
    model = file_of({"g": g}, [table, index], "float64")
    assert "ScatterND" in {node.op_type for node in model.graph.node}
    assert np.array_equal(run(model, fed, "float64", False)[0], expected)
