"""Jacobians and products with them: against differences, JAX and each other, and what they cost."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from dlc import ops
from dlc.autodiff.batching import along
from dlc.autodiff.expand import expand, moved
from dlc.autodiff.jacobian import forward, multiplications, reverse
from dlc.autodiff.reverse import gradients
from dlc.diagnostics import CompileError
from dlc.ir import interpret
from dlc.ir.graph import Graph, Node
from dlc.ir.types import TensorType
from dlc.ops.leaf import make_input
from dlc.optimize import simplify
from op_cases import HELD, Case, differentiable, error_of, file_of, float_leaves, run, sampled, samples, slope
from spec_cases import Spec, X, body, codes

smooth = pytest.mark.parametrize("op", [op for op in sampled() if differentiable(op)], ids=lambda op: op.name)
W = "param W: float[3, 4] init glorot_uniform\nh = tanh(x @ W)\n"


def leaf(graph: Graph, name: str, *shape) -> Node:
    return make_input(graph, name, TensorType("float", shape))


# --- every operation: all directions at once


@smooth
def test_both_modes_give_the_jacobian(op, checked):
    """Forward = reverse = differences, for every element of the result by every element of an operand."""
    for sample in samples(op, 12, turn=8):
        case = Case(op, sample, fixed=HELD.get(op.name, ()))
        y = case.node
        if y.dtype != "float" or any(0 in node.shape for node in (y, *case.leaves)) or not float_leaves(case):
            continue
        x = float_leaves(case)[-1]
        found = [forward(y, x, (), moved, None, None), reverse(y, x, (), gradients, None, None)]
        columns, rows = interpret.evaluate(found, case.feeds)
        assert columns.shape == rows.shape == (*y.shape, *x.shape)
        assert error_of(columns, rows) <= 1e-10
        for index in np.ndindex(*x.shape):

            def along(h, index=index, x=x, y=y, case=case):
                value = np.array(case.feeds[x.attrs["name"]], np.float64)
                value[index] += h
                return interpret.evaluate([y], {**case.feeds, x.attrs["name"]: value})[0]

            assert error_of(columns[(..., *index)], slope(along)) <= 1e-6
        checked(op)


@smooth
def test_blocks_of_slices_that_stay_apart(op):
    """`per` along every dimension whose slices the operation says stay apart: the blocks of the whole Jacobian."""
    for sample in samples(op, 4, turn=9):
        case = Case(op, sample, fixed=HELD.get(op.name, ()))
        y = case.node
        if y.dtype != "float" or any(0 in node.shape for node in (y, *case.leaves)):
            continue
        for x in float_leaves(case):
            ways = [(op.apart(y, y.inputs.index(x), b), b) for b in range(x.rank)] if op.apart else []
            pairs = [(a, b) for a, b in ways if isinstance(a, int)]
            modes = [
                mode(y, x, per, rule, None, None)
                for per in [(), *(((a, b),) for a, b in pairs)]
                for mode, rule in ((forward, moved), (reverse, gradients))
            ]
            whole, _, *blocks = interpret.evaluate(modes, case.feeds)
            for number, found in enumerate(blocks):
                a, b = pairs[number // 2]
                wanted = np.moveaxis(np.diagonal(whole, axis1=a, axis2=y.rank + b), -1, 0)
                assert found.shape == wanted.shape
                assert error_of(found, wanted) <= 1e-10


@smooth
def test_jacobians_are_lowered_too(op, checked):
    for sample in samples(op, 4, turn=9):
        case = Case(op, sample)
        y = case.node
        if y.dtype != "float" or any(0 in node.shape for node in (y, *case.leaves)) or not float_leaves(case):
            continue
        x = float_leaves(case)[0]
        case.graph.outputs["j"] = case.graph.add(ops.jacobian, [y, x])
        expand(case.graph)
        simplify(case.graph, final=True)
        made = case.graph.outputs["j"]
        [expected] = interpret.evaluate([made], case.feeds)
        [found] = run(file_of({"j": made}, case.leaves, "float64"), case.feeds, "float64", True)
        assert found.shape == expected.shape and error_of(found, expected) <= 1e-12
        checked(op)


# --- what it costs


def network(sizes: Sequence[int], batch=None) -> tuple[Graph, Node, Node]:
    """tanh(... tanh(x W1) W2 ...) of a vector, or of each row of a batch."""
    graph = Graph()
    x = leaf(graph, "x", *(() if batch is None else (batch,)), sizes[0])
    y = x if batch is not None else ops.expand_dims(x, 0)
    for i, (n, m) in enumerate(itertools.pairwise(sizes)):
        y = ops.tanh(ops.matmul(y, leaf(graph, f"W{i}", n, m)))
    return graph, x, y if batch is not None else ops.squeeze(y, 0)


@pytest.mark.parametrize(("sizes", "cheaper"), [((3, 40, 40, 60), "forward"), ((60, 40, 40, 3), "reverse")])
def test_the_cheaper_mode_of_a_tall_and_of_a_wide_jacobian(sizes, cheaper):
    """Both agree; forward multiplies less where there are few columns, reverse where there are few rows."""
    graph, x, y = network(sizes)
    before = dict.fromkeys(graph.order([y]))
    modes = {"forward": forward(y, x, (), moved, None, None), "reverse": reverse(y, x, (), gradients, None, None)}
    rng = np.random.default_rng(0)
    feeds = {
        "x": rng.normal(size=sizes[0]),
        **{f"W{i}": rng.normal(size=s) / 5 for i, s in enumerate(itertools.pairwise(sizes))},
    }
    columns, rows = interpret.evaluate(list(modes.values()), feeds)
    assert columns.shape == (sizes[-1], sizes[0]) and error_of(columns, rows) <= 1e-12
    costs = {name: multiplications(graph, [node], without=before) for name, node in modes.items()}
    other = {"forward": "reverse", "reverse": "forward"}[cheaper]
    assert costs[cheaper] * 5 < costs[other], costs
    page = (Path(__file__).parents[1] / "docs" / "derivatives.md").read_text("utf-8")
    assert all(f"{cost:,}" in page for cost in costs.values()), costs
    graph.outputs["j"] = graph.add(ops.jacobian, [y, x])
    expand(graph)
    assert graph.outputs["j"] is modes[cheaper]


def test_a_direction_that_all_rows_share_is_multiplied_once():
    """The first product of a Jacobian for each row does not grow with the batch."""

    def cost(batch: int) -> int:
        graph, x, y = network((50, 20), batch)
        before = dict.fromkeys(graph.order([y]))
        graph.outputs["j"] = graph.add(ops.jacobian, [y, x], {"per": ((0, 0),)})
        expand(graph)
        return multiplications(graph, [graph.outputs["j"]], without=before)

    assert cost(64) - cost(32) == 32 * (50 * 20 + 20)  # 1 − h², and its product with W


def test_one_sweep_for_all_tangents_along_a_direction():
    graph = Graph()
    x, v = leaf(graph, "x", 3), leaf(graph, "v", 3)
    y = x
    for _ in range(20):
        y = ops.sin(y)
        graph.outputs[f"t{len(graph.outputs)}"] = graph.add(ops.tangent, [y, x, v])
    assert not expand(graph)
    graph.prune()
    assert [node.op.name for node in graph.nodes].count("cos") == 20


# --- the functions of the language


def jax_network(np_):
    def f(x, w):
        h = np_.tanh(x @ w)
        p = np_.exp(h) / np_.sum(np_.exp(h), axis=-1, keepdims=True)
        return np_.concatenate([p[:, 1:], h[:, :2] * x[:, :2], np_.max(x, axis=1, keepdims=True)], axis=1)

    return f


NETWORK = (
    W
    + """p = softmax(h)
