"""Convolutions on blocks of channels: the same numbers, where they pay and nowhere else."""

from __future__ import annotations

import dlc
import numpy as np
import onnxruntime
import pytest
from dlc.runtime import session
from dlc.runtime.blocks import BLOCKED
from dlc.runtime.rewrite import rewritten
from dlc.runtime.session import Options, Session
from onnx import TensorProto, helper

BLOCK = session._block(onnxruntime)
blocks_here = pytest.mark.skipif(BLOCK == 0, reason="this ONNX Runtime has no convolutions on blocks of channels")


def model(x: list, w: list, held: bool = False, bias: bool = False, kind: int = TensorProto.FLOAT, **attributes):
    values = {"x": x, "w": w} | ({"b": [w[0]]} if bias else {})
    node = helper.make_node("Conv", list(values), ["y"], name="conv", **attributes)
    graph = helper.make_graph(
        [node],
        "g",
        [helper.make_tensor_value_info(name, kind, shape) for name, shape in values.items() if name != "w" or not held],
        [helper.make_tensor_value_info("y", kind, None)],
        [helper.make_tensor("w", kind, w, np.ones(np.prod(w)))] if held else [],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)


def run(made, feeds):
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    raw = onnxruntime.InferenceSession(made.SerializeToString(), options, ["CPUExecutionProvider"])
    return raw.run(None, feeds)[0]


