#!/usr/bin/env bash
# tinygrad 0.14.0, device PYTHON: sort and topk of numbers with a NaN among them lose it and give one of the others twice; NumPy and PyTorch keep every number.
set -euo pipefail
place="$(mktemp -d)"; trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install -q tinygrad==0.14.0
DEV=PYTHON "$place/venv/bin/python" - <<'PY'
from tinygrad import Tensor

numbers = [2.0, float("nan"), 1.0]
ordered, two = Tensor(numbers).sort()[0].tolist(), Tensor(numbers).topk(2)[0].tolist()
print("of", numbers, "sorted:", ordered, "  greatest two:", two)
assert ordered == [1.0, 2.0, 2.0] and two == [2.0, 2.0]
PY
