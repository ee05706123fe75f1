#!/usr/bin/env bash
# skl2onnx 1.20.0: CalibratedClassifierCV(method="isotonic") interpolates between the points of its curve in scikit-learn; the converted one takes the value of the nearest point.
source "$(dirname "$0")/sklearn_onnx.inc"
checked <<'PY'
from sklearn.calibration import CalibratedClassifierCV
from sklearn.linear_model import LogisticRegression

numbers = np.random.default_rng(0)
x = numbers.normal(size=(200, 1)).astype(np.float32)
y = (x[:, 0] + numbers.normal(size=200) > 0).astype(int)
model = CalibratedClassifierCV(LogisticRegression(), method="isotonic", cv=2).fit(x, y)
fine = np.linspace(-2, 2, 1001, dtype=np.float32)[:, None]
seen, theirs = converted(model, fine, output=1, zipmap=False)[:, 1], model.predict_proba(fine)[:, 1]
print(f"values on 1,001 points: scikit-learn {len(np.unique(theirs.round(6)))}, converted {len(np.unique(seen.round(6)))}; greatest difference {abs(seen - theirs).max():.3f}")
assert len(np.unique(theirs.round(6))) > 3 * len(np.unique(seen.round(6))) and abs(seen - theirs).max() > 0.02
PY
