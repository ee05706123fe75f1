#!/usr/bin/env bash
# onnxruntime 1.28.0, CPU: Sin takes float64 and Cos does not; in 1.32.0 both do, but still Sum and not Mean.
set -euo pipefail
place="$(mktemp -d)"; trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
for version in 1.28.0 1.32.0; do
  "$place/venv/bin/pip" install -q "onnxruntime==$version" onnx==1.23.2 numpy==2.4.6
  ORT_DISABLE_TELEMETRY=1 "$place/venv/bin/python" - <<'PY'
import onnxruntime
from onnx import TensorProto, helper

onnxruntime.set_default_logger_severity(4)


def loads(operator):
    ends = [helper.make_tensor_value_info(name, TensorProto.DOUBLE, [2]) for name in "xy"]
    graph = helper.make_graph([helper.make_node(operator, ["x"], ["y"])], "g", ends[:1], ends[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    try:
        onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    except onnxruntime.capi.onnxruntime_pybind11_state.NotImplemented:
        return False
    return True


seen = {operator: loads(operator) for operator in ("Sin", "Cos", "Sum", "Mean")}
print(onnxruntime.__version__, "float64:", seen)
assert seen == {"Sin": True, "Cos": onnxruntime.__version__ == "1.32.0", "Sum": True, "Mean": False}
PY
done
