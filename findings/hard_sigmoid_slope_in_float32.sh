#!/usr/bin/env bash
# torch 2.13.0, CPU: the derivative of hardsigmoid in float64 is the float32 number nearest to 1/6; the value and hardswish's derivative are exact.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q torch==2.13.0 numpy==2.4.6
"$folder/venv/bin/python" - <<'PY'
import numpy as np
import torch
from torch.nn import functional as F

x = torch.tensor([0.5], dtype=torch.float64, requires_grad=True)
y = F.hardsigmoid(x)
[slope] = torch.autograd.grad(y, x)
[other] = torch.autograd.grad(F.hardswish(x), x)
print("torch", torch.__version__)
print("value      ", y.item() - (0.5 / 6 + 0.5), "off")
print("slope      ", slope.item() - 1 / 6, "off;", slope.item(), "is float32(1/6):", slope.item() == float(np.float32(1 / 6)))
print("hardswish's", other.item() - (0.5 / 3 + 0.5), "off")
print("gradcheck  ", torch.autograd.gradcheck(F.hardsigmoid, x))
assert y.item() == 0.5 / 6 + 0.5 and other.item() == 0.5 / 3 + 0.5
assert slope.item() == float(np.float32(1 / 6)) != 1 / 6
PY
