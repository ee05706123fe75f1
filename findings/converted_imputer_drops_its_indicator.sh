#!/usr/bin/env bash
# skl2onnx 1.20.0: SimpleImputer(add_indicator=True) converts without an error to a model that lacks the columns of the indicator.
source "$(dirname "$0")/sklearn_onnx.inc"
checked <<'PY'
from sklearn.impute import SimpleImputer

x = np.array([[1, 2], [np.nan, 4], [5, 6]], np.float32)
model = SimpleImputer(add_indicator=True).fit(x)
y, theirs = converted(model, x), model.transform(x)
print("scikit-learn:", theirs.tolist(), "  converted:", y.tolist())
assert theirs.shape == (3, 3) and y.shape == (3, 2)
PY