y = concat([p[:, 1:], h[:, 0:2] * x[:, 0:2], max(x, axis = 1, keepdims = true)], axis = 1)
"""
)
ORACLES = {
    "jacobian(y, x)": lambda j, f, x, w: j.jacobian(f, 0)(x, w),
    "jacobian(y, W)": lambda j, f, x, w: j.jacobian(f, 1)(x, w),
    "jacobian(y, x, per = batch)": lambda j, f, x, w: j.vmap(lambda row: j.jacobian(lambda r: f(r[None], w)[0])(row))(
        x
    ),
    "hessian(sum(y^2), x)": lambda j, f, x, w: j.hessian(lambda x: (f(x, w) ** 2).sum())(x),
    "hessian(sum(y^3), W)": lambda j, f, x, w: j.hessian(lambda w: (f(x, w) ** 3).sum())(w),
    "jvp(y, x, x * 2)": lambda j, f, x, w: j.jvp(lambda x: f(x, w), (x,), (x * 2,))[1],
    "jvp(y, W, 1)": lambda j, f, x, w: j.jvp(lambda w: f(x, w), (w,), (w * 0 + 1,))[1],
    "vjp(y, x, y)": lambda j, f, x, w: j.vjp(lambda x: f(x, w), x)[1](f(x, w))[0],
    "vjp(y, W, 1)": lambda j, f, x, w: j.vjp(lambda w: f(x, w), w)[1](f(x, w) * 0 + 1)[0],
    "hvp(sum(y^2), W, W)": lambda j, f, x, w: j.jvp(j.grad(lambda w: (f(x, w) ** 2).sum()), (w,), (w,))[1],
    # nested
    "grad(sum(jacobian(y, x, per = batch)^2), W)": lambda j, f, x, w: j.grad(
        lambda w: (j.vmap(lambda row: j.jacobian(lambda r: f(r[None], w)[0])(row))(x) ** 2).sum()
    )(w),
    "jvp(grad(sum(y^2), x), W, W)": lambda j, f, x, w: j.jvp(
        lambda w: j.grad(lambda x: (f(x, w) ** 2).sum())(x), (w,), (w,)
    )[1],
    "jacobian(jvp(y, x, 1), W)": lambda j, f, x, w: j.jacobian(
        lambda w: j.jvp(lambda x: f(x, w), (x,), (x * 0 + 1,))[1]
    )(w),
    "hvp(sum(vjp(y, x, 1)^2), W, 1)": lambda j, f, x, w: j.jvp(
        j.grad(lambda w: (j.vjp(lambda x: f(x, w), x)[1](f(x, w) * 0 + 1)[0] ** 2).sum()), (w,), (w * 0 + 1,)
    )[1],
    "grad(sum(hessian(sum(h^3), W)^2), x)": lambda j, f, x, w: j.grad(
        lambda x: (j.hessian(lambda w: (j.numpy.tanh(x @ w) ** 3).sum())(w) ** 2).sum()
    )(x),
    "grad(sum(grad(sum(vjp(y, x, x[:, 0:1] * y)), x)), x)": None,  # u is held in the inner one alone: by differences
}


@pytest.mark.parametrize("expression", ORACLES)
def test_against_jax(expression):
    jax = pytest.importorskip("jax")
    jax.config.update("jax_enable_x64", True)
    oracle = ORACLES[expression]
    rows = "4" if expression in ("jacobian(y, x)", "hessian(sum(y^2), x)") else "batch"
    spec = body(NETWORK + f"output z = {expression}", f"input x: float[{rows}, 3]")
    state = spec.start()
    found = spec.get("z", {"x": X, **state})
    f = jax_network(jax.numpy)
    if oracle is None:

        def inner(x):
            return jax.vjp(lambda t: f(t, state["W"]), x)[1](x[:, 0:1] * f(x, state["W"]))[0].sum()

        expected = jax.grad(lambda x: jax.grad(inner)(x).sum())(X)
    else:
        expected = oracle(jax, f, jax.numpy.asarray(X), jax.numpy.asarray(state["W"]))
    assert error_of(found, expected) <= 1e-9


def test_by_an_intermediate_value():
    spec = body(
        W + "y = h^3\noutput z = jvp(y, h, h)\noutput j = jacobian(sum(y, axis = 1), h, per = batch)\n"
        "output q = hvp(sum(y), h, 1)\noutput u = vjp(y, h, h)"
    )
    state = spec.start()
    h = np.tanh(X @ state["W"])
    for name, expected in (("z", 3 * h**3), ("j", 3 * h**2), ("q", 6 * h), ("u", 3 * h**3)):
        np.testing.assert_allclose(spec.get(name, {"x": X, **state}), expected, atol=1e-12)


def test_the_gradient_of_a_penalty_on_the_jacobian_against_differences():
    """Contraction as Rifai et al. (2011) have it, in closed form and by differences of a training step's loss."""
    spec = body(
        W + "loss = mean(sum(jacobian(h, x, per = batch)^2, axis = [1, 2]))\n"
        "output z = mean(sum(jacobian(h, x, per = batch)^2, axis = [1, 2]))\noutput g = grad(loss, W)"
    )
    state = spec.start()

    def penalty(w):
        h = np.tanh(X @ w)
        return ((1 - h**2) ** 2 @ (w**2).sum(0)).mean()

    assert error_of(spec.get("z", {"x": X, **state}), penalty(state["W"])) <= 1e-12
    numeric = np.empty((3, 4))
    for index in np.ndindex(3, 4):
        unit = np.zeros((3, 4))
        unit[index] = 1
        numeric[index] = slope(lambda h, unit=unit: penalty(state["W"] + h * unit))
    assert error_of(spec.get("g", {"x": X, **state}), numeric) <= 1e-8


