#!/usr/bin/env bash
# ml_dtypes 0.6.0 with numpy 2.4.6: Python's numbers do not widen arrays (NEP 50), but a bfloat16 or 8-bit array times 0.5 is float32, times 2 what it was.
set -euo pipefail
place="$(mktemp -d)"; trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install -q numpy==2.4.6 ml_dtypes==0.6.0
"$place/venv/bin/python" - <<'PY'
import ml_dtypes
import numpy as np

seen = {}
for dtype in np.float16, ml_dtypes.bfloat16, ml_dtypes.float8_e4m3fn:
    x = np.ones(3, dtype)
    seen[x.dtype.name] = (x * 2).dtype.name, (x * 0.5).dtype.name
    print(f"{x.dtype} times 2 is {seen[x.dtype.name][0]}, times 0.5 {seen[x.dtype.name][1]}")
    x *= 0.5  # in place nothing widens
    assert x.dtype == dtype
assert seen == {"float16": ("float16", "float16"), "bfloat16": ("bfloat16", "float32"), "float8_e4m3fn": ("float8_e4m3fn", "float32")}
PY
