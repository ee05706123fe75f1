#!/usr/bin/env bash
# openvino 2026.4.1, CPU: Add, Sub, Mul, Neg and Abs of 8-bit integers stop at the ends of their range; NumPy, onnxruntime 1.32.0 and openvino's own int32 wrap around.
source "$(dirname "$0")/openvino.inc"
checked <<'PY'
low, high = np.array([-128, 5], np.int8), np.array([127, 5], np.int8)
few, many = np.array([1, 5], np.uint8), np.array([200, 3], np.uint8)
for kind, fed, wrapped, stopped in (
    ("Add", {"a": high, "b": high}, [-2, 10], [127, 10]),
    ("Sub", {"a": few, "b": many}, [57, 2], [0, 2]),
    ("Mul", {"a": many, "b": many}, [64, 9], [255, 9]),
    ("Neg", {"a": low}, [-128, -5], [127, -5]),
    ("Abs", {"a": low}, [-128, 5], [127, 5]),
):
    seen = each(kind, fed)
    assert [seen[name].tolist() for name in ("onnxruntime", "reference", "openvino")] == [wrapped, wrapped, stopped]
most = np.array([2**31 - 1], np.int32)
assert all(found.tolist() == [-2] for found in each("Add", {"a": most, "b": most}).values())
PY