def test_dimensions_keep_their_names():
    spec = body(
        "param W: float[3, 4] init glorot_uniform\nh: float[batch, k] = tanh(x @ W)\n"
        "j = jacobian(h, x, per = batch)\noutput z = sum(j, axis = k)\noutput b = mean(j, axis = batch)"
    )
    state = spec.start()
    assert spec.get("z", {"x": X, **state}).shape == (4, 3) and spec.get("b", {"x": X, **state}).shape == (4, 3)


def test_rows_need_not_stand_in_front():
    """`per` finds its dimension by name in both; the blocks stand in front."""
    spec = body("t = transpose(x)\noutput z = jacobian(sin(t), x, per = batch)")
    expected = np.einsum("bi,ij->bij", np.cos(X), np.eye(3))
    np.testing.assert_allclose(spec.get("z", {"x": X}), expected)


@pytest.mark.parametrize("mixed", [
    "h - mean(h, axis = 0)", "softmax(h, axis = 0)", "flip(h, 0) * h", "h * (transpose(h) @ h)[0]", "h + h[0]",
    "h * sum(h, axis = 0, keepdims = true)", "h / max(abs(h))", "sort(h, axis = 0)", "cumsum(h, axis = 0)",
    "h + (transpose(sin(h[0:4])) |> layer_norm)[0]", "transpose(max_pool(transpose(h)[none], 1)[0])",
])  # fmt: skip
def test_rows_that_are_mixed_are_refused(mixed):
    text = f"{W}y: float[batch, ...] = {mixed}\noutput z = jacobian(y, x, per = batch)"
    assert codes(f"model m {{ input x: float[batch, 3]\n{text} }}") == ["E0413"]


