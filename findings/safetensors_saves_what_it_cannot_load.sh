#!/usr/bin/env bash
# safetensors 0.8.0, numpy: load_file reads bfloat16, load of the same bytes, which save has just written, ends in a KeyError.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q safetensors==0.8.0 numpy==2.4.6 ml_dtypes==0.6.0
"$folder/venv/bin/python" - "$folder/x.safetensors" <<'PY'
import sys
from pathlib import Path

import ml_dtypes
import numpy as np
from safetensors.numpy import load, load_file, save

written = save({"x": np.arange(4).astype(ml_dtypes.bfloat16)})
Path(sys.argv[1]).write_bytes(written)
seen = load_file(sys.argv[1])["x"]
print("load_file:", seen, seen.dtype)
assert seen.dtype == ml_dtypes.bfloat16 and seen.tolist() == [0, 1, 2, 3]
try:
    print("load:", load(written)["x"])
    raise SystemExit("it loads now")
except KeyError as refused:
    print("load: KeyError", refused)
PY
