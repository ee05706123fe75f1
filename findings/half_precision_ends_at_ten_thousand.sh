#!/usr/bin/env bash
# onnxconverter-common 1.16.0: convert_float_to_float16 turns a weight of 20000, which float16 holds (up to 65504), into 10000.
source "$(dirname "$0")/onnxruntime.inc"
checked_with=(onnxconverter-common==1.16.0)
checked <<'PY'
import warnings

from onnxconverter_common import float16

weights = np.array([20000, 1, 0.00006], np.float32)
model = model_of([helper.make_node("Mul", ["x", "w"], ["y"])], {"x": weights}, FLOAT, [numpy_helper.from_array(weights, "w")])
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    seen = numpy_helper.to_array(float16.convert_float_to_float16(model).graph.initializer[0])
print("weights:", weights, "  as float16:", weights.astype(np.float16), "  converted:", seen)
assert seen[0] == 10000 and weights.astype(np.float16)[0] == 20000
PY
