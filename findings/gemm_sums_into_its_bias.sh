#!/usr/bin/env bash
# onnxruntime 1.32.0: Gemm adds the parts of a long product to C one after another, so that they are rounded to C's last place.
source "$(dirname "$0")/onnxruntime.inc"
checked <<'PY'
rng = np.random.default_rng(0)
n, m = 1_000_000, 4
a, b = np.full((n, m), 0.1, np.float32), np.full((n, m), 1 / (n * m), np.float32)
c = rng.normal(size=(m, m)).astype(np.float32)
together = run([helper.make_node("Gemm", ["a", "b", "c"], ["y"], transA=1)], {"a": a, "b": b, "c": c}, FLOAT)
apart = run([helper.make_node("Gemm", ["a", "b"], ["p"], transA=1), helper.make_node("Add", ["p", "c"], ["y"])],
            {"a": a, "b": b, "c": c}, FLOAT, level=onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL)
wrong = [float(np.abs((y - c) / (0.1 / m) - 1).max()) for y in (together, apart)]
print("the product, by which y exceeds c, is off by %.1e with C inside Gemm, by %.1e with C added behind it" % tuple(wrong))
assert wrong[0] > 1e-2 and wrong[1] < 1e-3
PY
