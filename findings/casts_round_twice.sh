#!/usr/bin/env bash
# onnxruntime 1.32.0, Cast of float64 to float16 or bfloat16, and ml_dtypes 0.6.0, astype of float64 to bfloat16: rounded to float32 first, so that a number above a tie goes down; NumPy's float16 goes up.
source "$(dirname "$0")/onnxruntime.inc"
checked_with=(ml_dtypes==0.6.0)
checked <<'PY'
from ml_dtypes import bfloat16


def cast(x, kind):
    """What onnxruntime's Cast makes of float64; read in float32, which holds it."""
    nodes = [helper.make_node("Cast", ["x"], ["low"], to=kind), helper.make_node("Cast", ["low"], ["y"], to=FLOAT)]
    model = model_of(nodes, {"x": x}, TensorProto.DOUBLE, [])
    model.graph.output[0].type.tensor_type.elem_type = FLOAT
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return float(onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"]).run(None, {"x": x})[0][0])


for kind, dtype, last, expected_of_array in (TensorProto.FLOAT16, np.float16, 2**-10, 1), (TensorProto.BFLOAT16, bfloat16, 2**-7, 0):
    x = np.array([1 + last / 2 + 2**-40])  # nearer to 1 + last than to 1
    seen, array = (cast(x, kind) - 1) / last, (float(x.astype(dtype)[0]) - 1) / last
    print(f"{np.dtype(dtype).name}, units of the last place above 1: {(x[0] - 1) / last:.12f} is {seen:g} by Cast, {array:g} by astype")
    assert seen == 0 and array == expected_of_array
PY
