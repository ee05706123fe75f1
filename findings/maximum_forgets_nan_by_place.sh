#!/usr/bin/env bash
# onnxruntime 1.32.0: whether ReduceMax of float32 is NaN depends on where the NaN stands.
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

first, later = np.array([np.nan, 1, 2], np.float32), np.array([1, np.nan, 2], np.float32)
seen = [float(run([helper.make_node("ReduceMax", ["x"], ["y"], keepdims=0)], {"x": x}, FLOAT)) for x in (first, later)]
print("NaN first:", seen[0], " NaN later:", seen[1], " NumPy:", float(first.max()), float(later.max()))
assert np.isnan(seen[0]) and seen[1] == 2
PY
