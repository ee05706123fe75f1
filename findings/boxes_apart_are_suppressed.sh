#!/usr/bin/env bash
# openvino 2026.4.1, CPU: NonMaxSuppression drops boxes whose overlap equals the threshold, which the standard keeps; with the standard's default of 0 that is every box but the best, though they lie far apart.
source "$(dirname "$0")/openvino.inc"
checked <<'PY'
boxes = np.array([[[0, 0, 1, 5], [0, 3, 1, 8], [20, 20, 21, 21]]], np.float32)   # two of 5 that share 2: 2 / 8
scores = np.array([[[0.9, 0.8, 0.7]]], np.float32)
kept = {}
for threshold in 0.26, 0.25, 0.24, 0.0:
    seen = each("NonMaxSuppression", {"boxes": boxes, "scores": scores}, {"most": np.array(9), "threshold": np.float32(threshold)}, without=["reference"])
    kept[threshold] = [seen[name][:, 2].tolist() for name in ("onnxruntime", "openvino")]
print(kept)
assert kept == {0.26: [[0, 1, 2]] * 2, 0.25: [[0, 1, 2], [0, 2]], 0.24: [[0, 2]] * 2, 0.0: [[0, 2], [0]]}
PY
