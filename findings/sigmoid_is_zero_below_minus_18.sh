#!/usr/bin/env bash
# onnxruntime 1.32.0: the float32 kernel Sigmoid is not monotone at -17 and 0 from -18 on, where the function is 1.5e-8.
source "$(dirname "$0")/onnxruntime.inc"
checked <<'PY'
x = np.array([-10, -16, -17, -18, -20], np.float32)
y = run([helper.make_node("Sigmoid", ["x"], ["y"])], {"x": x}, FLOAT)
exact = 1 / (1 + np.exp(-x.astype(np.float64)))
for row in zip(x, y, exact):
    print("x = %5.0f   seen %.6e   exact %.6e" % row)
assert y[2] > y[1] and y[3] == y[4] == 0
PY
