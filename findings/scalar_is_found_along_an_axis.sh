#!/usr/bin/env bash
# onnxruntime 1.32.0 and openvino 2026.4.1: NonZero of a scalar has the shape (1, 1), an index along an axis that a scalar lacks; the standard, and onnx 1.23.2, say (0, 1).
source "$(dirname "$0")/openvino.inc"
checked <<'PY'
seen = each("NonZero", {"x": np.array(3, np.float32)})
print({name: found.shape for name, found in seen.items()})
assert {name: found.shape for name, found in seen.items()} == {"onnxruntime": (1, 1), "reference": (0, 1), "openvino": (1, 1)}
PY
