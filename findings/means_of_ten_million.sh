#!/usr/bin/env bash
# onnxruntime 1.32.0: ReduceMean adds float32 one after another; of ten million equal numbers it is 1 % off.
set -euo pipefail
place="$(mktemp -d)"
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install -q onnxruntime==1.32.0 onnx==1.23.2 numpy==2.4.6
ORT_DISABLE_TELEMETRY=1 "$place/venv/bin/python" - <<'PY'
import numpy as np
import onnxruntime
from onnx import TensorProto, helper, numpy_helper


def run(nodes, fed, kind, held=(), level=None):
    """The value y of a graph of these nodes, on the CPU, at a level of optimization (by default all)."""
    inputs = [helper.make_tensor_value_info(name, kind, array.shape) for name, array in fed.items()]
    graph = helper.make_graph(nodes, "g", inputs, [helper.make_tensor_value_info("y", kind, None)], list(held))
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    options = onnxruntime.SessionOptions()
    if level is not None:
        options.graph_optimization_level = level
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(["y"], fed)[0]


FLOAT, INT = TensorProto.FLOAT, TensorProto.INT64

x = np.full(10_000_000, 0.1, np.float32)
y = run([helper.make_node("ReduceMean", ["x"], ["y"], keepdims=0)], {"x": x}, FLOAT)
print("seen", float(y), "NumPy, which adds in pairs,", float(x.mean()))
assert abs(float(y) / 0.1 - 1) > 5e-3 and abs(float(x.mean()) / 0.1 - 1) < 1e-6
PY
