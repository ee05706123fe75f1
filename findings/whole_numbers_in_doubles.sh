#!/usr/bin/env bash
# onnxruntime 1.32.0: on the CPU ReduceSum, ReduceProd and Pow of int64 lose what doubles cannot hold; ReduceMax and CumSum do not.
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

big = np.array([2**53, 1], np.int64)
total = run([helper.make_node("ReduceSum", ["x"], ["y"], keepdims=0)], {"x": big}, INT)
running = run([helper.make_node("CumSum", ["x", "axis"], ["y"])], {"x": big}, INT,
              [numpy_helper.from_array(np.array(0, np.int64), "axis")])
factors = np.array([3**20, 3**17], np.int64)
product = run([helper.make_node("ReduceProd", ["x"], ["y"], keepdims=0)], {"x": factors}, INT)
power = run([helper.make_node("Pow", ["x", "e"], ["y"])], {"x": np.array([3], np.int64)}, INT,
            [numpy_helper.from_array(np.array(39, np.int64), "e")])
greatest = run([helper.make_node("ReduceMax", ["x"], ["y"], keepdims=0)], {"x": big + 1}, INT)
print("ReduceSum", int(total), "CumSum", int(running[-1]), "exact", 2**53 + 1)
print("ReduceProd", int(product), "exact", 3**37)
print("Pow", int(power[0]), "exact", 3**39)
print("ReduceMax", int(greatest), "exact", 2**53 + 1)
assert int(total) == 2**53 and int(running[-1]) == 2**53 + 1 and int(greatest) == 2**53 + 1
assert int(product) != 3**37 and int(power[0]) != 3**39
PY
