"""Reverse mode on whole graphs: sharing, nesting, cost, and what has no derivative."""

from __future__ import annotations

import dlc
import numpy as np
import pytest
from dlc import ops
from dlc.autodiff.expand import expand
from dlc.autodiff.reverse import gradients
from dlc.diagnostics import CompileError
from dlc.ir import interpret
from dlc.ir.graph import Graph, Node
from dlc.ir.types import Dim, TensorType
from dlc.ops.leaf import make_input, make_variable
from dlc.source import Source, Span
from work import assert_linear


def scalar(graph: Graph, name: str) -> Node:
    return make_input(graph, name, TensorType("float", ()))


def vector(graph: Graph, name: str, *shape) -> Node:
    return make_input(graph, name, TensorType("float", shape or (3,)))


def total(node: Node) -> Node:
    return ops.reduce_sum(node, axes=range(node.rank))


def expanded(graph: Graph) -> int:
    """Expands all placeholders; returns in how many rounds."""
    rounds = 1
    while expand(graph):
        rounds += 1
    return rounds


def code_of(action) -> str:
    with pytest.raises(CompileError) as caught:
        action()
    return caught.value.code


# --- values


def test_shared_values_are_derived_once():
    """y = e^x is used three times; its own derivative appears once."""
    graph = Graph()
    x = scalar(graph, "x")
    y = ops.exp(x)
    [g] = gradients(y * y + ops.sin(y) + y, [x])
    value = 0.3
    expected = (2 * np.exp(value) + np.cos(np.exp(value)) + 1) * np.exp(value)
    assert np.isclose(interpret.evaluate([g], {"x": value})[0], expected, rtol=1e-15)
    names = [node.op.name for node in graph.order([g])]
    assert names.count("exp") == 1 and names.count("cos") == 1


def test_one_operand_twice():
    graph = Graph()
    x = vector(graph, "x")
    for f, expected in ((x * x, 2.0), (x - x, 0.0), (x + x, 2.0), (x / x, 0.0)):
        [g] = gradients(total(f), [x])
        assert interpret.evaluate([g], {"x": np.ones(3)})[0].tolist() == [expected] * 3


def test_broadcasting_is_undone_once_for_each_operand():
    graph = Graph()
    a, b, c = vector(graph, "a", 4, 3), vector(graph, "b", 3), scalar(graph, "c")
    found = gradients(total(a * b * c), [a, b, c])
    rng = np.random.default_rng(0)
    fed = {"a": rng.normal(size=(4, 3)), "b": rng.normal(size=3), "c": rng.normal()}
    values = interpret.evaluate(found, fed)
    assert [value.shape for value in values] == [(4, 3), (3,), ()]
    assert np.allclose(values[1], (fed["a"] * fed["c"]).sum(0)) and np.isclose(values[2], (fed["a"] * fed["b"]).sum())


def test_target_and_intermediate_values_can_be_derived_by():
    graph = Graph()
    x = vector(graph, "x")
    h = ops.cut(ops.tanh(x))
    y = total(h * h)
    by_y, by_h, by_x = gradients(y, [y, h, x])
    values = interpret.evaluate([by_y, by_h, by_x], {"x": np.array([0.1, 0.2, 0.3])})
    t = np.tanh([0.1, 0.2, 0.3])
    assert values[0] == 1 and np.allclose(values[1], 2 * t) and np.allclose(values[2], 2 * t * (1 - t * t))


def test_free_sizes():
    graph = Graph()
    batch = Dim.name("batch")
    x, w = vector(graph, "x", batch, 4), vector(graph, "w", 4, 2)
    loss = ops.mean(ops.relu(x @ w), (0, 1))
    [g] = gradients(loss, [w])
    for rows in (1, 6):
        rng = np.random.default_rng(rows)
        fed = {"x": rng.normal(size=(rows, 4)), "w": rng.normal(size=(4, 2))}
        expected = fed["x"].T @ (fed["x"] @ fed["w"] > 0) / (2 * rows)
        assert np.allclose(interpret.evaluate([g], fed)[0], expected)


def test_gradient_of_products_in_every_orientation():
    """Flattened and batched products, transposed or not, against a sum written out."""
    rng = np.random.default_rng(1)
    for lead_a, lead_b, ta, tb in [
        ((2, 5), (), False, False),
        ((2, 5), (), False, True),
        ((5,), (), True, False),
        ((), (5,), False, True),
        ((2, 1), (5,), True, True),
    ]:
        graph = Graph()
        a = vector(graph, "a", *lead_a, *((4, 3) if ta else (3, 4)))
        b = vector(graph, "b", *lead_b, *((2, 4) if tb else (4, 2)))
        product = ops.matmul(a, b, ta=ta, tb=tb)
        weights = rng.normal(size=product.shape)
        found = gradients(total(product * ops.constant(graph, weights, "float")), [a, b])
        fed = {"a": rng.normal(size=a.shape), "b": rng.normal(size=b.shape)}
        by_a, by_b = interpret.evaluate(found, fed)
        for value, name in ((by_a, "a"), (by_b, "b")):
            direction = rng.normal(size=value.shape)
            moved = [interpret.evaluate([product], {**fed, name: fed[name] + h * direction})[0] for h in (-0.5, 0.5)]
            assert np.isclose(np.sum(value * direction), np.sum((moved[1] - moved[0]) * weights))


