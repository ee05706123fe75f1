#!/usr/bin/env bash
# onnx 1.23.2: the reference evaluator's LpNormalization with p = 1 divides by the sum, not by the sum of magnitudes; onnxruntime by that of magnitudes.
source "$(dirname "$0")/onnxruntime.inc"
checked <<'PY'
x = np.array([[-3, 4]], np.float32)
node = helper.make_node("LpNormalization", ["x"], ["y"], axis=1, p=1)
y, theirs = run([node], {"x": x}, FLOAT), reference([node], {"x": x}, FLOAT)
print("onnxruntime:", y.ravel(), "  reference:", theirs.ravel())
assert np.allclose(y, x / 7) and np.allclose(theirs, x)
PY
