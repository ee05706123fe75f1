"""What a step checks of its data itself (runtime/guard.py): against NumPy, and that nothing which the closer look
refuses is taken, by a step of any kind."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import dlc
import numpy as np
import pytest
from dlc.runtime import graphs, native, regions
from dlc.runtime.data.check import BatchCheck
from dlc.runtime.failures import Error
from dlc.runtime.guard import GUARDED, Guard, Limits
from onnx import ModelProto, helper
from region_cases import Array, element
from test_native import run

there = pytest.mark.skipif(not native.works(), reason="the native library was not built")


def guarded(
    feeds: dict[str, Array], limits: dict[str, Limits | None], figure: Array
) -> tuple[ModelProto, dict[str, int]]:
    """A step whose loss is twice `figure`, which reads nothing of the data that it checks."""
    values = {name: helper.make_tensor_value_info(name, element(a.dtype), a.shape) for name, a in feeds.items()}
    loss = helper.make_tensor_value_info("loss", element(figure.dtype), figure.shape)
    nodes = [helper.make_node("Add", ["f", "f"], ["loss"]), helper.make_node("Neg", ["loss"], ["read"])]
    graph = helper.make_graph(nodes, "g", list(values.values()), [loss])
    graph.output.add().CopyFrom(loss)
    graph.output[1].name = "read"
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    return model, regions.together(model, graphs.inferred(model), Guard("loss", limits))


SPECIAL = {
    "f": [np.nan, -np.nan, np.inf, -np.inf, 0.0, -0.0, 1e-45, 3.4028235e38, -3.4028235e38],
    "i": [-(2**31), -6, -5, -1, 0, 3, 4, 2**31 - 1],
    "u": [0, 1, 3, 4, 5, 2**32 - 1],
}


@there
@pytest.mark.parametrize("kind", ["f4", "f8", "i4", "i8", "u4"])
@pytest.mark.parametrize("scalar", ["f4", "f8"])
def test_the_figure_is_nan_where_data_are_not_as_they_should_be(kind: str, scalar: str) -> None:
    rng = np.random.default_rng(3)
    seen = set()
    for turn in range(60):
        shape = [(0,), (1,), (7, 3), (16,), (33,), (2, 5, 13), ()][turn % 7]
        dtype = np.dtype(kind)
        x = (rng.normal(size=shape) if dtype.kind == "f" else rng.integers(0, 4, shape)).astype(dtype)
        if x.size and rng.random() < 0.6:
            x.reshape(-1)[rng.integers(0, x.size)] = np.array(rng.choice(SPECIAL[dtype.kind])).astype(dtype)
        limits: Limits | None = None if dtype.kind == "f" else (0 if dtype.kind == "u" else -5, 3)
        good = np.isfinite(x).all() if limits is None else ((x >= limits[0]) & (x <= limits[1])).all()
        figure = np.asarray(rng.normal(size=(1,) if turn % 2 else ()), scalar)
        feeds = {"f": figure, "x": x, "z": np.ones(4, np.float32)}
        model, counts = guarded(feeds, {"x": limits, "z": None}, figure)
        assert counts[GUARDED] == 1 and [node.op_type for node in model.graph.node] == ["Region"]
        loss, read = run(model, feeds)
        assert loss.dtype == figure.dtype and loss.shape == figure.shape
        assert np.array_equal(loss, 2 * figure if good else np.full_like(figure, np.nan), equal_nan=True), x
        assert np.array_equal(read, -2 * figure)  # nothing but the figure tells
        seen.add(bool(good))
    assert seen == {True, False}


@there
def test_what_the_library_cannot_check_is_not_checked_by_it() -> None:
    one, figure = np.ones(3, np.float32), np.array(1.0, np.float32)
    for x, limits, loss in (
        (one.astype(np.float16), None, figure),
        (np.ones(3, np.uint64), (0, 5), figure),
        (np.ones(3, np.int64), (0, 2**63), figure),
        (one, None, np.ones((1, 1), np.float32)),
        (one, None, np.ones(2, np.float32)),
    ):
        model, counts = guarded({"f": loss, "x": x}, {"x": limits}, loss)
        assert GUARDED not in counts and "Guard" not in [node.op_type for node in model.graph.node]


@there
def test_a_node_that_no_region_takes_goes_again() -> None:
    figure = np.array([1.0], np.float32)
    value = helper.make_tensor_value_info("loss", 1, [1])
    given = [helper.make_tensor_value_info("f", 1, [1]), helper.make_tensor_value_info("x", 1, [2])]
    nodes = [helper.make_node("CumSum", ["f", "axis"], ["loss"])]
    axis = helper.make_tensor("axis", 7, [], [0])
    model = helper.make_model(
        helper.make_graph(nodes, "g", given, [value], [axis]),
        opset_imports=[helper.make_opsetid("", 21)],
        ir_version=10,
    )
    before = model.SerializeToString()
    assert regions.together(model, graphs.inferred(model), Guard("loss", {"x": None})) == {}
    assert model.SerializeToString() == before
    assert run(model, {"f": figure, "x": np.ones(2, np.float32)})[0] == figure


# --- steps

HIDDEN = """model m {
    input  x: float[batch, 6]
    input  w: float[batch] in 0..2
    target y: int[batch] in 0..4
    h = where(x > 0.0, x, 0.0) |> dense(8) |> relu |> dense(1)
    loss = mean((h[:, 0] - where(y == 1, 1.0, 0.0))^2 * where(w > 0.5, 1.0, 0.5))
}
train m {
    minimize loss using adam(0.01)
    batch: 5
}"""  # whose loss is a finite number whatever stands in the data
PICKED = """model m {
    input  x: float[batch, 6]
    target y: int[batch]
    y ~ categorical(logits = x |> dense(8) |> tanh |> dense(4))
}
train m {
    minimize loss using sgd(0.1)
    batch: 5
}"""


def batches(count: int) -> list[dict[str, Array]]:
    rng = np.random.default_rng(5)
    return [
        {"x": rng.normal(size=(5, 6)).astype("f4"), "w": rng.integers(0, 2, 5).astype("f4"), "y": rng.integers(0, 4, 5)}
        for _ in range(count)
    ]


Change = Callable[[dict[str, Array]], Any]
BAD: dict[str, tuple[Change, str]] = {
    "NaN in the first number": (lambda b: b["x"].__setitem__((0, 0), np.nan), "E0616"),
    "NaN in the last number": (lambda b: b["x"].__setitem__((4, 5), np.nan), "E0616"),
    "an infinity": (lambda b: b["x"].__setitem__((2, 3), -np.inf), "E0616"),
    "all NaN": (lambda b: b["x"].fill(np.nan), "E0616"),
    "a label too large": (lambda b: b["y"].__setitem__(4, 4), "E0620"),
    "a label far too large": (lambda b: b["y"].__setitem__(0, 2**62), "E0620"),
    "a label below zero": (lambda b: b["y"].__setitem__(0, -1), "E0620"),
    "the least label": (lambda b: b["y"].__setitem__(1, -(2**63)), "E0620"),
    "a number out of range": (lambda b: b["w"].__setitem__(1, 3), "E0620"),
    "a fraction in range": (lambda b: b["w"].__setitem__(1, 0.5), "E0620"),
    "another shape": (lambda b: b.update(x=b["x"][:, :5]), "E0611"),
    "fewer rows of one": (lambda b: b.update(y=b["y"][:4]), "E0617"),
    "fractions as labels": (lambda b: b.update(y=b["y"] + 0.5), "E0613"),
    "none of it": (lambda b: b.pop("y"), "E0609"),
}


@pytest.mark.parametrize("native_too", [pytest.param(True, marks=there), False])
@pytest.mark.parametrize("spec", [HIDDEN, PICKED])
@pytest.mark.parametrize("what", BAD)
def test_a_bad_batch_is_refused_after_good_ones(what: str, spec: str, native_too: bool) -> None:
    """In the words of the closer look; and training goes on from where it was, to the last bit."""
    change, code = BAD[what]
    if spec == PICKED and what in ("a number out of range", "a fraction in range"):
        pytest.skip("has no such input")
    program = dlc.compile(spec)
    given = batches(7)
    plain = dlc.Trainer(program, device="cpu", seed=1, native=native_too)
    for batch in given:
        plain.step(batch)
    trainer = dlc.Trainer(program, device="cpu", seed=1, native=native_too)
    assert (GUARDED in trainer.rewrites) == native_too
    for number, batch in enumerate(given):
        bad = {name: array.copy() for name, array in batch.items()}
        change(bad)
        with pytest.raises(Error) as caught:
            trainer.step(bad)
        assert caught.value.code == code, caught.value
        with pytest.raises(Error) as closer:
            BatchCheck(trainer.inputs)(bad)
        assert str(caught.value) == str(closer.value)
        assert trainer.progress.step == number
        trainer.step(batch)
    for name, value in plain.state.items():
        np.testing.assert_array_equal(trainer.state[name], value, err_msg=name)


@there
def test_other_layouts_of_a_good_batch_are_taken_as_they_are() -> None:
    program = dlc.compile(HIDDEN)
    one, other = (dlc.Trainer(program, device="cpu", seed=1) for _ in range(2))
    for batch in batches(6):
        views = {"x": np.asfortranarray(batch["x"]), "w": np.repeat(batch["w"], 3)[::3], "y": batch["y"][::-1][::-1]}
        assert one.step(batch) == other.step({**views, "more": "is left out"})
    huge = {name: array.copy() for name, array in batches(1)[0].items()}
    huge["x"] *= np.float32(1e30)  # finite, and so are not their squares
    with pytest.raises(Error) as caught:
        one.step(huge)
    assert caught.value.code == "E0670"


@there
def test_a_number_that_the_step_makes_infinite_is_told_as_such() -> None:
    trainer = dlc.Trainer(dlc.compile(PICKED.replace("sgd(0.1)", "sgd(1e38)")), device="cpu", seed=1)
    with pytest.raises(Error) as caught:
        for batch in batches(9):
            trainer.step(batch)
    assert caught.value.code == "E0670" and GUARDED in trainer.rewrites
    assert all(np.isfinite(value).all() for value in trainer.state.values())
