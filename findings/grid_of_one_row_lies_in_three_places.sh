#!/usr/bin/env bash
# AffineGrid with align_corners of a picture of one row: onnxruntime 1.32.0 puts the row at the bottom, onnx 1.23.2 at the top, and openvino 2026.4.1 makes two rows in the middle of it. Of two rows all are alike.
source "$(dirname "$0")/openvino.inc"
checked <<'PY'
theta = np.array([[[1, 0, 0], [0, 1, 0]]], np.float32)
rows = {}
for height in 2, 1:
    seen = each("AffineGrid", {"theta": theta}, {"size": np.array([1, 1, height, 3])}, opset=20, align_corners=1)
    rows[height] = {name: grid[0, :, 0, 1].tolist() for name, grid in seen.items()}
print(rows)
assert rows[2] == {"onnxruntime": [-1, 1], "reference": [-1, 1], "openvino": [-1, 1]}
assert rows[1] == {"onnxruntime": [1], "reference": [-1], "openvino": [0, 0]}
PY
