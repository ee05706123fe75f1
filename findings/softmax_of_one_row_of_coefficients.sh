#!/usr/bin/env bash
# onnxruntime 1.32.0: LinearClassifier of two classes and one row of coefficients leaves out post_transform="SOFTMAX" without a word: "probabilities" of 1.2 and -0.2. LOGISTIC is heard, and SOFTMAX of two rows is.
source "$(dirname "$0")/onnxruntime.inc"
checked <<'PY'
x = np.array([[1, 0]], np.float32)
classes = dict(outputs=("label", "scores"), domain="ai.onnx.ml", classlabels_ints=[10, 20], without=["reference"])
scores = {}
for name, rows, how in ("one, SOFTMAX", [1.0, -1.0], "SOFTMAX"), ("one, LOGISTIC", [1.0, -1.0], "LOGISTIC"), ("two, SOFTMAX", [-1.0, 1.0, 1.0, -1.0], "SOFTMAX"):
    seen = each("LinearClassifier", {"x": x}, coefficients=rows, intercepts=[0.2] * (len(rows) // 2), post_transform=how, **classes)
    scores[name] = seen["onnxruntime"][1][0]
assert np.allclose(scores["one, SOFTMAX"], [-0.2, 1.2])
assert np.allclose(scores["one, LOGISTIC"], [1 / (1 + np.exp(1.2)), 1 / (1 + np.exp(-1.2))]) and np.isclose(scores["two, SOFTMAX"].sum(), 1)
PY
