#!/usr/bin/env bash
# onnx 1.23.2, reference evaluator: MatMulInteger with a zero point for each row of A takes one from each column: other products of a square A, an error for the others. openvino 2026.4.1 follows the standard.
source "$(dirname "$0")/openvino.inc"
checked <<'PY'
a, b, points = np.array([[1, 2], [3, 4]], np.uint8), np.array([[1, 2], [3, 4]], np.uint8), np.array([1, 2], np.uint8)
rows, columns = (a - p.astype(np.int32) for p in (points[:, None], points))
seen = each("MatMulInteger", {"a": a, "b": b}, {"points": points}, without=["onnxruntime"])
assert seen["openvino"].tolist() == (rows @ b).tolist() != seen["reference"].tolist() == (columns @ b).tolist()
try:
    each("MatMulInteger", {"a": a[:, :1], "b": b[:1]}, {"points": points}, without=["onnxruntime", "openvino"])
except ValueError as refused:
    print("two rows of one column:", refused)
else:
    raise AssertionError("no error any more")
PY
