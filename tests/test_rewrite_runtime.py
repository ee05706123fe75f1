"""What the runtime makes of a graph for its provider: the same numbers, counted; what does not fit exactly stays."""

from __future__ import annotations

import itertools
import logging

import dlc
import numpy as np
import pytest
from dlc.runtime.rewrite import FACTORS, GEMMS, TRANSPOSES, rewritten
from dlc.runtime.session import Options, Session
from onnx import TensorProto, helper, numpy_helper

FLOAT, DOUBLE = TensorProto.FLOAT, TensorProto.DOUBLE


def node(op: str, inputs: str, output: str, **attributes: object):
    return helper.make_node(op, inputs.split(), [output], name=output, **attributes)


def model(nodes, inputs: dict[str, list], outputs: list[str], held: dict[str, object] | None = None, kind: int = FLOAT):
    dtype = helper.tensor_dtype_to_np_dtype(kind)
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info(name, kind, shape) for name, shape in inputs.items()],
        [helper.make_tensor_value_info(name, kind, None) for name in outputs],
        [numpy_helper.from_array(np.asarray(value, dtype), name) for name, value in (held or {}).items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)


def swap(rank: int) -> list[int]:
    return [*range(rank - 2), rank - 1, rank - 2]


def operators(made) -> list[str]:
    return [node.op_type for node in made.graph.node]


