#!/usr/bin/env bash
# onnxruntime 1.32.0: Elu is exp(x) - 1 as written, so that small negative numbers become 0.
source "$(dirname "$0")/onnxruntime.inc"
checked <<'PY'
x = np.array([-1e-3, -1e-6, -1e-8, -1e-20], np.float32)
y = run([helper.make_node("Elu", ["x"], ["y"])], {"x": x}, FLOAT)
for row in zip(x, y, np.expm1(x.astype(np.float64))):
    print("x = %.0e   seen %.6e   exact %.6e" % row)
assert y[2] == 0 and y[3] == 0
PY
