#!/usr/bin/env bash
# onnxruntime 1.32.0: ReduceMean adds float32 one after another; of ten million equal numbers it is 1 % off.
source "$(dirname "$0")/onnxruntime.inc"
checked <<'PY'
x = np.full(10_000_000, 0.1, np.float32)
y = run([helper.make_node("ReduceMean", ["x"], ["y"], keepdims=0)], {"x": x}, FLOAT)
print("seen", float(y), "NumPy, which adds in pairs,", float(x.mean()))
assert abs(float(y) / 0.1 - 1) > 5e-3 and abs(float(x.mean()) / 0.1 - 1) < 1e-6
PY