@blocks_here
@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize(
    ("channels", "out", "groups"),
    [(16, 16, 1), (32, 64, 1), (64, 32, 1), (3, 16, 1), (1, 32, 1), (7, 16, 1), (32, 32, 32)],
)
@pytest.mark.parametrize(
    ("kernel", "how"),
    [
        ([3, 3], {"pads": [1, 1, 1, 1]}),
        ([3, 3], {"pads": [0, 1, 2, 0], "strides": [2, 2]}),
        ([5, 2], {"dilations": [2, 1], "strides": [1, 2]}),
        ([1, 3], {"auto_pad": "SAME_UPPER"}),
    ],
)
def test_the_numbers_are_those_of_the_plain_convolution(batch, channels, out, groups, kernel, how):
    rng = np.random.default_rng(channels)
    for bias in (False, True):
        before = model(["n", channels, "h", 11], [out, channels // groups, *kernel], group=groups, bias=bias, **how)
        after, counts = rewritten(before, "cpu", BLOCK)
        assert counts == {BLOCKED: 1}
        feeds = {
            "x": rng.normal(size=(batch, channels, 10, 11)),
            "w": rng.normal(size=(out, channels // groups, *kernel)),
        } | ({"b": rng.normal(size=out)} if bias else {})
        feeds = {name: value.astype("float32") for name, value in feeds.items()}
        np.testing.assert_allclose(run(after, feeds), run(before, feeds), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("x", "w", "how"),
    [
        (["n", 16, 8, 8], [16, 16, 1, 1], {}),  # no windows to write: as fast as it is
        (["n", 16, 8, 8], [20, 16, 3, 3], {}),  # out channels that fill no blocks
        (["n", 24, 8, 8], [16, 24, 3, 3], {}),
        (["n", 32, 8, 8], [32, 16, 3, 3], {"group": 2}),
        (["n", 16, 8, 8], [16, 16, 8, 8], {}),  # filters as large as images: a gradient by weights
        (["n", 16, 8, 8], [512, 16, 3, 3], {}),
        (["n", 16, 8, 8], [16, "c", 3, 3], {}),  # not known how many
        (["n", "c", 8, 8], [16, 16, 3, 3], {}),
        (["n", 16, 8], [16, 16, 3], {}),  # the kernel has two dimensions
        (["n", 16, 8, 8, 8], [16, 16, 3, 3, 3], {}),
        (["n", 16, 8, 8], [16, 16, 3, 3], {"kind": TensorProto.DOUBLE}),
        (["n", 16, 8, 8], [16, 16, 3, 3], {"held": True}),  # ONNX Runtime does it, once for all
    ],
)
def test_what_does_not_pay_stays(x, w, how):
    before = model(x, w, **how)
    after, counts = rewritten(before, "cpu", 16)
    assert after is before and counts == {}


def test_a_provider_without_blocks_keeps_its_convolutions():
    before = model(["n", 16, 8, 8], [16, 16, 3, 3])
    assert rewritten(before, "cpu", 0)[1] == rewritten(before, "cuda", 0)[1] == {}


@blocks_here
def test_names_of_the_graph_are_not_taken_twice():
    before = model(["n", 16, 8, 8], [16, 16, 3, 3])
    before.graph.node.insert(0, helper.make_node("Neg", ["x"], ["y/ReorderInput"]))
    before.graph.node[1].input[0] = "y/ReorderInput"
    after, _ = rewritten(before, "cpu", BLOCK)
    names = [name for node in after.graph.node for name in node.output]
    assert len(names) == len(set(names)) and names[-1] == "y"
    feeds = {"x": np.ones((1, 16, 8, 8), "float32"), "w": np.ones((16, 16, 3, 3), "float32")}
    np.testing.assert_allclose(run(after, feeds), -9 * 16)


NET = """
model net {
    input  x: float[batch, 3, 12, 12]
    target y: int[batch]
    z = x |> conv(16, kernel = 3, pad = 1) |> relu |> conv(32, kernel = 3, stride = 2, pad = 1) |> relu
    z = z |> conv(32, kernel = 3, pad = 1, groups = 32) |> relu |> conv(32, kernel = 3, pad = 1)
    logits = global_avg_pool(z) |> dense(4)
    y ~ categorical(logits = logits)
    output p = softmax(logits)
}
train net { minimize loss using sgd(0.1) }
"""


@blocks_here
def test_training_is_the_same_on_blocks(monkeypatch):
    rng = np.random.default_rng(2)
    batch = {"x": rng.normal(size=(8, 3, 12, 12)).astype("float32"), "y": np.arange(8) % 4}

    def train():
        trainer = dlc.Trainer(dlc.compile(NET), device="cpu", seed=3, native=False)
        for _ in range(3):
            trainer.step(batch)
        return trainer, {name: trainer.parameters[name] for name in trainer.parameters}

    trainer, fast = train()
    # forward four, and those gradients by images that are convolutions at a stride of one
    assert trainer.rewrites[BLOCKED] == 6
    assert {opset.domain for opset in trainer.file.model.opset_import} == {""}  # the file is as it was
    predicted = trainer.predict(batch)["p"]
    monkeypatch.setattr(session, "_block", lambda module: 0)
    plain_trainer, plain = train()
    assert BLOCKED not in plain_trainer.rewrites
    for name, value in plain.items():
        np.testing.assert_allclose(fast[name], value, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(predicted, plain_trainer.predict(batch)["p"], rtol=1e-3, atol=1e-4)


@blocks_here
def test_a_failure_in_a_convolution_names_its_line():
    made = model(["n", 16, "h", "w"], [16, 16, 3, 3])
    entry = made.graph.node[0].metadata_props.add()
    entry.key, entry.value = "dlc.source", "net.dl:3:5"
    conv = Session(made, Options())
    assert conv.rewrites == {BLOCKED: 1}
    feeds = {"x": np.ones((1, 16, 1, 1), "float32"), "w": np.ones((16, 16, 3, 3), "float32")}
    with pytest.raises(dlc.Error) as caught:
        conv.run(["y"], feeds)
    assert caught.value.code == "E0804" and caught.value.where == "net.dl:3:5"


@blocks_here
def test_no_rows_and_few_places():
    after, _ = rewritten(model(["n", 16, "h", "w"], [32, 16, 3, 3]), "cpu", BLOCK)
    w = np.ones((32, 16, 3, 3), "float32")
    assert run(after, {"x": np.ones((0, 16, 8, 8), "float32"), "w": w}).shape == (0, 32, 6, 6)
    np.testing.assert_allclose(run(after, {"x": np.ones((2, 16, 3, 3), "float32"), "w": w}), 144)