@pytest.mark.parametrize("apart", [
    "reshape(h, [batch, 2, 2])", "h[:, 1:3] * h[:, 0:1]", "transpose(transpose(h) * 2)", "h[:, none] * h[:, :, none]",
    "reshape(h, [batch, 2, 2]) @ reshape(h, [batch, 2, 2])", "where(h > 0, h, exp(h) - 1)", "softmax(h)",
    "concat([h, pick(h, argmax(h))[:, none]], axis = 1)", "logsumexp(h, axis = 1)", "gather(h, arange(3), axis = 1)",
    "h * stop_gradient(1 + 0 * mean(h))", "where(h > max(h, axis = 0), h, h^2)", "sort(h)", "cumsum(h, axis = 1)",
    "h |> layer_norm", "tril(h[:, :, none] * h[:, none])", "h[:, none] |> conv(2, kernel = 3, pad = 1)",
    "h[:, none] |> conv(2, kernel = 2, stride = 2) |> max_pool(2)", "avg_pool(h[:, none], 2)",
])  # fmt: skip
def test_rows_that_stay_apart(apart):
    """Every block is what the row alone gives."""
    spec = body(W + f"y: float[batch, ...] = {apart}\noutput z = jacobian(y, x, per = batch)\noutput y = y")
    state = spec.start()
    whole = spec.get("z", {"x": X, **state})
    for i, row in enumerate(X):
        np.testing.assert_allclose(whole[i : i + 1], spec.get("z", {"x": row[None], **state}), atol=1e-12)
        for j in range(3):
            numeric = slope(lambda h, j=j, row=row: spec.get("y", {"x": (row + h * np.eye(3)[j])[None], **state})[0])
            assert error_of(whole[i, ..., j], numeric) <= 1e-6


