#!/usr/bin/env bash
# onnxruntime 1.32.0: a function that calls another, whose domain it imports itself, is refused unless the model, which never uses that domain, imports it too; onnx 1.23.2 checks, infers and runs both.
source "$(dirname "$0")/onnxruntime.inc"
checked <<'PY'
import onnx

x = np.array([1, 2], np.float32)
twice = helper.make_function("inner", "Twice", ["a"], ["b"], [helper.make_node("Add", ["a", "a"], ["b"])], [helper.make_opsetid("", 21)])
calls = [helper.make_node("Twice", ["a"], ["c"], domain="inner"), helper.make_node("Twice", ["c"], ["b"], domain="inner")]
four = helper.make_function("outer", "Four", ["a"], ["b"], calls, [helper.make_opsetid("inner", 1)])
ends = [helper.make_tensor_value_info(name, FLOAT, [2]) for name in "xy"]
graph = helper.make_graph([helper.make_node("Four", ["x"], ["y"], domain="outer")], "g", ends[:1], ends[1:])
seen = {}
for further in (), ("inner",):
    imports = [helper.make_opsetid("", 21), *(helper.make_opsetid(domain, 1) for domain in ("outer", *further))]
    model = helper.make_model(graph, opset_imports=imports, ir_version=10, functions=[twice, four])
    onnx.checker.check_model(model, full_check=True)
    assert ReferenceEvaluator(model).run(None, {"x": x})[0].tolist() == [4, 8]
    try:
        session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
        seen[further] = session.run(None, {"x": x})[0].tolist()
    except onnxruntime.capi.onnxruntime_pybind11_state.InvalidGraph as refused:
        seen[further] = str(refused).split("Error ")[-1]
    print("the model imports", [entry.domain for entry in imports], "->", seen[further])
assert "No opset import for domain inner" in seen[()].replace("'", "") and seen[("inner",)] == [4, 8]
PY
