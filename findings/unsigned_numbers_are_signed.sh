#!/usr/bin/env bash
# openvino 2026.4.1, CPU: ONNX's Div, Less and BitShift of uint32 are computed as of int32: wrong where the highest bit is set, without an error.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q openvino==2026.4.1 onnx==1.23.2 numpy==2.4.6
"$folder/venv/bin/python" - "$folder" <<'PY'
import sys
from pathlib import Path

import numpy as np
import onnx
import openvino
from onnx import TensorProto, helper

a = np.array([7, 2**31 + 6, 2**32 - 1], np.uint32)
b = np.array([2, 2, 3], np.uint32)
core, right = openvino.Core(), {}
for name, out, more, exact in (
    ("Add", TensorProto.UINT32, {}, a + b),
    ("Div", TensorProto.UINT32, {}, a // b),
    ("Less", TensorProto.BOOL, {}, a < b),
    ("BitShift", TensorProto.UINT32, {"direction": "RIGHT"}, a >> b),
):
    inputs = [helper.make_tensor_value_info(key, TensorProto.UINT32, [3]) for key in "ab"]
    node = helper.make_node(name, ["a", "b"], ["y"], **more)
    graph = helper.make_graph([node], "g", inputs, [helper.make_tensor_value_info("y", out, [3])])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    onnx.checker.check_model(model, full_check=True)
    path = Path(sys.argv[1], f"{name}.onnx")
    onnx.save(model, path)
    found = core.compile_model(core.read_model(path), "CPU")({"a": a, "b": b})[0]
    right[name] = (found == exact).tolist()
    print(f"{name:8} {found.tolist()} exact {exact.tolist()}")
print("openvino", openvino.__version__)
assert right["Add"] == [True] * 3
assert all(right[name][0] and not all(right[name]) for name in ("Div", "Less", "BitShift")), right
PY
