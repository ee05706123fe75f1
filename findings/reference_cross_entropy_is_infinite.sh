#!/usr/bin/env bash
# onnx 1.23.2: the reference evaluator's SoftmaxCrossEntropyLoss and LogSoftmax take the logarithm of a softmax, which is 0 for a sure and wrong answer: infinity for 200, as onnxruntime has it.
source "$(dirname "$0")/onnxruntime.inc"
checked <<'PY'
x = np.array([[0, 200]], np.float32)
label = numpy_helper.from_array(np.array([0]), "label")
loss, logs = helper.make_node("SoftmaxCrossEntropyLoss", ["x", "label"], ["y"]), helper.make_node("LogSoftmax", ["x"], ["y"])
for node, held in (loss, [label]), (logs, []):
    y, theirs = run([node], {"x": x}, FLOAT, held), reference([node], {"x": x}, FLOAT, held)
    print(f"{node.op_type:24} onnxruntime {np.ravel(y)}   reference {np.ravel(theirs)}")
    assert abs(np.ravel(y)[0]) == 200 and np.isinf(np.ravel(theirs)[0])
PY
