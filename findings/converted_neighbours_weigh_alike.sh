#!/usr/bin/env bash
# skl2onnx 1.20.0: KNeighborsRegressor(weights="distance") converts without an error to the plain mean of the neighbours.
source "$(dirname "$0")/sklearn_onnx.inc"
checked <<'PY'
from sklearn.neighbors import KNeighborsRegressor

x, y = np.array([[0], [10]], np.float32), np.array([0.0, 1.0])
model = KNeighborsRegressor(2, weights="distance").fit(x, y)
asked = np.array([[1], [4], [9]], np.float32)
theirs, seen = model.predict(asked), converted(model, asked).ravel()
print("scikit-learn:", theirs, "  converted:", seen)
assert np.allclose(theirs, [0.1, 0.4, 0.9]) and np.allclose(seen, 0.5)
PY
