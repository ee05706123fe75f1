#!/usr/bin/env bash
# ml_dtypes 0.6.0 with numpy 2.4.6: sort, argsort and unique of bfloat16 with a NaN among the numbers leave them out of order; of float16 they put NaN last.
set -euo pipefail
place="$(mktemp -d)"; trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install -q numpy==2.4.6 ml_dtypes==0.6.0
"$place/venv/bin/python" - <<'PY'
import numpy as np
from ml_dtypes import bfloat16

numbers = [2, float("nan"), 1, 3, 1]
for dtype in np.float16, bfloat16:
    x = np.array(numbers, dtype)
    print(f"{x.dtype} {x}: sorted {np.sort(x)}, unique {np.unique(x)}, order {np.argsort(x, kind='stable')}")
half, brain = np.array(numbers, np.float16), np.array(numbers, bfloat16)
assert np.sort(half)[:4].tolist() == [1, 1, 2, 3] and np.unique(half)[:3].tolist() == [1, 2, 3]
assert np.sort(brain)[0] == 2 and (np.unique(brain) == 1).sum() == 1 and np.unique(brain)[0] == 2
PY
