#!/usr/bin/env bash
# onnxruntime 1.32.0: its fusion of (1 / s) * y into y / s is applied to whole numbers too, where the quotients differ.
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

nodes = [helper.make_node("Div", ["one", "s"], ["q"]), helper.make_node("Mul", ["q", "x"], ["y"])]
fed = {"s": np.array(2, np.int64), "x": np.array(4, np.int64)}
held = [numpy_helper.from_array(np.array(1, np.int64), "one")]
levels = onnxruntime.GraphOptimizationLevel
plain, basic = (int(run(nodes, fed, INT, held, level)) for level in (levels.ORT_DISABLE_ALL, levels.ORT_ENABLE_BASIC))
print("(1 / 2) * 4 without optimization", plain, "- at the basic level", basic)
assert (plain, basic) == (0, 2)
PY
