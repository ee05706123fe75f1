#!/usr/bin/env bash
# skl2onnx 1.20.0, onnxruntime 1.32.0: scikit-learn's Normalizer(norm="max") divides by the greatest magnitude, ONNX's MAX by the greatest number: the converted one has other values, and signs, where the largest entry is negative.
source "$(dirname "$0")/sklearn_onnx.inc"
checked <<'PY'
from sklearn.preprocessing import Normalizer

x = np.array([[-4, 2], [-4, -2]], np.float32)
model = Normalizer(norm="max").fit(x)
y, theirs = converted(model, x), model.transform(x)
for row in zip(x, y, theirs):
    print("%s converted %s scikit-learn %s" % row)
assert np.allclose(theirs, [[-1, 0.5], [-1, -0.5]]) and np.allclose(y, [[-2, 1], [2, 1]])
PY
