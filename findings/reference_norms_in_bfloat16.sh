#!/usr/bin/env bash
# onnx 1.23.2: the reference evaluator adds bfloat16 one after another in bfloat16, also where stash_type asks for float32: the Softmax of 1000 equal numbers sums to 3.9, RMSNormalization of ones is nearly 2.
source "$(dirname "$0")/onnxruntime.inc"
checked_with=(ml_dtypes==0.6.0)
checked <<'PY'
from ml_dtypes import bfloat16

BFLOAT16 = TensorProto.BFLOAT16


def both(nodes, fed):
    """The value y in bfloat16 and in float32, by the reference evaluator."""
    for kind, dtype in (BFLOAT16, bfloat16), (FLOAT, np.float32):
        model = model_of(nodes, {name: array.astype(dtype) for name, array in fed.items()}, kind, [])
        model.opset_import[0].version = 23
        yield ReferenceEvaluator(model).run(["y"], {name: array.astype(dtype) for name, array in fed.items()})[0].astype(float)


ones = np.ones((1, 1000))
low, high = both([helper.make_node("Softmax", ["x"], ["y"])], {"x": ones})
print(f"Softmax of 1000 ones sums to {low.sum():.3f} in bfloat16, {high.sum():.3f} in float32")
assert low.sum() > 3.9 and abs(high.sum() - 1) < 1e-3
low, high = both([helper.make_node("RMSNormalization", ["x", "s"], ["y"], stash_type=1)], {"x": ones, "s": ones[0]})
print(f"RMSNormalization of ones, stash_type float32: {low[0, 0]:.3f} in bfloat16, {high[0, 0]:.3f} in float32")
assert low[0, 0] > 1.9 and abs(high[0, 0] - 1) < 1e-3
row = np.tile([2.0, 4.0], 500)[None]
low, high = both([helper.make_node("LayerNormalization", ["x", "s"], ["y"], stash_type=1)], {"x": row, "s": ones[0]})
print(f"LayerNormalization of 2, 4, 2, 4..., stash_type float32: {low[0, :2]} in bfloat16, {high[0, :2]} in float32")
assert low[0, 0] > 0 and abs(high[0, 0] + 1) < 1e-3
PY
