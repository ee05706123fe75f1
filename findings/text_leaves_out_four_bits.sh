#!/usr/bin/env bash
# onnx 1.23.2: printer.to_text writes the numbers of an initializer exactly, but "..." for those of int4, uint4, float4e2m1 and complex64, a text that parser.parse_model refuses.
set -euo pipefail
place="$(mktemp -d)"; trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install -q onnx==1.23.2 numpy==2.4.6 ml_dtypes==0.6.0
"$place/venv/bin/python" - <<'PY'
import numpy as np
from onnx import TensorProto, helper, numpy_helper, parser, printer

seen = {}
for name in "FLOAT BFLOAT16 FLOAT8E4M3FN FLOAT8E8M0 INT8 INT4 UINT4 FLOAT4E2M1 COMPLEX64".split():
    kind = TensorProto.DataType.Value(name)
    w = np.array([1, 2, 4], np.float32).astype(helper.tensor_dtype_to_np_dtype(kind))
    graph = helper.make_graph([helper.make_node("Identity", ["w"], ["y"])], "g", [], [helper.make_tensor_value_info("y", kind, [3])], [numpy_helper.from_array(w, "w")])
    text = printer.to_text(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 24)], ir_version=11))
    try:
        seen[name] = numpy_helper.to_array(parser.parse_model(text).graph.initializer[0]).tobytes() == w.tobytes()
    except parser.ParseError:
        seen[name] = False
    print(next(line.strip() for line in text.splitlines() if " w = " in line), "reads back" if seen[name] else "is refused")
assert [name for name, back in seen.items() if not back] == ["INT4", "UINT4", "FLOAT4E2M1", "COMPLEX64"]
PY
