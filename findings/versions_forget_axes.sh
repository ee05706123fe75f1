#!/usr/bin/env bash
# onnx 1.23.2: version_converter knows that Softmax took all dimensions from its axis on before opset 13 and one since, but only on the way up and not for Hardmax: Softmax from 21 to 12 and Hardmax from 11 to 21 have other values.
source "$(dirname "$0")/onnxruntime.inc"
checked <<'PY'
from onnx import version_converter

x = np.arange(12, dtype=np.float32).reshape(2, 3, 2)
kept = {}
for kind, axis, old, new in ("Softmax", 1, 12, 21), ("Softmax", 1, 21, 12), ("Hardmax", 0, 11, 21):
    graph = helper.make_graph([helper.make_node(kind, ["x"], ["y"], axis=axis)], "g",
                              [helper.make_tensor_value_info("x", FLOAT, x.shape)], [helper.make_tensor_value_info("y", FLOAT, x.shape)])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", old)], ir_version=10)
    before, after = (
        onnxruntime.InferenceSession(stage.SerializeToString(), providers=["CPUExecutionProvider"]).run(None, {"x": x})[0]
        for stage in (model, version_converter.convert_version(model, new)))
    kept[kind, old, new] = np.allclose(before, after)
    print(f"{kind} of opset {old} to {new}: {'the same values' if kept[kind, old, new] else f'off by {abs(before - after).max():.2f}'}")
assert list(kept.values()) == [True, False, False]
PY
