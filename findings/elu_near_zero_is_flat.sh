#!/usr/bin/env bash
# onnxruntime 1.32.0: Elu is exp(x) - 1 as written, so that small negative numbers become 0.
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

x = np.array([-1e-3, -1e-6, -1e-8, -1e-20], np.float32)
y = run([helper.make_node("Elu", ["x"], ["y"])], {"x": x}, FLOAT)
for row in zip(x, y, np.expm1(x.astype(np.float64))):
    print("x = %.0e   seen %.6e   exact %.6e" % row)
assert y[2] == 0 and y[3] == 0
PY
