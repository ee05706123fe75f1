#!/usr/bin/env bash
# onnxruntime 1.32.0 and onnx 1.23.2: RoiAlign with mode="max" takes the greatest weighted corner of a sample, not the greatest interpolated sample: ones pool to 0.77 to 1. openvino 2026.4.1 interpolates first; the mean is 1 everywhere.
source "$(dirname "$0")/openvino.inc"
checked <<'PY'
fed = {"x": np.ones((1, 1, 4, 4), np.float32), "rois": np.array([[0, 0, 3, 3]], np.float32), "batch": np.zeros(1, np.int64)}
size = dict(output_height=2, output_width=2, sampling_ratio=2)
assert all((found == 1).all() for found in each("RoiAlign", fed, mode="avg", **size).values())
seen = each("RoiAlign", fed, mode="max", **size)
assert (seen["openvino"] == 1).all()
assert all(np.allclose(seen[name], [[1, 0.875], [0.875, 0.875**2]]) for name in ("onnxruntime", "reference"))
PY