SCANS = {  # of x: float[batch, time, 2]
    "states and emits": "scan t over time {\n state h: float[batch] = 0.0\n h <- sin(h) + x[:, t, 0]\n"
    " e[:, t] = h * x[:, t, 1]\n}\ny: float[batch, ...] = stack([h, sum(e, axis = 1)], axis = 1)",
    "in front": "scan t over reverse(time) {\n state h: float[2, batch] = 0.0\n h <- tanh(h + transpose(x[:, t]))\n"
    " e[t] = h\n}\ny: float[batch, ...] = transpose(e[0])",
    "a state that starts with rows": "scan t over time {\n state h: float[batch, 2] = x[:, 0]\n h <- h * x[:, t]\n}\n"
    "y: float[batch, ...] = h",
    "by another state": "scan t over time {\n state a: float[batch] = 0.0\n state b: float[batch] = 1.0\n"
    " b <- b + a^2\n a <- sin(a) + x[:, t, 0]\n}\ny: float[batch, ...] = b",
    "in a scan": "scan t over time {\n state h: float[batch] = 0.0\n scan k over 0..2 {\n"
    "  state g: float[batch] = 0.0\n  g <- sin(g + h + x[:, t, k])\n }\n h <- g\n}\n"
    "y: float[batch, ...] = h",
    "what mixes is not asked for": "scan t over time {\n state h: float[batch] = 0.0\n state m: float[batch] = 0.0\n"
    " h <- sin(h) + x[:, t, 0]\n m <- m + mean(h)\n}\noutput m = sum(m)\n"
    "y: float[batch, ...] = h",
    "shared and held": "scan t over time {\n state h: float[batch] = 0.0\n"
    " h <- sin(h - stop_gradient(0 * mean(h))) + x[:, t, 0]\n}\ny: float[batch, ...] = h",
    **{
        f"{layer}{how}": f"y: float[batch, ...] = (x |> {layer}(3{how}))[:, {at}]"
        for layer in ("rnn", "gru", "lstm")
        for how, at in (("", -1), (", backward = true", 0))
    },
    "more emits than scanned values": "param W: float[2, 2] init glorot_uniform\nscan t over time {\n"
    " state h: float[batch, 2] = 0.0\n state g: float[batch, 2] = 1.0\n"
    " a[:, t] = h * g\n b[:, t] = h / (1 + g^2)\n h <- tanh(x[:, t] @ W + h)\n"
    " g <- g + h^2 @ W\n}\ny: float[batch, ...] = sum(a * b, axis = 1)",
    "lengths": "r = lstm(3)\ny: float[batch, ...] = r(x, lengths = 1 + where(x[:, 0, 0] > 0, 1, 0))[:, 1]",
    "two layers": "y: float[batch, ...] = (x |> rnn(3) |> gru(2))[:, -1]",
    "of a gradient": "v = (x |> rnn(2))[:, -1]\ny = grad(sum(v^3), x)",
}
SEQUENCES = np.random.default_rng(5).normal(size=(3, 3, 2))


@pytest.mark.parametrize("name", SCANS)
def test_rows_stay_apart_through_a_scan_over_time(name):
    """Every block is what the row alone gives, and differences give."""
    time = 3 if name == "of a gradient" else "time"  # one of both sides must have a size
    spec = body(
        f"{SCANS[name]}\noutput z = jacobian(y, x, per = batch)\noutput y = y", f"input x: float[batch, {time}, 2]"
    )
    state = spec.start()
    whole = spec.get("z", {"x": SEQUENCES, **state})
    for i, row in enumerate(SEQUENCES):
        np.testing.assert_allclose(whole[i : i + 1], spec.get("z", {"x": row[None], **state}), atol=1e-12)
        for at in np.ndindex(3, 2):
            unit = np.zeros((3, 2))
            unit[at] = 1
            numeric = slope(lambda h, unit=unit, row=row: spec.get("y", {"x": (row + h * unit)[None], **state})[0])
            assert error_of(whole[(i, ..., *at)], numeric) <= 1e-6


def test_rows_stay_apart_through_rules_of_an_iteration() -> None:
    """What flows back to weights mixes rows, and does not count: they do not depend on x."""
    spec = Spec("""fn spike(v) = where(v > 0, 1.0, 0.0)
    derivative spike(g, y, v) = g / (1 + 10 * abs(v))^2
    fn affine(x: float[n, k], w: float[k, m]) = tanh(x @ w)
    derivative affine(g, y, x, w) {
        d = g * (1 - y^2)
        return d @ transpose(w), transpose(x) @ d
    }
    model m {
        input x: float[batch, time, 2]
        param W: float[2, 2] init glorot_uniform
        scan t over time {
            state h: float[batch, 2] = 0.0
            h <- affine(h + x[:, t], W) + spike(h)
        }
        output z = jacobian(h, x, per = batch)
    }""")
    state = spec.start()
    whole = spec.get("z", {"x": SEQUENCES, **state})
    assert whole.shape == (3, 2, 3, 2) and np.abs(whole).min() > 0
    for i, row in enumerate(SEQUENCES):
        np.testing.assert_allclose(whole[i : i + 1], spec.get("z", {"x": row[None], **state}), atol=1e-12)


