#!/usr/bin/env bash
# onnxruntime 1.32.0: Gemm adds the parts of a long product to C one after another, so that they are rounded to C's last place.
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

rng = np.random.default_rng(0)
n, m = 1_000_000, 4
a, b = np.full((n, m), 0.1, np.float32), np.full((n, m), 1 / (n * m), np.float32)
c = rng.normal(size=(m, m)).astype(np.float32)
together = run([helper.make_node("Gemm", ["a", "b", "c"], ["y"], transA=1)], {"a": a, "b": b, "c": c}, FLOAT)
apart = run([helper.make_node("Gemm", ["a", "b"], ["p"], transA=1), helper.make_node("Add", ["p", "c"], ["y"])],
            {"a": a, "b": b, "c": c}, FLOAT, level=onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL)
wrong = [float(np.abs((y - c) / (0.1 / m) - 1).max()) for y in (together, apart)]
print("the product, by which y exceeds c, is off by %.1e with C inside Gemm, by %.1e with C added behind it" % tuple(wrong))
assert wrong[0] > 1e-2 and wrong[1] < 1e-3
PY
