#!/usr/bin/env bash
# onnxruntime 1.32.0, CPU: Sign of NaN is NaN in float32 and float64, 0 in float16.
source "$(dirname "$0")/onnxruntime.inc"
checked <<'PY'
node = [helper.make_node("Sign", ["x"], ["y"])]
seen = {}
for kind in TensorProto.FLOAT16, TensorProto.FLOAT, TensorProto.DOUBLE:
    x = np.array([np.nan, -2, 3], helper.tensor_dtype_to_np_dtype(kind))
    seen[x.dtype.name] = run(node, {"x": x}, kind)
    print(f"{x.dtype}: Sign of {x} is {seen[x.dtype.name]}, by onnx's reference {reference(node, {'x': x}, kind)}")
assert np.isnan(seen["float32"][0]) and np.isnan(seen["float64"][0]) and seen["float16"].tolist() == [0, -1, 1]
PY
