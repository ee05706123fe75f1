#!/usr/bin/env bash
# onnxruntime 1.32.0: Unique of numbers with a NaN among them counts it as one of the others; with NaN first it returns NaN alone and loses them all. NumPy keeps them apart.
source "$(dirname "$0")/onnxruntime.inc"
checked <<'PY'
lost = 0
for x in [1, 2, np.nan, 3, 1], [np.nan, 1, 2]:
    x = np.array(x, np.float32)
    nodes = [helper.make_node("Unique", ["x"], ["y", "", "", "n"])]
    values = run(nodes, {"x": x}, FLOAT)
    names = np.unique(x)
    lost += len(names) - len(values)
    print(f"{x} -> {values}   NumPy: {names}")
assert lost == 3, lost
PY
