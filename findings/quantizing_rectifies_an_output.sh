#!/usr/bin/env bash
# onnxruntime 1.32.0, quantize_static: a product that is an output itself and goes through Relu to another comes out rectified in both; without the Relu it is off by a step.
source "$(dirname "$0")/onnxruntime.inc"
checked <<'PY'
import logging
import tempfile
from pathlib import Path

import onnx
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, quantize_static

logging.disable(logging.WARNING)
rng = np.random.default_rng(0)
x, w = rng.normal(size=(4, 8)).astype(np.float32), rng.normal(size=(8, 8)).astype(np.float32)


class Rows(CalibrationDataReader):
    def __init__(self):
        self.rows = iter([{"x": x}])

    def get_next(self):
        return next(self.rows, None)


def least(last):
    """The least y = x w before and after quantizing, with a further output last(y)."""
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"]), helper.make_node(last, ["y"], ["z"])]
    model = model_of(nodes, {"x": x}, FLOAT, [numpy_helper.from_array(w, "w")])
    model.graph.output.append(helper.make_tensor_value_info("z", FLOAT, None))
    with tempfile.TemporaryDirectory() as folder:
        before, after = Path(folder, "before.onnx"), Path(folder, "after.onnx")
        onnx.save(model, before)
        quantize_static(before, after, Rows(), quant_format=QuantFormat.QDQ)
        for path in before, after:
            yield float(onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"]).run(["y"], {"x": x})[0].min())


seen = {}
for last in "Sigmoid", "Relu":
    seen[last] = before, after = tuple(least(last))
    print(f"beside {last}: the least product is {before:.2f}, quantized {after:.2f}")
assert abs(seen["Sigmoid"][0] - seen["Sigmoid"][1]) < 0.2
assert seen["Relu"][0] < -1 and seen["Relu"][1] == 0
PY
