#!/usr/bin/env bash
# safetensors 0.8.0: a valid file with a tensor of 8-bit floats ends in an AttributeError where NumPy arrays are asked for.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q safetensors==0.8.0 numpy==2.4.6 ml_dtypes==0.6.0
"$folder/venv/bin/python" - "$folder/x.safetensors" <<'PY'
import json
import struct
import sys

import ml_dtypes
from safetensors import safe_open


def write(dtype, size):
    head = json.dumps({"x": {"dtype": dtype, "shape": [4], "data_offsets": [0, 4 * size]}}).encode()
    with open(sys.argv[1], "wb") as out:
        out.write(struct.pack("<Q", len(head)) + head + bytes(4 * size))


def read():
    with safe_open(sys.argv[1], framework="numpy") as file:
        return file.get_tensor("x")


write("BF16", 2)
seen = read()
print("BF16:", seen.dtype)
assert seen.dtype == ml_dtypes.bfloat16
for dtype in ("F8_E4M3", "F8_E5M2"):
    write(dtype, 1)
    try:
        print(f"{dtype}:", read().dtype)
        raise SystemExit("it reads now")
    except AttributeError as refused:
        print(f"{dtype}: AttributeError: {refused}")
PY
