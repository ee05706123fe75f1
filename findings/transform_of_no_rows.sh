#!/usr/bin/env bash
# torch 2.13.0, CPU: rfft of no rows of four numbers is refused by MKL; matrix products, sums and NumPy's rfft give no rows.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q torch==2.13.0 numpy==2.4.6
"$folder/venv/bin/python" - <<'PY'
import numpy as np
import torch

rows = torch.zeros(0, 4)
print("torch", torch.__version__, "numpy", np.__version__)
print("product ", tuple((rows @ torch.eye(4)).shape))
print("NumPy   ", np.fft.rfft(np.zeros((0, 4))).shape)
try:
    print("torch   ", tuple(torch.fft.rfft(rows).shape))
    raise SystemExit("it gives no rows now")
except RuntimeError as problem:
    print("torch   ", problem)
    assert "MKL FFT error" in str(problem)
PY
