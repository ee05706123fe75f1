#!/usr/bin/env bash
# onnx 1.23.2: the reference evaluator's AveragePool takes a NaN of the data for padding and means over the rest; onnxruntime keeps NaN.
source "$(dirname "$0")/onnxruntime.inc"
checked <<'PY'
x = np.array([[[1, np.nan, 3, 4]]], np.float32)
node = helper.make_node("AveragePool", ["x"], ["y"], kernel_shape=[2], strides=[2])
y, theirs = run([node], {"x": x}, FLOAT), reference([node], {"x": x}, FLOAT)
print("onnxruntime:", y.ravel(), "  reference:", theirs.ravel())
assert np.isnan(y[0, 0, 0]) and theirs[0, 0, 0] == 1
PY
