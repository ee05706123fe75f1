#!/usr/bin/env bash
# onnxruntime 1.32.0: GroupNormalization (opset 21) takes the variance as E[x^2] - E[x]^2, in float32: eight numbers from 10000 to 10007 come out up to 1107 for 1.53. LayerNormalization has it right.
source "$(dirname "$0")/onnxruntime.inc"
checked <<'PY'
x = (1e4 + np.arange(8)).astype(np.float32)
one, none = numpy_helper.from_array(np.ones(1, np.float32), "one"), numpy_helper.from_array(np.zeros(1, np.float32), "none")
group = run([helper.make_node("GroupNormalization", ["x", "one", "none"], ["y"], num_groups=1)], {"x": x.reshape(1, 1, 8)}, FLOAT, [one, none])
scale = numpy_helper.from_array(np.ones(8, np.float32), "scale")
layer = run([helper.make_node("LayerNormalization", ["x", "scale"], ["y"])], {"x": x.reshape(1, 8)}, FLOAT, [scale])
exact = (x - x.mean(dtype=np.float64)) / np.sqrt(x.var(dtype=np.float64) + 1e-5)
for row in zip(x, group.ravel(), layer.ravel(), exact):
    print("x = %.0f   group %10.3f   layer %7.3f   exact %7.3f" % row)
assert abs(group).max() > 1000 and np.allclose(layer.ravel(), exact, atol=1e-3)
PY