def test_parts_of_a_value_send_back_one_whole():
    """The adjoint of a split is a concat, with free sizes too; overlapping or missing slices are added up."""
    batch = Dim.name("batch")
    fed = np.arange(12.0).reshape(2, 6) / 7

    def derived(parts_of):
        graph = Graph()
        x = vector(graph, "x", batch, 6)
        parts = parts_of(x)
        [g] = gradients(sum((total(ops.sin(part * float(i + 1))) for i, part in enumerate(parts)), total(x)), [x])
        names = [node.op.name for node in graph.order([g])]
        return interpret.evaluate([g], {"x": fed})[0], names

    def cosines(*widths):
        scale = np.repeat(np.arange(1.0, len(widths) + 1), widths)
        return 1 + scale * np.cos(fed * scale)

    found, names = derived(lambda x: ops.split(x, 3))
    assert np.allclose(found, cosines(2, 2, 2)) and "unslice" not in names and names.count("concat") == 1
    found, names = derived(lambda x: (ops.narrow(x, 1, 0, 5), ops.narrow(x, 1, 5, 6)))
    assert np.allclose(found, cosines(5, 1)) and "unslice" not in names
    found, names = derived(lambda x: (ops.narrow(x, 0, 0, batch - 1), ops.narrow(x, 0, batch - 1, batch)))
    assert np.allclose(found, 1 + np.array([[1.0], [2.0]]) * np.cos(fed * [[1.0], [2.0]])) and "unslice" not in names
    found, names = derived(lambda x: (ops.narrow(x, 1, 0, 4), ops.narrow(x, 1, 3, 6)))
    expected = np.ones((2, 6))
    expected[:, :4] += np.cos(fed[:, :4])
    expected[:, 3:] += 2 * np.cos(2 * fed[:, 3:])
    assert np.allclose(found, expected) and names.count("unslice") == 2


# --- nesting


def test_a_polynomial_derived_again_and_again():
    graph = Graph()
    x = scalar(graph, "x")
    y = ops.pow_(x, 5)
    for power in range(3):
        graph.outputs[f"d{power}"] = y
        y = ops.gradient(y, x)
    graph.outputs["d3"] = y
    assert expanded(graph) == 3
    found = interpret.evaluate(list(graph.outputs.values()), {"x": 2.0})
    assert [float(v) for v in found] == [32.0, 80.0, 160.0, 240.0]


def test_a_derivative_within_a_loss():
    """d/dw of |d/dx tanh(w x)|²: the second derivative runs through the first."""
    graph = Graph()
    x, w = scalar(graph, "x"), scalar(graph, "w")
    slope = ops.gradient(ops.tanh(w * x), x)
    graph.outputs["g"] = ops.gradient(slope * slope, w)
    assert expanded(graph) == 2

    def penalty(w, x):
        return (w * (1 - np.tanh(w * x) ** 2)) ** 2

    h = 1e-5
    found = float(interpret.evaluate([graph.outputs["g"]], {"x": 0.4, "w": 0.7})[0])
    assert np.isclose(found, (penalty(0.7 + h, 0.4) - penalty(0.7 - h, 0.4)) / (2 * h), rtol=1e-8)


def test_hessian_of_a_network_is_symmetric():
    rng = np.random.default_rng(5)
    graph = Graph()
    x, w = vector(graph, "x", 4, 3), vector(graph, "w", 3, 2)
    loss = ops.mean(ops.logsumexp(ops.tanh(x @ w), axes=(1,)), (0,))
    u, v = (rng.normal(size=(3, 2)) for _ in range(2))

    def product(direction):
        [g] = gradients(loss, [w])
        [h] = gradients(total(g * ops.constant(graph, direction, "float")), [w])
        return h

    fed = {"x": rng.normal(size=(4, 3)), "w": rng.normal(size=(3, 2))}
    hu, hv = interpret.evaluate([product(u), product(v)], fed)
    assert np.isclose(np.sum(hu * v), np.sum(hv * u), rtol=1e-12) and np.abs(hu).max() > 1e-3


def test_one_sweep_for_all_placeholders_of_a_target():
    graph = Graph()
    leaves = [make_variable(graph, f"w{i}", TensorType("float", ())) for i in range(20)]
    y = leaves[0]
    for leaf in leaves[1:]:
        y = ops.tanh(y * leaf)
    for i, leaf in enumerate(leaves):
        graph.outputs[f"g{i}"] = ops.gradient(y, leaf)
    assert expanded(graph) == 1
    assert len(graph.order(graph.outputs.values())) < 12 * len(leaves)


# --- cost


def chain(length: int) -> tuple[Graph, Node, Node]:
    graph = Graph()
    x = vector(graph, "x")
    y = x
    for _ in range(length):
        y = ops.tanh(y) * x + ops.sin(y)
    return graph, x, total(y)


