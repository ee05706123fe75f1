"""`checkpoint { ... }`: the same numbers, from less memory."""

from __future__ import annotations

import re

import dlc
import numpy as np
import pytest
from dlc import ops
from dlc.autodiff.reverse import gradients
from dlc.ir import interpret
from dlc.ir.graph import Graph, Node
from dlc.ir.types import TensorType
from dlc.ops.leaf import make_input, make_variable
from dlc.optimize import fuse, simplify
from dlc.pipeline import check, optimize, source_of
from op_cases import file_of, run
from spec_cases import SGD, Spec, codes

from benchmarks.checkpoint import in_a_process

ROWS = np.random.default_rng(0).normal(size=(6, 4))


def chain(layers: int, block: int) -> tuple[Graph, Node, list[Node], Node]:
    graph = Graph()
    x = make_input(graph, "x", TensorType("float", (6, 4)))
    weights = [make_variable(graph, f"w{i}", TensorType("float", (4, 4))) for i in range(layers)]
    h = x
    for i, w in enumerate(weights):
        with graph.at(block=1 + i // block if block else 0):
            h = ops.tanh(h @ w)
    return graph, x, weights, ops.reduce_sum(h * h, axes=(0, 1))


def without(text: str) -> str:
    """The spec without its blocks."""
    return re.sub(r"checkpoint\s*{([^{}]*)}", r"\1", text)


# --- the graph


def test_a_backward_pass_reads_only_what_enters_its_blocks():
    graph, x, weights, target = chain(12, 3)
    forward = dict.fromkeys(graph.order([target]))
    found = gradients(target, [*weights, x])
    read = {source for node in graph.order(found) if node not in forward for source in node.inputs}
    kept = [node for node in forward if node in read and node.op.name in ("tanh", "matmul")]
    # the results of the four blocks, each tied when it enters the next one or is derived itself
    assert [node.op.name for node in kept] == ["tanh"] * 4
    ties = [node for node in graph.order(found) if node.op.name == "tie"]
    assert dict.fromkeys(node.inputs[0] for node in ties).keys() == dict.fromkeys([x, *kept[:3]]).keys()


def test_the_numbers_are_the_same_to_the_last_bit():
    rng = np.random.default_rng(1)
    values = {f"w{i}": rng.normal(size=(4, 4)) for i in range(9)}
    results = []
    for block in (0, 1, 2, 3, 9):
        _, x, weights, target = chain(9, block)
        found = gradients(target, [*weights, x])
        [again] = gradients(ops.reduce_sum(found[0] * found[0], axes=(0, 1)), [weights[3]])
        feeds = {x: ROWS, **{w: values[w.attrs["path"]] for w in weights}}
        results.append(interpret.evaluate([*found, again], feeds))
    for other in results[1:]:
        assert all((a == b).all() for a, b in zip(results[0][:-1], other[:-1], strict=True))
        assert np.allclose(results[0][-1], other[-1], rtol=1e-12)


def test_our_rewrites_respect_the_tie():
    graph, _, weights, target = chain(6, 2)
    found = gradients(target, weights)
    graph.outputs.update({f"g{i}": node for i, node in enumerate(found)})
    simplify(graph, final=True)
    fuse(graph)
    names = [node.op.name for node in graph.order(graph.outputs.values())]
    assert names.count("tie") == 3 and names.count("tanh") == 9


def test_every_dtype_that_enters_is_tied():
    """Floats, integers, booleans and keys; by a scalar, a tensor and one without elements."""
    for shape in ((), (3, 2), (0, 2)):
        graph = Graph()
        g = make_input(graph, "g", TensorType("float", shape))
        leaves = [make_input(graph, dtype, TensorType(dtype, (2, 3))) for dtype in ("float", "int", "bool", "key")]
        roots = {f"tied {node.dtype}": ops.tie(node, g, leaves[0]) for node in leaves}
        for special in (1.0, np.nan, np.inf):
            feeds = {
                "g": np.full(shape, special),
                "float": np.full((2, 3), 0.5),
                "int": np.arange(6).reshape(2, 3),
                "bool": np.eye(2, 3, dtype=bool),
                "key": np.arange(6, dtype=np.uint64).reshape(2, 3),
            }
            for precision in ("float32", "float64"):
                for optimized in (False, True):
                    found = run(file_of(roots, [g, *leaves], precision), feeds, precision, optimized)
                    for value, leaf in zip(found, leaves, strict=True):
                        assert (value == feeds[leaf.attrs["name"]]).all()


# --- the statement

BLOCKS = """model m {
    input  x: float[batch, 4]
    target y: float[batch, 4]
    h = x
    for i in 0..4 {
        checkpoint {
            h = h + tanh(h |> dense(4) |> centred) |> dropout(0.25)
            seen = mean(abs(h))
        }
    }
    loss = mean((h - y)^2) + 0.01 * seen
    output z = h
}
layer centred()(x: float[batch, n]) {
    state mean_of: float[n] = 0
    m = mean(x, axis = batch)
    if training { mean_of <- 0.9 * mean_of + 0.1 * m } else { m = mean_of }
    return x - m
}
"""


def test_it_opens_no_scope_and_keeps_draws_and_states():
    """Three updates with dropout and running means: the same with and without, in ONNX Runtime."""
    data = {"x": ROWS, "y": ROWS[::-1]}
    results = []
    for text in (BLOCKS, without(BLOCKS)):
        trainer = dlc.Trainer(dlc.compile(text + SGD, precision="float64", seed=3), device="cpu", seed=3)
        losses = [trainer.step(data)["loss"] for _ in range(3)]
        results.append((losses, dict(trainer.parameters), dict(trainer.state)))
    assert np.allclose(results[0][0], results[1][0], rtol=1e-12)
    for one, other in zip(results[0][1:], results[1][1:], strict=True):
        assert list(one) == list(other)
        for name in one:
            assert np.allclose(one[name], other[name], rtol=1e-10, atol=1e-12), name


def test_draws_are_made_again():
    module = check(*source_of(BLOCKS + SGD))[0]
    optimize(module, "float32")
    names = [node.op.name for node in module.graph.order([module.graph.outputs["next/dense.W"]])]
    drawn = sum(name.startswith("random_") for name in names)
    assert drawn == 16 and names.count("tie") >= 8


def test_a_derivative_of_a_derivative():
    text = """model m {
        input  x: float[batch, 4]
        target y: float[batch, 4]
        h = x
        for i in 0..3 { checkpoint { h = tanh(h |> dense(4)) } }
        energy = sum(h)
        force = -grad(energy, x)
        loss = mean((force - y)^2)
        output force = force
    }
    """
    data = {"x": ROWS, "y": ROWS[::-1]}
    found = []
    for spec in (Spec(text + SGD), Spec(without(text) + SGD)):
        found.append(spec.step(spec.start(), **data))
    assert found[0][0] == pytest.approx(found[1][0], rel=1e-14)
    for name, value in found[0][1].items():
        assert np.allclose(value, found[1][1][name], rtol=1e-11, atol=1e-14), name


def test_blocks_in_layers_and_in_blocks():
    text = """model m {
        input  x: float[batch, 4]
        target y: float[batch, 4]
        f = residual()
        checkpoint { h = x |> f |> f; g = h * 2 }
        loss = mean((h + g - y)^2)
        output z = h
    }
    layer residual()(x: float[batch, n]) {
        checkpoint { u = tanh(x |> dense(n)); return x + sin(u) * u }
    }
    """
    data = {"x": ROWS, "y": ROWS[::-1]}
    inner = text.replace("checkpoint { u", "u").replace("* u }", "* u")
    specs = [Spec(t + SGD) for t in (text, inner, without(inner))]
    steps = [spec.step(spec.start(), **data) for spec in specs]
    for loss, state in steps[1:]:
        assert loss == pytest.approx(steps[0][0], rel=1e-14)
        for name, value in state.items():
            assert np.allclose(value, steps[0][1][name], rtol=1e-11, atol=1e-14), name


RECURRENT = """model m {
    input  x: float[batch, time, 3]
    target y: float[batch, 4]
    checkpoint {
        u = tanh(x |> dense(4))
        scan t over time {
            state h: float[batch, 4] = 0
            INNER
        }
        v = sin(h |> dense(4))
    }
    loss = mean((v - y)^2)
    output z = v
}
"""


def test_a_scan_in_a_block_and_a_block_in_a_scan():
    rng = np.random.default_rng(0)
    data = {"x": rng.normal(size=(5, 6, 3)), "y": rng.normal(size=(5, 4))}
    plain = RECURRENT.replace("INNER", "h <- tanh(u[:, t] + 0.5 * h)")
    inner = RECURRENT.replace("INNER", "checkpoint { a = tanh(u[:, t] + 0.5 * h); h <- a }")
    unblocked = plain.replace("checkpoint {", "if true {")
    specs = [Spec(text + SGD) for text in (unblocked, plain, inner)]
    steps = [spec.step(spec.start(), **data) for spec in specs]
    for loss, state in steps[1:]:
        assert loss == pytest.approx(steps[0][0], rel=1e-14)
        for name, value in state.items():
            assert np.allclose(value, steps[0][1][name], rtol=1e-11, atol=1e-14), name
    names = [node.op.name for node in specs[1].module.graph.order(specs[1].module.graph.outputs.values())]
    assert "tie" in names


def test_what_cannot_be_written():
    assert codes("model m { input x: float[batch, 2]\n checkpoint = x\n output z = x }") == ["E0102"]
    assert codes("model m { input x: float[batch, 2]\n checkpoint { z = x @ x }\n output y = z }") == ["E0312"]


# --- memory


@pytest.mark.parametrize("stock", [False, True], ids=["dlc", "stock"])
def test_peak_memory_falls_to_the_square_root(stock, tmp_path):
    """100 layers in blocks of 10: about 2 x 10 activations instead of 100 and more, whatever order ONNX Runtime takes;
    the updated parameters are the same."""
    layers, rows = 100, 8192
    one = rows * 64 * 4 / 1e6
    plain = in_a_process(layers, 0, rows, stock=stock, save=tmp_path / "plain.npz")
    blocks = in_a_process(layers, 10, rows, stock=stock, save=tmp_path / "blocks.npz")
    assert plain["megabytes"] > 0.9 * layers * one
    assert blocks["megabytes"] < 45 * one
    a, b = np.load(tmp_path / "plain.npz"), np.load(tmp_path / "blocks.npz")
    assert len(a.files) > layers and a.files == b.files
    for name in a.files:
        assert np.allclose(a[name], b[name], rtol=1e-5, atol=1e-6), name
