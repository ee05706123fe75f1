#!/usr/bin/env bash
# onnxruntime 1.32.0: MeanVarianceNormalization leaves out the epsilon of the standard, so that a channel of equal numbers (a blank image) is NaN; InstanceNormalization gives 0.
source "$(dirname "$0")/onnxruntime.inc"
checked <<'PY'
x = np.ones((1, 2, 2, 2), np.float32)
x[0, 1] = [[1, 2], [3, 4]]
y = run([helper.make_node("MeanVarianceNormalization", ["x"], ["y"])], {"x": x}, FLOAT)
held = [numpy_helper.from_array(np.ones(2, np.float32), "scale"), numpy_helper.from_array(np.zeros(2, np.float32), "bias")]
instance = run([helper.make_node("InstanceNormalization", ["x", "scale", "bias"], ["y"])], {"x": x}, FLOAT, held)
print("equal numbers:", y[0, 0].ravel(), "  instance:", instance[0, 0].ravel())
print("1 2 3 4      :", y[0, 1].ravel(), "  instance:", instance[0, 1].ravel())
# The axes of the operator are [0, 2, 3]: a channel over all images.
assert np.isnan(y[0, 0]).all() and np.isfinite(y[0, 1]).all() and (instance[0, 0] == 0).all()
PY