def test_the_backward_graph_is_linear_in_the_forward_graph():
    ratio: dict[int, float] = {}
    for length in (100, 1000, 4000):
        graph, x, target = chain(length)
        forward = len(graph)
        gradients(target, [x])
        ratio[length] = (len(graph) - forward) / forward
    assert abs(ratio[1000] / ratio[100] - 1) < 0.05 and abs(ratio[4000] / ratio[1000] - 1) < 0.05
    assert ratio[1000] < 4


def test_differentiating_is_linear():
    def run(made: tuple[Graph, Node, Node]) -> None:
        gradients(made[2], [made[1]])

    assert_linear(chain, run, counted=(100, 800), timed=(250, 4000), limit=3)  # 16 if it were quadratic


def test_only_what_lies_on_a_path_is_visited():
    """A deep part that does not depend on x gets no adjoints."""
    graph = Graph()
    x, other = vector(graph, "x"), vector(graph, "other")
    deep = other
    for _ in range(200):
        deep = ops.exp(deep)
    target = total(deep * x)
    before = len(graph)
    gradients(target, [x])
    assert len(graph) - before < 10


def test_a_value_with_many_users_is_summed_in_a_balanced_tree():
    graph = Graph()
    x = scalar(graph, "x")
    parts = [ops.sin(x * float(i + 1)) for i in range(256)]
    [g] = gradients(ops.reduce_sum(ops.stack(parts), axes=(0,)), [x])
    depth: dict[Node, int] = {}
    for node in graph.order([g]):
        below = max((depth[source] for source in node.inputs), default=0)
        depth[node] = below + (node.op.name == "add")
    assert depth[g] == 8
    exact = sum((i + 1) * np.cos((i + 1) * 0.2) for i in range(256))
    assert np.isclose(interpret.evaluate([g], {"x": 0.2})[0], exact)


def test_the_same_graph_in_every_run():
    texts = set()
    for _ in range(3):
        graph, x, target = chain(20)
        [g] = gradients(target, [x])
        texts.add(graph.text([g]))
    assert len(texts) == 1


# --- where there is none


def test_stop_gradient_blocks_one_path():
    graph = Graph()
    x = scalar(graph, "x")
    [g] = gradients(x * ops.stop_gradient(x), [x])
    assert interpret.evaluate([g], {"x": 3.0})[0] == 3.0
    assert gradients(ops.stop_gradient(x) * 2.0, [x]) == [None]


def test_no_dependence_is_none_or_an_error():
    graph = Graph()
    x, y = scalar(graph, "x"), scalar(graph, "y")
    assert gradients(ops.exp(y), [x]) == [None]
    graph.outputs["g"] = ops.gradient(ops.exp(y), x)
    assert code_of(lambda: expand(graph)) == "E0401"


def test_errors_say_where():
    source = Source("spec.dl", "a = round(x)\ng = grad(a, x)\n")
    graph = Graph()
    x = scalar(graph, "x")
    with graph.at("", Span(source, 4, 12)):
        a = ops.round_(x)
    with graph.at("", Span(source, 17, 27)):
        graph.outputs["g"] = ops.gradient(a * 2.0, x)
    with pytest.raises(CompileError) as caught:
        expand(graph)
    assert caught.value.code == "E0402" and caught.value.where == "spec.dl:1:5"
    assert "`round` has no derivative" in str(caught.value) and "`x`" in str(caught.value)


def test_a_comparison_is_not_the_slope_of_the_magnitude_that_it_compares():
    """`is_inf` compares |x| with infinity in one place of the library; only a sign is the slope of |x|."""
    with pytest.raises(CompileError) as caught:
        dlc.compile("model m {\n input x: float[n]\n output z = grad(sum(where(is_inf(x), 1.0, 0.0)), x)\n}")
    assert caught.value.code == "E0402" and "`==` has no derivative" in str(caught.value)


@pytest.mark.parametrize("f", [
    ops.floor, ops.sign, lambda x: ops.cast(ops.gt(x, 0.0), dtype="float"),
    lambda x: ops.where(ops.gt(x, 0.0), 1.0, 2.0), lambda x: ops.exp(ops.ceil(ops.exp(x))),
    lambda x: ops.cast(ops.argmax(ops.stack([x, x * 2.0]), axis=0), dtype="float"),
])  # fmt: skip
def test_a_path_that_only_jumps_is_an_error(f):
    graph = Graph()
    x = scalar(graph, "x")
    assert code_of(lambda: gradients(f(x), [x])) == "E0402"
    [g] = gradients(f(x) + x * 5.0, [x])  # another path gives the derivative
    assert interpret.evaluate([g], {"x": 1.3})[0] == 5.0


def test_adjoints_belong_to_the_place_of_what_they_derive():
    source = Source("spec.dl", "y = exp(x)\n")
    graph = Graph()
    x = scalar(graph, "x")
    with graph.at("head", Span(source, 4, 10)):
        y = ops.exp(x)
    target = y * 3.0
    before = set(graph.nodes)
    with graph.at("elsewhere"):
        gradients(target, [x])
    [made] = [node for node in graph.nodes if node not in before and y in node.inputs]
    assert (made.scope, str(made.span)) == ("head", "spec.dl:1:5")
