#!/usr/bin/env bash
# onnxruntime 1.32.0, CPU: Cast of float32 drops the fraction for int8 and rounds for int4 and uint4; the reference evaluator of onnx drops it for all three. The standard does not say.
source "$(dirname "$0")/onnxruntime.inc"
checked_with=(ml_dtypes==0.6.0)
checked <<'PY'
x = np.array([0.6, 1.6, 2.4, 5.9], np.float32)
seen = {}
for kind in TensorProto.INT8, TensorProto.INT4, TensorProto.UINT4:
    nodes = [helper.make_node("Cast", ["x"], ["whole"], to=kind), helper.make_node("Cast", ["whole"], ["y"], to=FLOAT)]
    seen[TensorProto.DataType.Name(kind)] = by_runtime, by_reference = (
        run(nodes, {"x": x}, FLOAT, level=onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL).tolist(), reference(nodes, {"x": x}, FLOAT).tolist())
    print(f"{x} to {TensorProto.DataType.Name(kind)}: {by_runtime}, by onnx's reference {by_reference}")
assert seen["INT8"] == ([0, 1, 2, 5], [0, 1, 2, 5])
assert seen["INT4"] == seen["UINT4"] == ([1, 2, 2, 6], [0, 1, 2, 5])
PY
