#!/usr/bin/env bash
# onnx 1.23.2, reference evaluator: OneHot and OneHotEncoder of 1.7 are all zeros, where the standard casts to an integer first; onnxruntime 1.32.0 does.
source "$(dirname "$0")/onnxruntime.inc"
checked <<'PY'
x = np.array([1.7, 2], np.float32)
for seen in (
    each("OneHot", {"x": x}, {"depth": np.float32(3), "values": np.array([0, 1], np.float32)}),
    each("OneHotEncoder", {"x": x}, domain="ai.onnx.ml", cats_int64s=[0, 1, 2]),
):
    assert seen["onnxruntime"].tolist() == [[0, 1, 0], [0, 0, 1]] and seen["reference"].tolist() == [[0, 0, 0], [0, 0, 1]]
PY
