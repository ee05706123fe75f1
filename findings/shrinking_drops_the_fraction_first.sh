#!/usr/bin/env bash
# openvino 2026.4.1, CPU: Shrink of integers cuts bias and lambd to integers before it computes: 3 less a bias of 0.5 is 3, where onnxruntime 1.32.0 and onnx 1.23.2 cut 2.5 to 2.
source "$(dirname "$0")/openvino.inc"
checked <<'PY'
for kind in np.float32, np.int32:
    seen = each("Shrink", {"x": np.array([-3, 1, 3], kind)}, lambd=1.5, bias=0.5)
    right = [-2.5, 0, 2.5] if kind is np.float32 else [-2, 0, 2]
    assert seen["onnxruntime"].tolist() == seen["reference"].tolist() == right
    assert seen["openvino"].tolist() == (right if kind is np.float32 else [-3, 0, 3])
PY
