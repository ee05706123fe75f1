#!/usr/bin/env bash
# skl2onnx 1.20.0, onnxruntime 1.32.0: a tree of scikit-learn learns to which side missing values go; the converted one sends every one to the right.
source "$(dirname "$0")/sklearn_onnx.inc"
checked <<'PY'
from sklearn.tree import DecisionTreeClassifier

x = np.array([[1], [2], [3], [np.nan], [7], [8], [9]], np.float32)
y = np.array([0, 0, 0, 0, 1, 1, 1])
model = DecisionTreeClassifier(random_state=0).fit(x, y)
theirs, seen = model.predict(x), converted(model, x, zipmap=False)
print("rows        ", x.ravel(), "\nscikit-learn", theirs, "\nconverted   ", seen)
assert list(theirs) == [0, 0, 0, 0, 1, 1, 1] and list(seen) == [0, 0, 0, 1, 1, 1, 1]
PY
