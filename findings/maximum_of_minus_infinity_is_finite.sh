#!/usr/bin/env bash
# onnxruntime 1.32.0 and openvino 2026.4.1, CPU: MaxPool of minus infinity, as masks hold, is -3.4e38; in onnxruntime only while the places of the maxima are not asked for. So is openvino's ReduceMax of no elements.
source "$(dirname "$0")/openvino.inc"
checked <<'PY'
least, masked = np.finfo(np.float32).min, np.full((1, 1, 2), -np.inf, np.float32)
pooled = each("MaxPool", {"x": masked}, kernel_shape=[2])
assert {name: float(found.item()) for name, found in pooled.items()} == {"onnxruntime": least, "reference": -np.inf, "openvino": least}
placed = each("MaxPool", {"x": masked}, outputs=("y", "places"), kernel_shape=[2])
assert placed["onnxruntime"][0].item() == -np.inf and placed["openvino"][0].item() == least
none = each("ReduceMax", {"x": np.zeros((0, 2), np.float32)}, {"axes": [0]})
assert (none["onnxruntime"] == -np.inf).all() and (none["openvino"] == least).all()
PY
