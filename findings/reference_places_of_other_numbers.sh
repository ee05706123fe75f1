#!/usr/bin/env bash
# onnx 1.23.2, reference evaluator: MaxPool with strides of 1 gives places where the maxima are not, even past the end; with strides of the kernel's size they are right. onnxruntime 1.32.0 is right in both.
source "$(dirname "$0")/onnxruntime.inc"
checked <<'PY'
for side, stride, found in (4, 2, [5, 7, 13, 15]), (4, 1, [4, 5, 6, 8, 9, 10, 12, 13, 14]), (2, 1, [6]):
    x = np.arange(side * side, dtype=np.float32).reshape(1, 1, side, side)
    seen = each("MaxPool", {"x": x}, outputs=("y", "places"), kernel_shape=[2, 2], strides=[stride] * 2)
    assert (seen["onnxruntime"][1] == seen["onnxruntime"][0]).all()   # the numbers are their own places
    assert (seen["reference"][0] == seen["onnxruntime"][0]).all() and seen["reference"][1].ravel().tolist() == found
PY
