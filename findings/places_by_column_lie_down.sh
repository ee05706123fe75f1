#!/usr/bin/env bash
# openvino 2026.4.1, CPU: MaxPool with storage_order=1, which only numbers the places of the maxima by column, gives the places by row, in a tensor of the turned shape.
source "$(dirname "$0")/openvino.inc"
checked <<'PY'
x = np.arange(1, 7, dtype=np.float32).reshape(1, 1, 2, 3)
by_row, by_column = (each("MaxPool", {"x": x}, outputs=("y", "places"), kernel_shape=[2, 2], storage_order=order) for order in (0, 1))
assert all(found[1].tolist() == [[[[4, 5]]]] for found in by_row.values())
assert by_column["onnxruntime"][1].tolist() == [[[[3, 5]]]]
assert by_column["openvino"][0].shape == (1, 1, 1, 2) and by_column["openvino"][1].tolist() == [[[[4], [5]]]]
PY
