#!/usr/bin/env bash
# openvino 2026.4.1, CPU: QuantizeLinear rounds after adding the zero point, so an odd one turns ties to odd steps: 0.5, 1.5 and 2.5 at a zero point of 1 are 2, 2 and 4, not 1, 3 and 3. The standard rounds x / scale.
source "$(dirname "$0")/openvino.inc"
checked <<'PY'
x = np.array([0.5, 1.5, 2.5, 0.4], np.float32)
for point, right, found in (2, [2, 4, 4, 2], [2, 4, 4, 2]), (1, [1, 3, 3, 1], [2, 2, 4, 1]):
    seen = each("QuantizeLinear", {"x": x}, {"scale": np.float32(1), "point": np.uint8(point)})
    assert seen["onnxruntime"].tolist() == seen["reference"].tolist() == right and seen["openvino"].tolist() == found
PY
