#!/usr/bin/env bash
# onnxruntime 1.32.0, CPU (x86-64), float16: a value is infinite where the graph gives it out or tests it, and 90000 where the next operator divides it, without any optimization too.
source "$(dirname "$0")/onnxruntime.inc"
checked <<'PY'
x = np.array([300], np.float16)
nodes = [helper.make_node("Mul", ["x", "x"], ["square"]), helper.make_node("IsInf", ["square"], ["infinite"]), helper.make_node("Div", ["square", "x"], ["y"])]
kind = TensorProto.FLOAT16
model = model_of(nodes, {"x": x}, kind, [])
model.graph.output.extend([helper.make_tensor_value_info("square", kind, [1]), helper.make_tensor_value_info("infinite", TensorProto.BOOL, [1])])
options = onnxruntime.SessionOptions()
options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
(y,), (square,), (infinite,) = session.run(["y", "square", "infinite"], {"x": x})
with np.errstate(over="ignore"):
    (expected,) = ReferenceEvaluator(model).run(["y"], {"x": x})[0]
print(f"of {x[0]}: square {square}, IsInf {infinite}, square / x {y}; by onnx's reference {expected}")
assert np.isinf(square) and infinite and y == 300 and np.isinf(expected)
PY
