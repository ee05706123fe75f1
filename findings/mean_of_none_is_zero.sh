#!/usr/bin/env bash
# onnxruntime 1.32.0: ReduceMean over no elements is 0, as if it were a sum; NumPy, PyTorch, JAX and onnx's reference say NaN (0 / 0).
source "$(dirname "$0")/onnxruntime.inc"
checked <<'PY'
x = np.zeros((2, 0), np.float32)
axis = numpy_helper.from_array(np.array([1]), "axis")
y = run([helper.make_node("ReduceMean", ["x", "axis"], ["y"], keepdims=0)], {"x": x}, FLOAT, [axis])
most = run([helper.make_node("ReduceMax", ["x", "axis"], ["y"], keepdims=0)], {"x": x}, FLOAT, [axis])
print("mean of no numbers:", y, "  greatest of none:", most)
assert (y == 0).all() and np.isneginf(most).all()
PY
