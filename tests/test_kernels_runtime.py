"""Of two ways to the same bits the runtime takes the one that ONNX Runtime's CPU provider has a fast kernel for."""

from __future__ import annotations

import itertools

import dlc
import numpy as np
import pytest
from dlc.runtime.kernels import SELECTIONS, SHIFTS, VECTORS
from dlc.runtime.rewrite import rewritten
from onnx import TensorProto, helper, numpy_helper
from test_rewrite_runtime import node, operators, run
from work import assert_linear

FLOAT, BOOL, U64, U32 = TensorProto.FLOAT, TensorProto.BOOL, TensorProto.UINT64, TensorProto.UINT32


def model(nodes, inputs: dict[str, tuple[int, list]], outputs: dict[str, int], held: dict[str, np.ndarray]):
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info(name, *kind) for name, kind in inputs.items()],
        [helper.make_tensor_value_info(name, kind, None) for name, kind in outputs.items()],
        [numpy_helper.from_array(value, name) for name, value in held.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)


@pytest.mark.parametrize(("kind", "dtype"), [(U64, np.uint64), (U32, np.uint32)])
@pytest.mark.parametrize("bits", [0, 1, 5, 31])
def test_a_quotient_by_a_power_of_two_is_a_shift(kind, dtype, bits):
    before = model([node("Div", "x c", "y")], {"x": (kind, ["n"])}, {"y": kind}, {"c": np.array(1 << bits, dtype)})
    after, counts = rewritten(before, "cpu")
    assert operators(after) == ["BitShift"] and counts == {SHIFTS: 1}
    top = np.iinfo(dtype).max
    x = np.array([0, 1, 2, 3, 31, 32, 33, top // 2, top // 2 + 1, top - 1, top], dtype)
    for made in (before, after):
        [y] = run(made, {"x": x})
        np.testing.assert_array_equal(y, x // dtype(1 << bits))
    assert rewritten(before, "cuda")[1] == {}


@pytest.mark.parametrize("value", [0, 3, 12, 2**31 - 1])
def test_other_quotients_stay(value):
    inputs, outputs = {"x": (U64, ["n"])}, {"y": U64}
    assert rewritten(model([node("Div", "x c", "y")], inputs, outputs, {"c": np.array(value, "u8")}), "cpu")[1] == {}


def test_quotients_with_a_sign_and_of_fractions_stay():
    for kind, dtype in ((TensorProto.INT64, "i8"), (FLOAT, "f4")):
        made = model([node("Div", "x c", "y")], {"x": (kind, ["n"])}, {"y": kind}, {"c": np.array(4, dtype)})
        assert rewritten(made, "cpu")[1] == {}


SPECIAL = np.array([0.0, -0.0, 1.5, np.nan, np.inf, -np.inf], "f4")


@pytest.mark.parametrize(("outer", "inner"), list(itertools.product((1, 2), (1, 2))))
def test_two_selections_become_one(outer, inner):
    """The number stands where `outer` and `inner` say: as what is taken (1) or what is not (2)."""
    first, second = ("c x", "x c")[inner - 1], ("c z", "z c")[outer - 1]
    before = model(
        [node("Where", f"b {first}", "z"), node("Where", f"a {second}", "y")],
        {"a": (BOOL, [2, 1, 1]), "b": (BOOL, [2, 1]), "x": (FLOAT, ["n"])},
        {"y": FLOAT},
        {"c": np.array(0, "f4")},
    )
    after, counts = rewritten(before, "cpu")
    assert counts == {SELECTIONS: 1} and operators(after).count("Where") == 1
    feeds = {"a": np.array([True, False]).reshape(2, 1, 1), "b": np.array([[True], [False]]), "x": SPECIAL}
    [y], [z] = run(before, feeds), run(after, feeds)
    assert y.shape == z.shape and y.tobytes() == z.tobytes()


def test_three_selections_become_one():
    nodes = [node("Where", "b c x", "u"), node("Where", "a u c", "v"), node("Where", "b v c", "y")]
    inputs = {"a": (BOOL, ["n"]), "b": (BOOL, ["n"]), "x": (FLOAT, ["n"])}
    after, counts = rewritten(model(nodes, inputs, {"y": FLOAT}, {"c": np.array(0, "f4")}), "cpu")
    assert counts == {SELECTIONS: 2} and operators(after).count("Where") == 1


@pytest.mark.parametrize(
    ("nodes", "outputs"),
    [
        ([node("Where", "b c x", "z"), node("Where", "a d z", "y")], "y"),  # -0.0 is another number than 0.0
        ([node("Where", "b c x", "z"), node("Where", "a z x", "y")], "y"),
        ([node("Where", "b c x", "z"), node("Where", "a c z", "y")], "y z"),  # another output
        ([node("Where", "b c x", "z"), node("Where", "a c z", "y"), node("Neg", "z", "w")], "y w"),
    ],
)
def test_selections_that_are_not_one_stay(nodes, outputs):
    inputs = {"a": (BOOL, ["n"]), "b": (BOOL, ["n"]), "x": (FLOAT, ["n"])}
    held = {"c": np.array(0.0, "f4"), "d": np.array(-0.0, "f4")}
    assert rewritten(model(nodes, inputs, dict.fromkeys(outputs.split(), FLOAT), held), "cpu")[1] == {}


def test_selections_of_numbers_stay():
    nodes = [node("Where", "b c x", "z"), node("Where", "a c z", "y")]
    inputs = {"a": (BOOL, []), "b": (BOOL, []), "x": (FLOAT, [])}
    assert rewritten(model(nodes, inputs, {"y": FLOAT}, {"c": np.array(0, "f4")}), "cpu")[1] == {}


def summed(shape: list[int], readers: int = 1):
    nodes = [node("Shape", "x", "n", start=0, end=1), node("Expand", "c n", "ones"), node("MatMul", "ones x", "row")]
    nodes += [node("Reshape", "row flat", f"y{i}") for i in range(readers)]
    held = {"c": np.full(shape, 0.5, "f4"), "flat": np.array([-1])}
    return model(nodes, {"x": (FLOAT, ["n", 3])}, {f"y{i}": FLOAT for i in range(readers)}, held)


def test_a_product_with_one_row_is_a_vector():
    before = summed([1, 1])
    after, counts = rewritten(before, "cpu")
    assert counts == {VECTORS: 1} and operators(after) == ["Shape", "Expand", "MatMul"]
    x = np.random.default_rng(0).normal(size=(5, 3)).astype("f4")
    [y], [z] = run(before, {"x": x}), run(after, {"x": x})
    assert y.shape == z.shape == (3,)
    np.testing.assert_array_equal(y, z)
    assert run(after, {"x": x[:0]})[0].tolist() == [0, 0, 0]


def test_other_products_stay():
    assert rewritten(summed([1, 1], readers=2), "cpu")[1] == {}
    assert rewritten(summed([1]), "cpu")[1] == {}  # is a vector already


def test_a_step_with_dropout_is_the_same_bit_for_bit(monkeypatch):
    text = """model m {
        input x: float[batch, 6]
        target y: int[batch] in 0..3
        logits = x |> dense(8) |> relu |> dropout(0.5) |> dense(3)
        y ~ categorical(logits = logits)
    }
    train { minimize loss using adam(0.05) }"""
    rng = np.random.default_rng(1)
    batches = [{"x": rng.normal(size=(7, 6)).astype("f4"), "y": rng.integers(0, 3, 7)} for _ in range(9)]

    def trained():
        trainer = dlc.Trainer(dlc.compile(text), device="cpu", seed=2, native=False)
        for batch in batches:
            trainer.step(batch)
        return trainer

    fast = trained()
    assert fast.rewrites[SHIFTS] >= 3 and fast.rewrites[SELECTIONS] == 1 and fast.rewrites[VECTORS] == 2
    monkeypatch.setattr("dlc.runtime.rewrite.kernels.promising", lambda model: False)
    plain = trained()
    assert SHIFTS not in plain.rewrites
    for name, value in plain.state.items():
        np.testing.assert_array_equal(fast.state[name], value, err_msg=name)


def test_it_is_linear():
    def make(count: int):
        nodes = [node("Where", f"b c {f'y{i - 1}' if i else 'x'}", f"y{i}") for i in range(count)]
        inputs = {"b": (BOOL, ["n"]), "x": (FLOAT, ["n"])}
        return model(nodes, inputs, {f"y{count - 1}": FLOAT}, {"c": np.array(0, "f4")})

    assert_linear(make, lambda made: rewritten(made, "cpu"), counted=(200, 3200), timed=(800, 6400), limit=2.5)
