#!/usr/bin/env bash
# onnxruntime 1.32.0: Scaler of ai.onnx.ml rounds whole numbers to float32 before it subtracts: a StandardScaler of seconds since 1970 converts to steps of two minutes; in float64 they are exact.
source "$(dirname "$0")/sklearn_onnx.inc"
checked <<'PY'
from sklearn.preprocessing import StandardScaler

seconds = 1_700_000_000 + np.arange(600).reshape(-1, 1)
model = StandardScaler().fit(seconds)
theirs = model.transform(seconds)
for kind in np.int64, np.float64:
    seen = converted(model, seconds.astype(kind))
    print(f"{kind.__name__:8} {len(np.unique(seen))} different of 600, off by {abs(seen - theirs).max():.2g}")
assert len(np.unique(converted(model, seconds))) < 10 and len(np.unique(converted(model, seconds.astype(np.float64)))) == 600
PY
