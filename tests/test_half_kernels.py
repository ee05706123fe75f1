"""Where a device has kernels for products of 16 bits, the conversions around them go; ONNX Runtime is asked.

No such device is here. The CPU provider stands for one: it loads products of float16 (between conversions of its own),
so the graph that a GPU would be given runs here, to the same numbers.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import dlc
import numpy as np
import onnxruntime
import pytest
from dlc.runtime import Trainer, graphs, halves
from dlc.runtime.file import CompiledFile
from dlc.runtime.state import promoted
from onnx import ModelProto, TensorProto

SPECS = Path(__file__).parent.parent / "specs"


def step_of(spec: str, kind: str) -> tuple[ModelProto, dict[str, np.ndarray]]:
    """The model of a step, and what it is fed: state, and a batch of the spec's data."""
    one = Trainer(dlc.compile(SPECS / f"{spec}.dl", precision=kind), device="cpu")
    file: CompiledFile = one.file
    part = file.parts[0]
    outputs = dict.fromkeys(["loss", *part.updates.values()])
    model = graphs.concatenate(file.model, part.algorithm, outputs, promoted(file, part.index))
    with np.load(SPECS / "data" / "digits.npz") as held:
        data = {name: held[name][:32] for name in held.files}
    state = {name: np.asarray(value) for name, value in one.state.items()}
    names = {value.name: graphs.dtype_of(value.type.tensor_type.elem_type) for value in model.graph.input}
    return model, {name: {**state, **data}[name].astype(kind) for name, kind in names.items()}


def run(model: ModelProto, feeds: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    names = [value.name for value in session.get_outputs()]
    return dict(zip(names, session.run(names, feeds), strict=True))


@pytest.mark.parametrize("spec", ["digits", "cnn"])
def test_what_a_device_is_given_computes_the_same(spec: str) -> None:
    model, feeds = step_of(spec, "float16")
    made, counts = halves.joined(model, lambda node, kind: True)
    assert counts["products in float16"] >= 5
    kinds = Counter(node.op_type for node in made.graph.node)
    assert kinds["Cast"] < Counter(node.op_type for node in model.graph.node)["Cast"]
    inferred = graphs.known(made, graphs.inferred(made))
    low = [
        n for n in made.graph.node if n.op_type in halves.PRODUCTS and inferred[n.output[0]][0] == TensorProto.FLOAT16
    ]
    assert len(low) == counts["products in float16"]
    wanted = run(model, feeds)
    for name, value in run(made, feeds).items():  # gradients by Adam's first moments: an update has their signs alone
        if name == "loss" or "/m/" in name:
            most = np.abs(wanted[name]).max()
            np.testing.assert_allclose(value, wanted[name], rtol=2e-3, atol=0.02 * most, err_msg=name)


def test_what_a_device_lacks_stays_as_it_is() -> None:
    model, _ = step_of("cnn", "bfloat16")
    made, counts = halves.joined(model, lambda node, kind: node.op_type != "Conv")
    assert counts and {n.op_type for n in made.graph.node} >= {"Conv", "MatMul"}
    inferred = graphs.known(made, graphs.inferred(made))
    assert all(inferred[n.output[0]][0] == TensorProto.FLOAT for n in made.graph.node if n.op_type == "Conv")
    same, none = halves.joined(model, lambda node, kind: False)
    assert same is model and none == {}
    whole, _ = step_of("cnn", "float32")
    assert halves.joined(whole, lambda node, kind: True) == (whole, {})


def test_each_form_is_asked_once() -> None:
    model, _ = step_of("digits", "bfloat16")
    asked: list[tuple[str, int]] = []

    def has(node: Any, kind: int) -> bool:
        asked.append((node.op_type, kind))
        return True

    _, counts = halves.joined(model, has)
    assert {kind for _, kind in asked} == {TensorProto.BFLOAT16}
    assert len(asked) < counts["products in bfloat16"]


def test_asking_is_by_a_model_of_the_node() -> None:
    """ONNX Runtime's CPU provider has a MatMul of float32 and none of bfloat16; what is not there has none."""
    model, _ = step_of("digits", "bfloat16")
    product = next(node for node in model.graph.node if node.op_type == "MatMul")
    one = halves.alone(product, TensorProto.BFLOAT16)
    with pytest.raises(Exception, match="MatMul"):
        onnxruntime.InferenceSession(one.SerializeToString(), providers=["CPUExecutionProvider"])
    onnxruntime.InferenceSession(halves.alone(product, 1).SerializeToString(), providers=["CPUExecutionProvider"])
    assert halves.asking(onnxruntime, "nothing_here")(product, TensorProto.BFLOAT16) is False
