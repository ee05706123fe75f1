#!/usr/bin/env bash
# onnx 1.23.2: load reads the external tensors of the main graph and of its subgraphs, not those of training_info; saved elsewhere they are lost.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q onnx==1.23.2 numpy==2.4.6
"$folder/venv/bin/python" - "$folder" <<'PY'
import sys
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

here, there = Path(sys.argv[1], "here"), Path(sys.argv[1], "there")
here.mkdir()
there.mkdir()


def outside(name, place):
    """A tensor whose numbers lie in the file beside the model."""
    tensor = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=[4], data_location=TensorProto.EXTERNAL)
    for key, value in (("location", "m.data"), ("offset", place), ("length", 16)):
        tensor.external_data.add(key=key, value=str(value))
    return tensor


def graph(name, tensor):
    out = helper.make_tensor_value_info(f"{name}/y", TensorProto.FLOAT, [4])
    return helper.make_graph([helper.make_node("Neg", [tensor.name], [f"{name}/y"])], name, [], [out], [tensor])


(here / "m.data").write_bytes(np.arange(8, dtype=np.float32).tobytes())
model = helper.make_model(graph("predict", outside("w", 0)), opset_imports=[helper.make_opsetid("", 21)])
model.training_info.add().algorithm.CopyFrom(graph("step", outside("velocity", 16)))
(here / "m.onnx").write_bytes(model.SerializeToString())

loaded = onnx.load(here / "m.onnx")
onnx.save(loaded, there / "m.onnx")
again = onnx.load(there / "m.onnx")
w, velocity = again.graph.initializer[0], again.training_info[0].algorithm.initializer[0]
print("onnx", onnx.__version__, "beside the copy:", sorted(path.name for path in there.iterdir()))
print("main graph   ", numpy_helper.to_array(w))
print("training_info", "external" if velocity.data_location == TensorProto.EXTERNAL else "held", "of bytes", len(velocity.raw_data))
assert numpy_helper.to_array(w).tolist() == [0, 1, 2, 3]
assert velocity.data_location == TensorProto.EXTERNAL and not velocity.raw_data and not (there / "m.data").exists()
PY
