"""An ONNX Runtime without a kernel for the cosine of float64, as before 1.29, trains schedules all the same."""

from __future__ import annotations

from typing import Any

import dlc
import numpy as np
import pytest
from dlc.runtime import cosines
from dlc.runtime.session import onnxruntime
from onnx import ModelProto, TensorProto, helper, shape_inference

SPEC = """
model line {
    input  x: float[batch, 3]
    target y: float[batch, 1]
    p = x |> dense(1)
    loss = mean((y - cos(p))^2)
    output p = p
}
train { minimize loss using adam(cosine(0.1, over = 20) + 0.01 * cos(step / 7.0)); steps: 20; batch: 8; seed: 1 }
"""
X = np.random.default_rng(0).normal(size=(32, 3)).astype(np.float32)
ROWS = {"x": X, "y": X[:, :1] ** 2}


def test_schedules_train_without_that_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    module, usual, refused = onnxruntime(), onnxruntime().InferenceSession, list[str]()

    def older(data: Any, *given: Any, **more: Any) -> Any:
        """Says of the first such node what ONNX Runtime 1.22 to 1.28 say of it."""
        graph = shape_inference.infer_shapes(ModelProto.FromString(data)).graph
        doubles = {v.name for v in graph.value_info if v.type.tensor_type.elem_type == TensorProto.DOUBLE}
        for node in graph.node:
            if node.op_type == "Cos" and node.output[0] in doubles:
                refused.append(node.name)
                raise RuntimeError(
                    "[ONNXRuntimeError] : 9 : NOT_IMPLEMENTED : Could not find an implementation for Cos(7) node with "
                    f"name '{node.name}'"
                )
        return usual(data, *given, **more)

    plain = dlc.Trainer(dlc.compile(SPEC), "cpu", native=False)
    plain.fit(ROWS)
    monkeypatch.setattr(module, "InferenceSession", older)
    other = dlc.Trainer(dlc.compile(SPEC), "cpu", native=False)
    other.fit(ROWS)
    assert len(refused) == 2 and len(set(refused)) == 2  # each schedule; the cosine of float32 stays
    for name, value in plain.parameters.items():
        np.testing.assert_allclose(other.parameters[name], value, rtol=1e-6)


def test_what_else_fails_stays_as_it_is() -> None:
    value = helper.make_tensor_value_info("x", TensorProto.DOUBLE, [None])
    node = helper.make_node("Cos", ["x"], ["y"], "a")
    graph = helper.make_graph([node], "g", [value], [helper.make_tensor_value_info("y", TensorProto.DOUBLE, [None])])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    said = "Could not find an implementation for {}(7) node with name '{}'"
    data = model.SerializeToString()
    assert cosines.replaced(data, RuntimeError(said.format("Acos", "a"))) is None
    assert cosines.replaced(data, RuntimeError(said.format("Cos", "b"))) is None
    made = cosines.replaced(data, RuntimeError(said.format("Cos", "a")))
    assert made is not None
    x = np.linspace(-9, 9, 101)
    [found] = onnxruntime().InferenceSession(made).run(None, {"x": x})
    np.testing.assert_allclose(found, np.cos(x), atol=2e-15)
