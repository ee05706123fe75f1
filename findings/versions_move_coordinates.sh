#!/usr/bin/env bash
# onnx 1.23.2: version_converter takes Resize from opset 10 to 21 without naming the coordinates, whose default changed in between: a linear Resize has other values.
source "$(dirname "$0")/onnxruntime.inc"
checked <<'PY'
from onnx import version_converter

graph = helper.make_graph(
    [helper.make_node("Resize", ["x", "scales"], ["y"], mode="linear")], "g",
    [helper.make_tensor_value_info("x", FLOAT, [1, 1, 4])], [helper.make_tensor_value_info("y", FLOAT, [1, 1, 8])],
    [numpy_helper.from_array(np.array([1, 1, 2], np.float32), "scales")])
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 10)], ir_version=10)
x = np.arange(4, dtype=np.float32).reshape(1, 1, 4)
seen = []
for stage in model, version_converter.convert_version(model, 21):
    session = onnxruntime.InferenceSession(stage.SerializeToString(), providers=["CPUExecutionProvider"])
    seen.append(session.run(None, {"x": x})[0].ravel())
    print("opset", stage.opset_import[0].version, seen[-1])
assert np.allclose(seen[0], [0, 0.5, 1, 1.5, 2, 2.5, 3, 3]) and np.allclose(seen[1], [0, 0.25, 0.75, 1.25, 1.75, 2.25, 2.75, 3])
PY