@pytest.mark.parametrize(
    "mixed",
    [
        "scan t over time {\n state h: float[batch] = 0.0\n h <- h + x[:, t, 0] - mean(x[:, t, 0])\n}\n"
        "y: float[batch] = h",
        "scan t over time {\n state h: float[batch] = 0.0\n h <- flip(h, 0) + x[:, t, 0]\n}\ny: float[batch] = h",
        "scan t over time {\n state h: float[batch] = 0.0\n state m: float = 0.0\n m <- m + sum(x[:, t, 0])\n"
        " h <- h + m\n}\ny: float[batch] = h",
        "scan i over batch {\n state h: float[2] = 0.0\n h <- h + x[i, 0]\n e[i] = h\n}\ny: float[batch, 2] = e",
        "scan t over time {\n state h: float[batch] = 0.0\n scan k over 0..2 {\n  state g: float[batch] = 0.0\n"
        "  g <- g + h + x[:, t, k] * max(h)\n }\n h <- g\n}\ny: float[batch] = h",
        "scan t over 0..3 {\n state h: float[batch, batch] = 0.0\n h <- transpose(h) + x[:, t, 0]\n}\n"
        "y: float[batch, ...] = sum(h, axis = 1)",
    ],
)
def test_rows_that_a_scan_mixes_are_refused(mixed):
    text = f"{mixed}\noutput z = jacobian(y, x, per = batch)"
    assert codes(f"model m {{ input x: float[batch, time, 2]\n{text} }}") == ["E0413"]


@pytest.mark.parametrize(
    "named", ["reshape(h, [batch, 2, 2])", "broadcast_to(h, [batch, 4])", "broadcast_to(h, [3, batch, 4])[0]"]
)
def test_a_size_given_by_name_names_the_dimension(named):
    spec = body(f"{W}y = {named}\noutput z = jacobian(y, x, per = batch)")
    assert spec.get("z", {"x": X, **spec.start()}).shape[0] == len(X)


def test_free_sizes():
    """A free dimension of y alone, or of x alone, stays free; of both it has no size that is known."""
    spec = body(W + "output z = jacobian(h, W)\noutput y = jacobian(sum(h, axis = 0), x)")
    state = spec.start()
    for rows in (1, 3):
        assert spec.get("z", {"x": X[:rows], **state}).shape == (rows, 4, 3, 4)
        assert spec.get("y", {"x": X[:rows], **state}).shape == (4, rows, 3)
    text = f"model m {{ input x: float[batch, 3]\n{W}output z = jacobian(h, x) }}"
    assert codes(text) == ["E0411"]


def test_the_limit_on_nodes_is_asked_before_a_graph_is_unrolled():
    """An operation without a rule for all directions is written for each; the message has the count."""
    graph = Graph()
    x = leaf(graph, "x", 50)
    y = ops.softmax(x, axis=0)
    direction = ops.make_formal(graph, x.type)
    z = ops.softmax(direction, axis=0) * y  # a softmax is in no tangent: it has no rule
    many = ops.reshape(ops.one_hot(ops.make_arange(graph, 50), depth=50), shape=(50, 50))
    size = len(graph)
    with pytest.raises(CompileError) as caught:
        along([z], {direction: many}, 50, 100)
    assert caught.value.code == "E0220" and "150" in str(caught.value) and len(graph) == size
    [found] = along([z], {direction: many}, 50, 200)
    fed = {"x": np.linspace(-1, 1, 50)}
    soft = np.exp(np.eye(50)) / np.exp(np.eye(50)).sum(1, keepdims=True)
    expected = soft * (np.exp(fed["x"]) / np.exp(fed["x"]).sum())
    np.testing.assert_allclose(interpret.evaluate([found], fed)[0], expected)


def test_the_units_through_a_product_are_the_matrix():
    """J of x W is W: no multiplication at all, in either orientation."""
    for shape, flag in (((5, 4), False), ((4, 5), True)):
        graph = Graph()
        x, w = leaf(graph, "x", 7, 5), leaf(graph, "w", *shape)
        y = ops.matmul(x, w, tb=flag)
        graph.outputs["j"] = graph.add(ops.jacobian, [y, x], {"per": ((0, 0),)})
        expand(graph)
        assert multiplications(graph, [graph.outputs["j"]]) == 0
        value = np.random.default_rng(1).normal(size=shape)
        [found] = interpret.evaluate([graph.outputs["j"]], {"x": np.zeros((7, 5)), "w": value})
        assert np.array_equal(found, np.broadcast_to(value if flag else value.T, (7, 4, 5)))
