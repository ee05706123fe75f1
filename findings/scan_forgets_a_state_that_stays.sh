#!/usr/bin/env bash
# onnxruntime 1.32.0, CPU: a Scan whose body hands a state on as it is reads zeros for it from the second iteration; through an Identity it is right.
source "$(dirname "$0")/onnxruntime.inc"
checked <<'PY'
import onnx
from onnx.reference import ReferenceEvaluator


def value(name, shape):
    return helper.make_tensor_value_info(name, FLOAT, shape)


def model(identity):
    last = "same" if identity else "w"
    nodes = [helper.make_node("Add", ["x", "w"], ["y"])]
    if identity:
        nodes.append(helper.make_node("Identity", ["w"], ["same"]))
    body = helper.make_graph(nodes, "body", [value("w", [2]), value("x", [2])], [value(last, [2]), value("y", [2])])
    scan = helper.make_node("Scan", ["W", "X"], ["V", "Y"], num_scan_inputs=1, body=body)
    graph = helper.make_graph([scan], "g", [value("W", [2]), value("X", [3, 2])], [value("V", [2]), value("Y", [3, 2])])
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    onnx.checker.check_model(made, full_check=True)
    return made


fed = {"W": np.array([10, 20], np.float32), "X": np.zeros((3, 2), np.float32)}
seen = {}
for identity in (False, True):
    made = model(identity)
    session = onnxruntime.InferenceSession(made.SerializeToString(), providers=["CPUExecutionProvider"])
    ours, exact = session.run(None, fed), ReferenceEvaluator(made).run(None, fed)
    seen[identity] = [part.tolist() for part in ours]
    print("through an Identity" if identity else "as it is           ", ours[0], ours[1].tolist(), "reference", exact[0])
    assert exact[0].tolist() == [10, 20] and exact[1].tolist() == [[10, 20]] * 3
assert seen[True] == [[10, 20], [[10, 20]] * 3]
assert seen[False] == [[0, 0], [[10, 20], [0, 0], [0, 0]]]
PY
