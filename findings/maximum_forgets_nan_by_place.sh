#!/usr/bin/env bash
# onnxruntime 1.32.0: whether ReduceMax of float32 is NaN depends on where the NaN stands.
source "$(dirname "$0")/onnxruntime.inc"
checked <<'PY'
first, later = np.array([np.nan, 1, 2], np.float32), np.array([1, np.nan, 2], np.float32)
seen = [float(run([helper.make_node("ReduceMax", ["x"], ["y"], keepdims=0)], {"x": x}, FLOAT)) for x in (first, later)]
print("NaN first:", seen[0], " NaN later:", seen[1], " NumPy:", float(first.max()), float(later.max()))
assert np.isnan(seen[0]) and seen[1] == 2
PY
