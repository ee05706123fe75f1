#!/usr/bin/env bash
# onnx 1.23.2, reference evaluator, and openvino 2026.4.1: LpPool with ceil_mode multiplies the norm of a last window that is cut short as if its numbers filled it: of 5 alone it is 10 (p = 1) and 7.07 (p = 2). onnxruntime 1.32.0 says 5.
source "$(dirname "$0")/openvino.inc"
checked <<'PY'
x = np.array([[[3, 4, 5]]], np.float32)
for p, whole, doubled in (1, 7, 10), (2, 5, 50**0.5):
    seen = each("LpPool", {"x": x}, opset=22, kernel_shape=[2], strides=[2], ceil_mode=1, p=p)
    assert np.allclose(seen["onnxruntime"].ravel(), [whole, 5])
    assert all(np.allclose(seen[name].ravel(), [whole, doubled]) for name in ("reference", "openvino"))
PY