def run(made, feeds):
    """As the model stands, without any rewriting of ours or of ONNX Runtime."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(made.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, feeds)


LEADS = [(), (3,), (2, 3), (1, 3), (2, 1)]


@pytest.mark.parametrize("kind", [FLOAT, DOUBLE])
@pytest.mark.parametrize(("ta", "tb"), [(True, False), (False, True), (True, True)])
@pytest.mark.parametrize(("left", "right"), list(itertools.product(LEADS, LEADS)))
def test_products_take_transposes_of_every_rank(left, right, ta, tb, kind):
    rng = np.random.default_rng(0)
    dtype = helper.tensor_dtype_to_np_dtype(kind)
    a = rng.normal(size=(*left, *((5, 4) if ta else (4, 5)))).astype(dtype)
    b = rng.normal(size=(*right, *((6, 5) if tb else (5, 6)))).astype(dtype)
    nodes = []
    for name, array, flag in (("a", a, ta), ("b", b, tb)):
        if flag:
            nodes.append(node("Transpose", name, f"{name}t", perm=swap(array.ndim)))
    nodes.append(node("MatMul", f"{'at' if ta else 'a'} {'bt' if tb else 'b'}", "y"))
    before = model(nodes, {"a": list(a.shape), "b": list(b.shape)}, ["y"], kind=kind)
    after, counts = rewritten(before, "cpu")
    assert operators(after) == ["FusedMatMul"] and counts == {TRANSPOSES: ta + tb}
    assert operators(before)[-1] == "MatMul"  # what was given stays
    for x, y in zip(run(before, {"a": a, "b": b}), run(after, {"a": a, "b": b}), strict=True):
        assert x.dtype == y.dtype
        np.testing.assert_allclose(y, x, rtol=1e-5 if kind == FLOAT else 1e-12, atol=1e-6 if kind == FLOAT else 1e-14)


@pytest.mark.parametrize(
    ("nodes", "left"),
    [
        ([node("Mul", "a c", "ac"), node("MatMul", "ac b", "y")], ["FusedMatMul"]),
        ([node("Div", "a c", "ac"), node("MatMul", "ac b", "y")], ["FusedMatMul"]),
        ([node("MatMul", "a b", "ab"), node("Div", "ab c", "y")], ["FusedMatMul"]),
        ([node("MatMul", "a b", "ab"), node("Mul", "c ab", "x"), node("Mul", "x c", "y")], ["FusedMatMul"]),
        (
            [
                node("Mul", "a c", "ac"),
                node("Transpose", "b", "bt", perm=[0, 2, 1]),
                node("Mul", "bt c", "btc"),
                node("MatMul", "ac btc", "x"),
                node("Mul", "x c", "y"),
            ],
            ["FusedMatMul"],
        ),
        # one of two products reads it transposed
        (
            [
                node("Mul", "a c", "ac"),
                node("Transpose", "ac", "act", perm=[0, 2, 1]),
                node("MatMul", "ac b", "ab"),
                node("MatMul", "act ab", "y"),
            ],
            ["FusedMatMul"] * 2,
        ),
        # two products read what is scaled: both take the factor
        ([node("Mul", "a c", "ac"), node("MatMul", "ac b", "ab"), node("MatMul", "ac ab", "y")], ["FusedMatMul"] * 2),
    ],
)
def test_products_take_factors(nodes, left):
    rng = np.random.default_rng(1)
    feeds = {"a": rng.normal(size=(3, 4, 4)).astype("float32"), "b": rng.normal(size=(3, 4, 4)).astype("float32")}
    before = model(nodes, {"a": ["n", 4, 4], "b": ["n", 4, 4]}, ["y"], {"c": 0.3})
    after, counts = rewritten(before, "cpu")
    assert operators(after) == left and counts[FACTORS] == sum(n.op_type in ("Mul", "Div") for n in nodes) + (
        len(left) - 1
    )
    np.testing.assert_allclose(run(after, feeds)[0], run(before, feeds)[0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "nodes",
    [
        # another permutation
        [node("Transpose", "a", "at", perm=[1, 0, 2]), node("MatMul", "at b", "y")],
        [node("Transpose", "a", "at"), node("MatMul", "at b", "y")],
        # a factor of each row, one that is fed, and nought
        [node("Mul", "a r", "ac"), node("MatMul", "ac b", "y")],
        [node("Mul", "a s", "ac"), node("MatMul", "ac b", "y")],
        [node("Div", "a zero", "ac"), node("MatMul", "ac b", "y")],
        [node("Div", "c a", "ac"), node("MatMul", "ac b", "y")],
        # something else reads the scaled value, or the product
        [node("Mul", "a c", "ac"), node("MatMul", "ac b", "ab"), node("Add", "ab ac", "y")],
        [node("MatMul", "a b", "ab"), node("Mul", "ab c", "x"), node("Add", "ab x", "y")],
        # a vector: the kernel takes matrices
        [node("Mul", "v c", "vc"), node("MatMul", "vc b", "y")],
        # an operator of that name from elsewhere
        [node("Transpose", "a", "at", perm=[0, 2, 1], domain="other"), node("MatMul", "at b", "y")],
    ],
)
def test_what_does_not_fit_stays(nodes):
    before = model(
        nodes, {"a": [4, 4, 4], "b": [4, 4, 4], "r": [4, 1], "s": [], "v": [4]}, ["y"], {"c": 0.3, "zero": 0.0}
    )
    after, counts = rewritten(before, "cpu")
    assert after is before and counts == {}


def test_a_factor_that_float32_cannot_hold_stays_beside_doubles():
    nodes = [node("Mul", "a c", "ac"), node("MatMul", "ac b", "y")]
    for value, count in ((0.3, {}), (0.25, {FACTORS: 1})):
        before = model(nodes, {"a": [2, 2], "b": [2, 2]}, ["y"], {"c": value}, DOUBLE)
        assert rewritten(before, "cpu")[1] == count


def test_a_default_that_a_feed_may_replace_is_no_number():
    nodes = [node("Mul", "a c", "ac"), node("MatMul", "ac b", "y")]
    before = model(nodes, {"a": [2, 2], "b": [2, 2], "c": []}, ["y"], {"c": 0.25})
    assert rewritten(before, "cpu")[1] == {}


def test_a_transpose_that_is_an_output_too_stays_beside_the_product():
    nodes = [node("Transpose", "a", "at", perm=[1, 0]), node("MatMul", "at b", "y")]
    after, counts = rewritten(model(nodes, {"a": [3, 2], "b": [3, 2]}, ["y", "at"]), "cpu")
    assert operators(after) == ["Transpose", "FusedMatMul"] and counts == {TRANSPOSES: 1}


def test_a_session_says_what_it_rewrote(caplog):
    nodes = [node("Transpose", "a", "at", perm=[1, 0]), node("MatMul", "at b", "y")]
    made = model(nodes, {"a": [3, 2], "b": [3, 2]}, ["y"])
    with caplog.at_level(logging.DEBUG, "dlc.runtime"):
        session = Session(made, Options(fused=True))
    assert session.rewrites == {TRANSPOSES: 1}
    assert f"1 × {TRANSPOSES}" in caplog.text
    a = np.arange(6, dtype=np.float32).reshape(3, 2)
    np.testing.assert_array_equal(session.run(["y"], {"a": a, "b": a})[0], a.T @ a)


ATTENTION = """
model attention {
    input  x: float[batch, 8, 16]
    target y: float[batch, 8, 16]
    q = x |> dense(16)
    k = x |> dense(16)
    s = (q @ transpose(k, [0, 2, 1])) / sqrt(16)
    loss = mean((softmax(s) @ x - y)^2)
    output z = softmax(s) @ x
}
train attention { minimize loss using sgd(0.1) }
"""


def test_no_transpose_stands_before_a_product_in_the_graph_that_runs():
    trainer = dlc.Trainer(dlc.compile(ATTENTION), device="cpu")
    assert trainer.rewrites[TRANSPOSES] >= 2
    stored = trainer.file.model
    assert {opset.domain for opset in stored.opset_import} == {""}  # the file holds standard operators only
    [session] = trainer.stepper._sessions
    assert session.rewrites.items() <= trainer.rewrites.items()


def test_a_step_is_the_same_without_rewriting(monkeypatch):
    rng = np.random.default_rng(2)
    batch = {name: rng.normal(size=(4, 8, 16)).astype("float32") for name in "xy"}

    def train() -> dict[str, np.ndarray]:
        trainer = dlc.Trainer(dlc.compile(ATTENTION), device="cpu", seed=3)
        for _ in range(3):
            trainer.step(batch)
        return {name: trainer.parameters[name] for name in trainer.parameters}

    fast = train()
    monkeypatch.setattr("dlc.runtime.session.rewrite.rewritten", lambda model, *how: (model, {}))
    for name, plain in train().items():
        np.testing.assert_allclose(fast[name], plain, rtol=1e-5, atol=1e-6)


def test_a_gemm_takes_the_factor_of_what_others_read_as_it_is() -> None:
    """GELU's last factor: the derivative reads the product without it."""

    def made(*more):
        nodes = [node("Mul", "a b", "m"), node("Div", "m c", "d"), node("Gemm", "d w v", "y", alpha=0.5), *more]
        given = {"a": [3, 4], "b": [3, 4], "w": [4, 5], "v": [5]}
        return model(nodes, given, ["y", *(each.output[0] for each in more)], {"c": 1.3})

    after, counts = rewritten(made(node("Neg", "m", "z")), "cpu")
    assert operators(after) == ["Mul", "Gemm", "Neg"] and counts == {GEMMS: 1}
    rng = np.random.default_rng(0)
    feeds = {
        name: rng.normal(size=s).astype("f4") for name, s in (("a", (3, 4)), ("b", (3, 4)), ("w", (4, 5)), ("v", 5))
    }
    for x, y in zip(run(after, feeds), run(made(node("Neg", "m", "z")), feeds), strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-6)
    for stays in (made(), made(node("Neg", "d", "z"))):  # a pass is needed anyway
        assert rewritten(stays, "cpu")[1] == {}


