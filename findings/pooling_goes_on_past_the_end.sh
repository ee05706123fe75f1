#!/usr/bin/env bash
# openvino 2026.4.1, CPU: with ceil_mode MaxPool has a window of nothing but padding, -3.4e38, that the standard ignores, and AveragePool counts places past the padding; onnxruntime 1.32.0 and onnx 1.23.2 do neither.
source "$(dirname "$0")/openvino.inc"
checked <<'PY'
five, six = (np.arange(1, length + 1, dtype=np.float32).reshape(1, 1, length) for length in (5, 6))
seen = each("MaxPool", {"x": five}, opset=22, kernel_shape=[2], strides=[3], pads=[1, 1], ceil_mode=1)
assert seen["onnxruntime"].ravel().tolist() == seen["reference"].ravel().tolist() == [1, 4]
assert seen["openvino"].ravel().tolist() == [1, 4, np.finfo(np.float32).min]

seen = each("AveragePool", {"x": six}, opset=22, kernel_shape=[3], strides=[2], pads=[1, 1], ceil_mode=1, count_include_pad=1)
assert all(np.allclose(seen[name].ravel(), [1, 3, 5, 3]) for name in ("onnxruntime", "reference"))
assert np.allclose(seen["openvino"].ravel(), [1, 3, 5, 2])
PY
