#!/usr/bin/env bash
# onnxruntime 1.32.0: Bernoulli draws 1 with probability 1 - p: the function body of the standard, which it runs, compares the wrong way round. onnx's reference draws with p.
source "$(dirname "$0")/onnxruntime.inc"
checked <<'PY'
p = np.array([0.0] * 4 + [1.0] * 4 + [0.2] * 10000, np.float32)
node = helper.make_node("Bernoulli", ["x"], ["y"], seed=1.0)
y, theirs = run([node], {"x": p}, FLOAT), reference([node], {"x": p}, FLOAT)
for name, drawn in ("onnxruntime", y), ("reference", theirs):
    print(f"{name:12} p = 0: {drawn[:4]}   p = 1: {drawn[4:8]}   p = 0.2: mean {drawn[8:].mean():.3f}")
assert (y[:4] == 1).all() and (y[4:8] == 0).all() and abs(y[8:].mean() - 0.8) < 0.02
assert (theirs[:4] == 0).all() and (theirs[4:8] == 1).all()
PY