def test_products_take_the_factor_of_a_triangle() -> None:
    """A derivative of masked scores: of 2 x what lies above the diagonal is 0, as of x."""
    nodes = [node("Mul", "a c", "m"), node("Trilu", "m", "t", upper=0), node("MatMul", "t b", "y"),
             node("Transpose", "t", "tt", perm=[0, 2, 1]), node("MatMul", "tt b", "z")]  # fmt: skip
    before = model(nodes, {"a": [3, 4, 4], "b": [3, 4, 5]}, ["y", "z"], {"c": 1.7})
    after, counts = rewritten(before, "cpu")
    assert operators(after) == ["Trilu", "FusedMatMul", "FusedMatMul"] and counts == {TRANSPOSES: 1, FACTORS: 2}
    rng = np.random.default_rng(0)
    feeds = {name: rng.normal(size=shape).astype("f4") for name, shape in (("a", (3, 4, 4)), ("b", (3, 4, 5)))}
    for x, y in zip(run(after, feeds), run(before, feeds), strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-6)
    seen = model([*nodes, node("Neg", "t", "n")], {"a": [3, 4, 4], "b": [3, 4, 5]}, ["y", "z", "n"], {"c": 1.7})
    assert operators(rewritten(seen, "cpu")[0])[0] == "Mul"


def chained(seed: int) -> tuple[list, list[str]]:
    """A random program of products, factors, transposes and triangles of matrices of one shape, and what it gives."""
    rng = np.random.default_rng(seed)
    nodes, there = [], ["a", "b"]
    for k in range(10):
        x, y = (there[max(-len(there), -int(rng.integers(1, 4)))] for _ in range(2))
        nodes.append(
            [
                node("MatMul", f"{x} {y}", f"n{k}"),
                node("Mul", f"{x} c", f"n{k}"),
                node("Div", f"{x} c", f"n{k}"),
                node("Transpose", x, f"n{k}", perm=[0, 2, 1]),
                node("Trilu", x, f"n{k}", upper=0),
                node("Neg", x, f"n{k}"),
            ][rng.choice(6, p=[0.4, 0.2, 0.1, 0.15, 0.1, 0.05])]
        )
        there.append(f"n{k}")
    read = {name for each in nodes for name in each.input}
    return nodes, [each.output[0] for each in nodes if each.output[0] not in read or rng.random() < 0.1]


def test_chains_of_products_and_factors_stay_what_they_are() -> None:
    """A factor between two products is taken by one of them, once: (a b) / c d, as of attention without a softmax."""
    rng = np.random.default_rng(2)
    feeds = {name: rng.normal(size=(3, 4, 4)) for name in "ab"}
    taken = 0
    for seed in range(200):
        nodes, outputs = chained(seed)
        before = model(nodes, {"a": ["n", 4, 4], "b": ["n", 4, 4]}, outputs, {"c": 1.25}, DOUBLE)
        after, counts = rewritten(before, "cpu")
        assert len(after.graph.node) <= len(before.graph.node)
        taken += counts.get(FACTORS, 0) + counts.get(TRANSPOSES, 0)
        for x, y in zip(run(before, feeds), run(after, feeds), strict=True):
            np.testing.assert_allclose(y, x, rtol=1e-10, atol=1e-10 * np.abs(x).max(), err_msg=f"{seed}")
    assert taken > 200
